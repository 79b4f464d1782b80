"""Every sentence about a result says what was measured: `tests/labs/said` holds it to that."""

from importlib import import_module
from pathlib import Path

import pytest

from tests.labs import said
from tests.labs.statements import ABOUT_A_RUN, Run, plain

LABS = sorted(path.stem[-2:] for path in Path(said.__path__[0]).glob("lab*.py"))


def statements(run, number):
    """(words, whether they are true) of a lab."""
    for statement in import_module(f"tests.labs.said.lab{number}").said(run):
        words, true = (statement, True) if isinstance(statement, str) else statement
        yield plain(words), true


@pytest.fixture(scope="module", params=LABS)
def lab(request):
    run = Run(request.param)
    return run, list(statements(run, request.param))


def test_prose_says_what_was_measured(lab):
    run, found = lab
    assert len(found) >= 5
    assert not [words for words, _ in found if words not in run.prose], "not in the prose"
    assert not [words for words, true in found if not true], "not true of the numbers"


def test_no_paragraph_speaks_of_a_run_without_being_held_to_it(lab):
    run, found = lab
    about = [p for p in run.claims if ABOUT_A_RUN.search(p)]
    assert not [p for p in about if not any(words in p for words, _ in found)]
