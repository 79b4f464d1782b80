"""Whether the process that records grades stays as large as it is, over a thousand submissions.

The small lab of the tests, graded for real: two workers, sandbox, gradebook; no feedback pages.
What is printed is this process's own resident memory after each tenth of the class.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil

from labsupport.course.build import dump
from labsupport.course.source import read_lab
from labsupport.grading.demo import ON_TIME, solve, submit
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.ledger.grades import grade_course
from labsupport.grading.workers.task import released_notebook

MINI = Path(__file__).resolve().parents[1] / "fixtures" / "90_mini.py"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--submissions", type=int, default=1000)
    words.add_argument("--json", type=Path)
    words = words.parse_args()
    count, seen, process = words.submissions, [], psutil.Process()
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as place:
        course = Path(place) / "course"
        init_course(course, MINI.parent)
        release(course)
        lab = read_lab(MINI)
        text = dump(solve(released_notebook(lab.stem, MINI.read_text("utf-8")), lab))
        for index in range(count):
            submit(course, f"student-{index:04}", lab.stem, text, ON_TIME)

        def watch(items, **about):
            for number, item in enumerate(items, 1):
                yield item
                if number % max(count // 10, 1) == 0:
                    seen.append((number, process.memory_info().rss / 2**20))
                    print(f"  {number:5} submissions: {seen[-1][1]:.0f} MB", flush=True)

        begin = time.monotonic()
        rows = grade_course(course, progress=watch, jobs=2, feedback=False)
    assert len(rows) == count and not any(row.error for row in rows)
    (first, before), (last, after) = seen[0], seen[-1]
    print(
        f"{count} submissions in {time.monotonic() - begin:.0f} s; "
        f"{after - before:+.0f} MB from the {first}th to the {last}th"
    )
    if words.json:
        words.json.write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
