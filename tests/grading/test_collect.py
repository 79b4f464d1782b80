"""Downloads as the three platforms make them, filed; and archives that mean harm, refused."""

import datetime
import io
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.build import dump, student_notebook
from labsupport.course.source import read_lab
from labsupport.errors import CourseError
from labsupport.grading.collect.archive import ArchiveLimits, Refused, open_source, safe_parts
from labsupport.grading.collect.collect import collect
from labsupport.grading.collect.ids import safe_id
from labsupport.grading.ledger.course_directory import course_api, init_course
from labsupport.grading.ledger.gradebook import db_url, open_gradebook
from labsupport.grading.ledger.store import only_run

STEM = "90_mini"
UTC = datetime.timezone.utc
FILES = [f"{STEM}.ipynb", "submission_secret.txt", "timestamp.txt"]
EVENING = datetime.datetime(2026, 1, 31, 20, 0)


@pytest.fixture(scope="module")
def made(mini_path, tmp_path_factory):
    """A course of two labs, 90_mini and 91_other, with an empty gradebook: that takes long."""
    folder = tmp_path_factory.mktemp("made") / "course"
    init_course(folder, mini_path.parent)
    other = mini_path.read_text().replace('"90"', '"91"')
    (folder / "labs" / "91_other.py").write_text(other)
    with course_api(folder) as api:
        open_gradebook(db_url(folder, api.config))
    return folder


@pytest.fixture
def course(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "course"))


@pytest.fixture(scope="module")
def released(mini_path):
    return dump(student_notebook(read_lab(mini_path)))


@pytest.fixture
def work(released):
    """``work("words")``: the lab's notebook with something of one's own in it."""

    def write(words: str, number: str = "90") -> bytes:
        notebook = json.loads(released)
        notebook["cells"][0]["source"] = words
        notebook["metadata"]["labsupport"]["lab"] = number
        return json.dumps(notebook).encode()

    return write


def pack(path, files, when=EVENING, apart=datetime.timedelta(hours=3)):
    """A zip file of (name, data) or (name, data, time); times else lie ``apart``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, data, *own) in enumerate(files):
            moment = own[0] if own else when + index * apart
            archive.writestr(zipfile.ZipInfo(name, moment.timetuple()[:6]), data)
    return path


def filed(course, student, stem=STEM):
    return (course / "submitted" / student / stem / f"{stem}.ipynb").read_bytes()


def times(course, student, stem=STEM):
    path = course / "submitted" / student / stem / "timestamp.txt"
    return path.read_text() or None


def by_student(result):
    return {line.student or line.shown: line for line in result.lines}


# --- the three platforms, as they are ---------------------------------------------------------


def test_canvas(course, work, tmp_path):
    bundle = pack(
        tmp_path / "submissions.zip",
        [
            ("doejane_4711_90210_90_mini.ipynb", work("jane's first")),
            ("doejane_4711_90305_90_mini-1.ipynb", work("jane's second")),
            ("doejane_4711_90418_90_mini-2.ipynb", work("jane's third")),
            ("oconnorsean_LATE_4712_90501_Untitled.ipynb", work("sean's")),
            ("müllerzoë_4713_90333_90_mini.ipynb", work("zoë's")),
            ("dela_cruzana_4714_90334_90_mini.ipynb", work("ana's")),
            ("dela_cruzana_4714_90335_picture.png", b"png"),
            ("texterbob_4715_text.html", b"<p>I could not do it</p>"),
            ("zipperida_LATE_4716_90600_work.zip", b"PK"),
            ("__MACOSX/._doejane_4711_90210_90_mini.ipynb", b"\0"),
        ],
        apart=datetime.timedelta(seconds=2),
    )  # Canvas stamps the time of packing
    result = collect(course, bundle, "90")
    lines = by_student(result)
    assert result.format == "canvas" and not result.refused
    assert filed(course, "4711") == work("jane's third")
    assert filed(course, "4712") == work("sean's") and filed(course, "4714") == work("ana's")
    assert lines["4711"].note == "the newest of 3" and lines["4711"].when == "time unknown"
    assert lines["4712"].when == "late, time unknown" and times(course, "4712") is None
    assert lines["4713"].shown == "müllerzoë"
    assert lines["4715"].note == "no notebook, but a text"
    assert lines["4716"].note == "no notebook, but work.zip: an archive inside one is not opened"
    assert sorted(p.name for p in (course / "submitted").iterdir()) == [
        "4711",
        "4712",
        "4713",
        "4714",
    ]
    assert sorted(p.name for p in (course / "submitted/4714" / STEM).iterdir()) == FILES
    late = course / "submitted/4712" / STEM / "late.txt"
    assert late.read_text() == "late, says Canvas\n"


def test_canvas_without_names(course, work, tmp_path):
    bundle = pack(
        tmp_path / "a.zip",
        [
            ("anon_aB3d9_1001_90_mini.ipynb", work("one")),
            ("LATE_anon_Zz9k2_1002_90_mini.ipynb", work("two")),
        ],
    )
    collect(course, bundle, "90")
    assert filed(course, "anon_aB3d9") == work("one")
    assert filed(course, "anon_Zz9k2") == work("two")


def test_canvas_with_a_name_that_is_an_ending_only(course, work, tmp_path):
    files = [("doejane_1_2_.ipynb", work("jane's")), ("bobber_3_4_90_mini.ipynb", work("bob's"))]
    collect(course, pack(tmp_path / "a.zip", files), "90")
    assert filed(course, "1") == work("jane's") and filed(course, "3") == work("bob's")


@pytest.mark.parametrize(
    "shape",
    [
        "{who}_assignsubmission_file_/{file}",
        "{who}_assignsubmission_file/{file}",
        "{who}_assignsubmission_file_{file}",
        "{who}_file_/{file}",
        "CS-Lab 1-88/{who}_file_/{file}",
    ],
)
def test_moodle(course, work, tmp_path, shape):
    def name(who, file="90_mini.ipynb"):
        return shape.format(who=who, file=file)

    bundle = pack(
        tmp_path / "CS-Lab 1-88.zip",
        [
            (name("Jane Doe_1234"), work("jane's"), datetime.datetime(2026, 1, 30, 9, 30, 4)),
            (name("Zoë Müller_1235"), work("zoë's"), datetime.datetime(2026, 1, 31, 23, 59, 58)),
            (name("Zoë Müller_1235", "figure.png"), b"png"),
            ("Zoë Müller_1235_assignsubmission_onlinetext_/onlinetext.html", b"<p>see file</p>"),
            ("Tom Text_1236_assignsubmission_onlinetext_/onlinetext.html", b"<p>no file</p>"),
            (name("王小明_1237", "lab (1).ipynb"), work("wang's")),
            (name("Participant_1238"), work("nobody's")),
        ],
    )
    result = collect(course, bundle, "90", zone=UTC)
    lines = by_student(result)
    assert result.format == "moodle" and not result.refused
    assert filed(course, "Jane-Doe") == work("jane's")
    assert times(course, "Jane-Doe") == "2026-01-30 09:30:04 UTC"
    assert times(course, "Zoë-Müller") == "2026-01-31 23:59:58 UTC"
    assert filed(course, "王小明") == work("wang's")
    assert filed(course, "Participant-1238") == work("nobody's")
    assert lines["Tom-Text"].note == "no notebook, but a text"
    assert [line.student for line in result.lines if not line.good] == ["Tom-Text"]


GRADESCOPE = """\
---
submission_2001:
  :submitters:
  - :name: Jane Doe
    :sid: '0071'
    :email: jane@example.edu
  :created_at: 2026-01-30 22:15:03.302164000 Z
  :score: 0.0
  :status: processed
  :history:
  - :id: 1999
    :created_at: 2026-01-29 10:00:00.000000000 Z
submission_2002: !ruby/hash:ActiveSupport::HashWithIndifferentAccess
  :submitters:
  - :name: Ana Lima
    :email: ana@example.edu
  - :name: Sean O'Connor
    :sid: 0072
  :created_at: 2026-02-01T01:30:00.000000-05:00
submission_2003:
  :submitters: []
  :created_at: 2026-01-30 22:15:03 Z
submission_2004:
  :submitters:
  - :name: Jane Doe
    :sid: '0071'
  :created_at: 2026-01-31 08:00:00 Z
"""


def test_gradescope(course, work, tmp_path):
    top = "assignment_314_export"
    bundle = pack(
        tmp_path / "submissions.zip",
        [
            (f"{top}/submission_metadata.yml", GRADESCOPE),
            (f"{top}/submission_2001/90_mini.ipynb", work("jane's first")),
            (f"{top}/submission_2002/src/90_mini.ipynb", work("a group's")),
            (f"{top}/submission_2002/README.md", b"we did it"),
            (f"{top}/submission_2003/90_mini.ipynb", work("nobody's")),
            (f"{top}/submission_2004/90_mini.ipynb", work("jane's second")),
            (f"{top}/submission_2005/90_mini.ipynb", work("not in the list")),
        ],
    )
    result = collect(course, bundle, "90")
    lines = by_student(result)
    assert result.format == "gradescope"
    assert filed(course, "0071") == work("jane's second")  # a leading zero is not lost
    assert times(course, "0071") == "2026-01-31 08:00:00 UTC"
    assert filed(course, "ana@example.edu") == filed(course, "0072") == work("a group's")
    assert times(course, "0072") == "2026-02-01 06:30:00 UTC"
    for folder in ("submission_2003", "submission_2005"):
        assert lines[folder].note == "submission_metadata.yml does not say who handed it in"
    assert not result.complete


def test_a_folder_is_as_good_as_a_zip(course, work, tmp_path):
    bundle = tmp_path / "unpacked"
    for number, hour in ((1, 9), (2, 20)):
        place = bundle / f"Student {number}_{number}_assignsubmission_file_"
        place.mkdir(parents=True)
        (place / "90_mini.ipynb").write_bytes(work(f"number {number}"))
        moment = datetime.datetime(2026, 1, 31, hour, tzinfo=UTC).timestamp()
        os.utime(place / "90_mini.ipynb", (moment, moment))
    (bundle / "Student 3_3_assignsubmission_file_").symlink_to("/etc")
    os.mkfifo(bundle / "Student 1_1_assignsubmission_file_" / "90_mini-1.ipynb")
    result = collect(course, bundle, "90")
    assert filed(course, "Student-1") == work("number 1")
    assert times(course, "Student-2") == "2026-01-31 20:00:00 UTC"
    reasons = sorted(reason for _, reason in result.refused)
    assert reasons == ["it is a link", "it is no ordinary file"]


# --- times, attempts, choices ------------------------------------------------------------------


def test_a_zip_that_says_utc_is_believed(course, work, tmp_path):
    bundle = pack(tmp_path / "a.zip", [("a_1_2_90_mini.ipynb", work("a"))])
    entry = zipfile.ZipInfo("b_2_3_90_mini.ipynb", (2026, 1, 1, 0, 0, 0))
    moment = int(datetime.datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp())
    entry.extra = struct.pack("<HHBi", 0x5455, 5, 1, moment)
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(entry, work("b"))
    collect(course, bundle, "90")
    assert times(course, "2") == "2026-01-31 12:00:00 UTC"


def test_times_of_packing_are_taken_only_when_asked(course, work, tmp_path):
    files = [("a_1_2_90_mini.ipynb", work("a")), ("b_2_3_90_mini.ipynb", work("b"))]
    bundle = pack(tmp_path / "a.zip", files, apart=datetime.timedelta(minutes=1))
    collect(course, bundle, "90")
    assert times(course, "1") is None
    for student in ("1", "2"):
        (course / "submitted" / student / STEM / f"{STEM}.ipynb").unlink()
    collect(course, bundle, "90", times="entries", zone=UTC, force=True)
    assert times(course, "1") == "2026-01-31 20:00:00 UTC"


def test_newer_replaces_and_the_earlier_is_kept(course, work, tmp_path):
    def give(words, attempt, minute=0):
        name = f"doejane_4711_{attempt}_90_mini.ipynb"
        moment = EVENING + datetime.timedelta(minutes=minute)
        bundle = pack(tmp_path / "a.zip", [(name, work(words))], moment)
        return collect(course, bundle, "90").lines[0]

    assert give("first", 100).outcome == "filed"
    assert give("first", 100).outcome == "unchanged"
    second = give("second", 120)
    assert second.outcome == "replaced"
    assert second.note == "the earlier one is kept in earlier/4711/90_mini.1"
    older = give("first", 100)
    assert older.outcome == "not filed" and "an older one than the one under" in older.note
    assert filed(course, "4711") == work("second")
    assert give("third", 140).outcome == "replaced"
    kept = sorted((course / "earlier" / "4711").rglob("*.ipynb"))
    assert [p.read_bytes() for p in kept] == [work("first"), work("second")]
    assert [p.name for p in (course / ".labs").iterdir() if p.name.startswith("incoming")] == []


def test_what_was_put_there_by_hand_is_not_lost(course, work, tmp_path):
    place = course / "submitted" / "4711" / STEM
    place.mkdir(parents=True)
    (place / f"{STEM}.ipynb").write_bytes(work("by hand"))
    bundle = pack(tmp_path / "a.zip", [("doejane_4711_9_90_mini.ipynb", work("canvas"))])
    line = collect(course, bundle, "90").lines[0]
    assert line.outcome == "not filed" and "--force files it" in line.note
    assert filed(course, "4711") == work("by hand")
    assert collect(course, bundle, "90", force=True).lines[0].outcome == "replaced"
    assert (course / "earlier/4711/90_mini.1/90_mini.ipynb").read_bytes() == work("by hand")


def test_a_later_download_is_newer(course, work, tmp_path):
    name = "Jane Doe_1_assignsubmission_file_/90_mini.ipynb"
    day = datetime.timedelta(days=1)
    pack(tmp_path / "a.zip", [(name, work("first"))], EVENING)
    pack(tmp_path / "b.zip", [(name, work("second"))], EVENING + day)
    assert collect(course, tmp_path / "a.zip", "90").lines[0].outcome == "filed"
    assert collect(course, tmp_path / "b.zip", "90").lines[0].outcome == "replaced"
    assert collect(course, tmp_path / "a.zip", "90").lines[0].outcome == "not filed"


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"90_mini.ipynb": ("a", "90"), "scratch.ipynb": ("b", "90")}, "a"),  # by name
        ({"mine.ipynb": ("a", "90"), "scratch.ipynb": ("b", "")}, "a"),  # by metadata
        ({"mine.ipynb": ("a", "90"), "91_other.ipynb": ("b", "91")}, "a"),
        ({"mine.ipynb": ("a", "90"), "copy.ipynb": ("a", "90")}, "a"),  # the same twice
        ({"mine.ipynb": ("a", "")}, "a"),  # one only, without metadata
        (
            {
                "90_mini.ipynb": ("a", "90"),
                ".ipynb_checkpoints/90_mini-checkpoint.ipynb": ("b", "90"),
            },
            "a",
        ),
        (
            {"mine.ipynb": ("a", "90"), "other.ipynb": ("b", "90")},
            "several notebooks, and none is named 90_mini.ipynb: mine.ipynb, other.ipynb",
        ),
        (
            {"x.ipynb": ("a", ""), "y.ipynb": ("b", "")},
            "several notebooks, and none is named 90_mini.ipynb: x.ipynb, y.ipynb",
        ),
        (
            {"one/90_mini.ipynb": ("a", "90"), "two/90_mini.ipynb": ("b", "90")},
            "2 different notebooks named two/90_mini.ipynb",
        ),
        ({"91_other.ipynb": ("a", "91")}, "by its name or metadata it is the notebook of 91_other"),
        ({"report.pdf": ("a", "")}, "no notebook, but report.pdf"),
    ],
)
def test_which_notebook(course, work, tmp_path, files, expected):
    bundle = pack(
        tmp_path / "a.zip",
        [
            (f"Jane Doe_1_assignsubmission_file_/{name}", work(*about))
            for name, about in files.items()
        ]
        + [("Tom Roe_2_assignsubmission_file_/90_mini.ipynb", work("Tom's"))],
    )
    line = by_student(collect(course, bundle, "90"))["Jane-Doe"]
    if expected == "a":
        assert line.outcome == "filed" and filed(course, "Jane-Doe") == work(
            *files[next(name for name in files if files[name][0] == "a")]
        )
    else:
        assert line.outcome == "not filed" and line.note == expected


def test_without_a_lab_every_notebook_says_its_own(course, work, tmp_path):
    bundle = pack(
        tmp_path / "a.zip",
        [
            ("doejane_1_10_90_mini.ipynb", work("a")),
            ("doejane_1_11_91_other.ipynb", work("b", "91")),
            ("roetom_2_12_homework.ipynb", work("c", "")),
        ],
    )
    lines = collect(course, bundle).lines
    assert [(line.student, line.lab, line.outcome) for line in lines] == [
        ("1", "90_mini", "filed"),
        ("1", "91_other", "filed"),
        ("2", "", "not filed"),
    ]
    assert lines[2].note == "neither name nor metadata says which lab it is: homework.ipynb"


def test_a_damaged_notebook_is_filed_for_the_grader_to_report(course, work, tmp_path):
    half = work("half")[:200]
    collect(course, pack(tmp_path / "a.zip", [("a_1_2_90_mini.ipynb", half)]), "90")
    assert filed(course, "1") == half


# --- who is who --------------------------------------------------------------------------------


def test_a_map_gives_the_courses_ids(course, work, tmp_path):
    bundle = pack(
        tmp_path / "a.zip",
        [
            ("doejane_4711_1_90_mini.ipynb", work("jane")),
            ("roetom_4712_2_90_mini.ipynb", work("t")),
            ("guest_4799_3_90_mini.ipynb", work("guest")),
        ],
    )
    names = tmp_path / "names.csv"
    names.write_text(
        "\ufefflms_id,student_id,note\n4711, jd26 ,x\nRoeTom,tr26,\n4711,partner,\n4800,absent,\n",
        encoding="utf-8",
    )
    result = collect(course, bundle, "90", map_file=names)
    assert filed(course, "jd26") == filed(course, "partner") == work("jane")
    assert filed(course, "tr26") == work("t") and result.missing == ["absent"]
    assert [line.note for line in result.lines if not line.good] == [
        "no line of the map has 4799 or guest"
    ]


def test_two_students_never_share_an_id(course, work, tmp_path):
    bundle = pack(
        tmp_path / "a.zip",
        [
            (f"{name}_{n}_assignsubmission_file_/90_mini.ipynb", work(f"{n}"))
            for n, name in enumerate(
                ["Jane Doe", "Jane  Doe", "JANE-DOE", "Zoe\u0308 M", "Zo\u00eb M", "Tom Roe"]
            )
        ],
    )
    result = collect(course, bundle, "90")
    assert [line.student for line in result.lines if line.good] == ["Tom-Roe"]
    notes = {line.note for line in result.lines if not line.good}
    assert len(notes) == 2 and all("tell them apart with --map" in note for note in notes)
    assert [p.name for p in (course / "submitted").iterdir()] == ["Tom-Roe"]
    again = pack(
        tmp_path / "b.zip", [("TOM ROE_7_assignsubmission_file_/90_mini.ipynb", work("another"))]
    )
    assert collect(course, again, "90").lines[0].note.startswith("there is a student 'Tom-Roe'")


@pytest.mark.parametrize(
    "raw, made",
    [
        ("4711", "4711"),
        ("jane@uni.edu", "jane@uni.edu"),
        ("José Müller", "José-Müller"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b", "a-b"),
        ("a+b", "a-b"),
        ("*", ""),
        ("..", ""),
        ("[a-z]", "a-z"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("a\0b", "a-b"),
        ("x" * 200, ""),
        ("\u202egnp", "gnp"),
        ("a\nb", "a-b"),
        ("ｊａｎｅ", "jane"),
        ("=cmd()", "cmd"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_ids_are_never_paths_or_patterns(raw, made):
    assert safe_id(raw) == made
    assert not re.search(r"[/\\*?\[\]+,\s]", made) and made.strip(".-") == made


# --- archives that mean harm -------------------------------------------------------------------

GOOD = "goodgrace_1_1_90_mini.ipynb"


def entry(name, mode=stat.S_IFREG | 0o644, method=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name, (2026, 1, 31, 20, 0, 0))
    info.external_attr, info.compress_type = mode << 16, method
    return info


def patched(path, name, **fields):
    """Change fields of an entry, in both its headers, after the archive is written."""
    places = {"flags": (6, 8), "method": (8, 10), "crc": (14, 16), "size": (22, 24)}
    data = bytearray(path.read_bytes())
    for magic, which in ((b"PK\3\4", 0), (b"PK\1\2", 1)):
        start = -1
        while (start := data.find(magic, start + 1)) >= 0:
            length_at = start + (26, 28)[which]
            (length,) = struct.unpack_from("<H", data, length_at)
            begin = start + (30, 46)[which]
            if data[begin : begin + length] != name.encode():
                continue
            for field, value in fields.items():
                form = "<I" if field in ("crc", "size") else "<H"
                struct.pack_into(form, data, start + places[field][which], value)
    path.write_bytes(bytes(data))


def hostile_names():
    return {
        "climbs": ("../../climbed_2_2_90_mini.ipynb", "leads out of the folder"),
        "climbs inside": ("a/../../climbed_2_2_90_mini.ipynb", "leads out of the folder"),
        "climbs with backslashes": (r"..\..\climbed_2_2_90_mini.ipynb", "leads out of the folder"),
        "absolute": ("/tmp/absolute_2_2_90_mini.ipynb", "absolute path"),
        "a drive": (r"C:\absolute_2_2_90_mini.ipynb", "absolute path"),
        "a server": (r"\\server\share\x_2_2_90_mini.ipynb", "absolute path"),
        "escape sequences": ("x\x1b[2J_2_2_90_mini.ipynb", "do not print"),
        "a line break": ("x\n_2_2_90_mini.ipynb", "do not print"),
        "right to left": ("x\u202e_2_2_90_mini.ipynb", "do not print"),
        "endless": ("d/" * 400 + "x_2_2_90_mini.ipynb", "too long"),
    }


@pytest.mark.parametrize("case", hostile_names())
def test_hostile_names(course, work, tmp_path, case):
    name, reason = hostile_names()[case]
    before = tree(tmp_path)
    result = collect(
        course, pack(tmp_path / "a.zip", [(GOOD, work("good")), (name, work("evil"))]), "90"
    )
    ((shown, why),) = result.refused
    assert reason in why and shown.isprintable() and not result.complete
    assert filed(course, "1") == work("good")
    assert new_files(tmp_path, before) == {"a.zip", *FILES, "90_mini.json", "lock"}


def tree(top):
    return {p for p in top.parent.rglob("*") if p.is_file()}


def new_files(top, before):
    return {p.name for p in tree(top) - before}


def nul_in_name(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynbX"), work)
    return lambda path: path.write_bytes(path.read_bytes().replace(b"ipynbX", b"ipyn\0X"))


def link(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb", stat.S_IFLNK | 0o777), "/etc/passwd")


def device(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb", stat.S_IFCHR | 0o666), b"")


def fifo(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb", stat.S_IFIFO | 0o666), b"")


def bomb(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), b"0" * (20 << 20))


def large(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), os.urandom(64) * (60 << 14))


def bomb_that_lies(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), b"0" * (20 << 20))
    return lambda path: patched(path, "evileve_2_2_90_mini.ipynb", size=1000)


def encrypted(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), work)
    return lambda path: patched(path, "evileve_2_2_90_mini.ipynb", flags=1)


def odd_method(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), work)
    return lambda path: patched(path, "evileve_2_2_90_mini.ipynb", method=99)


def lzma(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb", method=zipfile.ZIP_LZMA), b"0" * 900_000)


def bad_sum(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), work)
    return lambda path: patched(path, "evileve_2_2_90_mini.ipynb", crc=1)


def garbage(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb", method=zipfile.ZIP_STORED), b"?" * 3000)
    return lambda path: patched(path, "evileve_2_2_90_mini.ipynb", method=8)


def zip_in_zip(archive, work):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as nested:
        nested.writestr("evileve_2_2_90_mini.ipynb", work)
    archive.writestr(entry("evileve_2_2_work.zip"), inner.getvalue())


def same_name_twice(archive, work):
    archive.writestr(entry("evileve_2_2_90_mini.ipynb"), work)
    archive.writestr(entry("./evileve_2_2_90_mini.ipynb"), work.replace(b"good", b"evil"))


HOSTILE = {
    nul_in_name: "do not print",
    link: "it is a link",
    device: "no ordinary file",
    fifo: "no ordinary file",
    bomb: "more than 200 times",
    large: "larger than 50 MB",
    bomb_that_lies: "damaged",
    encrypted: "encrypted",
    odd_method: "method",
    lzma: "method",
    bad_sum: "damaged",
    garbage: "damaged",
    zip_in_zip: "not opened",
    same_name_twice: "2 files of this name",
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("attack", HOSTILE, ids=lambda a: a.__name__)
def test_hostile_entries(course, work, tmp_path, attack):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry(GOOD), work("good"))
        after = attack(archive, work("good"))
    if after:
        after(path)
    before = tree(tmp_path)
    result = collect(course, path, "90")
    told = [why for _, why in result.refused] + [s.note for s in result.lines if not s.good]
    assert len(told) == 1 and HOSTILE[attack] in told[0] and "\n" not in told[0]
    assert filed(course, "1") == work("good") and not result.complete
    assert new_files(tmp_path, before) == {*FILES, "90_mini.json", "lock"}


def test_entries_that_overlap_cannot_unpack_without_end(course, tmp_path):
    """Entries that quote one another's packed data (Fifield's bomb) meet the limit on the total:
    here 64 notebooks of a megabyte each in a file of 20 kB."""
    content = b"0" * (1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush()
    raw, directory = b"", []
    for index in range(64):
        name = f"x_{index}_1_90_mini.ipynb".encode()
        about = struct.pack(
            "<5H3I2H", 20, 0, 8, 0, 33, zlib.crc32(content), len(packed), len(content), len(name), 0
        )
        raw = b"PK\3\4" + about + name + packed
        directory.append((about, name, len(raw)))
        header = raw[: 30 + len(name)]  # the next entry's data begins with this header, as text
        packed = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + raw
        content = header + content
    listed = b"".join(
        b"PK\1\2"
        + struct.pack("<H", 20)
        + about
        + struct.pack("<3H2I", 0, 0, 0, 0, len(raw) - size)
        + name
        for about, name, size in directory
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 64, 64, len(listed), len(raw), 0)
    path = tmp_path / "a.zip"
    path.write_bytes(raw + listed + end)
    assert path.stat().st_size < 20_000
    few = ArchiveLimits(total=8 << 20, ratio=2000)
    result = collect(course, path, "90", limits=few)
    # newer zipfile modules refuse all but one of these by themselves
    reasons = {line.note for line in result.lines if not line.good}
    assert len([line for line in result.lines if line.good]) <= 8
    assert all("larger than one source may be" in r or "damaged" in r for r in reasons)


@pytest.mark.parametrize(
    "limits, message",
    [
        (ArchiveLimits(entries=3), "has 6 files: at most 3 are read"),
        (ArchiveLimits(directory=100), "list of entries is too long"),
    ],
)
def test_an_archive_beyond_the_limits_is_refused_whole(course, work, tmp_path, limits, message):
    bundle = pack(tmp_path / "a.zip", [(f"x_{n}_1_90_mini.ipynb", work("x")) for n in range(6)])
    with pytest.raises(CourseError, match=message):
        collect(course, bundle, "90", limits=limits)
    assert not list((course / "submitted").iterdir())


def test_a_total_beyond_the_limit_stops_the_reading(course, work, tmp_path):
    bundle = pack(tmp_path / "a.zip", [(f"x_{n}_1_90_mini.ipynb", work("x")) for n in range(6)])
    result = collect(course, bundle, "90", limits=ArchiveLimits(total=2 * len(work("x")) + 100))
    assert [line.outcome for line in result.lines] == ["filed"] * 2 + ["not filed"] * 4
    assert "larger than one source may be" in result.lines[-1].note


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.write_bytes(b"not a zip"),
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(p.read_bytes()[:-30]),
        lambda p: p.write_bytes(p.read_bytes().replace(b"PK\1\2", b"PK\7\7")),
    ],
    ids=["text", "empty", "cut short", "no list"],
)
def test_what_is_no_zip_is_one_line(course, work, tmp_path, make):
    make(pack(tmp_path / "a.zip", [(GOOD, work("good"))]))
    with pytest.raises(CourseError, match="neither a folder nor a readable zip file"):
        collect(course, tmp_path / "a.zip", "90")


@pytest.mark.parametrize(
    "text",
    [
        "submission_1: {:submitters: [",
        "- a list",
        "x: " + "[" * 5000,
        "a: &a [*a]\nb: *a\n",
        "x: !!python/object/apply:os.system ['touch /tmp/owned']",
        "\0",
        "x: *unknown",
    ],
    ids=["cut", "list", "deep", "itself", "python", "nul", "unknown alias"],
)
def test_hostile_yaml(course, work, tmp_path, text):
    bundle = pack(
        tmp_path / "a.zip",
        [("e/submission_metadata.yml", text), ("e/submission_1/90_mini.ipynb", work("x"))],
    )
    try:
        result = collect(course, bundle, "90")
    except CourseError as error:
        assert "submission_metadata.yml" in str(error) and "\n" not in str(error)
    else:
        assert [line.outcome for line in result.lines] == ["not filed"]
    assert not os.path.exists("/tmp/owned")


def test_names_are_data_in_yaml_too(course, work, tmp_path):
    yaml = "submission_1:\n  :submitters:\n  - :name: '[red]x'\n    :sid: '../../../evil'\n"
    bundle = pack(
        tmp_path / "a.zip",
        [("e/submission_metadata.yml", yaml), ("e/submission_1/90_mini.ipynb", work("x"))],
    )
    collect(course, bundle, "90")
    assert [p.name for p in (course / "submitted").iterdir()] == ["evil"]


def test_safe_parts_normalise():
    assert safe_parts("./a//Zoe\u0308\\b") == ("a", "Zo\u00eb", "b")
    with pytest.raises(Refused):
        safe_parts("")


def test_a_name_in_utf8_without_saying_so_is_read(tmp_path, work):
    path = pack(tmp_path / "a.zip", [("Zoë_1_assignsubmission_file_/90_mini.ipynb", work("z"))])
    patched(path, "Zoë_1_assignsubmission_file_/90_mini.ipynb", flags=0)
    with open_source(path) as source:
        assert source.members[0].parts[0] == "Zoë_1_assignsubmission_file_"


def test_a_submitted_folder_that_leads_elsewhere_is_left_alone(course, work, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (course / "submitted" / "1").mkdir()
    (course / "submitted" / "1" / STEM).symlink_to(outside)
    line = collect(course, pack(tmp_path / "a.zip", [(GOOD, work("good"))]), "90").lines[0]
    assert "is in the way" in line.note and not list(outside.iterdir())


# --- the command -------------------------------------------------------------------------------


def command(*words):
    result = CliRunner().invoke(app, ["collect", *map(str, words)])
    return result.exit_code, " ".join(result.output.split())


def test_command_shows_a_table_and_says_what_was_not_filed(course, work, tmp_path):
    good = pack(
        tmp_path / "a.zip",
        [(GOOD, work("good")), ("roetom_LATE_7_8_90_mini.ipynb", work("tom's"), EVENING)],
    )
    status, text = command(course, good, "90")
    assert status == 0 and "2 filed" in text
    assert "counts the submission as on time; 1 of these are late by the platform's word" in text
    bad = pack(
        tmp_path / "b.zip",
        [
            (GOOD, work("good")),
            ("/abs_2_2_x.ipynb", b""),
            ("[red]x_3_3_[b]y.pdf", b""),
            ("x_3_3_[b]y.pdf", b""),
        ],
    )
    status, text = command(course, bad, "90", "--format", "canvas")
    assert status == 2 and "1 unchanged, 1 not filed, 1 refused." in text
    assert "refused /abs_2_2_x.ipynb: its name is an absolute path" in text
    assert "no notebook, but [b]y.pdf" in text


@pytest.mark.parametrize(
    "words, message",
    [
        (["{course}", "{tmp}/none.zip"], "does not exist"),
        (["{tmp}", "{zip}"], "is no course directory"),
        (["{course}", "{zip}", "77"], "no lab '77'"),
        (["{course}", "{zip}", "90", "--map", "{zip}"], "cannot be read as a CSV file"),
        (["{course}", "{zip}", "90", "--zone", "Nowhere"], "no time zone 'Nowhere'"),
        (["{course}", "{zip}", "90", "--format", "moodle"], "named as in a download from Moodle"),
        (["{course}", "{tmp}/plain"], "say with --format"),
    ],
)
def test_mistakes_are_one_line(course, work, tmp_path, words, message):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.ipynb").write_bytes(work("a"))
    bundle = pack(tmp_path / "a.zip", [(GOOD, work("good"))])
    places = {"course": course, "tmp": tmp_path, "zip": bundle}
    status, text = command(*[w.format(**places) for w in words])
    assert status == 1 and message in text


def test_not_while_the_course_is_being_graded(course, work, tmp_path):
    with only_run(course):
        status, text = command(course, pack(tmp_path / "a.zip", [(GOOD, work("good"))]), "90")
    assert status == 1 and "is being graded by another run" in text


def test_killed_at_any_moment_nothing_is_half_there(course, work, tmp_path):
    """A collecting process is ended while it files; every notebook is whole or not there, and the
    next run finishes."""
    big = {f"x_{n}_1_90_mini.ipynb": work("x" * 300_000 + str(n)) for n in range(40)}
    bundle = pack(tmp_path / "a.zip", big.items())
    code = (
        "import sys; from pathlib import Path; from labsupport.grading.collect.collect import "
        "collect; print('go', flush=True); collect(Path(sys.argv[1]), Path(sys.argv[2]), '90')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(course), str(bundle)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    while not list((course / "submitted").iterdir()) and process.poll() is None:
        pass
    process.kill()
    process.wait()
    for path in (course / "submitted").rglob("*.ipynb"):
        json.loads(path.read_text())
    result = collect(course, bundle, "90")
    assert result.complete and len(list((course / "submitted").rglob("*.ipynb"))) == 40
