"""Feedback pages: what a student reads of a graded notebook, whole without a network.

nbgrader makes the page, from a template and with an exporter of our own: its index calls every
exercise "Test cell", shows an answer that waits as 0 points, and fetches MathJax when it is opened.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment
from nbconvert.exporters import HTMLExporter, TemplateExporter
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from traitlets.config import Config

from labsupport.answers.text import one_line
from labsupport.grading.ledger.exemptions import exempt_cells
from labsupport.grading.ledger.formulas import formulas_in
from labsupport.grading.ledger.rendering import (
    CompiledTemplates,
    KeptHighlight,
    kept_markdown,
    may_lack_alt,
)
from labsupport.grading.ledger.rubric import without_rubrics
from labsupport.grading.ledger.standing import seconds_late

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = "labs_feedback"


@dataclass
class Mark:
    """What became of one exercise. ``state``: "graded", "waiting" or "exempt"; ``verdict``: the
    judge's word where it is not "passed"."""

    name: str
    anchor: str
    points: float
    most: float
    state: str = "graded"
    verdict: str = ""
    commented: bool = False

    @property
    def shown(self) -> str:
        if self.state == "exempt":
            return "exempt: it does not count"
        if self.state == "waiting":
            return f"waiting to be graded, up to {points(self.most)}"
        return f"{number(self.points)} of {points(self.most)}"


@dataclass
class Summary:
    """The head of a page. ``score`` is after the ``penalty``; of what waits it has nothing."""

    title: str
    marks: list[Mark] = field(default_factory=list)
    penalty: float = 0.0
    late: str = ""
    repairs: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        return max(0.0, sum(m.points for m in self.marks if m.state != "exempt") - self.penalty)

    @property
    def most(self) -> float:
        return sum(m.most for m in self.marks if m.state != "exempt")

    @property
    def waiting(self) -> int:
        return sum(m.state == "waiting" for m in self.marks)

    def mark_of(self, cell: NotebookNode) -> Mark | None:
        anchor = cell.metadata.get("nbgrader", {}).get("grade_id")
        return next((m for m in self.marks if m.anchor == anchor), None)


class FeedbackExporter(HTMLExporter):
    """What ``c.GenerateFeedback.exporter_class`` is set to in a course's configuration.

    A template that is named there (``c.FeedbackExporter.template_name``) takes the place of ours.
    """

    def __init__(self, config: Any = None, **kwargs: Any) -> None:
        # nbgrader names its own template in HTMLExporter's settings; this class's come before them
        ours = Config({"FeedbackExporter": {"template_name": TEMPLATE}})
        ours.FeedbackExporter.extra_template_basedirs = [str(TEMPLATES)]
        ours.merge(config or {})
        super().__init__(config=ours, **kwargs)

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kwargs: Any) -> Any:
        """As the base class does it, but for its last step, which reads the page anew: it gives
        words to pictures that have none, and marks places of Jupyter's own templates. Where no
        picture lacks them there is nothing to do on a page of ours, and it takes longer than all
        else."""
        shown = without_rubrics(nb)
        if self.template_name == TEMPLATE:
            page = self._unread(shown, self._init_resources(resources), **kwargs)
            if not may_lack_alt(page[0]):
                return page
        return super().from_notebook_node(shown, resources, **kwargs)

    def _unread(self, nb: NotebookNode, resources: Any, **kwargs: Any) -> tuple[str, Any]:
        language = nb.metadata.get("language_info", {})
        lexer = language.get("pygments_lexer", language.get("name"))
        known = WidgetsDataTypeFilter(
            notebook_metadata=self._nb_metadata, parent=self, resources=resources
        )
        highlight = self.filters.get(
            "highlight_code", KeptHighlight(pygments_lexer=lexer, parent=self)
        )
        self.register_filter("filter_data_type", known)
        self.register_filter("highlight_code", highlight)
        return TemplateExporter.from_notebook_node(self, nb, resources, **kwargs)

    def _create_environment(self) -> Environment:
        environment = super()._create_environment()
        environment.bytecode_cache = CompiledTemplates()
        return environment

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        yield from super().default_filters()
        yield "feedback_summary", self.summary
        yield "number", number
        yield "points", points
        yield "formulas", formulas_in
        yield "our_markdown", self.our_markdown

    def our_markdown(self, source: str, cell: NotebookNode | None = None) -> str:
        attachments = cell.get("attachments", {}) if cell else {}
        return kept_markdown(source, attachments, self.lexer_options)

    def summary(self, notebook: NotebookNode, resources: Any) -> Summary:
        """What the page's head says, out of the graded notebook and the gradebook."""
        about, where = notebook.metadata.get("labsupport", {}), resources["nbgrader"]
        graded = notebook.metadata.get("labsupport_grading", {})
        number_of, title = about.get("lab", ""), about.get("title") or where["notebook"]
        found = Summary(one_line(f"{number_of} {title}".strip(), 200))
        found.repairs = [one_line(str(r), 300) for r in graded.get("repairs") or []]
        found.penalty = float(where.get("late_penalty") or 0)
        waiting, seconds = _kept(where)
        found.late = lateness(seconds)
        root = Path(self.config.get("CourseDirectory", {}).get("root") or ".")
        exempt = exempt_cells(root).get((where["assignment"], where["student"]), set())
        verdicts = {v.get("exercise"): v.get("status") for v in graded.get("verdicts") or []}
        for cell in notebook.cells:
            nbgraders = cell.metadata.get("nbgrader", {})
            if nbgraders.get("grade") or nbgraders.get("task"):
                found.marks.append(_mark(cell, verdicts, waiting, exempt))
        return found


def number(value: float) -> str:
    """Points as they are spoken of: 2, 1.5, 0.33."""
    return f"{round(float(value), 2) + 0:g}"


def points(value: float) -> str:
    """A number of points with its noun."""
    return f"{number(value)} point{'' if round(float(value), 2) == 1 else 's'}"


def lateness(seconds: float) -> str:
    """A time as words, "" for none: 49 h, 2 h 5 min, 1 min."""
    if seconds <= 0:
        return ""
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    return " ".join(f"{n} {unit}" for n, unit in ((hours, "h"), (rest, "min")) if n)


def _mark(cell: NotebookNode, verdicts: dict, waiting: set[str], exempt: set[str]) -> Mark:
    about, nbgraders = cell.metadata.get("labsupport", {}), cell.metadata.nbgrader
    anchor, name = nbgraders.grade_id, str(about.get("name") or nbgraders.grade_id)
    mark = Mark(name, anchor, float(nbgraders.score), float(nbgraders.points))
    if about.get("kind") == "judge":
        verdict = str(verdicts.get(name) or "passed")
        mark.verdict = "" if verdict == "passed" else verdict
    else:
        mark.name = f"{name}, written"
    mark.commented = bool(nbgraders.get("comment"))
    if anchor in exempt:
        mark.state = "exempt"
    elif anchor in waiting:
        mark.state = "waiting"
    return mark


def _kept(where: Any) -> tuple[set[str], float]:
    """The cells that wait for a person, and seconds late, as the gradebook has them."""
    with Gradebook(where["db_url"]) as gradebook:
        try:
            submission = gradebook.find_submission(where["assignment"], where["student"])
        except MissingEntry:
            return set(), 0.0
        grades = [g for n in submission.notebooks for g in n.grades]
        return {g.name for g in grades if g.needs_manual_grade}, seconds_late(submission)
