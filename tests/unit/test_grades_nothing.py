"""What is said to have no part in a grade has none: nothing that grades imports it."""

import grimp
import pytest

from labsupport.course.source import find_labs, read_lab
from labsupport.grading.submission.drawing_names import imported_names
from labsupport.grading.workers.task import GRADES_NOTHING

# what grades on the trusted side, and what answers inside the sandbox
GRADERS = (
    "labsupport.grading.workers.task",
    "labsupport.grading.submission.submission",
    "labsupport.grading.running.sandbox.zygote",
    "labsupport.answers.respond",
)


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("labsupport", cache_dir=None)


def path_of(graph, module):
    """A module's file as the list has it."""
    path = module.removeprefix("labsupport.").replace(".", "/")
    return f"{path}/__init__.py" if graph.find_children(module) else f"{path}.py"


def test_no_grader_imports_what_grades_nothing(graph):
    for grader in GRADERS:
        for module in {grader, *graph.find_upstream_modules(grader)} - {"labsupport"}:
            assert not path_of(graph, module).startswith(GRADES_NOTHING), f"{grader}: {module}"


def test_no_lab_imports_what_grades_nothing(graph, root):
    """Neither by itself nor by what it imports: a student's code calls it all."""
    for path in find_labs(root / "solutions"):
        names = {n for c in read_lab(path).cells for _, n in imported_names(c.source)}
        own = {m for n in names for m in (n, n.rpartition(".")[0]) if m in graph.modules}
        own -= {"labsupport"}
        assert own, path
        for module in own.union(*(graph.find_upstream_modules(m) for m in own)) - {"labsupport"}:
            assert not path_of(graph, module).startswith(GRADES_NOTHING), f"{path}: {module}"


def test_what_is_listed_is_there(root):
    for name in GRADES_NOTHING:
        assert (root / "labsupport" / name).exists(), name
