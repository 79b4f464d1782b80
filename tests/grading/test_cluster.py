"""A real Dask cluster without a shared folder (``cluster``) gives the grades that one machine
gives, whatever happens to its workers and its network."""

import os
import shutil
import threading

import pytest
from cluster import Cluster
from dask.distributed import Client
from relay import Relay
from small_class import ROOT, make_course, recorded, results, until

from labsupport.errors import CourseError
from labsupport.grading.ledger.grades import grade_course
from labsupport.grading.workers import fanout

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")
SCORES = {"perfect": 3.5, "adds": 1.5, "blank": 0, "crash": 2, "slow-0": 3.5, "slow-1": 3.5}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """All that this file's processes write; workers see their own part of it only."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def course(place, mini_path):
    return make_course(place / "course", mini_path, slow=2)


@pytest.fixture(scope="module")
def cluster(place):
    started = Cluster(place)
    yield started
    started.end()


def test_no_scheduler_is_one_line(course, monkeypatch):
    monkeypatch.setattr(fanout, "ANSWER_SECONDS", 1)
    with pytest.raises(CourseError, match="no Dask scheduler answers at tcp://127.0.0.1:9: start"):
        grade_course(course, scheduler="tcp://127.0.0.1:9")


def test_no_worker_is_one_line(course, cluster, monkeypatch):
    monkeypatch.setattr(fanout, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(fanout, "IDLE_SECONDS", 1)
    with pytest.raises(CourseError, match=f"no worker has been at {cluster.address} for 1 s"):
        grade_course(course, scheduler=cluster.address)


@pytest.mark.parametrize("name", ["threads", "versions", "nothing"])
def test_a_worker_whose_grades_would_differ_is_refused(course, cluster, name, tmp_path):
    other, threads = ROOT, 1
    if name == "threads":
        threads, reason = 2, "has 2 threads, and grading changes its process: start it with --nth"
    if name == "versions":
        other, reason = tmp_path, "has labsupport .*, and a grade may depend on it: install the sa"
        shutil.copytree(
            ROOT / "labsupport",
            tmp_path / "labsupport",
            ignore=shutil.ignore_patterns("__pycache__", "pack"),
        )
        with (tmp_path / "labsupport" / "respond.py").open("a") as file:
            file.write("\n# a change\n")
    if name == "nothing":
        other, reason = tmp_path, "cannot grade: .*labsupport.*: install the same labsupport"
        (tmp_path / "labsupport").mkdir()
        (tmp_path / "labsupport" / "__init__.py").touch()
    worker = cluster.worker(f"unfit-{name}", threads, other)
    try:
        with pytest.raises(CourseError, match=reason) as caught:
            grade_course(course, scheduler=cluster.address)
        assert "\n" not in str(caught.value) and not results(course)
    finally:
        cluster.end(worker)
        until(lambda: cluster.count() == 0)


def test_two_workers_without_the_course_grade_it(course, cluster):
    for name in ("one", "two"):
        cluster.worker(name)
    with Client(cluster.address, timeout=30) as client:
        seen = client.run(os.path.exists, str(course))
        folders = client.run(os.listdir, str(course.parent))
    assert list(seen.values()) == [False, False]
    assert sorted(folders.values()) == [["one"], ["two"]]  # each its own folder, nothing else
    rows = grade_course(course, scheduler=cluster.address)
    assert {row.student: row.score for row in rows} == SCORES
    assert not [row.error for row in rows if row.error]
    assert {student: score for student, (score, _) in recorded(course).items()} == SCORES
    assert not (cluster.place / "one" / "course").exists()


def test_a_connection_that_is_cut_for_a_while_costs_no_grade(course, cluster, monkeypatch, capsys):
    relay, perform_all = Relay(cluster.address), fanout.perform_all

    def interrupted(*about):
        for count, item in enumerate(perform_all(*about)):
            yield item
            if count == 0:
                relay.cut()
                threading.Timer(2, relay.mend).start()

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", interrupted)
    rows = grade_course(course, scheduler=relay.address, again=True)
    relay.cut()
    assert {row.student: row.score for row in rows} == SCORES
    assert not [row.error for row in rows if row.error]
    assert f"{relay.address} was cut off; 5 are sent again" in capsys.readouterr().err


def test_where_the_scheduler_goes_away_what_is_done_stays_done(course, cluster, monkeypatch):
    monkeypatch.setattr(fanout, "ANSWER_SECONDS", 5)  # it would wait for it to come back
    perform_all, before = fanout.perform_all, {p: p.stat().st_mtime_ns for p in results(course)}

    def interrupted(*about):
        for count, item in enumerate(perform_all(*about)):
            yield item
            if count == 0:
                cluster.end(cluster.scheduler)

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", interrupted)
    with pytest.raises(CourseError, match="the Dask scheduler .* is gone: what is done stays done"):
        grade_course(course, scheduler=cluster.address, again=True)
    done = [p for p in results(course) if p.stat().st_mtime_ns != before[p]]
    asked = []

    def spread_here(tasks, jobs, scheduler=""):
        asked.extend(tasks := list(tasks))
        return perform_all(tasks, jobs)

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", spread_here)
    rows = grade_course(course, jobs=1)
    assert done and len(asked) + len(done) == len(SCORES)
    assert {row.student: row.score for row in rows if not row.error} == SCORES
