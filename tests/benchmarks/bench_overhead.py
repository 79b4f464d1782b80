"""What grading adds to a submission's own cells, in one warm worker: where the time goes.

The demo class of lab 01 in the smoke profile, sandbox and judging on, one submission after the
other; the first, for which the sandbox warms up, is left out. Figures are means over submissions
of the median over rounds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench_grading import a_class

from labsupport.grading.ledger.course_directory import course_api, load_config
from labsupport.grading.ledger.grades import submissions
from labsupport.grading.ledger.preprocessors import ExecuteAndJudge
from labsupport.grading.running import engine
from labsupport.grading.workers import task

SUBMISSIONS, ROUNDS = 12, 3


def main() -> None:
    spent: Counter[str] = Counter()
    time_cells(spent)
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as place:
        tasks = all_tasks(a_class(Path(place) / "course", SUBMISSIONS + 1))
        task.perform(tasks[0])
        found = []
        for _ in range(ROUNDS):
            found.append([once(one, spent) for one in tasks[1:]])
    print(f"seconds a submission, {SUBMISSIONS} submissions, median of {ROUNDS} rounds")
    for name in ("its own cells", "asking for answers", "all the rest", "in all"):
        middle = [statistics.median(r[i][name] for r in found) for i in range(SUBMISSIONS)]
        print(f"  {name:<20} {statistics.mean(middle):5.2f}")


def time_cells(spent: Counter[str]) -> None:
    run = engine.LimitedClient.execute_cell

    def timed(self, cell, *rest, **options):
        begin = time.monotonic()
        try:
            return run(self, cell, *rest, **options)
        finally:
            asks = "respond import respond" in cell.source
            spent["asking for answers" if asks else "its own cells"] += time.monotonic() - begin

    engine.LimitedClient.execute_cell = timed


def all_tasks(course: Path) -> list[task.GradingTask]:
    load_config(course)
    with course_api(course) as api:
        step = ExecuteAndJudge(config=api.config)
        return [
            step.task({"assignment": stem, "student": student, "notebook": stem})
            for stem, student in submissions(course)
        ]


def once(one: task.GradingTask, spent: Counter[str]) -> dict[str, float]:
    spent.clear()
    begin = time.monotonic()
    task.perform(one)
    whole = time.monotonic() - begin
    return {**spent, "all the rest": whole - spent.total(), "in all": whole}


if __name__ == "__main__":
    main()
