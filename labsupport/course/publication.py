"""Where the course is published, and what follows from it: badges, what installs the package.

One address, under ``[tool.labsupport]`` in pyproject.toml, written by ``labs publish``; a wheel
carries that file along. Empty as long as nobody has published: then there is no badge.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from labsupport.errors import LabError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).resolve().parents[2]
IN_WHEEL = Path(__file__).with_name("pyproject.toml")
ALLOWED = "allowed is https://github.com/OWNER/NAME, another git repository, or a wheel (.whl)"
COLAB = "https://colab.research.google.com"
NO_BADGE = "Colab opens notebooks from github.com only, so there is no badge: upload a notebook."
_WEB = re.compile(r"https://[\w.-]+(:\d+)?(/[\w.~+%@-]+)+/?")
_GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")
_BRANCH = re.compile(r"[\w.-]+(/[\w.-]+)*")
_SECTION = re.compile(r"(?ms)^\[tool\.labsupport\]\n.*?(?=^\[|\Z)")


@dataclass(frozen=True)
class Published:
    """An address that has been checked: a repository with its branch, a wheel, or "" for none."""

    address: str = ""
    branch: str = "main"

    def __post_init__(self) -> None:
        if self.address and not _WEB.fullmatch(self.address):
            raise LabError(f"{self.address!r} is no address to publish at: {ALLOWED}")
        on_github = self.address.startswith("https://github.com/")
        if on_github and not self.address.endswith(".whl") and not self.slug:
            raise LabError(
                f"{self.address!r} is no repository of GitHub's: give https://github.com/OWNER/NAME"
                ", and a branch with --branch"
            )
        if not _BRANCH.fullmatch(self.branch):
            raise LabError(f"{self.branch!r} is no name of a branch")

    @property
    def source(self) -> str:
        """What pip installs the package from."""
        if not self.address or self.address.endswith(".whl"):
            return self.address
        return f"git+{self.address.rstrip('/')}@{self.branch}"

    @property
    def slug(self) -> str:
        """OWNER/NAME on GitHub, from where Colab opens notebooks; "" elsewhere."""
        match = _GITHUB.fullmatch(self.address)
        return match[1] if match and not self.address.endswith(".whl") else ""

    def badge(self, stem: str) -> str:
        """Markdown that opens a lab in Colab, or ""."""
        if not self.slug:
            return ""
        where = f"{COLAB}/github/{self.slug}/blob/{self.branch}/notebooks/{stem}.ipynb"
        return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({where})"


def published_at(root: Path) -> Published:
    """What the pyproject.toml in ``root`` says. Raises LabError where it is no address."""
    path = root / "pyproject.toml"
    if not path.exists():
        return Published()
    tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    said = tool.get("labsupport", {})
    try:
        return Published(said.get("repository", ""), said.get("branch", "main"))
    except LabError as error:
        raise LabError(f"{path}: {error}") from None


def published_here() -> Published:
    """Where this package says it is published: as a checkout, or installed from a wheel."""
    return published_at(IN_WHEEL.parent if IN_WHEEL.exists() else CHECKOUT)


def write_address(root: Path, published: Published) -> None:
    """Write an address into the checkout's pyproject.toml; all else in it stays as it is."""
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    section = (
        f'[tool.labsupport]\nrepository = "{published.address}"\nbranch = "{published.branch}"\n'
    )
    if found := _SECTION.search(text):
        end = "\n" if found[0].endswith("\n\n") else ""
        text = f"{text[: found.start()]}{section}{end}{text[found.end() :]}"
    else:
        text = f"{text.rstrip()}\n\n{section}"
    path.write_text(text, encoding="utf-8")


def readme_section(published: Published, stems: list[str]) -> str:
    """What the README says of Colab: badges and the install line, or how they come about."""
    if not published.address:
        return (
            "This copy has not been published, so there is no badge to click yet. Whoever "
            "publishes it writes the address into every\nnotebook and into this page with "
            "`labs publish https://github.com/OWNER/NAME`. Until then: `labs bundle` makes a zip "
            "of the notebooks and\nthe package; upload a notebook to Colab, put the package "
            "(`labsupport-*.whl`) into its files, and run the first cell."
        )
    install = f"```\npip install {requirement(published)}\n```"
    badges = [f"- {stem}: {published.badge(stem)}" for stem in stems if published.slug]
    by_hand = "Open a notebook and run its first cell: it installs the package. By hand:"
    return "\n\n".join(["\n".join(badges) if badges else NO_BADGE, by_hand, install])


def requirement(published: Published, extra: str = "") -> str:
    """The requirement for a shell's command line that installs from a published address."""
    return f"'labsupport{f'[{extra}]' if extra else ''} @ {published.source}'"


def fill_readme(root: Path, published: Published, stems: list[str]) -> None:
    """Rewrite the README between its two ``colab`` markers."""
    path = root / "README.md"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    body = readme_section(published, stems)
    pattern = r"(<!-- colab -->\n).*?(<!-- /colab -->)"
    path.write_text(
        re.sub(pattern, lambda m: f"{m[1]}{body}\n{m[2]}", text, flags=re.S), encoding="utf-8"
    )
