"""A class on a Dask cluster: workers that are processes of their own and share no folder.

Lab 01's demo class, cut or repeated to the number wanted, with one, two and four workers on this
machine; then with two once more while one of them is killed, another joins, and the connection to
the scheduler is cut for ten seconds: the grades have to be the same. Last, how fast this process
alone records what workers have found, which is the most that any number of workers can be of use,
and what both figures say of ten thousand submissions. ``--json FILE`` keeps every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "grading"))

from bench_grading import a_class
from cluster import Cluster
from relay import Relay

from labsupport.grading.ledger.grades import grade_course

CUT_SECONDS = 10
CLASS, WORKERS = 10_000, 16


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--submissions", type=int, default=24)
    words.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    words.add_argument("--json", type=Path)
    words = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as place:
        found = bench(Path(place), words.submissions, words.workers)
    if words.json:
        words.json.write_text(json.dumps(found, indent=1))


def bench(place: Path, count: int, numbers: list[int]) -> dict[str, float]:
    course = a_class(place / "course", count)
    found: dict[str, float] = {}
    print(f"{count} submissions of lab 01, {os.cpu_count()} processors")
    for workers in numbers:
        name = f"{workers} workers" if workers > 1 else "1 worker"
        found[name], grades = on_a_cluster(place / name.replace(" ", "-"), course, workers)
        print(f"  {name:<28} {found[name] / count:6.2f} s a submission", flush=True)
    found["disturbed"], disturbed = on_a_cluster(place / "disturbed", course, 2, disturb=True)
    print(f"  2 workers, disturbed         {found['disturbed'] / count:6.2f} s a submission")
    if disturbed != grades:
        sys.exit("grades differ after a worker's death and a cut")
    print("  one killed, one added, cut off for 10 s: the same grades")
    found["recording"] = recording(course)
    alone, ceiling = found["1 worker"] / count, found["recording"] / count
    print(f"  recording alone              {ceiling:6.3f} s a submission")
    hours = CLASS * max(alone / WORKERS, ceiling) / 3600
    print(f"  {CLASS} on {WORKERS} such workers: {hours:.2f} h, as long as each has a processor")
    return found


def on_a_cluster(
    place: Path, course: Path, workers: int, disturb: bool = False
) -> tuple[float, dict[str, float]]:
    """Seconds from the first submission sent to the last grade, and the grades."""
    place.mkdir()
    cluster, joining = Cluster(place), []
    try:
        running = [cluster.worker(f"worker-{i}") for i in range(workers)]
        relay = Relay(cluster.address)

        def happen(number: int, total: int) -> None:
            if number == total // 4:
                cluster.end(running[0])
            if number == total // 3:
                joining.append(threading.Thread(target=cluster.worker, args=("another",)))
                joining[0].start()
            if number == total // 2:
                relay.cut()
                threading.Timer(CUT_SECONDS, relay.mend).start()

        begin = time.monotonic()
        rows = graded(course, relay.address, happen if disturb else lambda *_: None)
        seconds = time.monotonic() - begin
        for thread in joining:  # it waits until the newcomer is known
            thread.join()
        return seconds, rows
    finally:
        cluster.end()


def graded(course: Path, address: str, happen: Callable[[int, int], None]) -> dict[str, float]:
    forget(course, ".labs", "autograded")

    def watch(items, desc="", total=0, **about):
        for number, item in enumerate(items, 1):
            yield item
            if desc == "grading":
                happen(number, total)

    rows = grade_course(course, progress=watch, scheduler=address, feedback=False)
    if errors := [row.error for row in rows if row.error]:
        sys.exit(f"not graded: {errors[:3]}")
    return {row.student: row.score for row in rows}


def recording(course: Path) -> float:
    """Seconds to record what is graded already: the results are there, the copies are not."""
    forget(course, "autograded")
    begin = time.monotonic()
    grade_course(course, feedback=False)
    return time.monotonic() - begin


def forget(course: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(course / name, ignore_errors=True)


if __name__ == "__main__":
    main()
