"""A course whose gradebook is a PostgreSQL database, on a real server that this file starts."""

import contextlib
import csv
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from small_class import STEM, make_course
from sqlalchemy import create_engine, text

from labsupport.errors import CourseError
from labsupport.grading.ledger.course_directory import CONFIG, load_config
from labsupport.grading.ledger.gradebook import db_url, shown
from labsupport.grading.ledger.grades import export, grade_course
from labsupport.grading.workers.task import perform

FOUND = max(
    Path("/usr/lib/postgresql").glob("*/bin/initdb"),
    default=None,
    key=lambda path: int(path.parts[-3]),
)
PROGRAMS = FOUND.parent if FOUND else None
PASSWORD = "opensesame-7319"
SCORES = {"perfect": 3.5, "adds": 1.5, "blank": 0, "crash": 2}
pytest.importorskip("psycopg", reason="not installed: pip install '.[postgres]'")
pytestmark = [
    pytest.mark.skipif(
        PROGRAMS is None, reason="PostgreSQL is not installed: apt-get install postgresql"
    ),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing"),
]


@pytest.fixture(scope="module")
def port():
    """A server on this machine only, in a folder of its own; it refuses to be run by root."""
    folder = Path(tempfile.mkdtemp(prefix="labs-postgres-"))
    somebody = {}
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL's server does not run as root, and there is no user postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        somebody = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    data = folder / "data"

    def run(program, *words):
        subprocess.run(
            [PROGRAMS / program, *words],
            check=True,
            cwd=folder,
            timeout=120,
            stdout=subprocess.DEVNULL,
            **somebody,
        )

    try:
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        run(
            "initdb",
            "-D",
            data,
            "-U",
            "labs",
            "-A",
            "scram-sha-256",
            "--no-sync",
            f"--pwfile={folder / 'password'}",
        )
        run(
            "pg_ctl",
            "-D",
            data,
            "-w",
            "-l",
            folder / "log",
            "start",
            "-o",
            f"-c listen_addresses=127.0.0.1 -p {number} -k {folder} -c fsync=off",
        )
        yield number
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def url(port):
    place = f"postgresql+psycopg://labs:{PASSWORD}@127.0.0.1:{port}"
    engine = create_engine(f"{place}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE gradebook"))
    engine.dispose()
    return f"{place}/gradebook"


@pytest.fixture(scope="module")
def course(url, mini_path, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # from the start: 'labs course init', then the line in the configuration
        patch.setattr("labsupport.grading.ledger.course_directory.config_text", with_url(url))
        return make_course(tmp_path_factory.mktemp("courses") / "mini", mini_path)


def with_url(url):
    from labsupport.grading.ledger.course_directory import config_text

    return lambda course_id: f"{config_text(course_id)}\nc.CourseDirectory.db_url = {url!r}\n"


@pytest.fixture
def here(monkeypatch):
    """Submissions are graded in this process: what is tested is where the grades go."""
    graded = []

    def perform_all(tasks, jobs, scheduler=""):
        for label, task in tasks:
            graded.append(task)
            yield label, perform(task)

    monkeypatch.setattr("labsupport.grading.ledger.grades.perform_all", perform_all)
    return graded


def set_url(course: Path, old: str, new: str):
    path = course / CONFIG
    path.write_text(path.read_text().replace(repr(old), repr(new)))


@contextlib.contextmanager
def other_url(course: Path, old: str, new: str):
    set_url(course, old, new)
    try:
        yield
    finally:
        set_url(course, new, old)


def test_a_server_that_cannot_be_had_is_one_line_before_anything_is_run(course, url, here):
    for old, new, reason in (
        (f":{PASSWORD}@", ":wrong-8642@", "password authentication failed"),
        (url.split("@")[1], "127.0.0.1:9/gradebook", "[Cc]onnection refused"),
        ("+psycopg:", "+psycopg2:", "needs psycopg2, which is not installed: pip install"),
        ("postgresql+psycopg://", "postgres:", "is no URL of a database: it should look like pos"),
        ("/gradebook", "/other", 'database "other" does not exist'),
    ):
        wrong = url.replace(old, new)
        with other_url(course, url, wrong), pytest.raises(CourseError, match=reason) as caught:
            grade_course(course)
        said = str(caught.value)
        assert "\n" not in said and PASSWORD not in said and "wrong-8642" not in said
    assert not here


def test_the_class_is_graded_into_the_server(course, url, here):
    rows = grade_course(course)
    assert not [row.error for row in rows if row.error]
    assert {row.student: row.score for row in rows} == SCORES and len(here) == len(SCORES)
    with Gradebook(url) as gradebook:
        found = {one.student.id: one.score for one in gradebook.assignment_submissions(STEM)}
    assert found == SCORES
    assert not list(course.rglob("*.db"))
    with export(course).open() as file:
        table = {line["student_id"]: float(line["score"]) for line in csv.DictReader(file)}
    assert table == SCORES
    assert shown(db_url(course, load_config(course))) == url.replace(PASSWORD, "***")


def test_again_gives_the_same_rows(course, url, here):
    grade_course(course, again=True)
    with Gradebook(url) as gradebook:
        found = [(one.student.id, one.score) for one in gradebook.assignment_submissions(STEM)]
    assert sorted(found) == sorted(SCORES.items())


def test_nbgraders_own_commands_work(course, url):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for words in (["db", "upgrade"], ["autograde", STEM, "--student", "adds", "--force"]):
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words],
            cwd=course,
            text=True,
            env=os.environ | {"PATH": path},
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    with Gradebook(url) as gradebook:
        assert gradebook.find_submission(STEM, "adds").score == SCORES["adds"]


def test_the_password_is_nowhere_but_in_the_configuration(course, url):
    """Here at the end: in nothing that the tests before have made."""
    for path in course.rglob("*"):
        if path.is_file() and path.name != CONFIG and path.suffix != ".pyc":
            assert PASSWORD not in path.read_text(encoding="utf-8", errors="replace"), path
