"""How long one new submission waits for its verdict, from the command on: ours and nbgrader's.

One right submission of lab 01 in the smoke profile. Ours is ``labs grade`` of a course in which
nothing has been graded yet, with the sandbox and without; the verdict is there when its result is
on the disk, and the command ends when the gradebook and grades.csv have it. nbgrader's is its whole
``autograde`` of the same notebook: it has no hidden tests to run. Rounds are interleaved, and
figures are medians over rounds. ``--json FILE`` keeps every figure, and how busy the machine was.
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

from bench_grading import BIN, a_class, nbgrader, plain_course, see_that_grades_are_right

from labsupport.grading.ledger.course_directory import release

STUDENT = "perfect"
LOOK_SECONDS = 0.02


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--json", type=Path)
    words = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as place:
        bench(Path(place), words)


def bench(place: Path, words: argparse.Namespace) -> None:
    course = a_class(place / "ours", 99)
    for folder in (course / "submitted").iterdir():
        if folder.name != STUDENT:
            shutil.rmtree(folder)
    plain = plain_course(course, place / "plain", 1)
    found: dict[str, list[float]] = {}
    busy = []
    for number in range(words.rounds):
        busy.append(os.getloadavg()[0] if hasattr(os, "getloadavg") else -1)
        taken = {"nbgrader autograde, to its end": nbgrader(plain)}
        for how, options in (("sandbox", ()), ("no sandbox", ("--no-sandbox",))):
            if how == "sandbox" and shutil.which("bwrap") is None:
                print("  sandbox: left out, bubblewrap is missing")
                continue
            verdict, end = ours(course, *options)
            taken |= {f"ours, {how}, the verdict": verdict, f"ours, {how}, to its end": end}
        for name, seconds in taken.items():
            found.setdefault(name, []).append(seconds)
            print(f"  round {number + 1}: {name}: {seconds:.1f} s", flush=True)
    theirs = statistics.median(found["nbgrader autograde, to its end"])
    print(f"\none submission of lab 01; median of {words.rounds} rounds")
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        print(f"  {name:<32} {middle:6.1f} s ({spread})  {middle / theirs:5.2f} of nbgrader's")
    print(f"  load before each round: {', '.join(f'{load:.1f}' for load in busy)}")
    if words.json:
        words.json.write_text(json.dumps({"seconds": found, "load": busy}, indent=1))


def ours(course: Path, *options: str) -> tuple[float, float]:
    """Seconds until the first verdict, and until the command has ended."""
    for name in (".labs", "autograded", "feedback", "gradebook.db"):
        target = course / name
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    release(course)
    words = ["-m", "labsupport.cli", "grade", str(course), "--no-feedback", *options]
    about = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    begin, verdict = time.monotonic(), 0.0
    run = subprocess.Popen(
        [sys.executable, *words],
        env=about,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while run.poll() is None:
        if not verdict and any((course / ".labs" / "results").glob("*.json")):
            verdict = time.monotonic() - begin
        time.sleep(LOOK_SECONDS)
    seconds, said = time.monotonic() - begin, run.communicate()[0]
    if run.returncode or not verdict:
        sys.exit(f"not graded: {said[-800:]}")
    see_that_grades_are_right(course)
    return verdict, seconds


if __name__ == "__main__":
    main()
