"""How to install the package with an extra, as it is true here.

The package is in no index, and a stranger could register its name there: ``pip install
labsupport`` is never the answer.
"""

import contextlib
import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlparse

from labsupport.errors import LabError

CHECKOUT = Path(__file__).resolve().parents[2]


def how_to_install(extra: str = "") -> str:
    """The command that installs the package here, with an ``extra``, or in words what does."""
    wanted = f"[{extra}]" if extra else ""
    if (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "solutions").is_dir():
        here = "." if CHECKOUT == Path.cwd() else str(CHECKOUT)
        return f"pip install -e {_quoted(here + wanted)}"
    with contextlib.suppress(LabError, ModuleNotFoundError):  # a TOML reader, in Python 3.10
        from labsupport.course.publication import published_here, requirement

        if (published := published_here()).address:
            return f"pip install {requirement(published, extra)}"
    if wheel := _wheel():
        return f"pip install {_quoted(str(wheel) + wanted)}"
    return f"pip install 'labsupport-....whl{wanted}', with the file that you were given"


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else shlex.quote(text)


def _wheel() -> Path | None:
    """The wheel that this package was installed from, where it is still there."""
    try:
        said = distribution("labsupport").read_text("direct_url.json")
        url = urlparse(json.loads(said or "{}").get("url", ""))
    except (PackageNotFoundError, ValueError):
        return None
    path = Path(unquote(url.path))
    return path if url.scheme == "file" and path.suffix == ".whl" and path.is_file() else None
