"""Exemptions: one student need not do one exercise, which then leaves score and maximum.

nbgrader has no field for it. DIR/exemptions.csv says who is exempt from what, one a line. In the
gradebook the exempt exercise's points are set to 0 as if by hand, and its comment says "Exempt";
so formgrader, the late policy and nbgrader's own exporter count no points for it. nbgrader has one
maximum a lab, the class's: its exporter shows the exempt student's score beside that one, while
grades.csv, the report and ``labs export`` show the student's own.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

FILE = "exemptions.csv"
COLUMNS = ("lab", "student", "exercise", "points_before")


@dataclass(frozen=True)
class Exemption:
    """``points_before``: what a person had given by hand, which comes back when it is revoked."""

    lab: str
    student: str
    exercise: str
    points_before: str = ""

    @property
    def cells(self) -> tuple[str, str]:
        """What nbgrader may call the exercise's points: judged, or graded by hand."""
        return f"judge-{self.exercise}", f"answer-{self.exercise}"


def read_exemptions(folder: Path) -> list[Exemption]:
    """Who is exempt from what in a course, in the file's order."""
    path = folder / FILE
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [
            Exemption(*(str(line.get(name) or "").strip() for name in COLUMNS))
            for line in csv.DictReader(file)
        ]


def exempt_cells(folder: Path) -> dict[tuple[str, str], set[str]]:
    """The grade cells that do not count, by (lab, student)."""
    found: dict[tuple[str, str], set[str]] = {}
    for one in read_exemptions(folder):
        found.setdefault((one.lab, one.student), set()).update(one.cells)
    return found
