"""Files that one student, or one group, handed in."""

import datetime
from dataclasses import dataclass, field

from labsupport.grading.collect.archive import Member


@dataclass
class Notebook:
    """A notebook as handed in. Of two with one ``name`` the greater ``attempt`` is the newer."""

    member: Member
    name: str  # as the student named it
    attempt: tuple = ()
    when: datetime.datetime | None = None  # handed in, where that is known


@dataclass(frozen=True)
class Stray:
    """A file of which it is not known whose it is, and why."""

    name: str
    doubt: str = ""  # where it is one of several students'

    @property
    def doubtful(self) -> bool:
        return bool(self.doubt)

    @property
    def why(self) -> str:
        return self.doubt or "whose it is cannot be told from its name"


@dataclass
class HandIn:
    """``ids`` are what a map may call the student; ``own_id`` is taken where there is no map,
    unless there is a reason against it (``unless_mapped``). ``person``: what the platform says of
    the student, by nbgrader's names for it."""

    key: str
    shown: str
    ids: list[str]
    own_id: str = ""
    late: bool = False  # by the platform's word
    notebooks: list[Notebook] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    problem: str = ""
    unless_mapped: str = ""
    person: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.own_id = self.own_id or self.ids[0]

    def add(self, other: "HandIn") -> None:
        """Take in another file of the same student."""
        self.notebooks += other.notebooks
        self.others += other.others
        self.late = self.late or other.late
        self.problem = self.problem or other.problem
