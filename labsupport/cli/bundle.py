"""``labs bundle``: the zip that is handed to students."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli.application import console, one_line_errors, root
from labsupport.errors import LabError


def bundle(
    folder: Annotated[
        Path | None, typer.Argument(help="a course directory: its release in place of notebooks/")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the zip; default: NAME-labs.zip here")] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="the package's wheel, where there is no checkout")
    ] = None,
):
    """Notebooks, package and README in one zip.    Example: labs bundle ~/vit-2026 --out labs.zip

    For a learning platform, a shared drive or a USB stick: a notebook's first cell installs the
    package from the wheel beside it.
    """
    with one_line_errors():
        from labsupport.course.bundle import build_wheel, released_files, write_bundle

        if folder is not None:
            files = released_files(folder.resolve())
        else:
            files = sorted((root() / "notebooks").glob("*.ipynb"))
        name = folder.resolve().name if folder is not None else "course"
        out = (out or Path(f"{name}-labs.zip")).resolve()
        if out.is_dir() or not out.parent.is_dir():
            raise LabError(f"{out} is no place for a zip: name a file in a folder that exists")
        if wheel is not None and not (wheel.is_file() and wheel.suffix == ".whl"):
            raise LabError(f"{wheel} is no wheel: name the file labsupport-....whl")
        with tempfile.TemporaryDirectory(prefix="labs-bundle-") as scratch:
            names = write_bundle(files, wheel or build_wheel(_checkout(), Path(scratch)), out)
        console.print(f"{out}: {len(names)} files, {out.stat().st_size / 1e6:.0f} MB")


def _checkout() -> Path:
    try:
        return root()
    except LabError:
        raise LabError(
            "no checkout here to build the package from: name its wheel, "
            "labs bundle DIR --wheel labsupport-....whl"
        ) from None
