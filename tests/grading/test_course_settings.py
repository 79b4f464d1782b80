"""Settings of a course as nbgrader reads them, its lock, its rights, and errors in one line."""

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.errors import CourseError
from labsupport.grading.demo import ON_TIME, submit
from labsupport.grading.ledger import exporter, gradebook, settings
from labsupport.grading.ledger.course_directory import course_api, init_course, last_error, release
from labsupport.grading.ledger.gradebook import db_url
from labsupport.grading.ledger.settings import CONFIG, load_config
from labsupport.grading.ledger.store import ResultStore, check_room, only_run

STEM = "90_mini"
ZERO = 'c = get_config()\nc.LateSubmissionPlugin.penalty_method = "zero"\n'


@pytest.fixture
def levels(tmp_path, monkeypatch):
    """Folders of Jupyter's configuration: the system's and the user's."""
    places = {name: tmp_path / name for name in ("system", "user")}
    for place in places.values():
        place.mkdir()
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(places["system"]))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(places["user"]))
    monkeypatch.delenv("JUPYTER_NO_CONFIG", raising=False)
    # nbgrader calls alembic by name
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    return places


@pytest.fixture
def course(tmp_path, mini_path, levels):
    return init_course(tmp_path / "mini", mini_path.parent)


def nbgrader(course, *words):
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("level", ["system", "user"])
@pytest.mark.parametrize("form", ["py", "json"])
def test_settings_of_every_level_are_read(course, levels, level, form):
    text = (
        ZERO if form == "py" else json.dumps({"LateSubmissionPlugin": {"penalty_method": "zero"}})
    )
    (levels[level] / f"nbgrader_config.{form}").write_text(text)
    config = load_config(course)
    assert config.LateSubmissionPlugin.penalty_method == "zero"
    assert config.ClearSolutions.text_stub == "Your answer here."  # the course's own, too


def test_the_courses_own_settings_come_last(course, levels):
    for place in levels.values():
        (place / CONFIG).write_text(ZERO)
        (place / "jupyter_config.py").write_text("c.Execute.timeout = 3\n")
    own = course / CONFIG
    own.write_text(own.read_text() + '\nc.LateSubmissionPlugin.penalty_method = "none"\n')
    config = load_config(course)
    assert config.LateSubmissionPlugin.penalty_method == "none"
    assert config.Execute.timeout == 60


def test_where_we_stand_and_another_courses_root_are_no_matter(course, levels, monkeypatch):
    other = levels["user"] / "elsewhere"
    other.mkdir()
    (other / CONFIG).write_text(ZERO)
    (levels["user"] / CONFIG).write_text(f"c.CourseDirectory.root = {str(other)!r}\n")
    monkeypatch.chdir(other)
    config = load_config(course)
    assert "penalty_method" not in config.LateSubmissionPlugin
    assert CourseDirectory(config=config).root == str(course)


@pytest.mark.parametrize("relative", [False, True])
def test_one_gradebook_for_nbgraders_commands_and_ours(course, levels, tmp_path, relative):
    place = "other.db" if relative else f"/{tmp_path}/other.db"
    (levels["user"] / CONFIG).write_text(f'c.CourseDirectory.db_url = "sqlite:///{place}"\n')
    assert nbgrader(course, "db", "student", "add", "ada").returncode == 0
    assert not (course / "gradebook.db").exists()
    with Gradebook(db_url(course, load_config(course))) as book:
        assert [student.id for student in book.students] == ["ada"]
    with course_api(course) as api, api.gradebook as book:
        assert [student.id for student in book.students] == ["ada"]


def test_what_cannot_be_read_is_named_with_file_and_line(course, levels):
    path = levels["user"] / CONFIG
    for text, said in (
        ("c = get_config(\n", "1: Python cannot read this: "),
        ("c = get_config()\nc.Execute.timeout = secnds\n", "2: NameError: name 'secnds'"),
    ):
        path.write_text(text)
        with pytest.raises(CourseError) as caught:
            load_config(course)
        line = str(caught.value)
        assert line.startswith(f"{path}:{said}") and "\n" not in line and "mend it" in line


def test_rights_that_are_lacking_are_one_line(course, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(course / CONFIG))

    monkeypatch.setattr(settings._Reader, "read", refuse)  # noqa: SLF001
    for words in (["grade", str(course)], ["report", str(course)]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        (line,) = result.output.splitlines()
        assert line.startswith("labs: ") and f"{CONFIG} cannot be read: Permission denied" in line


def test_a_course_that_is_only_to_be_read_is_one_line(course, monkeypatch):
    submit(course, "ada", STEM, "{}", ON_TIME)
    real = os.open

    def readonly(path, flags, *rest, **named):
        if str(path).endswith("lock") and flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", readonly)
    result = CliRunner().invoke(app, ["grade", str(course), "--no-sandbox"])
    assert result.exit_code == 1
    line = result.output.strip().splitlines()[-1]
    assert "cannot be written to" in line and "Read-only file system" in line


def test_a_locked_gradebook_is_waited_for(course):
    url = db_url(course, load_config(course))
    Gradebook(url).close()
    other = sqlite3.connect(course / "gradebook.db", check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    threading.Timer(7, other.rollback).start()  # sqlite itself gives up after 5 s
    with Gradebook(url) as book:
        book.add_student("ada")
        assert [student.id for student in book.students] == ["ada"]
    other.close()


def test_a_gradebook_that_stays_locked_is_one_line(course, monkeypatch):
    monkeypatch.setattr(settings, "LOCKED_SECONDS", 0)
    Gradebook(db_url(course, load_config(course))).close()
    submit(course, "ada", STEM, "{}", ON_TIME)
    other = sqlite3.connect(course / "gradebook.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        result = CliRunner().invoke(app, ["grade", str(course), "--no-sandbox"])
        assert result.exit_code == 1 and "Traceback" not in result.output
        assert "locked" in result.output.strip().splitlines()[-1]
        with pytest.raises(CourseError, match="is held by another program .*run again"):
            check_room(course)  # asked when recording has failed
    finally:
        other.rollback()
        other.close()
    check_room(course)
    said = last_error({"error": "OperationalError: database is locked", "log": "[ERROR] upgrade"})
    assert said == "the gradebook is held by another program: close that, then run again"


def test_errors_of_the_database_are_one_line(course, monkeypatch):
    error = sqlite3.OperationalError("database is locked")

    def fail(*_, **__):
        raise gradebook.OperationalError("SELECT 1", {}, error)

    monkeypatch.setattr("labsupport.grading.report.command.write_reports", fail)
    result = CliRunner().invoke(app, ["report", str(course)])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "labs: the gradebook is held by another program (a database browser, a copy that is being "
        "made?): close that, then run again; what is done stays done"
    ]


def test_a_gradebook_that_is_no_url_is_one_line_without_its_password():
    assert "is no URL of a database" in gradebook.told(gradebook.ArgumentError("x://ada:secret"))
    assert "secret" not in gradebook.told(gradebook.ArgumentError("x://ada:secret"))
    with pytest.raises(KeyError):
        gradebook.told(KeyError("another"))


HOLD = """
import sys
from pathlib import Path
from labsupport.grading.ledger.lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_nbgraders_autograde_waits_for_labs_grade_and_loses_nothing(course, monkeypatch):
    done = course / "autograded" / "ada" / STEM / f"{STEM}.ipynb"
    done.parent.mkdir(parents=True)
    done.write_text("an earlier run's")
    submit(course, "ada", STEM, "{}", ON_TIME)
    monkeypatch.setattr(exporter, "WAIT_SECONDS", 0.5)
    words = [sys.executable, "-c", HOLD, str(course)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as run:
        assert run.stdout.readline() == "held\n"
        with course_api(course) as api:
            result = api.autograde(STEM, "ada", force=True)
        assert not result["success"] and "is being graded by another run" in result["log"]
        assert done.read_text() == "an earlier run's"
        run.communicate()
    seen = []
    with course_api(course) as api:
        monkeypatch.setattr(
            "nbgrader.converters.Autograde.convert_notebooks",
            lambda self: seen.append(_is_held(course)),
        )
        assert api.autograde(STEM, "ada", force=True)["success"]
    assert seen == [True] and not _is_held(course)


def test_a_run_that_holds_the_course_records_in_it(course, monkeypatch):
    submit(course, "ada", STEM, "{}", ON_TIME)
    monkeypatch.setattr(exporter, "WAIT_SECONDS", 0)
    monkeypatch.setattr("nbgrader.converters.Autograde.convert_notebooks", lambda self: None)
    with only_run(course), course_api(course) as api:
        assert api.autograde(STEM, "ada", force=True)["success"]


def _is_held(course) -> bool:
    try:
        with only_run(course):
            return False
    except CourseError:
        return True


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_what_graders_share_the_group_may_write(course, mask):
    own = course / CONFIG
    own.write_text(own.read_text() + "\nc.CourseDirectory.groupshared = True\n")
    old = os.umask(mask)
    try:
        (course / ".labs" / "results").mkdir(parents=True)
        (course / ".labs" / "results" / "old.json").write_text("{}")
        (course / ".labs" / "results" / "old.json").chmod(0o600)
        Gradebook(db_url(course, load_config(course))).close()
        with only_run(course):
            ResultStore(course).put("a", "one")
            (course / "autograded" / "ada").mkdir(parents=True)
        assert os.umask(mask) == mask
    finally:
        os.umask(old)
    for path in [*(course / ".labs").rglob("*"), course / "gradebook.db"]:
        mode = path.stat().st_mode
        more = 0o2770 if stat.S_ISDIR(mode) else 0o660
        assert mode & more == more, path
    assert (course / "autograded" / "ada").stat().st_mode & 0o2770 == 0o2770


def test_what_is_not_shared_is_as_the_umask_has_it(course):
    old = os.umask(0o027)
    try:
        with only_run(course):
            ResultStore(course).put("a", "one")
    finally:
        os.umask(old)
    assert stat.S_IMODE((course / ".labs" / "results" / "a.json").stat().st_mode) == 0o640


def test_another_graders_lock_file_can_be_held(course, monkeypatch):
    with only_run(course):
        pass
    real = os.open

    def foreign(path, flags, *rest, **named):
        if str(path).endswith("lock") and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", foreign)
    with only_run(course), pytest.raises(CourseError, match="by another run"), only_run(course):
        pass
    begin = time.monotonic()
    with only_run(course), pytest.raises(CourseError), only_run(course, wait_seconds=0.5):
        pass
    assert time.monotonic() - begin >= 0.5
    shutil.rmtree(course / ".labs")


def test_what_is_released_the_group_may_release_again(course):
    own = course / CONFIG
    own.write_text(own.read_text() + "\nc.CourseDirectory.groupshared = True\n")
    (course / "source" / "old.txt").write_text("")
    (course / "source" / "old.txt").chmod(0o644)
    old = os.umask(0o022)
    try:
        release(course)
    finally:
        os.umask(old)
    found = [p for name in ("source", "release") for p in (course / name).rglob("*")]
    assert len(found) == 5
    assert all(path.stat().st_mode & 0o060 == 0o060 for path in found)
    with only_run(course), pytest.raises(CourseError, match="is being graded by another run"):
        release(course)  # it would change what is being graded


@pytest.fixture
def groups_course(mini_path, levels):
    """A course that belongs to a group, in a folder that other accounts can reach."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        folder = init_course(Path(place) / "mini", mini_path.parent)
        own = folder / CONFIG
        own.write_text(own.read_text() + "\nc.CourseDirectory.groupshared = True\n")
        Gradebook(db_url(folder, load_config(folder))).close()
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 60001, 60000)
            path.chmod(0o2775 if path.is_dir() else 0o664)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two others")
@pytest.mark.parametrize("mask", [0o022, 0o002])
def test_one_graders_results_serve_the_other(groups_course, mask):
    course = groups_course
    done = course / "autograded" / "ada" / STEM

    def first():
        with only_run(course):
            ResultStore(course).put("a", "one")
            done.mkdir(parents=True)
            (done / "grade").write_text("1")

    def second():
        with only_run(course):
            assert ResultStore(course).get("a") == "one"
            ResultStore(course).put("a", "two")
            ResultStore(course).put("b", "three")
            shutil.rmtree(done)
            done.mkdir(parents=True)
            with contextlib.closing(sqlite3.connect(course / "gradebook.db")) as book:
                book.execute("CREATE TABLE another (grade REAL)")
                book.commit()
        check_room(course)

    for user, work in ((60001, first), (60002, second), (60001, lambda: shutil.rmtree(done))):
        assert as_another(user, mask, work) == ""


def as_another(user: int, mask: int, work) -> str:
    """What goes wrong in some work of another account of the group, "" where nothing does."""
    import labsupport.files  # noqa: F401  (the account may not be able to read where it is)

    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it ended otherwise"
        try:
            os.setgroups([60000])
            os.setgid(60000)
            os.setuid(user)
            os.umask(mask)
            work()
            said = ""
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(theirs, said.encode()[:4000])
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours, "rb") as pipe:
        return pipe.read().decode()
