"""Experiments: the long runs behind the labs' figures, one file each: `labs experiment NN NAME`.

Rooms: `lab01` … `lab10`, and `record`, how results are kept. A file with a `main(root)` is an
experiment: it measures, and writes what it measured under `root`/data together with the command,
the settings, the date, the machine and the versions (`labsupport.data.results.Result`). Nothing
imports them.
"""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

__all__ = ["experiments_of", "find_experiment", "labs_with_experiments"]

_FOLDER = Path(__file__).parent


def experiments_of(lab: str) -> list[str]:
    """The names of a lab's experiments, none for a lab without any."""
    files = sorted((_FOLDER / f"lab{lab}").glob("*.py"))
    return [f.stem for f in files if re.search(r"^def main\(", f.read_text(encoding="utf-8"), re.M)]


def labs_with_experiments() -> list[str]:
    """The numbers of the labs that have experiments."""
    folders = sorted(folder.name for folder in _FOLDER.glob("lab[0-9][0-9]"))
    return [name.removeprefix("lab") for name in folders]


def find_experiment(lab: str, name: str) -> Callable[[Path], None]:
    """The `main` of an experiment; it takes the checkout whose data/ folder gets the results.

    Raises ValueError for a lab or an experiment that does not exist.
    """
    known = experiments_of(lab)
    if not known:
        raise ValueError(
            f"lab {lab!r} has no experiments; only {', '.join(labs_with_experiments())}"
        )
    if name not in known:
        raise ValueError(f"lab {lab} has no experiment {name!r}; it has {', '.join(known)}")
    return import_module(f"{__name__}.lab{lab}.{name}").main
