"""Imports go down only: what `make lint` holds is tried with imports planted where they must not
be, one in a function among them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder):
    return subprocess.run(
        [LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": "."}
    )


@pytest.fixture
def copy(root, tmp_path):
    """The package and its contracts, without data, to plant something in."""
    shutil.copytree(
        root / "labsupport", tmp_path / "labsupport", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_of_the_package_goes_down(root):
    done = lint(root)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("room", "planted", "contract"),
    [
        ("models/hart/generator.py", "import nbgrader", "A student's machine"),
        ("models/vit.py", "def late():\n    import matplotlib.pyplot", "Science knows nothing"),
        (
            "notebook/check.py",
            "def late():\n    from labsupport.grading.judging import judge",
            "Floors",
        ),
        ("data/batch.py", "from labsupport.training import fit", "Floors"),
        ("labs/lab01/widgets.py", "import labsupport.labs.lab02.footprints", "another lab's"),
        ("labs/lab09/painter.py", "import labsupport.experiments.record", "A long run"),
        (
            "grading/judging/cases.py",
            "import labsupport.grading.submission.realign",
            "Grading: from",
        ),
        ("answers/wire.py", "import labsupport.notebook.check", "Floors"),
    ],
)
def test_a_planted_import_is_caught(copy, room, planted, contract):
    path = copy / "labsupport" / room
    path.write_text(path.read_text() + f"\n\n{planted}\n")
    done = lint(copy)
    assert done.returncode == 1
    broken = done.stdout.split("Broken contracts", 1)[1]
    assert contract in broken and f"labsupport.{room.removesuffix('.py').replace('/', '.')}" in (
        " ".join(broken.split())
    )


def test_a_private_name_of_another_module_is_refused(root, tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("from labsupport.models.weights import _shortened\n\nprint(_shortened)\n")
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--config", root / "pyproject.toml"]
    done = subprocess.run([*ruff, planted], capture_output=True, text=True)
    assert done.returncode == 1 and "Private name import" in done.stdout


def test_few_modules_lie_loose(root):
    loose = {p.name for p in (root / "labsupport").glob("*.py")}
    assert loose == {"__init__.py", "errors.py"}
