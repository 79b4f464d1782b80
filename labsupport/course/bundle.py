"""Bundle for students: one zip with notebooks, the package's wheel, and how to begin."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from labsupport.errors import CourseError, LabError

README = """\
Open a notebook with {wheel} beside it (Colab: upload it under Files).
Run its first cell, which installs the course's package; then read on from the top.
"""


def build_wheel(checkout: Path, folder: Path) -> Path:
    """Build the package's wheel into ``folder``. Raises LabError with pip's reason."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(folder), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("labsupport-*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip does not say why"])[-1]
        raise LabError(f"the wheel could not be built: {reason}")
    return wheels[-1]


def released_files(course: Path) -> list[Path]:
    """What a course has released: each lab's notebook, and the files that go with it."""
    found = [
        path
        for path in sorted((course / "release").glob("*/*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    if not any(path.suffix == ".ipynb" for path in found):
        raise CourseError(
            f"{course} has released nothing yet: run 'labs course release {course}' first"
        )
    return found


def write_bundle(files: list[Path], wheel: Path, out: Path) -> list[str]:
    """Write the zip and return the names in it. It is complete or not there."""
    by_name: dict[str, Path] = {}
    for path in [*files, wheel]:
        other = by_name.setdefault(path.name, path)
        if other != path:
            raise CourseError(f"{other} and {path} have one name: rename one, then bundle again")
    part = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("labs/README.txt", README.format(wheel=wheel.name))
            for name, path in by_name.items():
                bundle.write(path, f"labs/{name}")
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return ["README.txt", *by_name]
