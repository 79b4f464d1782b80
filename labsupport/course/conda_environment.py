"""environment.yml, for conda, out of pyproject.toml: one list of requirements, not two."""

from pathlib import Path

from packaging.requirements import Requirement

from labsupport.course.publication import tomllib

# conda-forge's name where it is another than the package index's
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "dask": "dask-core",
    "bleach": "bleach-with-css",
    "types-PyYAML": "types-pyyaml",
}
PIP_ONLY = ("axe-core-python",)  # not on conda-forge
HEADINGS = {
    "": "what a lab needs",
    "grading": "what an instructor needs",
    "postgres": "a gradebook on a PostgreSQL server",
    "site": "what `labs site` makes pages with",
    "dev": "what the tests need",
}
HEAD = """\
# Made of pyproject.toml by `labs build`; a test holds the two together.
#   conda env create -f environment.yml && conda activate labsupport && pip install --no-deps -e .
name: labsupport
channels:
  - conda-forge
dependencies:
"""


def environment_text(root: Path) -> str:
    """The text of environment.yml for the checkout ``root``; each requirement once."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines, listed = [f"  - python{project['requires-python']}"], set(PIP_ONLY)
    by_pip = []
    for extra, wanted in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        lines.append(f"  # {HEADINGS[extra]}")
        for requirement in map(Requirement, wanted):
            name = CONDA_NAMES.get(requirement.name, requirement.name)
            if name in PIP_ONLY:
                by_pip.append(f"      - {requirement}")
            if name not in listed:
                listed.add(name)
                bounds = sorted(map(str, requirement.specifier), reverse=True)  # lower, upper
                lines.append(f"  - {name}{','.join(bounds)}")
    return HEAD + "\n".join([*lines, "  - pip", "  - pip:", *by_pip]) + "\n"


def write_environment(root: Path) -> None:
    """Bring environment.yml up to date; a folder without pyproject.toml has none."""
    if (root / "pyproject.toml").exists():
        (root / "environment.yml").write_text(environment_text(root), encoding="utf-8")
