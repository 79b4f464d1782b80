"""Documentation: the paths and commands it names are there, its tables say what the code says, and
its examples do what they say."""

import ast
import json
import re
from dataclasses import fields

import pytest
import torch
import typer.main
from typer.testing import CliRunner

from labsupport.answers.respond import LabNamespace, answer_cases, make_driver
from labsupport.answers.tolerance import Tolerance
from labsupport.answers.wire import decode
from labsupport.cli import app
from labsupport.course.conda_environment import environment_text
from labsupport.course.header import KEYS
from labsupport.course.lab import KINDS, SourceError, solution_code
from labsupport.course.source import parse_lab, read_lab
from labsupport.data.results import Result, read_result
from labsupport.grading.audit.equivalents import read_equivalents
from labsupport.grading.audit.mutants import mutants_of
from labsupport.grading.judging.examples import examples_of
from labsupport.grading.judging.judge import AnswerKey
from labsupport.grading.judging.lab_code import namespace_of
from labsupport.grading.judging.verdicts import CAUSES, STATUSES
from labsupport.notebook.failures import CheckFailed
from tests.conftest import ROOT
from tests.unit.test_source import MISTAKES

PAGES = [ROOT / n for n in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
EXAMPLE = "98_pooling"
# files that are in no checkout: a course directory's, a learner's, the example's
ELSEWHERE = ("submitted/", "report/", "earlier/", "labs-work/", "nbgrader_config.py")
ELSEWHERE += (f"solutions/{EXAMPLE}.", "DIR/", "/etc/jupyter/")
ANYWHERE = ("__init__.py",)
# a placeholder, and what may stand in its place
PLACES = (("NN_name", "[0-9][0-9]_*"), ("NN_NAME", "[0-9][0-9]_*"), ("labNN", "lab[0-9][0-9]"))
PLACES += (("NAME", "*"),)


def fenced(page, language=None):
    """The blocks of code of a page, of one language where it is said."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.S | re.M)
    return [text for said, text in found if language in (None, said)]


def spans(page):
    """What stands in backticks in the text of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    return re.findall(r"`([^`\n]+)`", text)


def table(page, heading):
    """The cells of the rows of the first table whose head begins with some words."""
    lines = page.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading}"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def page(name):
    return ROOT / "docs" / f"{name}.md"


def named_paths(page):
    for span in spans(page):
        looks = "/" in span or span.endswith((".py", ".md", ".toml"))
        if looks and re.fullmatch(r"[\w./*-]+", span) and not span.startswith(ELSEWHERE):
            if span not in ANYWHERE:
                yield span


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_is_named_exists(page):
    for path in named_paths(page):
        pattern = path.rstrip("/")
        for name, stands_for in PLACES:
            pattern = pattern.replace(name, stands_for)
        places = [ROOT]
        if page.name == "architecture.md":
            places.append(ROOT / "labsupport")  # as its first lines say
        assert any(list(place.glob(pattern)) for place in places), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_in_a_sentence_runs_over_the_end_of_a_line(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    assert not [line for line in text.splitlines() if line.count("`") % 2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_paths_are_looked_for_in_earnest():
    assert {"solutions/NN_name.py", "tests/unit/test_docs.py"} <= set(
        named_paths(ROOT / "CONTRIBUTING.md")
    )
    assert sum(len(list(named_paths(page))) for page in PAGES) > 60


def named_commands(page, program):
    """The words after `program` wherever it is called."""
    lines = [line.split(" #")[0] for block in fenced(page) for line in block.splitlines()]
    for text in [*lines, *spans(page)]:
        if text.startswith(f"{program} "):
            yield text.split()[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_labs_exists_with_its_options(page):
    for words in named_commands(page, "labs"):
        command = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]
        assert not getattr(command, "commands", {}), f"no such command: labs … {' '.join(words)}"
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        used = {word for word in words if word.startswith("--")}
        assert used <= options, f"{command.name} has no {used - options}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in named_commands(page, "make"):
        assert words[0] in targets, words


def test_commands_are_looked_for_in_earnest():
    found = {words[0] for page in PAGES for words in named_commands(page, "labs")}
    assert {"build", "audit", "course", "grade", "experiment", "report", "collect"} <= found
    found = {words[0] for page in PAGES for words in named_commands(page, "make")}
    assert {"demo", "test", "lint", "test-fast", "format", "build", "bench"} <= found


# "Where do I change …"

ROWS = table(page("architecture"), "… | in")


def top_names(path):
    """The names that a module defines at its top."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from (t.id for t in targets if isinstance(t, ast.Name))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_changed_there_is_there(row):
    """A name is defined at the top of the file, words stand in it and in no other."""
    said = re.fullmatch(r'(?:its own )?`([^`]+)`(?: \((?:`([^`]+)`|"([^"]+)")\))?', row[1])
    assert said, row[1]
    path, name, words = said.groups()
    if path == "nbgrader_config.py" or path.startswith("solutions/"):
        return  # see below, and tests/labs
    assert (ROOT / path).is_file()
    assert name or words, "say what to look for"
    if path.endswith(".toml"):
        assert name in (ROOT / path).read_text().splitlines()
    elif name:
        assert name in list(top_names(ROOT / path))
    else:
        sources = (ROOT / "labsupport").rglob("*.py")
        holding = [p.relative_to(ROOT).as_posix() for p in sources if words in p.read_text()]
        assert holding == [path]


def test_the_walk_that_is_asked_for_most_has_its_rows():
    labels = " ".join(row[0] for row in ROWS)
    for words in ("colour of all plots", "time limit of a cell", "HART's scales", "on a timeout"):
        assert words in labels


def test_colours_of_plots_are_changed_in_one_file():
    import matplotlib.pyplot as plt

    from labsupport.notebook.plot.style import PALETTE, use_style

    with plt.rc_context():
        use_style()
        assert tuple(plt.rcParams["axes.prop_cycle"].by_key()["color"]) == PALETTE
    for colour in PALETTE:
        sources = (ROOT / "labsupport").rglob("*.py")
        holding = [p.name for p in sources if colour.lower() in p.read_text().lower()]
        assert holding == ["style.py"], colour


def test_the_time_limit_of_a_cell_is_changed_in_one_file(tmp_path, monkeypatch):
    from labsupport.grading.ledger.course_directory import init_course, load_config
    from labsupport.grading.running.limits import RunLimits

    monkeypatch.setattr(RunLimits, "cell_seconds", 17)
    init_course(tmp_path / "course", ROOT / "solutions", ["01"])
    assert load_config(tmp_path / "course").Execute.timeout == 17


def test_the_scales_of_hart_are_those_of_its_configuration():
    from labsupport.models.hart import HartConfig, untrained

    with torch.device("meta"):
        hart = untrained()
    assert hart.transformer.scales == hart.tokenizer.quantizer.scales == HartConfig().scales


def test_the_caption_of_the_third_walk_is_one():
    from labsupport.data.stickers import TEXT_LENGTH, tokenize

    said = re.search(r'^"(.+)" → `models/hart', page("architecture").read_text(), re.M)
    assert said and tokenize([said[1]]).shape == (1, TEXT_LENGTH)


# write-a-lab.md


@pytest.fixture(scope="module")
def example():
    """The lab at the end of the page."""
    blocks = [b for b in fenced(page("write-a-lab"), "python") if b.startswith("# ---")]
    (text,) = blocks
    return text


@pytest.fixture(scope="module")
def lab(example):
    return parse_lab(example, ROOT / "solutions" / f"{EXAMPLE}.py")


@pytest.fixture(scope="module")
def verdict(lab):
    """A function: the verdict on an exercise cell of the example's."""
    key = AnswerKey(lab)

    def judged(source):
        names = namespace_of(lab, {"mean_pool": source})
        challenge = key.challenge("mean_pool", "a student")
        message = decode(challenge.text)
        driver = make_driver(message["driver"], "mean_pool")
        answers = answer_cases(driver, LabNamespace(names), message["cases"])
        return key.verdict(challenge, {"nonce": message["nonce"], "answers": answers})

    return judged


def test_the_example_has_every_kind_of_cell(lab):
    assert {c.kind for c in lab.cells} == set(KINDS)
    assert lab.number == EXAMPLE[:2] and lab.minutes


def test_the_example_is_built_by_the_command(example, tmp_path, monkeypatch):
    (tmp_path / "labsupport").mkdir()
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / f"{EXAMPLE}.py").write_text(example)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["build", EXAMPLE[:2]], catch_exceptions=False)
    assert done.exit_code == 0 and "1 exercises, 4 points" in done.output
    built = (tmp_path / "notebooks" / f"{EXAMPLE}.ipynb").read_text()
    assert "mean_pool" in built and "tokens[:, 1:].mean(dim=1)" not in built
    assert (tmp_path / "data" / "checks" / f"{EXAMPLE}.json.gz").exists()
    assert (tmp_path / "environment.yml").read_text() == environment_text(ROOT)


def test_the_example_is_judged_as_it_says(lab, verdict, monkeypatch):
    drawn = json.loads(json.dumps(examples_of(AnswerKey(lab))))  # as from the file
    monkeypatch.setattr("labsupport.answers.examples._read", lambda _: drawn)
    assert verdict(solution_code(lab.one("exercise", "mean_pool").source)).status == "passed"
    check = lab.one("check", "mean_pool").source
    for cell in lab.of("alternative"):
        assert verdict(cell.source).status == "passed", cell.label
        exec(check, namespace_of(lab, {"mean_pool": cell.source}))
    for cell in lab.of("trap"):
        assert verdict(cell.source).cause == "known mistake"
        with pytest.raises(CheckFailed):
            exec(check, namespace_of(lab, {"mean_pool": cell.source}))


def test_the_equivalent_that_is_declared_is_a_mutant_of_the_example(lab, tmp_path):
    (text,) = fenced(page("write-a-lab"), "toml")
    (tmp_path / f"{EXAMPLE}.equivalents.toml").write_text(text)
    declared = read_equivalents(tmp_path / f"{EXAMPLE}.py")
    mutants = mutants_of(lab.one("exercise", "mean_pool"))
    assert set(declared) <= {mutant.identity for mutant in mutants} and len(declared) == 1
    assert f"puts {len(mutants)} mistakes into it" in page("write-a-lab").read_text()


def test_the_line_of_a_refusal_is_the_one_shown(example, lab):
    shown = next(b for b in fenced(page("write-a-lab"), "") if "unknown key" in b)
    with pytest.raises(SourceError) as caught:
        parse_lab(example.replace("rtol=1e-4", "rtoll=1"), lab.path)
    assert str(caught.value).removeprefix(f"{ROOT}/") == shown.strip()


def test_keys_of_the_header_are_listed():
    assert {row[0].strip("`") for row in table(page("write-a-lab"), "key")} == set(KEYS)


def test_kinds_of_cells_are_listed_with_what_the_student_sees(lab):
    rows = table(page("write-a-lab"), "marker")
    seen = {kind_of(row[0].strip("`")): row[-1].startswith(("yes", "one line")) for row in rows}
    assert seen == KINDS


def kind_of(marker):
    """The kind of cell that a marker begins."""
    word = re.search(r"(\w+)=", marker)
    if word and word[1] in KINDS:
        return word[1]
    if word:
        return "parameters" if "parameters" in marker else "given"
    return "prose" if "[markdown]" in marker else "given"


# judge.md


def test_what_a_student_reads_is_what_the_example_gives(lab, verdict):
    shown = next(b for b in fenced(page("judge"), "") if "two images" in b).splitlines()
    wrong = (
        lab.of("trap")[0].source,
        "def mean_pool(tokens):\n    return 2 * tokens[:, 1:].mean(1)",
        "def mean_pool(tokens):\n    return tokens[:, 1:].mean(2)",
        "def mean_pool(tokens):\n    return tokens[:, 1:].men(1)",
    )
    assert [verdict(source).message for source in wrong] == shown


def test_tolerance_statuses_and_causes_are_listed():
    assert {f: str(d) for f, d, _ in table(page("judge"), "field")} == {
        f"`{f.name}`": "None" if f.default is None else f"{f.default:.0e}".replace("e-0", "e-")
        for f in fields(Tolerance)
    }
    rows = table(page("judge"), "status")
    statuses, causes = (
        {word for row in rows for word in re.findall(r"`([^`]+)`", row[column])}
        for column in (0, 2)
    )
    assert statuses == set(STATUSES) and causes == set(CAUSES) - {""}


PARTS = ("parts = {'a': 1}", "parts = {'a': 1, 'b': 2}")  # one alone; not the marker's points


def test_refusals_are_worded_as_they_are_listed(mini_path, tmp_path):
    path, text, found = tmp_path / "90_mini.py", mini_path.read_text(), []
    changes = [(old, new) for old, new, *_ in MISTAKES.values()]
    changes += [("def stand_in(", f"{parts}\n\ndef stand_in(") for parts in PARTS]
    for old, new in changes:
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(SourceError) as caught:
            read_lab(path)
        found.append(str(caught.value).split(": ", 1)[1])
    for what, line in table(page("judge"), "in the judge"):
        assert line in found, what


def test_examples_of_judges_are_python():
    blocks = fenced(page("judge"), "python")
    assert len(blocks) >= 5
    for block in blocks:
        ast.parse(block)


# results.md


def test_entries_of_a_result_are_listed():
    listed = [row[0].strip("`") for row in table(page("results"), "entry")]
    assert listed == [f.name for f in fields(Result) if f.name != "more"]


def test_the_example_of_reading_reads():
    code = fenced(page("results"), "python")[0]
    names: dict = {}
    exec(code, names)
    assert 0 <= names["half"]["probe"] <= 1 and names["stored"] == read_result("07_mask_ratio")


def test_the_example_of_an_experiment_runs_keeps_and_goes_on(tmp_path):
    code = fenced(page("results"), "python")[1]
    asked = []

    def accuracy_of(seed, steps):
        asked.append((seed, steps))
        if asked == [(0, 800), (1, 800)]:
            raise KeyboardInterrupt  # killed
        return 0.5

    names = {"__name__": "labsupport.experiments.lab05.example", "accuracy_of": accuracy_of}
    exec(code, names)
    with pytest.raises(KeyboardInterrupt):
        names["main"](tmp_path)
    names["main"](tmp_path)
    assert asked == [(0, 800), (1, 800), (1, 800), (2, 800)]
    result = read_result(tmp_path / "data" / "results" / "05_example.json")
    assert [r["seed"] for r in result.records] == [0, 1, 2]
    assert result.command == "labs experiment 05 example"
