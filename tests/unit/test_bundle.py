"""The zip for students, and JupyterLab on what they were given."""

import zipfile

import pytest
from typer.testing import CliRunner

from labsupport.cli import app, start
from labsupport.cli.start import split, working_copy
from labsupport.course import bundle
from labsupport.course.bundle import build_wheel
from labsupport.errors import CourseError, LabError

run = CliRunner()


@pytest.fixture
def course(tmp_path):
    """A course directory as far as hand-out goes."""
    place = tmp_path / "vit-2026"
    for stem in ("01_first", "02_second"):
        (place / "release" / stem).mkdir(parents=True)
        (place / "release" / stem / f"{stem}.ipynb").write_text(f"released {stem}")
    (place / "release" / "01_first" / "cat.png").write_text("a picture")
    (place / "release" / "01_first" / ".hidden").write_text("no")
    (place / "nbgrader_config.py").touch()
    return place


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "labsupport-0.1.0-py3-none-any.whl"
    path.write_text("a wheel")
    return path


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A folder of a student's, on a machine without a checkout."""

    def none():
        raise LabError("no checkout of the course here")

    monkeypatch.setattr(start, "root", none)
    monkeypatch.setattr("labsupport.cli.bundle.root", none)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def names_in(path):
    return sorted(zipfile.ZipFile(path).namelist())


def test_a_courses_release_is_bundled(course, wheel, nowhere):
    result = run.invoke(app, ["bundle", str(course), "--wheel", str(wheel)])
    assert result.exit_code == 0, result.output
    out = nowhere / "vit-2026-labs.zip"
    inside = ("01_first.ipynb", "02_second.ipynb", "README.txt", "cat.png", wheel.name)
    assert names_in(out) == [f"labs/{name}" for name in inside]
    readme = zipfile.ZipFile(out).read("labs/README.txt").decode()
    assert wheel.name in readme and len(readme.splitlines()) == 2
    assert [p.name for p in nowhere.iterdir()] == [out.name]  # no half of it is left


def test_a_checkouts_notebooks_are_bundled_with_its_wheel(root, wheel, tmp_path, monkeypatch):
    asked = []
    monkeypatch.chdir(root)
    monkeypatch.setattr(bundle, "build_wheel", lambda *about: asked.append(about) or wheel)
    out = tmp_path / "out.zip"
    assert run.invoke(app, ["bundle", "--out", str(out)]).exit_code == 0
    built = [path.name for path in (root / "notebooks").glob("*.ipynb")]
    wanted = [f"labs/{name}" for name in (*built, "README.txt", wheel.name)]
    assert names_in(out) == sorted(wanted) and asked[0][0] == root


def test_what_cannot_be_bundled_is_one_line(course, wheel, nowhere, tmp_path):
    mistakes = {
        "--wheel labsupport-....whl": [str(course)],
        "is no wheel": [str(course), "--wheel", str(course)],
        "has released nothing yet": [str(tmp_path), "--wheel", str(wheel)],
        "is no place for a zip": [str(course), "--wheel", str(wheel), "--out", str(tmp_path)],
    }
    for message, words in mistakes.items():
        result = run.invoke(app, ["bundle", *words])
        assert result.exit_code == 1 and message in result.output, result.output
        assert len(result.output.strip().splitlines()) == 1
    (course / "release" / "02_second" / "cat.png").write_text("another")
    result = run.invoke(app, ["bundle", str(course), "--wheel", str(wheel)])
    assert result.exit_code == 1 and "have one name" in result.output
    assert not list(nowhere.iterdir())


@pytest.mark.slow
def test_the_wheel_in_it_says_where_the_course_is_published(root, tmp_path):
    names = zipfile.ZipFile(build_wheel(root, tmp_path)).namelist()
    assert "labsupport/course/pyproject.toml" in names


@pytest.mark.parametrize(
    ("words", "folder", "options"),
    [
        ([], None, []),
        (["mine"], "mine", []),
        (["--no-browser", "--port", "9999"], None, ["--no-browser", "--port", "9999"]),
        (["mine", "--port", "9999"], "mine", ["--port", "9999"]),
        (["--allow-root", "mine", "--port=9999"], "mine", ["--allow-root", "--port=9999"]),
    ],
)
def test_options_are_jupyters(monkeypatch, nowhere, words, folder, options):
    found, rest = split(words)
    assert (None if found is None else str(found), rest) == (folder, options)
    asked = []
    place = nowhere / (folder or "labs-work")
    place.mkdir()
    (place / "01_first.ipynb").touch()
    monkeypatch.setattr("subprocess.call", lambda command: asked.append(command) or 0)
    assert run.invoke(app, ["start", *words]).exit_code == 0
    assert asked[0][2:4] == ["jupyter", "lab"] and asked[0][5:] == options
    assert asked[0][4] == f"--notebook-dir={folder or 'labs-work'}"


def test_what_comes_after_two_dashes_is_jupyters_too(monkeypatch, nowhere):
    asked = []
    (nowhere / "mine").mkdir()
    (nowhere / "mine" / "01_first.ipynb").touch()
    monkeypatch.setattr("subprocess.call", lambda command: asked.append(command) or 0)
    assert run.invoke(app, ["start", "mine", "--", "--ip=0.0.0.0", "--help"]).exit_code == 0
    assert asked[0][5:] == ["--ip=0.0.0.0", "--help"]


def test_a_release_is_copied_and_never_over_a_students_own(course, nowhere):
    for named in (course, course / "release"):
        folder = working_copy(named)
        assert folder.parts == ("labs-work", "vit-2026")
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["01_first.ipynb", "02_second.ipynb", "cat.png"]
        (folder / "01_first.ipynb").write_text("mine")
    working_copy(course)
    assert (folder / "01_first.ipynb").read_text() == "mine"
    assert (course / "release" / "01_first" / "01_first.ipynb").read_text() == "released 01_first"


def test_a_folder_that_was_given_is_opened_as_it_is(nowhere):
    (nowhere / "given").mkdir()
    (nowhere / "given" / "01_first.ipynb").touch()
    folder = working_copy(nowhere / "given")
    assert [path.name for path in folder.iterdir()] == ["01_first.ipynb"]


def test_without_a_checkout_it_says_what_to_do(nowhere, course):
    result = run.invoke(app, ["start"])
    assert result.exit_code == 1 and "labs start DIR" in result.output
    assert len(result.output.strip().splitlines()) == 1 and not list(nowhere.iterdir())
    for path in (course / "release").glob("*/*.ipynb"):
        path.unlink()
    with pytest.raises(CourseError, match="labs course release"):
        working_copy(course)
