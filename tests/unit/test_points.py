"""Points that change after grading: what was earned is kept, and nothing is run for it."""

import copy
import json
from pathlib import Path

import pytest

from labsupport.answers.findings import Finding
from labsupport.course.build import dump, is_graded_line, student_notebook
from labsupport.course.fingerprint import fingerprint
from labsupport.course.source import parse_lab
from labsupport.grading.judging.verdicts import score
from labsupport.grading.submission.points import has_points, with_points
from labsupport.grading.submission.realign import realign
from labsupport.grading.submission.verdict_cells import verdict_outputs

STEM = "91_forms"
WORTH = {
    '{"encode": 1, "decode": 2}': '{"encode": 4, "decode": 1}',
    'judge="halves" points=3': 'judge="halves" points=5',
    'judge="count" points=1': 'judge="count" points=2.5',
}


@pytest.fixture
def source(root: Path) -> str:
    return (root / "tests" / "fixtures" / "forms" / f"{STEM}.py").read_text(encoding="utf-8")


def changed(source, changes):
    for old, new in changes.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    return source


def graded(source, wrong):
    """A notebook as grading leaves it in which these (exercise, part) are wrong."""
    lab = parse_lab(source, Path(f"{STEM}.py"))
    notebook = student_notebook(lab)
    verdicts = [
        score(
            judge,
            [
                Finding(part, "failed", "not what is right", "it is wrong", "one case")
                if (judge.name, part) in wrong
                else Finding(part)
                for part in judge.parts or [""]
            ],
        ).as_dict()
        for judge in lab.of("judge")
    ]
    for verdict in verdicts:
        (cell,) = (c for c in notebook.cells if c.id == f"judge-{verdict['exercise']}")
        cell.outputs = verdict_outputs(verdict)
    notebook.metadata["labsupport_grading"] = {"verdicts": verdicts}
    return notebook


@pytest.mark.parametrize("wrong", [set(), {("halves", "encode")}, {("halves", "decode")}])
def test_new_points_are_those_a_new_run_would_give(source, wrong):
    wrong = wrong | {("share", "")}
    new = changed(source, WORTH)
    assert fingerprint(parse_lab(new, Path(STEM))) == fingerprint(parse_lab(source, Path(STEM)))
    old, wanted = graded(source, wrong), graded(new, wrong)
    assert not has_points(json.loads(dump(old)), STEM, new)
    there = with_points(copy.deepcopy(old), STEM, new)
    assert has_points(json.loads(dump(there)), STEM, new)
    assert dump(there) == dump(wanted)
    assert dump(with_points(there, STEM, source)) == dump(old)  # and back


def test_an_exercise_that_does_not_count_keeps_what_was_earned(source):
    none = changed(source, {'judge="halves" points=3': 'judge="halves" points=0'})
    for begin in (source, none):
        notebook = with_points(graded(begin, {("halves", "decode")}), STEM, none)
        (verdict,) = (
            v
            for v in notebook.metadata["labsupport_grading"]["verdicts"]
            if v["exercise"] == "halves"
        )
        assert (verdict["points"], verdict["max_points"], verdict["status"]) == (0, 0, "failed")
        (cell,) = (c for c in notebook.cells if c.id == "judge-halves")
        assert cell.outputs[0]["data"]["text/plain"] == "0"
        assert "which does not count" in cell.source and is_graded_line(cell.source)
        back = with_points(notebook, STEM, source)
        assert dump(back) == dump(graded(source, {("halves", "decode")}))


def test_a_graded_line_of_another_release_is_no_edit(source):
    handed_in = student_notebook(parse_lab(source, Path(STEM)))
    master = student_notebook(parse_lab(changed(source, WORTH), Path(STEM)))
    aligned, repairs = realign(handed_in, master)
    assert repairs == []
    (cell,) = (c for c in aligned.cells if c.id == "judge-halves")
    assert "5 points (encode 4, decode 1)" in cell.source
    (cell,) = (c for c in handed_in.cells if c.id == "judge-halves")
    cell.source += "\n7  # points"
    assert any("judge-halves was edited" in repair for repair in realign(handed_in, master)[1])
