"""A Jupyter server and a headless browser for the tests, and axe-core where it is installed."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

TOKEN = "test"
DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
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
# axe-core comes with axe-core-python; AXE names the axe.min.js of a newer one
_SHIPPED = importlib.util.find_spec("axe_core_python")
_FOUND = Path(_SHIPPED.origin).parent if _SHIPPED and _SHIPPED.origin else Path()
AXE = Path(os.environ.get("AXE") or _FOUND / "axe.min.js")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")


class Server:
    """JupyterLab (and Notebook) on `folder`, as its own user with no settings."""

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
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
                "--expose-app-in-browser",
            ],
            cwd=folder,
            stdout=self.log,
            stderr=self.log,
            env=os.environ | {"HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config")},
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.2)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def end_kernels(self) -> None:
        """As when a student comes back the next day."""
        with urllib.request.urlopen(f"{self.url}/api/sessions?token={TOKEN}") as answer:
            sessions = json.load(answer)
        for session in sessions:
            urllib.request.urlopen(
                urllib.request.Request(
                    f"{self.url}/api/sessions/{session['id']}?token={TOKEN}",
                    method="DELETE",
                    headers={"Authorization": f"token {TOKEN}"},
                )
            )


def new_browser(profile: Path):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(120)
    return driver


def look(browser, width, dark=False, height=1000):
    """As on a screen ``width`` pixels wide, of a reader who prefers a light or a dark theme."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})


def wait_for(browser, script, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = browser.execute_script(f"return {script}")
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError(f"{script} stayed empty; page says: {browser.title}")


def command(browser, name, arguments="{}"):
    """Run a command of JupyterLab's palette and wait for it."""
    return browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        f"window.jupyterapp.commands.execute({name!r}, {arguments}).then(() => done(''),"
        " error => done(String(error)))"
    )


def violations(browser, within):
    """What axe-core finds in parts of a page: (rule, the part's HTML)."""
    browser.execute_script(AXE.read_text())
    return browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        f"axe.run({{include: [[{within!r}]]}}, {{runOnly: {list(RULES)}}}).then(found => done("
        "found.violations.flatMap(v => v.nodes.map(n => [v.id, n.html.slice(0, 200)]))),"
        " error => done([['error', String(error)]]))"
    )
