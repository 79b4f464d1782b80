"""Address of the published course, and what follows from it: Colab badges and the install line.

One address, ``repository`` under ``[tool.labsupport]`` in pyproject.toml; empty by default, and
then there is neither badge nor install line.
"""

import re
import sys
from pathlib import Path

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ADDRESS = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?$")


def repository_of(root: Path) -> str:
    """The configured address, or "". Raises ValueError where it is not a GitHub address."""
    path = root / "pyproject.toml"
    if not path.exists():
        return ""
    settings = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    address = settings.get("labsupport", {}).get("repository", "")
    if address and not _ADDRESS.match(address):
        raise ValueError(
            f"{path}: repository = {address!r}: allowed is https://github.com/OWNER/NAME"
        )
    return address


def install_requirement(repository: str) -> str:
    """The requirement that installs labsupport from the repository."""
    return f"labsupport @ git+https://github.com/{_slug(repository)}"


def _slug(repository: str) -> str:
    """OWNER/NAME of an address that :func:`repository_of` has let through."""
    match = _ADDRESS.match(repository)
    if match is None:
        raise ValueError(f"{repository!r} is no GitHub address")
    return match[1]


def badge(repository: str, stem: str) -> str:
    """Markdown of an Open-in-Colab badge for one lab."""
    slug = _slug(repository)
    colab = "https://colab.research.google.com"
    return (
        f"[![Open in Colab]({colab}/assets/colab-badge.svg)]"
        f"({colab}/github/{slug}/blob/main/notebooks/{stem}.ipynb)"
    )


def colab_cells(repository: str, stem: str) -> list[NotebookNode]:
    """The cells that begin a published notebook: badge, and installation where it is needed."""
    if not repository:
        return []
    wanted = f'install -q "{install_requirement(repository)}"'
    install = (
        "try:\n    import labsupport\nexcept ModuleNotFoundError:\n"
        f'    get_ipython().run_line_magic("pip", {wanted!r})'
    )
    locked = {"editable": False, "deletable": False}
    return [
        new_markdown_cell(badge(repository, stem), id="colab-badge", metadata=dict(locked)),
        new_code_cell(install, id="colab-install", metadata=dict(locked)),
    ]


def fill_readme(root: Path, repository: str, stems: list[str]) -> None:
    """Rewrite the README between its two ``colab`` markers."""
    path = root / "README.md"
    if not path.exists():
        return
    if repository:
        rows = "\n".join(f"- {stem}: {badge(repository, stem)}" for stem in stems)
        body = f'```\npip install "{install_requirement(repository)}"\n```\n\n{rows}'
    else:
        body = (
            "This copy of the course has no published address yet, so there is no badge to click: "
            "set `repository` under\n`[tool.labsupport]` in `pyproject.toml` and run `make build`; "
            "badges and the install line then appear here and in\nevery notebook."
        )
    text = path.read_text(encoding="utf-8")
    pattern = r"(<!-- colab -->\n).*?(\n<!-- /colab -->)"
    path.write_text(
        re.sub(pattern, lambda m: m[1] + body + m[2], text, flags=re.S), encoding="utf-8"
    )
