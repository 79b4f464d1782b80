"""The same grades for any number of workers, in any order, at any repeat."""

import shutil

import pytest
from small_class import essence, tasks

from labsupport.grading.workers.fanout import perform_all
from labsupport.grading.workers.task import perform

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is missing")


def spread_over(todo, jobs):
    done = {}
    for task, result in perform_all([(task, task) for task in todo], jobs):
        assert isinstance(result, str), result
        done[task] = essence(result)
    return done


def test_grades_do_not_depend_on_workers_order_or_repeat(mini_path):
    todo = tasks(mini_path)
    first = {task: essence(perform(task)) for task in todo}  # as nbgrader's own command does it
    points = {
        task.seed: [v["points"] for v in graded["metadata"]["labsupport_grading"]["verdicts"]]
        for task, graded in first.items()
    }
    assert points == {
        "secret/perfect": [2, 1.5],
        "secret/adds": [0, 1.5],
        "secret/blank": [0, 0],
        "secret/crash": [2, 0],
    }
    assert {task: essence(perform(task)) for task in reversed(todo)} == first
    assert spread_over(todo, 1) == first
    assert spread_over(todo[::-1], 2) == first
