"""How fast a class is graded: ours, nbgrader's and otter's, the same submissions, one run.

All three get lab 01's demo class, cut or repeated to the number wanted, in the smoke profile, and
all write no feedback pages. Ours runs in the sandbox and judges; the other two run the whole
notebook with the rights of who grades and have no hidden tests to run, which is to their advantage.
They grade one submission after the other, so a few of them give the seconds each takes. "Like for
like" is ours with the cells that only draw run too, as the others do. Rounds are interleaved, and
figures are medians over rounds. ``--json FILE`` keeps every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from labsupport.course.source import find_labs, read_lab
from labsupport.grading.demo import make_class
from labsupport.grading.ledger.course_directory import CONFIG, init_course, load_config, release
from labsupport.grading.ledger.grades import read_rows, submissions

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
THEIRS_AT_ONCE = 6  # submissions of a round of theirs: enough for their start to weigh little
OTTERS = 3  # it starts in a moment


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--submissions", type=int, default=24)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--json", type=Path)
    words = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as place:
        bench(Path(place), words)


def bench(place: Path, words: argparse.Namespace) -> None:
    course, count = a_class(place / "ours", words.submissions), words.submissions
    few = min(THEIRS_AT_ONCE, count)
    plain = plain_course(course, place / "plain", few)
    systems = {
        "nbgrader autograde": lambda: nbgrader(plain) / few,
        "otter grade_notebook": lambda: otter(plain, OTTERS) / OTTERS,
        "ours, 1 worker": lambda: ours(course, 1) / count,
        "ours, 2 workers": lambda: ours(course, 2) / count,
        "ours, 2 workers, like for like": lambda: ours(course, 2, demonstrations=True) / count,
    }
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(words.rounds):
        for name, run in systems.items():
            try:
                seconds[name].append(run())
            except ImportError as error:
                print(f"  {name}: left out, {error}")
                continue
            print(
                f"  round {number + 1}: {name}: {seconds[name][-1]:.2f} s a submission", flush=True
            )
    median = {name: statistics.median(found) for name, found in seconds.items() if found}
    theirs = median["nbgrader autograde"]
    print(f"\n{count} submissions of lab 01; median of {words.rounds} rounds")
    for name, value in median.items():
        spread = f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}"
        print(
            f"  {name:<32} {value:6.2f} s a submission ({spread})  {theirs / value:5.1f} × nbgrader"
        )
    two = median["ours, 1 worker"] / median["ours, 2 workers"]
    print(f"  two workers are {two:.2f} times as fast as one")
    if words.json:
        words.json.write_text(json.dumps({"seconds": seconds, "count": count}, indent=1))


def a_class(folder: Path, count: int) -> Path:
    """A course directory with ``count`` readable submissions of lab 01, and nothing graded."""
    init_course(folder, ROOT / "solutions", ["01"])
    release(folder)
    (source,) = find_labs(ROOT / "solutions", ["01"])
    make_class(folder, source.stem, source.with_suffix(".ipynb"))
    shutil.rmtree(folder / "submitted" / "broken")
    names = sorted(p.name for p in (folder / "submitted").iterdir())
    for index in range(len(names), count):
        shutil.copytree(
            folder / "submitted" / names[index % len(names)],
            folder / "submitted" / f"{names[index % len(names)]}-{index}",
        )
    for name in names[count:]:
        shutil.rmtree(folder / "submitted" / name)
    return folder


def plain_course(course: Path, folder: Path, count: int) -> Path:
    """nbgrader's own course with ``count`` of the same submissions, in the smoke profile."""
    ((stem, _), *_) = submissions(course)
    shutil.copytree(course / "source" / stem, folder / "source" / stem)
    (folder / CONFIG).write_text("c = get_config()\nc.Execute.timeout = 600\n")
    lab = read_lab(course / "labs" / f"{stem}.py")
    parameters = next(c for c in lab.cells if c.kind == "parameters")
    for _, student in submissions(course)[-count:]:
        target = folder / "submitted" / student / stem
        shutil.copytree(course / "submitted" / student / stem, target)
        path = target / f"{stem}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        cell = next(c for c in notebook.cells if c.id == parameters.id)
        cell.source = cell.source.replace('"cpu"', '"smoke"')
        nbformat.write(notebook, path)
    call(folder, "-m", "nbgrader", "generate_assignment", stem)
    return folder


def nbgrader(folder: Path) -> float:
    shutil.rmtree(folder / "autograded", ignore_errors=True)
    stem = next((folder / "source").iterdir()).name
    begin = time.monotonic()
    call(folder, "-m", "nbgrader", "autograde", stem)
    return time.monotonic() - begin


def otter(folder: Path, count: int) -> float:
    import otter  # noqa: F401  (is it installed?)

    notebooks = [str(p) for p in sorted((folder / "submitted").glob("*/*/*.ipynb"))][:count]
    script = (
        "import sys\nfrom otter.execute import grade_notebook\n"
        'for path in sys.argv[1:]: grade_notebook(path, test_dir=".", cwd=".")\n'
    )
    begin = time.monotonic()
    call(folder, "-c", script, *notebooks)
    return time.monotonic() - begin


def ours(course: Path, jobs: int, demonstrations: bool = False) -> float:
    """Seconds of ``labs grade`` from its start to its end, which is after the last grade."""
    for name in (".labs", "autograded", "feedback", "gradebook.db"):
        target = course / name
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    config = (course / CONFIG).read_text()
    line = "c.ExecuteAndJudge.demonstrations = True\n"
    (course / CONFIG).write_text(config.replace(line, "") + line * demonstrations)
    release(course)
    begin = time.monotonic()
    call(course, "-m", "labsupport.cli", "grade", str(course), "--jobs", str(jobs), "--no-feedback")
    seconds = time.monotonic() - begin
    see_that_grades_are_right(course)
    return seconds


def see_that_grades_are_right(course: Path) -> None:
    """A class that is graded fast and wrongly is no result."""
    load_config(course)
    rows = read_rows(course, submissions(course), {})
    wrong = [r.student for r in rows if not r.score and not r.student.startswith("blank")]
    perfect = {r.score for r in rows if r.student.startswith(("perfect", "late", "other"))}
    if wrong or len(perfect) != 1:
        sys.exit(f"not graded as it should be: {wrong} {perfect}")


def call(folder: Path, *words: str) -> None:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)[:80]} failed: {(done.stdout + done.stderr)[-800:]}")


if __name__ == "__main__":
    main()
