"""A student's own look: ``labs check`` on files that are no solved lab, and on Windows."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab

ROOT = Path(__file__).resolve().parents[2]


def check(path):
    return CliRunner().invoke(app, ["check", str(path)])


def test_a_notebook_without_metadata_is_said_to_be_one(mini_path, tmp_path):
    notebook = student_notebook(read_lab(mini_path))
    for cell in notebook.cells:
        cell.metadata = {}
    path = tmp_path / "90_mini.ipynb"
    path.write_text(dump(notebook))
    result = check(path)
    assert result.exit_code == 1
    assert "no visible check that can be recognised" in " ".join(result.output.split())
    assert "0 of 0" not in result.output


@pytest.mark.parametrize("data, word", [(b"<html></html>", "is a web page"), (b"", "is empty")])
def test_what_is_no_notebook_is_one_line(tmp_path, data, word):
    path = tmp_path / "lab.ipynb"
    path.write_bytes(data)
    result = check(path)
    assert result.exit_code == 1 and word in result.output and "ask for" not in result.output


WINDOWS = """
import os, sys
import IPython, asyncio, bleach, nbclient, papermill, psutil, subprocess, tempfile, torch
assert not any(name.startswith("labsupport") for name in sys.modules)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None  # what Windows has not
from labsupport.grading.running.run import _sockets
from labsupport.grading.running.scratch import scratch
from labsupport.grading.submission.selfcheck import run_checks
from pathlib import Path
places = Path("a"), Path("b")
os.name = "nt"
assert "transport" not in _sockets(*places).KernelManager
os.name = "posix"
assert scratch().is_dir()
results = run_checks(Path(sys.argv[1]))
print([(r.exercise, r.passed) for r in results], flush=True)
"""


def test_it_works_without_what_windows_lacks(mini_path, tmp_path):
    path = tmp_path / "90_mini.ipynb"
    path.write_text(dump(student_notebook(read_lab(mini_path))))
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS, str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "[('scale', False), ('twice', False)]", done.stderr
