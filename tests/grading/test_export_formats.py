"""Files of Canvas and Moodle as they export them: filled in, and otherwise as they were."""

import csv
import io

import pytest

from labsupport.errors import CourseError
from labsupport.grading.export import canvas, moodle
from labsupport.grading.export.giving import Rules, given
from labsupport.grading.export.labs import LabName, guess, said
from labsupport.grading.export.packing import canvas_name, participant
from labsupport.grading.export.people import Person, Row, match, people_of
from labsupport.grading.export.sheet import read_sheet
from labsupport.grading.ledger.standing import Standing

LABS = [
    LabName("01_vision_transformer", "01", "A vision transformer by hand"),
    LabName("02_attention_cost", "02", "What attention costs"),
]
ONE, TWO = (lab.stem for lab in LABS)

# With SIS columns, a column of the instructor's own, a row on posting, groups' and final scores.
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Notes,Lab 01 (12345),Lab 02: attention (12346),\
Essay (12399),Labs Current Score,Labs Final Score,Current Score,Final Grade
,,,,,,,Manual Posting,,,,,
"    Points Possible",,,,,,30.00,20.00,10.00,(read only),(read only),(read only),(read only)
"Doe, Jane",4711,S001,jdoe,Mon,"late, ""leave"" taken",,,8.00,95.00,95.00,95.00,A
"Roe, Richard",4712,S002,rroe,Mon,,,,,,,,
"Ødegård, Åsa",4713,S003,aode,Tue,,,,,,,,
"Student, Test",4799,,3fb9a7,Mon,,,,,,,,
"""
SEMICOLONS = (
    "\ufeffStudent;ID;SIS Login ID;Section;Lab 01 (12345);Aktuelle Punktzahl\r\n"
    "    Points Possible;;;;100,00;(schreibgeschützt) (read only)\r\n"
    "Doe, Jane;4711;jdoe;Mo;12,50;\r\n"
    "Roe, Richard;4712;rroe;Mo;;\r\n"
)
MOODLE = """\
Identifier,"Full name","ID number","Email address",Status,Grade,"Maximum grade",\
"Grade can be changed","Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 901","Jane Doe",S001,jane@example.org,"Submitted for grading",,30.00,Yes,\
"Friday, 30 January 2026, 7:02 PM",-,
"Participant 902","Richard Roe",S002,richard@example.org,"Submitted for grading - 2 hours late",,\
30.00,Yes,"Sunday, 1 February 2026, 1:59 AM",-,
"Participant 903","Åsa Ødegård",S003,asa@example.org,"No submission",,30.00,Yes,-,-,
"Participant 904","Sam Poe",S004,sam@example.org,"Submitted for grading",5.00,30.00,No,-,\
"Monday, 2 February 2026, 9:00 AM","<p>seen</p>"
"""


def standing(student, lab=ONE, score=None, state="graded", most=30.0, **about):
    reason = {"waiting": "2 answers to grade by hand", "graded": ""}.get(state, f"it is {state}")
    return Standing(student, lab, state, score=score, max_score=most, reason=reason, **about)


JANE = {"first_name": "Jane", "last_name": "Doe", "lms_user_id": "4711"}
CLASS = [
    standing("jdoe", score=26.25, **JANE),
    standing("jdoe", TWO, score=10.0, most=20.0, **JANE),
    standing("rroe", score=20.0, state="waiting"),
    standing("rroe", TWO, state="unreadable", most=20.0),
    standing("S003", state="not handed in"),
    standing("S003", TWO, score=0.0, most=20.0),
]


def save(tmp_path, text, name="export.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    return path


def pairs(standings):
    return {(one.assignment, one.student): one for one in standings}


def canvas_filled(tmp_path, text=CANVAS, standings=CLASS, labs=LABS, rules=None, columns=()):
    path = save(tmp_path, text)
    people = people_of(standings)
    sheet, result, rows = canvas.fill(
        path, labs, pairs(standings), people, rules or Rules(), list(columns)
    )
    sheet.write(tmp_path / "filled.csv")
    return (tmp_path / "filled.csv").read_bytes().decode("utf-8"), result, rows


def moodle_filled(tmp_path, standings, text=MOODLE, rules=None, numbers=None, **named):
    people = [
        Person(p.student, p.name, p.lms_user_id, p.email, (numbers or {}).get(p.student, ""))
        for p in people_of(standings)
    ]
    sheet, result, packed = moodle.fill(
        save(tmp_path, text),
        ONE,
        pairs(standings),
        people,
        rules or Rules(),
        moodle.headings([f"{k}={v}" for k, v in named.items()]),
    )
    sheet.write(tmp_path / "filled.csv")
    return (tmp_path / "filled.csv").read_text(encoding="utf-8"), result, packed


def cells(text, delimiter=","):
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def left_out(result):
    return {(line.lab[:2], line.student or line.name): line.note for line in result.left_out}


# --- Canvas ------------------------------------------------------------------------------------


def test_canvas_gets_its_file_back_with_the_grades_in_it(tmp_path):
    text, result, _ = canvas_filled(tmp_path)
    before, after = cells(CANVAS), cells(text)
    changed = {
        (i, after[0][j]): new
        for i, (old_row, new_row) in enumerate(zip(before, after, strict=True))
        for j, (old, new) in enumerate(zip(old_row, new_row, strict=True))
        if old != new
    }
    assert changed == {
        (3, "Lab 01 (12345)"): "26.25",
        (3, "Lab 02: attention (12346)"): "10",
        (5, "Lab 02: attention (12346)"): "0",
    }
    assert left_out(result) == {
        ("01", "rroe"): "2 answers to grade by hand",
        ("02", "rroe"): "it is unreadable",
        ("01", "S003"): "it is not handed in",
    }
    assert not result.complete and not result.notes


def test_canvas_with_semicolons_decimal_commas_and_a_mark_keeps_them(tmp_path):
    text, result, _ = canvas_filled(tmp_path, SEMICOLONS, CLASS, LABS[:1])
    assert text.startswith("\ufeffStudent;ID;") and text.count("\r\n") == 4
    assert [row[4] for row in cells(text.replace("\r\n", "\n"), ";")] == [
        "Lab 01 (12345)",
        "100,00",
        "87,5",
        "",
    ]
    assert result.notes == [f"{ONE}: scaled from 30 to Canvas's 100 points"]
    notes = [line.note for line in result.lines if line.student == "jdoe"]
    assert notes == ["in place of 12.5"]


def test_points_are_not_scaled_where_that_is_asked(tmp_path):
    text, result, _ = canvas_filled(tmp_path, SEMICOLONS, CLASS, LABS[:1], Rules(scale=False))
    assert "Doe, Jane;4711;jdoe;Mo;26,25;" in text and "as they are" in result.notes[0]


def test_zero_only_for_what_was_not_handed_in_and_only_when_asked(tmp_path):
    text, result, _ = canvas_filled(tmp_path, rules=Rules(missing_as_zero=True))
    assert [row[6] for row in cells(text)[3:6]] == ["26.25", "", "0"]
    assert set(left_out(result)) == {("01", "rroe"), ("02", "rroe")}
    (zero,) = [line for line in result.lines if line.student == "S003" and line.lab == ONE]
    assert (zero.points, zero.note) == ("0", "it is not handed in")
    for state in ("waiting", "unreadable", "failed"):
        assert given(standing("a", state=state), 30, Rules(missing_as_zero=True))[0] is None


def test_what_canvas_says_of_a_cell_stays(tmp_path):
    text = CANVAS.replace('taken",,,', 'taken",EX,N/A,').replace("rroe,Mon,,,", "rroe,Mon,,7.00,")
    filled, result, _ = canvas_filled(tmp_path, text)
    assert [row[6:8] for row in cells(filled)[3:5]] == [["EX", "N/A"], ["7.00", ""]]
    out = left_out(result)
    assert "excused" in out["01", "jdoe"] and "not assigned" in out["02", "jdoe"]
    assert out["01", "rroe"] == "2 answers to grade by hand; Canvas keeps its 7.00"


def test_first_and_last_names_in_columns_of_their_own(tmp_path):
    text = (
        "LastName,FirstName,ID,SIS User ID,SIS Login ID,Section,Lab 01 (12345)\n"
        '"    Points Possible",,,,,,30.00\n'
        "Doe,Jane,4711,S001,jdoe,Mon,\nTwin,Tim,4720,,,Mon,\n"
    )
    people = [*CLASS, standing("tt", score=3.0, first_name="Tim", last_name="Twin")]
    filled, result, _ = canvas_filled(tmp_path, text, people, LABS[:1])
    assert [row[6] for row in cells(filled)[2:]] == ["26.25", "3"]
    (by_name,) = [line for line in result.lines if line.student == "tt"]
    assert by_name.written and by_name.note == "found by name only"


def test_two_of_one_name_get_nothing_by_it(tmp_path):
    text = CANVAS.replace('"Roe, Richard",4712,S002,rroe', '"Doe, Jane",4712,S002,jdoe2')
    namesake = standing("x9", score=1.0, first_name="Jane", last_name="Doe")
    filled, result, _ = canvas_filled(tmp_path, text, [*CLASS[:1], namesake], LABS[:1])
    assert [row[6] for row in cells(filled)[3:5]] == ["26.25", ""]
    assert "more than one has it (jdoe, x9)" in left_out(result)["", "Doe, Jane"]
    assert "no row of export.csv" in left_out(result)["01", "x9"]


def test_one_number_that_means_two_things_gives_nobody_a_grade(tmp_path):
    """4711 is Jane's number at Canvas, and Bob's at school."""
    bob = standing("4711", score=2.0, first_name="Bob", last_name="Blue")
    text = CANVAS.replace('"Roe, Richard",4712,S002,rroe', '"Blue, Bob",4712,4711,bblue')
    filled, result, _ = canvas_filled(tmp_path, text, [bob], LABS[:1])
    assert [row[6] for row in cells(filled)[3:5]] == ["", "2"]  # by SIS id; Jane's ID is no proof
    assert "who is called Bob Blue" in left_out(result)["", "Doe, Jane"]
    # whoever was collected from Canvas is known by its number; a school's says nothing against it
    jane = standing("4711", score=9.0, lms_user_id="4711")
    filled, result, _ = canvas_filled(tmp_path, text, [jane], LABS[:1])
    assert [row[6] for row in cells(filled)[3:5]] == ["9", ""]
    assert "4711 is 4711 there, not 4712" in left_out(result)["", "Blue, Bob"]


def test_ids_that_speak_for_two_students_fill_in_neither():
    people = [Person("a", lms_user_id="1"), Person("b"), Person("c", "C C")]
    rows = [
        Row(0, "A", [("own", "ID", "1"), ("id", "SIS User ID", "b")], own="1"),
        Row(1, "C C", [("id", "SIS User ID", "c")]),
        Row(2, "C C", [("login", "SIS Login ID", "c")]),
    ]
    result = match(rows, people)
    assert not result.found and "a by its ID, b by its SIS User ID" in result.doubts[0]
    assert result.doubts[1] == result.doubts[2] == "2 rows could be c: none was filled in"
    assert [p.student for p in result.without_row(people)] == ["a", "b", "c"]


def test_an_id_of_another_platform_is_the_schools():
    """Collected from Gradescope, whose SID is Canvas' SIS id: no number of Canvas' own."""
    row = Row(0, "Doe, Jane", [("own", "ID", "4711"), ("id", "SIS User ID", "S001")], own="4711")
    bob = Row(1, "Blue, Bob", [("own", "ID", "77"), ("bare", "ID", "77")], own="77")
    people = [Person("S001", lms_user_id="S001", elsewhere=True), Person("77", elsewhere=True)]
    assert match([row, bob], people).found == {0: "S001"}
    assert not match([row], [Person("S001", lms_user_id="S001")]).found


def test_columns_are_said_or_certain(tmp_path):
    titles = ["Lab 1 (1)", "Lab 10 (2)", "Lab 02 (3)", "What attention costs, again (4)"]
    assert guess(LABS, titles, {}) == {ONE: [0], TWO: [2]}
    assert guess(LABS, ["01 - intro", "Week 2: what attention costs"], {}) == {ONE: [0], TWO: [1]}
    assert guess(LABS, ["01_vision_transformer", "Lab 01, again"], {})[ONE] == [0]
    assert guess(LABS, ["Lab 01", "Lab 01 (resit)"], {})[ONE] == [0, 1]
    assert guess(LABS, ["Essay 1", "Quiz 2"], {}) == {ONE: [], TWO: []}
    assert said(["01=2"], LABS, titles) == {ONE: 1} == said(["01=lab 10"], LABS, titles)
    for wrong in ("01=77", "09=2", "Lab 1"):
        with pytest.raises(CourseError, match="--column"):
            said([wrong], LABS, titles)
    twice = CANVAS.replace("Essay (12399)", "Lab 01 again (12399)")
    _, result, _ = canvas_filled(tmp_path, twice)
    assert "several columns could be it (Lab 01 (12345), Lab 01 again" in left_out(result)["01", ""]
    text, _, _ = canvas_filled(tmp_path, twice, columns=["01=12399"])
    assert cells(text)[3][8] == "8.75"
    with pytest.raises(CourseError, match="there are: .*Essay"):
        canvas_filled(tmp_path, CANVAS.replace("Lab 0", "Sheet "))


@pytest.mark.parametrize(
    "data, words",
    [
        (b"a;b\n1;2\n", "is no gradebook of Canvas'"),
        (b"\xd8degard,ID\n", "not in UTF-8"),
        (b"", "no table in CSV"),
        (b"Student,ID\nx,1,2,3\n", "row 2 has 4 cells under 2 headings"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, data, words):
    path = tmp_path / "odd.csv"
    path.write_bytes(data)
    with pytest.raises(CourseError, match=words) as raised:
        canvas.fill(path, LABS, {}, [], Rules(), [])
    assert "\n" not in str(raised.value)


def test_what_was_read_is_not_written_over(tmp_path):
    sheet = read_sheet(save(tmp_path, CANVAS))
    with pytest.raises(CourseError, match="--out"):
        sheet.write(tmp_path / "export.csv")


# --- Moodle ------------------------------------------------------------------------------------

PARTICIPANTS = [
    standing("Jane Doe", score=26.25, repaired="ids were missing & are back"),
    standing("S002", score=17.0, penalty=3.0, late_seconds=7200.0),
    standing("asa", state="not handed in", email="asa@example.org"),
    standing("sam", score=9.0, email="sam@example.org"),
]


def test_moodle_gets_its_worksheet_back_with_the_grades_in_it(tmp_path):
    text, result, packed = moodle_filled(tmp_path, PARTICIPANTS)
    before, after = cells(MOODLE), cells(text)
    comments = {row[0]: row[10] for row in after[1:]}
    assert [row[5] for row in after] == ["Grade", "26.25", "17", "", "5.00"]
    for old, new in zip(before, after, strict=True):
        assert [c for i, c in enumerate(new) if i not in (5, 10)] == [
            c for i, c in enumerate(old) if i not in (5, 10)
        ]
    assert comments["Participant 901"] == (
        "26.25 of 30 points; repaired before grading: ids were missing &amp; are back"
    )
    assert comments["Participant 902"] == "17 of 30 points; handed in 2 h late: 3 points off"
    assert (comments["Participant 903"], comments["Participant 904"]) == ("", "<p>seen</p>")
    assert left_out(result) == {
        ("01", "asa"): "it is not handed in",
        ("01", "sam"): "Moodle says that this grade cannot be changed",
    }
    assert packed == {"Jane Doe": ("901", "Jane Doe"), "S002": ("902", "Richard Roe")}
    assert moodle.folder_of(*packed["S002"]) == "Richard Roe_902_assignsubmission_file_"


def test_a_participant_is_known_by_the_number_of_the_download(tmp_path):
    """Two of one name; the number in the name of what each handed in tells them apart."""
    text = MOODLE.replace("Richard Roe", "Jane Doe").replace("S001", "").replace("S002", "")
    text = text.replace("jane@example.org", "").replace("richard@example.org", "")
    jane = standing("Jane Doe", score=26.25)
    filled, result, _ = moodle_filled(tmp_path, [jane], text)
    assert [row[5] for row in cells(filled)[1:3]] == ["", ""]
    assert "more than one has it" in left_out(result)["", "Jane Doe"]
    filled, result, _ = moodle_filled(tmp_path, [jane], text, numbers={"Jane Doe": "902"})
    assert [row[5] for row in cells(filled)[1:3]] == ["", "26.25"]


def test_what_moodle_would_drop_without_a_word_is_named(tmp_path):
    extra = standing("Jane Doe", score=31.0)
    filled, result, _ = moodle_filled(tmp_path, [extra])
    assert cells(filled)[1][5] == ""
    assert left_out(result)["01", "Jane Doe"] == "31 is above 30, which Moodle does not take"


def test_anonymous_participants_and_headings_in_another_language(tmp_path):
    text = (
        "ID;Status;Bewertung;Bestwertung;Zuletzt geändert (Bewertung)\n"
        "Teilnehmer/in 901;Zur Bewertung abgegeben;;10,00;-\n"
    )
    with pytest.raises(CourseError, match="--heading identifier=TEXT; it has: ID; Status"):
        moodle_filled(tmp_path, PARTICIPANTS, text)
    named = {"identifier": "ID", "grade": "Bewertung", "maximum": "Bestwertung"}
    people = [standing("Participant-901", score=26.25)]
    filled, _, packed = moodle_filled(
        tmp_path, people, text, numbers={"Participant-901": "901"}, **named
    )
    assert cells(filled, ";")[1][2] == "8,75"
    assert moodle.folder_of(*packed["Participant-901"]) == (
        "Participant_901_assignsubmission_file_"
    )
    with pytest.raises(CourseError, match="--heading"):
        moodle.headings(["note=x"])


# --- names in zip files --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, user, taken",
    [
        ("doejane_4711_90210_lab-1.ipynb", "4711", "doejane_4711_90210_lab-1.html"),
        ("sub/doejane_LATE_4711_90210_my_lab.ipynb", "4711", "doejane_LATE_4711_90210_my_lab.html"),
        ("doejane_4711_90210_lab-1.ipynb", "4712", ""),  # a group's: sent by somebody else
        ("शर्मापूजा_4711_90210_lab.ipynb", "4711", "शर्मापूजा_4711_90210_lab.html"),
        ("lab.ipynb", "4711", ""),
        ("", "4711", ""),
    ],
)
def test_canvas_takes_back_the_names_that_it_gave(name, user, taken):
    assert canvas_name(name, user) == taken


def test_the_number_of_a_participant():
    assert participant("Jane Doe_901_assignsubmission_file_/lab.ipynb") == "901"
    assert participant("Jane Doe_901_assignsubmission_file_lab.ipynb") == "901"
    assert participant("lab.ipynb") == ""


@pytest.mark.parametrize(
    "cells, text, value",
    [
        ("30.00", "1,234.50", 1234.5),
        ("30,00", "1.234,50", 1234.5),
        ("30,00", "12,5", 12.5),
        ("30.00", "12,5", None),  # neither the one nor the other
        ("30", "(read only)", None),
        ("30", "", None),
    ],
)
def test_numbers_as_a_file_has_them(tmp_path, cells, text, value):
    sheet = read_sheet(save(tmp_path, f"a;b\n{cells};x\n"))
    assert sheet.value(text) == value
    assert sheet.number(1 / 3) == ("0,3333" if sheet.comma else "0.3333")
    assert sheet.number(12.0) == "12"
