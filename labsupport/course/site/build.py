"""A static site of the course, built in a folder of its own and then put in its place."""

import io
import os
import shutil
import tempfile
from html import escape
from pathlib import Path

import nbformat

from labsupport.course.publication import Published, published_at
from labsupport.course.site.lab_page import LabPage, lab_page
from labsupport.course.site.results_page import results_page
from labsupport.course.source import find_labs
from labsupport.errors import CourseError

TITLE = "Efficient vision transformers: graded labs"
OURS = ".labs-site"  # in a site: the names of its files
CSS = Path(__file__).with_name("site.css")
FOLDED = (
    "A solution is folded below each exercise, and a model answer below each written question: "
    "nothing opens unless you ask for it."
)
LEFT_OUT = (
    "This copy has no solutions: what an exercise asks, and the figures that a solved lab shows."
)
SEARCH = (  # the theme's has no heading before there are results
    '{% extends "!search.html" %}\n{% block content %}<h1>Search</h1>{{ super() }}{% endblock %}\n'
)
SETTINGS = {
    "project": TITLE,
    "html_title": TITLE,
    "language": "en",
    "extensions": ["myst_nb", "labsupport.course.site.formulas"],
    "html_theme": "furo",
    "html_static_path": ["_static"],
    "templates_path": ["_templates"],
    "html_css_files": ["site.css"],
    "html_math_renderer": "mathml",
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "pygments_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "html_theme_options": {
        "light_css_variables": {"color-brand-primary": "#005a8c", "color-brand-content": "#005a8c"},
        "dark_css_variables": {"color-brand-primary": "#8cc8f0", "color-brand-content": "#8cc8f0"},
    },
}


def build_site(
    root: Path, target: Path, labs: list[str] | None = None, solutions: bool = True
) -> list[str]:
    """Build the site of the checkout ``root`` into ``target``; return what Sphinx warns of.

    Files of an earlier site there are taken away, so that no solution is left behind; a folder
    that holds anything else and is no site is refused. Raises CourseError where a lab has not
    been built, ModuleNotFoundError where the generator is not installed.
    """
    import furo  # noqa: F401  a name that is missing is told as such
    import myst_nb  # noqa: F401

    check_place(target)
    published = published_at(root)
    with tempfile.TemporaryDirectory(prefix="labs-site-") as scratch:
        source, made = Path(scratch) / "source", Path(scratch) / "made"
        static = source / "_static"
        static.mkdir(parents=True)
        pages = [
            lab_page(
                path.with_suffix(".ipynb"),
                root / "notebooks" / f"{path.stem}.ipynb",
                static,
                colab_address(published, path.stem),
                solutions,
            )
            for path in find_labs(root / "solutions", labs)
        ]
        for page in pages:
            nbformat.write(page.notebook, source / f"{page.stem}.ipynb")
        shutil.copy(CSS, static / CSS.name)
        (source / "_templates").mkdir()
        (source / "_templates" / "search.html").write_text(SEARCH, encoding="utf-8")
        titles = {page.stem: page.title for page in pages}
        (source / "results.md").write_text(results_page(root, titles), encoding="utf-8")
        (source / "index.md").write_text(_index(pages, solutions), encoding="utf-8")
        warnings = _sphinx(source, made, Path(scratch) / "doctrees")
        put(made, target)
    return warnings


def check_place(target: Path) -> None:
    """Raises CourseError where ``target`` is no folder to put a site in."""
    if target.exists() and not target.is_dir():
        raise CourseError(f"{target} is a file: name a folder for the site")
    if target.is_dir() and any(target.iterdir()) and not (target / OURS).is_file():
        raise CourseError(f"{target} holds other files: name a new or an empty folder")


def put(made: Path, target: Path) -> None:
    """Put a built site in the place of an earlier one; files that are not a site's stay."""
    check_place(target)
    if (target / OURS).is_file():
        for name in (target / OURS).read_text(encoding="utf-8").splitlines():
            old = (target / name).resolve()
            if target.resolve() in old.parents:
                old.unlink(missing_ok=True)
    names = sorted(p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file())
    (made / OURS).write_text("\n".join(names) + "\n", encoding="utf-8")
    shutil.copytree(made, target, dirs_exist_ok=True)


def _sphinx(source: Path, made: Path, doctrees: Path) -> list[str]:
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    settings = "\n".join(f"{name} = {value!r}" for name, value in SETTINGS.items())
    (source / "conf.py").write_text(settings + "\n", encoding="utf-8")
    said = io.StringIO()
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            srcdir=source,
            confdir=source,
            outdir=made,
            doctreedir=doctrees,
            buildername="html",
            status=None,
            warning=said,
        )
        app.build()
    (made / ".nojekyll").touch()  # GitHub's pages leave out folders that begin with "_"
    for name in (".buildinfo", "objects.inv", "genindex.html"):
        (made / name).unlink(missing_ok=True)
    shutil.rmtree(made / "_sources", ignore_errors=True)
    return [line.replace(f"{source}{os.sep}", "") for line in said.getvalue().splitlines() if line]


def _index(pages: list[LabPage], solutions: bool) -> str:
    cards = "\n".join(
        f'<li><a href="{page.stem}.html">{_decoration(page.picture)}'
        f"<span>{escape(page.title)}</span></a></li>"
        for page in pages
    )
    order = "\n".join([*(page.stem for page in pages), "results"])
    return (
        f"# {TITLE}\n\n{len(pages)} labs, from cutting an image into patches to the systems that "
        "make vision transformers fast.\n"
        f"{FOLDED if solutions else LEFT_OUT} What took hours to measure is on the page of "
        "[results](results.md).\n\n"
        f'<ul class="labs">\n{cards}\n</ul>\n\n'
        f"```{{toctree}}\n:hidden:\n\n{order}\n```\n"
    )


def _decoration(picture: str) -> str:
    """A picture beside words that say where the link goes: it needs none of its own."""
    before, found, rest = picture.partition(' alt="')
    return f'{before} alt="{rest[rest.index(chr(34)) :]}' if found else ""


def colab_address(published: Published, stem: str) -> str:
    """Where Colab opens a lab, "" where it does not."""
    badge = published.badge(stem)  # [![...](image)](address)
    return badge.rpartition("](")[2].rstrip(")") if badge else ""
