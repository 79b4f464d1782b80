"""Every attack of the catalogue, through realignment, sandbox and judge."""

import copy

import pytest
from attack_exhaust import EXHAUST
from attack_forge import FORGE
from attack_reach import REACH
from attack_sly import SLY
from attack_values import VALUES
from attack_wire import WIRE
from conftest import SECRET

EVERY = [*FORGE, *SLY, *VALUES, *WIRE, *EXHAUST, *REACH]


def attacked(perfect, source):
    notebook = copy.deepcopy(perfect)
    next(c for c in notebook.cells if c.id == "exercise-scale").source = source
    return notebook


@pytest.mark.parametrize("attack", EVERY, ids=lambda a: a.name.replace(" ", "-"))
def test_attack(attack, perfect, hand_in, host, untouched):
    source = attack.source
    for word, meant in host.items():
        source = source.replace(word, meant)
    graded, text = hand_in(attacked(perfect, source), **attack.limits)
    found = {v.exercise: v for v in graded.verdicts}
    scale, twice = found["scale"], found["twice"]
    assert scale.status in attack.scale.split("|"), scale.message
    assert attack.words in scale.message
    assert twice.status in attack.twice.split("|"), twice.message
    for verdict in (scale, twice):
        full = verdict.status == "passed"
        assert verdict.points == (verdict.max_points if full else 0)
        assert "\n" not in verdict.message and len(verdict.message) < 700
    assert "LEAK" not in _printed(graded), _printed(graded)
    assert SECRET not in text.replace(source, "")
    if attack in REACH:
        assert "refused" in _printed(graded)  # it was tried


def _printed(graded) -> str:
    outputs = [o for c in graded.notebook.cells for o in c.get("outputs", [])]
    return "".join(o.get("text", "") for o in outputs)


def test_the_catalogue_is_as_long_as_it_says():
    assert len({a.name for a in EVERY}) == len(EVERY) >= 120


def test_after_all_attacks_an_honest_submission_has_full_marks(perfect, hand_in, untouched):
    graded, _ = hand_in(perfect, "honest")
    assert [v.status for v in graded.verdicts] == ["passed", "passed"]


def test_nothing_is_handed_on_from_one_submission_to_the_next(perfect, hand_in, untouched):
    places = ("/", "/tmp", "/home", "/run", "/dev/shm", "/etc", "/dev", "/var", "/tmp/work")
    leave = f"""
import os
for place in {places!r}:
    try: open(os.path.join(place, "handed-on"), "w").write("x")
    except OSError: pass
def scale(x, factor):
    return x * factor
"""
    look = f"""
import os
print("LEAK" if any(os.path.exists(os.path.join(p, "handed-on")) for p in {places!r}) else "no")
def scale(x, factor):
    return x * factor
"""
    hand_in(attacked(perfect, leave), "first")
    graded, _ = hand_in(attacked(perfect, look), "second")
    assert "no" in _printed(graded) and "LEAK" not in _printed(graded)
