"""What several tests use: the checkout, the small lab, and a way to change a source."""

import shutil
from pathlib import Path

import pytest

from labsupport.course.source import read_lab

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def mini_path() -> Path:
    return ROOT / "tests" / "fixtures" / "90_mini.py"


@pytest.fixture
def mini(mini_path):
    return read_lab(mini_path)


@pytest.fixture(scope="session")
def sandbox():
    """A warm sandbox, or None where bubblewrap is missing (then kernels are plain and slower)."""
    from labsupport.grading.running.sandbox.warm import WarmSandbox

    if shutil.which("bwrap") is None:
        yield None
        return
    with WarmSandbox(["models/vit.py"]) as warm:
        yield warm
