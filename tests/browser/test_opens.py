"""The student's notebook opens, whole and without complaint, where students open notebooks."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from labsupport.course.source import find_labs
from tests.conftest import ROOT

TOKEN = "test"
DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DRIVER and BROWSER), reason="chromium and its chromedriver are not installed"
    ),
]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1600",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Jupyter server on a working copy of the notebooks."""
    folder = tmp_path_factory.mktemp("jupyter")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            f"--ServerApp.token={TOKEN}",
        ],
        cwd=folder,
        stdout=log,
        stderr=log,
        env=os.environ | {"HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config")},
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)
    log.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def wait_for(browser, script, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = browser.execute_script(f"return {script}")
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError(f"{script} stayed empty; page says: {browser.title}")


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
