"""A student's first minutes in Colab: its versions, an empty folder, no course installed.

    python -m tests.colab.first_run PLACE 01 02 --way wheel

makes in PLACE an environment of what Colab comes with (``tests/fixtures/colab-2026.01.txt``), lays
what ``labs bundle`` hands out into an empty folder, and runs each lab's solution there from its
first cell on. It fails where a cell fails, a widget has no still picture, or anything that was
installed before has another version afterwards. ``--instead torch==2.14.1`` takes other versions
than Colab's, where an index lacks those or they are a large download; they are named at the end.

The ways of the package: a wheel beside the notebook, the address of a wheel, a git repository.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat

from labsupport.course.build import dump
from labsupport.course.bundle import build_wheel, write_bundle
from labsupport.course.publication import Published
from labsupport.course.solve import solved_notebook
from labsupport.course.source import find_labs, read_lab
from labsupport.notebook.widgets import VIEW
from tests.conftest import ROOT

VERSIONS = ROOT / "tests" / "fixtures" / "colab-2026.01.txt"
WAYS = ("wheel", "address", "repository")
# what Colab's kernel has loaded before the first cell: its name tells our widgets where they are
AS_IN_COLAB = 'import sys, types\nsys.modules["google.colab"] = types.ModuleType("google.colab")\n'
RUN = """\
import sys, nbformat
from nbclient import NotebookClient
name = sys.argv[1]
notebook = nbformat.read(name, as_version=4)
client = NotebookClient(notebook, timeout=900, kernel_name="python3")
try:
    client.execute()
finally:
    nbformat.write(notebook, name)
"""


def versions() -> dict[str, str]:
    """What Colab comes with, by name."""
    lines = VERSIONS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


class Colab:
    """An environment with Colab's packages, and a home of its own."""

    def __init__(self, place: Path, python: str, instead: list[str]):
        self.home, self.bin = place / "home", place / "env" / "bin"
        self.instead = dict(pin.split("==") for pin in instead)
        if not (place / "env").exists():
            pins = [f"{name}=={version}" for name, version in (versions() | self.instead).items()]
            subprocess.run([python, "-m", "venv", str(place / "env")], check=True)
            # widgets of ipywidgets 7 belong to Notebook 6, which is what Colab has
            self.pip("install", "--quiet", *pins, "notebook<7")
        startup = self.home / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True, exist_ok=True)
        (startup / "00-colab.py").write_text(AS_IN_COLAB)

    def pip(self, *words: str) -> str:
        command = [str(self.bin / "python"), "-m", "pip", *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def installed(self) -> dict[str, str]:
        """Every package and its version."""
        return {p["name"]: p["version"] for p in json.loads(self.pip("list", "--format=json"))}

    def run(self, notebook: Path) -> None:
        """Run a notebook in its folder, without this checkout, this path or this home."""
        hidden = ("PYTHON", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "LABS")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        environment |= {
            "HOME": str(self.home),
            "IPYTHONDIR": str(self.home / "ipython"),
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
        }
        command = [str(self.bin / "python"), "-c", RUN, notebook.name]
        subprocess.run(command, cwd=notebook.parent, env=environment, check=True)


@contextmanager
def source_of(way: str, wheel: Path):
    """What the first cell installs from, as ``labs publish`` writes it; "" for the wheel beside."""
    if way == "wheel":
        yield ""
    elif way == "repository":
        branch = subprocess.run(
            ["git", "branch", "--show-current"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        yield f"git+{ROOT.as_uri()}@{branch}"  # what is committed
    else:
        serve = functools.partial(SimpleHTTPRequestHandler, directory=str(wheel.parent))
        server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{wheel.name}"
        server.shutdown()


def hand_out(
    folder: Path, labs: list[Path], way: str, profile: str, source: str, wheel: Path
) -> list[Path]:
    """What a student has: an unpacked bundle, with each lab solved."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notebooks = []
    for path in labs:
        notebook = solved_notebook(read_lab(path), Published())
        for cell in notebook.cells:
            cell.source = cell.source.replace('find_or_install("")', f'find_or_install("{source}")')
            if "parameters" in cell.metadata.get("tags", []):
                cell.source += f"\nPROFILE = {profile!r}"
        notebooks.append(folder / f"{path.stem}.ipynb")
        notebooks[-1].write_text(dump(notebook), encoding="utf-8")
    if way == "wheel":
        write_bundle(notebooks, wheel, folder / "labs.zip")
        zipfile.ZipFile(folder / "labs.zip").extractall(folder)
        return [folder / "labs" / path.name for path in notebooks]
    return notebooks


def complaints(notebook: Path) -> list[str]:
    """What a student would stumble over in an executed notebook."""
    found = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if cell.id == "find-package" and output.get("text", "").count("Installing") > 1:
                found.append(f"the first way failed, another was taken: {output.text}")
            if output.output_type == "error":
                found.append(f"{cell.id}: {output.ename}: {output.evalue}")
            warned = output.get("name") == "stderr" and output.text.strip()
            if warned and "%|" not in output.text:  # a progress bar is no warning
                found.append(f"{cell.id} warns: {output.text.strip()[:300]}")
            if VIEW in data and not {"image/png", "text/html"} & data.keys():
                found.append(f"{cell.id}: a widget without a still picture")
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("place", type=Path, help="a folder for the environment and what is run")
    words.add_argument("labs", nargs="*", help="numbers of labs; default: all")
    words.add_argument("--way", choices=WAYS, default="wheel", help="where the package comes from")
    words.add_argument("--profile", default="smoke")
    words.add_argument("--python", default=sys.executable, help="Colab's is 3.12")
    words.add_argument("--instead", nargs="*", default=[], metavar="NAME==VERSION")
    given = words.parse_intermixed_args()
    place = given.place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    colab = Colab(place, given.python, given.instead)
    labs = [p for p in find_labs(ROOT / "solutions") if not given.labs or p.stem[:2] in given.labs]
    before = colab.installed()
    assert "labsupport" not in before, "uninstall labsupport there first"
    # apart from what is run: the first cell also looks into the folder above its own
    (place / "built").mkdir(exist_ok=True)
    wheel = build_wheel(ROOT, place / "built")
    failures = []
    try:
        with source_of(given.way, wheel) as source:
            folder = place / given.way
            for notebook in hand_out(folder, labs, given.way, given.profile, source, wheel):
                colab.run(notebook)
                found = complaints(notebook)
                failures += [f"{notebook.stem}: {text}" for text in found]
                print(notebook.stem, "runs" if not found else "\n  ".join(["", *found]), flush=True)
        after = colab.installed()
    finally:
        new = colab.installed().keys() - before.keys()
        if new:
            colab.pip("uninstall", "--quiet", "--yes", *new)
    changed = {n: (v, after.get(n)) for n, v in before.items() if after.get(n) != v}
    print(f"{len(before)} packages before, changed: {changed or 'none'}, new: {', '.join(new)}")
    other = {n: before.get(n) for n, v in versions().items() if before.get(n) != v}
    print(f"other versions than Colab's: {other or 'none'}; Python of {given.python}")
    return 1 if changed or failures else 0


if __name__ == "__main__":
    sys.exit(main())
