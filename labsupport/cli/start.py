"""``labs start``: JupyterLab on a working copy."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from labsupport.cli import stopping
from labsupport.cli.application import console, one_line_errors, root


def start(
    folder: Annotated[Path, typer.Argument(help="where the working copy goes")] = Path("labs-work"),
):
    """Open JupyterLab on a working copy of the notebooks; your own files are never overwritten."""
    with one_line_errors():
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((root() / "notebooks").glob("*.ipynb")):
            if not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)
        console.print(f"Your working copy: {folder.resolve()}")
        command = [sys.executable, "-m", "jupyter", "lab", f"--notebook-dir={folder}"]
        stopping.leave()  # Ctrl-C is for Jupyter, which asks back
        try:
            raise typer.Exit(subprocess.call(command))
        except KeyboardInterrupt:
            raise typer.Exit(0) from None
