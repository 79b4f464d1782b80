"""Class statistics: right where they can be, a dash where they cannot, and nothing live in them."""

import csv
import datetime
import html.parser
import re
import shutil
from itertools import combinations

import nbformat
import pytest
from matplotlib.text import Text
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.errors import CourseError
from labsupport.grading.ledger.course_directory import init_course, release
from labsupport.grading.ledger.standing import LATE_FILE, NOT_YET
from labsupport.grading.report import pictures
from labsupport.grading.report.command import summary, write_reports
from labsupport.grading.report.data import read_results
from labsupport.grading.report.mistakes import mistakes
from labsupport.grading.report.page import number, render
from labsupport.grading.report.statistics import (
    correlation,
    describe,
    interval_of,
    item_statistics,
    quantile,
    reliability,
)
from labsupport.grading.report.tables import text
from labsupport.notebook.plot.style import LEAST_LINE, LEAST_TEXT, contrast
from tests.grading.simulate import hand_in

STEM = "90_mini"
NOW = datetime.datetime(2026, 2, 3, 9, 30)
ADDS = "Your output equals x plus factor: scaling multiplies."
WRONG = ("failed", f"5 numbers: the values differ by up to 0.5. {ADDS}", ADDS)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}\"'&"

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")


@pytest.fixture(scope="module")
def template(mini_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("courses") / "mini"
    init_course(folder, mini_path.parent)
    release(folder)
    return folder


@pytest.fixture
def course(template, tmp_path):
    return shutil.copytree(template, tmp_path / "mini")


class Page(html.parser.HTMLParser):
    """The tags, attributes and visible text of a page."""

    def __init__(self, source: str):
        super().__init__()
        self.tags, self.attributes, self.words = set(), [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        if self.lasttag != "style":
            self.words.append(data)


def report(course):
    ((results, path),) = write_reports(course, now=NOW)
    return results, Page(path.read_text(encoding="utf-8"))


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- numbers -----------------------------------------------------------------------------------


def test_statistics_against_numbers_worked_out_by_hand(course):
    """Six students; scale has 2 points, twice 1.5, why 1 by hand."""
    wrong = ("failed", "four numbers: the values differ.")
    for name, lost, by_hand in (
        ("a", (), 1),
        ("b", (), 0.5),
        ("c", ("twice",), 1),
        ("d", ("twice",), 0.5),
        ("e", ("scale", "twice"), 0),
        ("f", ("scale", "twice"), 0.5),
    ):
        hand_in(course, STEM, name, {exercise: wrong for exercise in lost}, by_hand=by_hand)
    results, _ = report(course)
    found = {s.item.name: s for s in item_statistics(results)}
    assert [round(found[n].ease, 4) for n in ("scale", "twice", "why")] == [0.6667, 0.3333, 0.5833]
    # scale, 2 2 2 2 0 0, against twice + why, 2.5 2 1 0.5 0 0.5: sums of products of deviations
    # 10/3, 16/3 and 113/24
    assert found["scale"].power == pytest.approx(10 / 3 / (16 / 3 * 113 / 24) ** 0.5)
    low, high = found["scale"].interval
    assert (round(low, 3), round(high, 3)) == (-0.318, 0.959)
    # variances of the three and of their sum: 16/15, 3/5, 17/120 and 401/120
    assert reliability(results) == pytest.approx(1.5 * (1 - (128 + 72 + 17) / 401))
    about = describe([run.score for run in results.graded])
    assert about.mean == pytest.approx(29 / 12) and about.median == 2.75
    assert (about.lowest, about.highest) == (0, 4.5)
    assert found["twice"].full == 2 and found["twice"].none == 4


@pytest.mark.parametrize(
    "x, y",
    [
        ([], []),
        ([1], [2]),
        ([1, 2], [1, 2]),
        ([1, 2, 3], [1, 2, 4]),
        ([1, 1, 1, 1], [1, 2, 3, 4]),
        ([1, 2, 3, 4], [0, 0, 0, 0]),
    ],
)
def test_no_correlation_is_made_up(x, y):
    assert correlation(x, y) is None


def test_edges_of_the_statistics():
    assert correlation([1, 2, 3, 4], [2, 4, 6, 8]) == pytest.approx(1)
    assert interval_of(1.0, 10) is None and interval_of(None, 10) is None
    assert interval_of(0.5, 3) is None
    assert quantile([1, 2, 3], 0.9) is None and quantile(list(range(1, 11)), 0.9) == 9
    assert describe([]).mean is None and describe([3]).deviation is None
    assert [number(v) for v in (None, 0, -0.01, 26.25, 1234.5, 30)] == [
        "-",
        "0",
        "0",
        "26.2",
        "1234.5",
        "30",
    ]


# --- small classes -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("alike", [True, False])
def test_small_classes_have_dashes_and_no_made_up_numbers(course, count, alike):
    for index in range(count):
        lost = {} if alike or index % 2 else {"scale": WRONG}
        hand_in(course, STEM, f"s{index}", lost, by_hand=1.0)
    if count == 0:
        with pytest.raises(CourseError, match="nothing was handed in"):
            write_reports(course)
    ((results, path),) = write_reports(course, [STEM], NOW)
    page = Page(path.read_text())
    assert "nan" not in page.text.lower().replace("provenance", "") and "None " not in page.text
    rows = {row["exercise"]: row for row in table(course / "report" / "exercises.csv")}
    assert list(rows) == ["scale", "twice", "why"]
    if count < 4 or alike:
        assert all(row["discrimination"] == "" for row in rows.values())
    if count < 4:
        assert f"{count} graded of {count} handed in" in page.text
    assert rows["twice"]["mean_share"] == ("1.0000" if count else "")
    first, second, third = summary(results, item_statistics(results))
    assert f"{count} of {count} submission" in first and "0 not graded" in third
    assert count or ("median - of 4.5 points, mean -" in first and second == "hardest: -")


# --- what is on the page -----------------------------------------------------------------------


def test_page_and_tables(course):
    for index in range(6):
        hand_in(course, STEM, f"good{index}", {}, by_hand=1.0)
    hand_in(course, STEM, "adds", {"scale": WRONG}, by_hand=None)
    hand_in(
        course,
        STEM,
        "adds2",
        {"scale": ("failed", f"1 numbers: the values differ by up to 7. {ADDS}", ADDS)},
        by_hand=0.5,
    )
    hand_in(
        course,
        STEM,
        "other",
        {"scale": ("failed", "5 numbers: the shape is (5, 1), not (5,).")},
        by_hand=1.0,
        late_hours=26,
        penalty=1.0,
    )
    hand_in(
        course,
        STEM,
        "other2",
        {"scale": ("failed", "1 numbers: the shape is (1, 1), not (1,).")},
        by_hand=1.0,
    )
    hand_in(
        course,
        STEM,
        "slow",
        {"twice": ("timeout", "took too long and was stopped")},
        by_hand=1.0,
        seconds=88.5,
        deaths={"7": "the kernel needed more than 512 MB"},
    )
    hand_in(
        course,
        STEM,
        "blank",
        {n: ("missing", "not implemented yet") for n in ("scale", "twice")},
        by_hand=0.0,
        repairs=["judge-scale: its cell had been deleted and is back"],
    )
    broken = course / "submitted" / "broken" / STEM
    broken.mkdir(parents=True)
    (broken / f"{STEM}.ipynb").write_text('{"cells": [')
    results, page = report(course)
    assert [(m.text, m.students, m.catalogued) for m in mistakes(results)] == [
        ("5 numbers: the shape is (5, 1), not (5,).", ["other", "other2"], False),
        (ADDS, ["adds", "adds2"], True),
        ("took too long and was stopped", ["slow"], False),
    ]
    for words in (
        "12 graded of 13 handed in",
        "multiplies. known mistake adds, adds2",
        "5 wrong answers, of which 2 equal a known mistake",
        "2 exercises had no answer",
        "1 in 1 submission: adds. Grade them in formgrader",
        "26 1 1.5",
        "judge-scale: its cell had been deleted and is back",
        "slow 88.5 3",
        "the kernel needed more than 512 MB; twice: took too long and was stopped",
        "broken 90_mini.ipynb is damaged",
        "In the sandbox: 12 of 12.",
        "12 labsupport 0.1.0, nbgrader 0.9.6, papermill 2.6.0, torch 2.6.0, python 3.11.7",
    ):
        assert words in page.text, words
    assert "Graded without the sandbox" not in page.text
    rows = {row["student"]: row for row in table(course / "report" / f"{STEM}.csv")}
    assert rows["other"]["score"] == "1.5" and rows["other"]["late_hours"] == "26"
    assert rows["adds"]["why"] == "" and rows["adds"]["waiting"] == "1"
    assert rows["slow"]["twice status"] == "timeout" and rows["slow"]["twice"] == "0"
    assert rows["broken"]["graded"] == "no" and rows["broken"]["score"] == ""
    assert "damaged" in rows["broken"]["problem"] and len(rows) == 13


def test_an_exercise_is_not_judged_by_a_few_answers_while_others_wait(course):
    """Four answers graded, at 0.25 each, and eight that wait: nobody knows yet how hard it is."""
    for index in range(12):
        lost = {"twice": ("failed", "four numbers: differ")} if index < 6 else {}
        hand_in(course, STEM, f"s{index:02}", lost, by_hand=0.25 if index < 4 else None)
    results, page = report(course)
    items = item_statistics(results)
    why = items[-1]
    assert (why.count, why.waiting, why.ease, why.settled) == (4, 8, 0.25, False)
    second = summary(results, items)[1]
    assert second.startswith("hardest: twice (50% of its points on average, 12 answers), too early")
    assert "Hardest: twice , 50% of its points on average (12 answers)" in page.text
    assert "Too early to say of why (4 graded, 8 waiting)" in page.text
    for index in range(4, 10):  # ten graded, two waiting: that is enough
        hand_in(course, STEM, f"s{index:02}", {}, by_hand=0.25)
    (results, *_), items = read_results(course), item_statistics(read_results(course)[0])
    assert items[-1].settled
    assert summary(results, items)[1].startswith("hardest: why (25% of its points on average, 10")


def test_a_blank_is_no_wrong_answer(course):
    missing = {n: ("missing", "not implemented yet") for n in ("scale", "twice")}
    for index in range(6):
        hand_in(course, STEM, f"s{index}", missing if index < 3 else {}, by_hand=1.0)
    for index in range(3):  # what nbgrader gives a written answer that was left as it was
        with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
            grade = gradebook.find_grade("answer-why", STEM, STEM, f"s{index}")
            grade.manual_score, grade.auto_score = None, 0.0
            gradebook.db.commit()
    results, page = report(course)
    rows = table(course / "report" / "exercises.csv")
    for found, row in zip(item_statistics(results), rows, strict=True):
        assert (found.count, found.blank, found.none, found.ease) == (3, 3, 0, 1.0)
        assert (row["not_answered"], row["wrong_answer"], row["no_points"]) == ("3", "0", "0")
        assert (row["graded"], row["mean_share"]) == ("3", "1.0000")
    assert describe([r.score for r in results.graded]).lowest == 0  # in the score it is 0 points
    assert "why 1 100% 3 3 0 3 1.00 - a person" in page.text


def test_names_beside_ids_unless_they_are_not_wanted(course):
    for student in ("1001", "1002"):
        hand_in(course, STEM, student, {"scale": WRONG}, by_hand=None)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.update_or_create_student("1001", first_name="Ana", last_name="<b>Li</b>")
    _, page = report(course)
    assert "1001 (Ana <b>Li</b>), 1002. Grade them in formgrader" in page.text
    rows = table(course / "report" / f"{STEM}.csv")
    assert [row["name"] for row in rows] == ["Ana <b>Li</b>", ""]
    result = CliRunner().invoke(app, ["report", str(course), "--no-names"])
    page = Page((course / "report" / f"{STEM}.html").read_text(encoding="utf-8"))
    assert result.exit_code == 0 and "Ana" not in page.text and "1001, 1002" in page.text
    assert "name" not in table(course / "report" / f"{STEM}.csv")[0]


def test_what_a_student_need_not_do_counts_nowhere(course):
    hand_in(course, STEM, "a", {"twice": ("failed", "four numbers: differ")}, by_hand=1.0)
    hand_in(course, STEM, "b", {}, by_hand=1.0)
    (course / "exemptions.csv").write_text(f"lab,student,exercise\n{STEM},a,twice\n")
    results, _ = report(course)
    twice = item_statistics(results)[1]
    assert (twice.count, twice.ease, twice.none) == (1, 1.0, 0)
    rows = {row["student"]: row for row in table(course / "report" / f"{STEM}.csv")}
    assert (rows["a"]["score"], rows["a"]["max_score"], rows["a"]["twice"]) == ("3", "3", "")
    assert rows["b"]["max_score"] == "4.5"


def test_late_by_a_platforms_word_is_late(course):
    """Canvas says LATE in a file's name; without its time there are no hours, and no penalty."""
    hand_in(course, STEM, "a", {}, by_hand=1.0)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.find_submission(STEM, "a").timestamp = None
        gradebook.db.commit()
    (course / "submitted" / "a" / STEM / LATE_FILE).write_text("Canvas")
    results, page = report(course)
    assert "1 late" in summary(results, item_statistics(results))[2]
    assert "a not known, late says Canvas 0 4.5" in page.text
    (row,) = table(course / "report" / f"{STEM}.csv")
    assert (row["late"], row["late_hours"], row["late_penalty"]) == ("yes", "", "0")


def test_no_sandbox_is_a_warning_and_so_are_other_versions(course):
    hand_in(course, STEM, "a", {}, by_hand=1.0)
    hand_in(course, STEM, "b", {}, by_hand=1.0, sandbox=False, torch="2.14.1")
    hand_in(course, STEM, "c", {}, by_hand=1.0, metadata=False)
    results, page = report(course)
    assert "Graded without the sandbox: 1 submission of 3." in page.text
    assert "Not all were graded with the same versions" in page.text
    assert "How 1 submission ran is not recorded." in page.text
    assert "1 GRADED WITHOUT THE SANDBOX" in summary(results, item_statistics(results))[2]
    assert [r["sandbox"] for r in table(course / "report" / f"{STEM}.csv")] == ["yes", "no", ""]


def test_nothing_live_comes_from_a_submission(course):
    for name in ("a", "b"):
        hand_in(
            course,
            STEM,
            name,
            {"scale": ("error", f"x: {EVIL}")},
            by_hand=None,
            repairs=[EVIL],
            deaths={"1": EVIL},
            torch=EVIL,
            late_hours=2,
        )
    student = "=cmd()&'<b onmouseover=alert(3)>"
    hand_in(course, STEM, student, {}, by_hand=1.0)
    _, page = report(course)
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "form", "svg", "base"}
    assert not [a for a in page.attributes if a[1].startswith("on")]
    sources = {a[2].split(",")[0] for a in page.attributes if a[1] in ("src", "href")}
    assert sources == {"data:image/svg+xml;base64", "#provenance"}
    assert EVIL in page.text and "49" not in re.sub(r"[\d.]*\d{3,}[\d.]*", "", page.text)
    policy = [a[2] for a in page.attributes if a[:2] == ("meta", "content")]
    assert any("default-src 'none'" in value for value in policy)
    assert table(course / "report" / f"{STEM}.csv")[0]["student"] == f"'{student}"
    assert [text(v) for v in ("=1", "@a", "-a", "+1", "a=1", "")] == [
        "'=1",
        "'@a",
        "'-a",
        "'+1",
        "a=1",
        "",
    ]


@pytest.mark.parametrize(
    "about",
    [
        [],
        "text",
        {"verdicts": "x"},
        {"verdicts": [1, {"exercise": [], "status": {}}]},
        {"provenance": {"seconds": "1e999", "deaths": [1], "sandbox": "yes"}},
        {"provenance": {"seconds": float("inf")}},
        {"repairs": {"a": 1}},
        {"verdicts": [{"exercise": "nothing", "status": "failed", "message": 7}]},
    ],
)
def test_odd_metadata_costs_the_report_nothing(course, about):
    hand_in(course, STEM, "odd", {}, by_hand=1.0)
    path = course / "autograded" / "odd" / STEM / f"{STEM}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["labsupport_grading"] = about
    nbformat.write(notebook, path)
    results, page = report(course)
    assert results.runs[0].graded and "1 graded of 1 handed in" in page.text


def test_pictures_say_in_words_what_they_show(course):
    for index in range(5):
        hand_in(course, STEM, f"s{index}", {"scale": WRONG} if index < 2 else {}, by_hand=1.0)
    _, page = report(course)
    scores, exercises = [a[2] for a in page.attributes if a[1] == "alt"]
    assert scores == (
        "Histogram of 5 scores out of 4.5 points, from 2.5 to 4.5, median 4.5. The "
        "most frequent score is about 4.5, with 3 students."
    )
    assert "scale: 3 of 5 with full points, discrimination -" in exercises


def test_pictures_tell_nothing_by_colour_alone_and_nothing_faintly(course, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures, "_source", lambda figure: figures.append(figure) or "")
    for index, status in enumerate(("failed", "error", "timeout", "missing", "tampered")):
        hand_in(course, STEM, f"s{index}", {"scale": (status, "no")}, by_hand=index / 4)
    (results,) = read_results(course)
    render(results, item_statistics(results), "c", NOW)
    assert len(figures) == 2
    for figure in figures:
        for shown in figure.findobj(Text):
            assert contrast(shown.get_color(), "white") >= LEAST_TEXT, shown.get_text()
    bars = [b for group in figures[1].axes[0].containers for b in group]
    assert bars and all(contrast(b.get_edgecolor(), "white") >= LEAST_LINE for b in bars)
    for (one, ours, hatch, _), (two, theirs, other, _) in combinations(pictures.OUTCOMES, 2):
        assert hatch != other or contrast(ours, theirs) >= LEAST_LINE, (one, two)


def test_same_results_same_page(course):
    for index in range(5):
        hand_in(course, STEM, f"s{index}", {"scale": WRONG} if index < 2 else {}, by_hand=1.0)
    (results,) = read_results(course)
    items = item_statistics(results)
    assert render(results, items, "c", NOW) == render(results, items, "c", NOW)


def test_exercises_of_other_labs_stay_in_the_table(course, mini_path):
    (course / "labs" / "91_other.py").write_text(mini_path.read_text().replace('"90"', '"91"'))
    release(course, ["91"])
    hand_in(course, STEM, "a", {}, by_hand=1.0)
    hand_in(course, "91_other", "a", {}, by_hand=1.0)
    write_reports(course, ["91"])
    write_reports(course, ["90"])
    rows = table(course / "report" / "exercises.csv")
    assert [(r["lab"], r["exercise"]) for r in rows] == [
        (lab, name) for lab in (STEM, "91_other") for name in ("scale", "twice", "why")
    ]
    assert len(write_reports(course)) == 2


def test_before_anything_is_graded(mini_path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # nbgrader makes a gradebook by a command's name
    folder = tmp_path / "new"
    init_course(folder, mini_path.parent)
    place = folder / "submitted" / "a" / STEM
    place.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(), place / f"{STEM}.ipynb")
    results, page = report(folder)
    assert "0 graded of 1 handed in" in page.text
    assert results.runs[0].problem == NOT_YET


def test_command(course):
    hand_in(course, STEM, "a", {"scale": WRONG}, by_hand=None)
    result = CliRunner().invoke(app, ["report", str(course)])
    lines = result.output.strip().splitlines()
    assert result.exit_code == 0 and len(lines) == 5
    assert lines[0] == (
        "90 A lab as small as a lab can be: 1 of 1 submission graded, median 1.5 "
        "of 4.5 points, mean 1.5"
    )
    assert lines[1] == (
        f"hardest: scale (0% of its points on average, 1 answer), too early to say of why; "
        f"commonest mistake: scale, "
        f"{ADDS} (1 student)"
    )
    assert lines[2] == "1 answer to grade by hand, 0 late, 0 repaired, 0 not graded"
    assert lines[3].endswith(f"report/{STEM}.html") and "exercises.csv" in lines[4]


@pytest.mark.parametrize(
    "words, message",
    [
        (["{tmp}"], "is no course directory"),
        (["{course}"], "nothing was handed in"),
        (["{course}", "77"], "no lab '77'"),
    ],
)
def test_mistakes_are_one_line(course, tmp_path, words, message):
    result = CliRunner().invoke(
        app, ["report", *[w.format(tmp=tmp_path, course=course) for w in words]]
    )
    assert result.exit_code == 1 and message in " ".join(result.output.split())
