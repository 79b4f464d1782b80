"""The project's own description of itself: one truth in pyproject.toml, the rest agrees."""

import re
import subprocess
import sys
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from labsupport.course.publication import tomllib

CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "dask-core": "dask"}

# What students find in Colab's CPU runtime 2026.01 (Python 3.12). Installing labsupport there
# must not replace any of it.
COLAB = {
    "torch": "2.9.0",
    "torchvision": "0.24.0",
    "numpy": "2.0.2",
    "einops": "0.8.1",
    "matplotlib": "3.10.0",
    "pillow": "11.3.0",
    "tqdm": "4.67.1",
    "safetensors": "0.7.0",
    "ipywidgets": "7.7.1",
    "rich": "13.9.4",
    "typer": "0.21.1",
}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_conda_environment_lists_the_same_things(project, root):
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    ours = {(r.name, str(r.specifier)) for r in map(Requirement, sum(wanted, []))}
    listed = yaml.safe_load((root / "environment.yml").read_text())
    assert listed["channels"] == ["conda-forge"]
    theirs = set()
    for line in listed["dependencies"]:
        requirement = Requirement(line)
        name = CONDA_NAMES.get(requirement.name, requirement.name)
        if name not in ("python", "pip"):
            theirs.add((name, str(requirement.specifier)))
    assert ours == theirs
    assert f"python{project['requires-python']}" in listed["dependencies"]


def test_colab_keeps_its_own_versions(project):
    for requirement in map(Requirement, project["dependencies"]):
        bounds = {s.operator for s in requirement.specifier}
        assert bounds == {">="}, f"{requirement}: lower bounds only"
        if requirement.name in COLAB:
            assert Version(COLAB[requirement.name]) in requirement.specifier
    # ipykernel and IPython are pinned by Colab itself, so the student's side must not ask for them
    names = {Requirement(r).name for r in project["dependencies"]}
    assert not names & {"ipykernel", "ipython", "jupyterlab", "nbgrader", "notebook"}


def test_student_side_imports_nothing_of_the_instructors(root):
    """A student's machine has no nbgrader: the notebook and science floors must import without."""
    forbidden = (
        "nbgrader",
        "papermill",
        "jupytext",
        "nbformat",
        "dask",
        "labsupport.course",
        "labsupport.grading",
    )
    folders = ["labsupport", "labsupport/data", "labsupport/models"]
    for path in (p for f in folders for p in (root / f).glob("*.py") if p.name != "cli.py"):
        for line in path.read_text().splitlines():
            if re.match(r"(from|import) ", line):
                module = line.split()[1]
                assert not module.startswith(forbidden), f"{path.name}: {line}"


def test_science_floor_knows_nothing_of_notebooks(root):
    above = {p.stem for p in (root / "labsupport").glob("*.py")} - {"__init__"}
    allowed = re.compile(r"labsupport\.(data|models)\b|labsupport$")
    for path in (p for f in ("data", "models") for p in (root / "labsupport" / f).glob("*.py")):
        for module in re.findall(r"^(?:from|import) (labsupport[\w.]*)", path.read_text(), re.M):
            assert allowed.match(module), f"{path.name} imports {module}"
    assert above  # the floor above exists


@pytest.mark.slow
def test_wheel_carries_the_data_pack(root, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, str(root)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("labsupport-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("noto.webp", "twemoji.webp", "concepts.json"):
        assert f"labsupport/data/pack/emoji/{name}" in names
    assert not [n for n in names if n.startswith(("solutions", "tests"))]
