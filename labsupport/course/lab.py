"""A lab as an object: its cells, their kinds, and what the header says of it."""

from dataclasses import dataclass, field
from pathlib import Path

from labsupport.answers.tolerance import Tolerance
from labsupport.errors import LabError

# kind -> is it in the student's notebook?
KINDS = {
    "prose": True,  # markdown
    "given": True,  # locked code
    "parameters": True,  # PROFILE and SEED; the student may change them
    "exercise": True,  # the body between the solution markers is removed
    "check": True,  # visible, immediate, ungraded
    "judge": True,  # as one line that says what will be graded; its code stays here
    "experiment": True,  # trains or measures; not run when grading
    "widget": True,  # needs a person; not run when grading
    "question": True,  # a written answer, graded by hand
    "trap": False,  # a wrong answer, and what to tell the student who hands it in
    "alternative": False,  # another right answer
}
# What a cell's marker may say: a kind with the exercise's (or the cell's own) name, and these.
NAMED = ("exercise", "check", "judge", "experiment", "widget", "question", "trap", "alternative")
MARKER_KEYS = (*NAMED, "name", "points", "tags")
GRADED = ("judge", "question")  # kinds that give points
TAGS = ("parameters", "setup")  # "setup": a given cell that the judge runs too
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


class SourceError(LabError):
    """A mistake in a lab's source: ``file:line: problem; mend``."""

    def __init__(self, path: Path, line: int, problem: str, mend: str):
        self.path, self.line, self.problem, self.mend = path, line, problem, mend
        super().__init__(f"{path}:{line}: {problem}; {mend}")


@dataclass
class LabCell:
    """One cell of a lab. ``line`` is that of its marker; ``name`` links exercise, check, judge,
    "" where a cell has none."""

    kind: str
    source: str
    line: int
    cell_type: str = "code"
    name: str = ""
    label: str = ""  # name= of a trap, an alternative or a given cell
    points: float = 0  # of a judge or question
    parts: dict[str, float] = field(default_factory=dict)  # of a judge: points by part, or none
    tolerance: Tolerance = Tolerance()  # of a judge
    tags: list[str] = field(default_factory=list)
    id: str = ""


@dataclass
class Lab:
    """A parsed lab. ``stem`` is the file's name, ``01_vision_transformer``; ``minutes`` about how
    long a student takes, None where the header does not say."""

    path: Path
    stem: str
    number: str
    title: str
    cells: list[LabCell]
    masks: tuple[str, ...] = ()  # package files hidden while it is graded: they hold its answers
    minutes: int | None = None

    def of(self, kind: str, name: str | None = None) -> list[LabCell]:
        """All cells of a kind (and, where given, of one exercise)."""
        return [c for c in self.cells if c.kind == kind and name in (None, c.name)]

    def one(self, kind: str, name: str) -> LabCell:
        """The first cell of a kind and exercise. Raises IndexError where there is none."""
        return self.of(kind, name)[0]

    @property
    def exercises(self) -> list[str]:
        """The names of all exercises, in the lab's order."""
        return [c.name for c in self.of("exercise")]

    @property
    def points(self) -> float:
        """What the whole lab gives, written questions included."""
        return sum(c.points for c in self.cells)


def solution_code(source: str) -> str:
    """An exercise cell as a student who solved it would have it: without the markers."""
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))
