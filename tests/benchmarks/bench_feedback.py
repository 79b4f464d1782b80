"""How long a feedback page takes: made, made by nbgrader's own exporter, and left as it is.

A few submissions of lab 01, graded for real in the smoke profile. Every page is made once by each,
one after the other in one process, the first of each left out: it compiles and imports. Then the
course is asked again, as a second ``labs grade`` would ask, and no page may be written anew.
Figures are medians over pages. ``--json FILE`` keeps every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench_grading import a_class, call
from nbgrader.apps.api import NbGraderAPI

from labsupport.grading.ledger.course_directory import course_api
from labsupport.grading.ledger.grades import submissions
from labsupport.grading.ledger.pages import make_page, page_is_current, page_path

THEIRS = "nbconvert.exporters.HTMLExporter"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--submissions", type=int, default=8)
    words.add_argument("--json", type=Path)
    words = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="labs-bench-") as place:
        course = a_class(Path(place) / "course", words.submissions)
        call(course, "-m", "labsupport.cli", "grade", str(course), "--no-feedback")
        found = bench(course)
    found["load"] = [os.getloadavg()[0] if hasattr(os, "getloadavg") else -1]
    print(f"seconds a page, {words.submissions} submissions of lab 01 (processor time in brackets)")
    theirs = statistics.median(found["nbgrader's own"])
    for name in ("nbgrader's own", "ours", "ours, nothing changed"):
        middle = statistics.median(found[name])
        used = statistics.median(found[f"{name}, processor"])
        print(f"  {name:<24} {middle:6.3f} ({used:.3f})  {theirs / middle:6.1f} × as fast")
    print(f"  load: {found['load'][0]:.1f}")
    if words.json:
        words.json.write_text(json.dumps(found, indent=1))


def bench(course: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    pairs = submissions(course)
    for name, exporter in (("nbgrader's own", THEIRS), ("ours", "")):
        with course_api(course) as api:
            if exporter:
                api.config.GenerateFeedback.exporter_class = exporter
            for pair in [pairs[0], *pairs]:
                timed(found, name, lambda api=api, pair=pair: make(api, pair))
        for kind in (name, f"{name}, processor"):
            del found[kind][0]
    written = [page_path(course, *pair).stat().st_mtime_ns for pair in pairs]
    with course_api(course) as api:
        for pair in pairs:
            timed(found, "ours, nothing changed", lambda pair=pair: page_is_current(api, *pair))
    if not all(page_is_current(api, *pair) for pair in pairs):
        sys.exit("pages would be made anew though nothing has changed")
    call(course, "-m", "labsupport.cli", "grade", str(course))
    if written != [page_path(course, *pair).stat().st_mtime_ns for pair in pairs]:
        sys.exit("pages were written anew though nothing had changed")
    return found


def make(api: NbGraderAPI, pair: tuple[str, str]) -> None:
    if reason := make_page(api, *pair):
        sys.exit(reason)


def timed(found: dict[str, list[float]], name: str, work) -> None:
    wall, used = time.monotonic(), time.process_time()
    work()
    found.setdefault(name, []).append(time.monotonic() - wall)
    found.setdefault(f"{name}, processor", []).append(time.process_time() - used)


if __name__ == "__main__":
    main()
