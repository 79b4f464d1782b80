"""The student's notebook opens, whole and without complaint, where students open notebooks."""

import shutil
from pathlib import Path

import nbformat
import pytest

from labsupport.course.source import find_labs
from tests.browser.jupyter import BROWSER, DRIVER, TOKEN, Server, new_browser, wait_for
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DRIVER and BROWSER), reason="chromium and its chromedriver are not installed"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Jupyter server on a working copy of the notebooks."""
    folder = tmp_path_factory.mktemp("jupyter")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, folder)
    server = Server(folder)
    yield server.url
    server.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = new_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.mark.parametrize("place", ["lab/tree", "notebooks"], ids=["jupyterlab", "notebook"])
@pytest.mark.parametrize("path", find_labs(ROOT / "solutions"), ids=lambda path: path.stem)
def test_opens(path, place, server, browser):
    name = f"{path.stem}.ipynb"
    browser.get(f"{server}/{place}/{name}?token={TOKEN}")
    wait_for(browser, "document.querySelectorAll('.jp-Notebook .jp-Cell').length > 3")
    first = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells[0].source
    title = first.splitlines()[0].lstrip("# ")
    headings = "[...document.querySelectorAll('.jp-RenderedMarkdown h1')].map(h => h.innerText)"
    wait_for(browser, f"{headings}.some(h => h.includes({title[:30]!r}))")
    dialogs = browser.execute_script(
        "return [...document.querySelectorAll('.jp-Dialog')].map(d => d.innerText)"
    )
    assert not [d for d in dialogs if "Error" in d or "rror loading" in d], dialogs
    assert Path(browser.current_url.split("?")[0]).name == name
