"""The project's own description of itself: one truth in pyproject.toml, the rest agrees."""

import subprocess
import sys
import zipfile

import grimp
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from labsupport.course.conda_environment import environment_text
from labsupport.course.publication import tomllib
from tests.colab.first_run import versions

# what a package is imported as, where that is not its name
IMPORT_NAMES = {"PIL": "pillow", "yaml": "pyyaml", "dateutil": "python_dateutil", "zmq": "pyzmq"}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_conda_environment_is_made_of_this(root):
    assert (root / "environment.yml").read_text() == environment_text(root), "run: labs build"
    listed = yaml.safe_load(environment_text(root))["dependencies"]
    *listed, by_pip = listed
    assert by_pip == {"pip": ["axe-core-python>=0.1"]}
    assert len(listed) == len(set(listed)) and "pytorch>=2.6" in listed


def test_every_import_is_declared(project, root):
    """What the package imports from elsewhere stands in pyproject.toml, by whichever extra."""
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {Requirement(r).name.lower().replace("-", "_") for r in sum(wanted, [])}
    graph = grimp.build_graph("labsupport", include_external_packages=True)
    external = {m for m in graph.modules if not m.startswith("labsupport")}
    external -= set(sys.stdlib_module_names) | {"__main__"}
    known = {IMPORT_NAMES.get(name, name).lower() for name in external}
    assert known <= declared, f"imported and not declared: {sorted(known - declared)}"


def test_colab_keeps_its_own_versions(project):
    """Installing replaces nothing of what Colab comes with; tests/colab/first_run.py tries it."""
    colab = versions()
    assert {"torch", "numpy", "ipywidgets", "ipython"} <= colab.keys()
    for requirement in map(Requirement, project["dependencies"]):
        bounds = {s.operator for s in requirement.specifier}
        assert bounds == {">="}, f"{requirement}: lower bounds only"
        if requirement.name in colab:
            assert Version(colab[requirement.name]) in requirement.specifier
    # ipykernel and IPython are pinned by Colab itself, so the student's side must not ask for them
    names = {Requirement(r).name for r in project["dependencies"]}
    assert not names & {"ipykernel", "ipython", "jupyterlab", "nbgrader", "notebook"}


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
