"""The audit of the grading: it catches known mistakes, and it can fail."""

import json
import shutil
import socket
import time

import pytest
from rich.console import Console
from typer.testing import CliRunner

from labsupport.cli import app
from labsupport.course.source import find_labs, read_lab
from labsupport.grading.audit.command import run_audits
from labsupport.grading.audit.equivalents import equivalents_file, read_equivalents
from labsupport.grading.audit.isolated import Limits
from labsupport.grading.audit.jailed import sandboxed
from labsupport.grading.audit.mutants import mutants_of
from labsupport.grading.audit.run import audit_lab
from labsupport.grading.audit.workers import Job, judge_all
from tests.conftest import ROOT

CELL = """class Mixer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        ### BEGIN SOLUTION
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(2))
        ### END SOLUTION

    def forward(self, x):
        given = x + 1
        ### BEGIN SOLUTION
        for layer in self.layers:
            x = x + layer(self.norm(x))
        y = einops.rearrange(x, "b n d -> b d n")
        return y.transpose(1, 2).softmax(dim=-1) / math.sqrt(2)
        ### END SOLUTION
"""


@pytest.fixture(scope="module")
def mutants(mini_path):
    cell = read_lab(mini_path).one("exercise", "scale")
    cell.source = CELL
    return mutants_of(cell)


@pytest.mark.parametrize(
    ("operator", "line"),
    [
        ("axis", "return y.transpose(1, 2).softmax(dim=-2) / math.sqrt(2)"),
        ("transpose dropped", "return y.softmax(dim=-1) / math.sqrt(2)"),
        (
            "transpose dropped",
            "return y.reshape(y.transpose(1, 2).shape).softmax(dim=-1) / math.sqrt(2)",
        ),
        ("pattern", "y = einops.rearrange(x, 'b n d -> b n d')"),
        ("operand dropped", "x = layer(self.norm(x))"),
        ("operand dropped", "return y.transpose(1, 2).softmax(dim=-1)"),
        ("part dropped", "self.norm = nn.LayerNorm(dim)"),
        (
            "part dropped",
            "self.layers = nn.ModuleList((nn.Linear(dim, dim, bias=False) for _ in range(2)))",
        ),
        ("other function", "return y.transpose(1, 2).log_softmax(dim=-1) / math.sqrt(2)"),
        ("dtype", "y = einops.rearrange(x, 'b n d -> b d n').bfloat16().float()"),
        ("detached", "x = x + layer(self.norm(x.detach()))"),
        ("frozen", "self.norm = nn.LayerNorm(dim, eps=1e-06).requires_grad_(False)"),
        ("shared", "self.layers = nn.ModuleList([nn.Linear(dim, dim)] * 2)"),
        ("mode", "self.eval()"),
        ("in place", "x += layer(self.norm(x))"),
        ("removed", "pass"),
        ("early return", "return y"),
        ("loop cut", "break"),
        ("ReplaceBinaryOperator_Add_Sub", "x = x - layer(self.norm(x))"),
        ("NumberReplacer", "self.norm = nn.LayerNorm(dim, eps=1.000001)"),
    ],
)
def test_mistakes_of_every_kind_are_made(mutants, operator, line):
    assert (operator, line) in {(m.operator, m.after) for m in mutants}


def test_mutants_are_new_described_and_of_the_solution_only(mutants):
    codes = [m.code for m in mutants]
    assert len(set(codes)) == len(codes) > 100
    assert {m.where for m in mutants} == {"Mixer.__init__", "Mixer.forward"}
    assert all("given = x + 1" in code for code in codes)
    assert all(m.before or m.after for m in mutants)


def test_a_changed_layout_or_comment_changes_no_description(mutants, mini_path):
    cell = read_lab(mini_path).one("exercise", "scale")
    cell.source = CELL.replace("x = x + layer(", "x = (x  # a comment\n             + layer(")
    cell.source = cell.source.replace("self.norm(x))\n", "self.norm(x)))\n")
    assert [m.identity for m in mutants_of(cell)] == [m.identity for m in mutants]


@pytest.fixture(scope="module")
def audited(mini_path):
    return audit_lab(mini_path, workers=1)


def test_mistakes_in_the_small_lab_are_caught(audited):
    fates = {(r.mutant.exercise, r.mutant.after): r.fate for r in audited.results}
    for exercise, line in (
        ("scale", "return torch.as_tensor(x)"),
        ("scale", "return torch.as_tensor(x) + factor"),
        ("scale", "return (torch.as_tensor(x) * factor).bfloat16().float()"),
        ("scale", "pass"),
        ("scale", "x.data.mul_(2)"),
        ("twice", "return scale(x, 4.0)"),
        ("twice", "return x"),
        ("twice", "return F.dropout(scale(x, 2.0), 0.1, True)"),
    ):
        if (exercise, line) in fates:
            assert fates[exercise, line] == "caught", line
    assert sum(fate == "caught" for fate in fates.values()) >= 25
    assert audited.accepted_share == 1


def test_what_the_judge_does_not_ask_survives(audited):
    survived = {r.mutant.after for r in audited.results if r.fate == "survived"}
    assert "return scale(x, 2.0).detach()" in survived  # its judge asks for no gradient
    assert not audited.good and audited.caught_share < 0.99


PEEK = "import os\ndef scale(x, factor):\n    return x * factor * os.path.isdir({!r})\n"
CALL = (
    "import socket\ndef scale(x, factor):\n    socket.create_connection(('127.0.0.1', {}), 2)\n"
    "    return x * factor\n"
)


@pytest.mark.skipif(not sandboxed(), reason="bubblewrap is not installed")
def test_mutants_run_behind_the_wall_of_submissions(mini_path, audited):
    assert audited.sandbox and audited.as_dict()["sandbox"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        codes = [PEEK.format(str(ROOT / "solutions")), CALL.format(server.getsockname()[1])]
        jobs = [Job("scale", code, 1) for code in codes]
        inside = [o.status for o in judge_all(mini_path, jobs, 1, Limits())]
        outside = [o.status for o in judge_all(mini_path, jobs, 1, Limits(), sandbox=False)]
    assert inside == ["failed", "error"] and outside == ["passed", "passed"]


def test_several_labs_make_one_table_each_one_picture_and_one_file(tmp_path, mini_path):
    console = Console(record=True, width=200)
    for source in (mini_path, mini_path.parent / "forms" / "91_forms.py"):
        shutil.copy(source, tmp_path)
    good = run_audits(
        console,
        tmp_path,
        ["90", "91"],
        tmp_path / "a.json",
        tmp_path / "a.svg",
        fast=True,
        workers=1,
    )
    said = console.export_text()
    assert "90_mini: a sample of mutants" in said and "91_forms: a sample of mutants" in said
    found = json.loads((tmp_path / "a.json").read_text())
    assert [audit["lab"] for audit in found] == ["90_mini", "91_forms"]
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert good == all(a["caught_share"] >= 0.99 and not a["stale"] for a in found)


def crippled(mini_path, tmp_path, old, new):
    path = tmp_path / mini_path.name
    text = mini_path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_crippled_judge_lets_mistakes_survive(mini_path, tmp_path, audited):
    path = crippled(mini_path, tmp_path, "factor=float(rng.uniform(2, 3))", "factor=1.0")
    weak = audit_lab(path, workers=1)
    assert weak.exercises[0].count("survived") > audited.exercises[0].count("survived")
    assert weak.caught_share < audited.caught_share


def test_a_judge_that_refuses_the_solution_cannot_be_audited(mini_path, tmp_path):
    path = crippled(
        mini_path,
        tmp_path,
        "def stand_in(x, factor):\n    return x * factor",
        "def stand_in(x, factor):\n    return x * torch.rand(1)",
    )
    with pytest.raises(ValueError, match="judge of twice refuses the lab's own solution"):
        audit_lab(path, workers=1)


def test_equivalents_are_counted_and_stale_ones_reported(mini_path, tmp_path):
    path = crippled(mini_path, tmp_path, "A lab as small", "A lab that is as small")
    entry = (
        '[[equivalent]]\nexercise = "twice"\noperator = "{}"\nwhere = "twice"\n'
        'before = "return scale(x, 2.0)"\nafter = "{}"\nreason = "for the test"\n'
    )
    equivalents_file(path).write_text(
        entry.format("detached", "return scale(x, 2.0).detach()")
        + entry.format("constant", "return scale(x, 4.0)")
        + entry.format("constant", "return scale(x, 5.0)")
    )
    audit = audit_lab(path, workers=1)
    assert [r.mutant.operator for r in audit.results if r.fate == "equivalent"] == ["detached"]
    assert [r.mutant.after for r in audit.results if r.stale] == ["return scale(x, 4.0)"]
    assert [e.after for e in audit.absent] == ["return scale(x, 5.0)"]
    stale = {tuple(identity)[-1] for identity in audit.as_dict()["stale"]}
    assert stale == {"return scale(x, 4.0)", "return scale(x, 5.0)"} and not audit.good


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[equivalent]]\nexercise = 'scale'\n", "entry 1 lacks 'operator'"),
        ("not toml", "not valid TOML"),
        (
            "[[equivalent]]\nexercise='a'\noperator='a'\nwhere='a'\n"
            "before='a'\nafter='a'\nreason=' '\n",
            "gives no reason",
        ),
    ],
)
def test_a_wrong_list_of_equivalents_is_refused(tmp_path, text, message):
    source = tmp_path / "91_wrong.py"
    equivalents_file(source).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_equivalents(source)


HANGS = {
    "busy": "def scale(x, factor):\n    while True:\n        pass\n",
    "asleep": "import time\ndef scale(x, factor):\n    time.sleep(60)\n",
}


@pytest.fixture(scope="module")
def outcomes(mini_path):
    """Answers that misbehave, judged one after the other by the same worker."""
    codes = HANGS | {
        "dies": "import os\ndef scale(x, factor):\n    os.abort()\n",
        "hungry": "def scale(x, factor):\n    return torch.ones(8 * 1024**3) * factor\n",
        "no Python": "def scale(x, factor):\n    return undefined\n",
        "fails at once": "raise OSError('no')\n",
        "right": "def scale(x, factor):\n    return factor * x\n",
    }
    limits = Limits(cpu_seconds=1, wall_seconds=2.5)
    jobs = [Job("scale", code) for code in codes.values()]
    return dict(zip(codes, judge_all(mini_path, jobs, 1, limits), strict=True))


@pytest.mark.parametrize("kind", HANGS)
def test_a_mutant_that_hangs_is_caught_as_a_timeout(outcomes, kind):
    assert outcomes[kind].status == "timeout" and outcomes[kind].passed == 0


def test_a_mutant_that_dies_eats_memory_or_fails_harms_no_other(outcomes):
    assert outcomes["dies"].status == "crashed"
    assert [outcomes[kind].status for kind in ("hungry", "no Python", "fails at once")] == (
        ["error"] * 3
    )
    assert outcomes["right"].status == "passed" and outcomes["right"].passed == 4


def test_the_fast_part_of_lab_01_is_caught(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    report, picture = tmp_path / "audit.json", tmp_path / "audit.png"
    result = CliRunner().invoke(
        app, ["audit", "01", "--fast", "--json", str(report), "--picture", str(picture)]
    )
    assert result.exit_code == 0, result.output
    (audit,) = json.loads(report.read_text())
    judged = [m for e in audit["exercises"] for m in e["mutants"]]
    assert len(judged) >= 60 and audit["caught_share"] >= 0.99 and audit["accepted_share"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_lab_declares_its_equivalents_well():
    for source in find_labs(ROOT / "solutions"):
        lab = read_lab(source)
        for entry in read_equivalents(source).values():
            assert entry.exercise in lab.exercises


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--picture", "audit.docx"], "its suffix must be one of"),
        (["--json", "/nowhere/audit.json"], "is no folder"),
        (["--workers", "0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(words, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    begin = time.monotonic()
    result = CliRunner().invoke(app, ["audit", "01", *words])
    assert result.exit_code == 1 and message in result.output
    assert time.monotonic() - begin < 10
