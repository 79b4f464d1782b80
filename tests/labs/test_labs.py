"""Every lab in solutions/: built as committed, secret where it must be, and judged rightly."""

import json
import re

import nbformat
import pytest

from labsupport.course.build import BEGIN, END, dump, student_notebook
from labsupport.course.publication import published_at
from labsupport.course.solve import execute_solution, solved_notebook
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.judging.diagnosis import diagnosis_of
from labsupport.grading.judging.lab_code import namespace_of
from tests.conftest import ROOT
from tests.labs.marker import Marker

SOURCES = find_labs(ROOT / "solutions")
STUDENT = "a student"  # answers are judged by this one's inputs


@pytest.fixture(scope="module", params=SOURCES, ids=lambda path: path.stem)
def lab(request):
    return read_lab(request.param)


@pytest.fixture(scope="module")
def marker(lab):
    return Marker(lab.number)


def test_committed_notebook_equals_a_fresh_build(lab):
    fresh = dump(student_notebook(lab, published_at(ROOT)))
    assert (ROOT / "notebooks" / f"{lab.stem}.ipynb").read_text() == fresh, "run: make build"


def test_committed_solution_is_this_source_executed_without_errors(lab):
    executed = nbformat.read(ROOT / "solutions" / f"{lab.stem}.ipynb", as_version=4)
    wanted = solved_notebook(lab, published_at(ROOT))
    assert [c.source for c in executed.cells] == [c.source for c in wanted.cells], "run: make build"
    outputs = [o for c in executed.cells for o in c.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 10


def hidden_lines(lab):
    """Lines that only an instructor may see: solutions, judges, traps, alternatives, rubrics."""
    for cell in lab.cells:
        if cell.kind in ("judge", "trap", "alternative"):
            yield from cell.source.splitlines()
        elif cell.kind in ("exercise", "question"):
            inside = re.findall(rf"{BEGIN}\n(.*?){END}", cell.source, re.S)
            yield from (line for block in inside for line in block.splitlines())


def test_nothing_hidden_is_in_the_students_notebook(lab):
    text = (ROOT / "notebooks" / f"{lab.stem}.ipynb").read_text()
    seen = (
        "\n".join(
            c["source"]
            for c in json.loads(dump(student_notebook(lab)))["cells"]
            if isinstance(c["source"], str)
        )
        + text
    )
    # what the statement itself shows (signatures, docstrings, imports) is no secret
    public = "\n".join(
        re.sub(rf"{BEGIN}\n.*?{END}", "", c.source, flags=re.S)
        for c in lab.cells
        if c.kind not in ("judge", "trap", "alternative")
    )
    secrets = {line.strip() for line in hidden_lines(lab)}
    secrets = {line for line in secrets if len(line) >= 20 and line not in public}
    assert len(secrets) > 50
    leaked = [line for line in secrets if json.dumps(line)[1:-1] in seen or line in seen]
    assert not leaked


def test_the_judge_gives_the_solution_and_its_alternatives_full_marks(lab, marker):
    solved = namespace_of(lab)
    for exercise in lab.exercises:
        assert marker.verdict(exercise, solved, STUDENT).status == "passed"
        alternatives = lab.of("alternative", exercise)
        assert len(alternatives) >= 2, f"{exercise}: fewer than two alternatives"
        for cell in alternatives:
            namespace = namespace_of(lab, {exercise: cell.source})
            for other in lab.exercises:
                verdict = marker.verdict(other, namespace, STUDENT)
                assert verdict.status == "passed", f"{cell.label}, {other}: {verdict.message}"


def test_each_trap_loses_in_its_own_exercise_only_and_is_told_why(lab, marker):
    """A known mistake loses every part that it breaks, one at least, and leaves the others."""
    for trap in lab.of("trap"):
        namespace = namespace_of(lab, {trap.name: trap.source})
        for exercise in lab.exercises:
            verdict = marker.verdict(exercise, namespace, STUDENT)
            if exercise != trap.name:
                assert verdict.status == "passed", f"{trap.label}, {exercise}: {verdict.message}"
            else:
                assert verdict.status == "failed", trap.label
                least = min((p["max_points"] for p in verdict.parts), default=verdict.max_points)
                assert verdict.max_points - verdict.points >= least, trap.label
                assert diagnosis_of(trap) in verdict.message


def test_visible_checks_accept_every_right_way_and_catch_every_trap(lab, marker):
    for cell in lab.of("alternative") + lab.of("trap"):
        said = marker.check(cell.name, namespace_of(lab, {cell.name: cell.source}))
        if cell.kind == "alternative":
            assert said == "", f"{cell.label}: {said}"
        else:
            assert said != "", f"{cell.label} is green"


def test_nothing_solved_is_nothing_gained(lab, marker):
    stubs = {
        name: re.sub(
            rf"( *){BEGIN}\n.*?{END}",
            r"\1raise NotImplementedError",
            lab.one("exercise", name).source,
            flags=re.S,
        )
        for name in lab.exercises
    }
    namespace = namespace_of(lab, stubs)
    for exercise in lab.exercises:
        assert marker.verdict(exercise, namespace, STUDENT).status == "missing"


def test_anatomy(lab):
    assert lab.points == 30
    assert 5 <= len(lab.exercises) <= 8
    assert 1 <= len(lab.of("question")) <= 2 and lab.of("widget") and lab.of("experiment")
    cells = [c for c in lab.cells if c.kind not in ("trap", "alternative")]
    for name in lab.exercises:
        graded = ("exercise", "check", "judge")
        order = [c.kind for c in cells if c.name == name and c.kind in graded]
        assert order == list(graded)
        before = cells[[c.id for c in cells].index(f"exercise-{name}") - 1]
        assert before.kind == "prose" and f"`{name}`" in before.source
        assert before.source.count("<details>") == 3 == before.source.count("</details>")
        assert "Deliverable" in before.source and "points" in before.source


@pytest.mark.slow
def test_the_solution_runs_in_smoke(lab, tmp_path):
    path = execute_solution(lab, tmp_path / "solved.ipynb", "smoke", progress=False)
    cells = nbformat.read(path, as_version=4).cells
    checks = [c for c in cells if c.metadata.get("labsupport", {}).get("kind") == "check"]
    assert len(checks) == len(lab.exercises)
    for cell in checks:
        text = "".join(o.get("text", "") for o in cell.outputs)
        assert "passed" in text, cell.source
