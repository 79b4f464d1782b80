"""What is given to a platform: a number where there is a grade, else nothing and the reason why."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from labsupport.grading.ledger.feedback import lateness, number, points
from labsupport.grading.ledger.standing import Standing

SAME = 0.005  # platforms show two decimals


@dataclass(frozen=True)
class Rules:
    """What the instructor has asked for. ``missing_as_zero``: 0 where nothing was handed in;
    ``scale``: to the platform's points, where they are others than the lab's."""

    missing_as_zero: bool = False
    scale: bool = True
    feedback: bool = True


@dataclass
class Line:
    """What became of one student's grade in one lab; ``lab`` is "" where it is of a whole row."""

    lab: str
    student: str
    name: str = ""
    points: str = ""
    note: str = ""

    @property
    def written(self) -> bool:
        return bool(self.points)


@dataclass
class Exported:
    """``notes``: what is true of a whole lab, a scale, say; ``pages``: feedback pages packed, by
    lab; ``unpacked``: (lab, student, reason) of grades that go without their page."""

    platform: str
    lines: list[Line] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pages: dict[str, int] = field(default_factory=dict)
    unpacked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def left_out(self) -> list[Line]:
        return [line for line in self.lines if not line.written]

    @property
    def complete(self) -> bool:
        return not self.left_out and not self.unpacked

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def given(one: Standing | None, most: float | None, rules: Rules) -> tuple[float | None, str]:
    """The number to write, or None and the reason. ``most``: the platform's points for it."""
    if one is None:
        return None, "the course knows nothing of this student in this lab"
    if one.state == "not handed in" and rules.missing_as_zero:
        return 0.0, ""
    if one.state != "graded" or one.score is None:
        return None, one.reason or one.state
    if not most or not rules.scale:
        return one.score, ""
    if one.max_score <= 0:
        return None, "nothing in it counts for this student, so there is no share of points"
    return one.score * most / one.max_score, ""


def how(one: Standing | None, before: float | None, value: float) -> str:
    """What to say of a number that was written; ``before``: the one that it takes the place of."""
    replaced = f"in place of {number(before)}" if before is not None else ""
    if before is not None and abs(before - value) <= SAME:
        replaced = ""
    return "; ".join(filter(None, (one.reason if one else "", replaced)))


def scale_note(lab: str, one: Standing, most: float | None, rules: Rules, platform: str) -> str:
    """What to say where a platform's points are not the lab's."""
    if not one.max_score:
        return ""
    if not most:
        return f"{lab}: {platform} says no number of points; the lab's own were written"
    if most == one.max_score:
        return ""
    if not rules.scale:
        return (
            f"{lab}: points of {number(one.max_score)} were written as they are, though "
            f"{platform} has {number(most)}"
        )
    return f"{lab}: scaled from {number(one.max_score)} to {platform}'s {points(most)}"


def with_source(line: Line, by: str) -> str:
    """A line's note; whoever uploads the file is told whose grade only a name has found."""
    if by != "name" or not line.written:
        return line.note
    return "; ".join(filter(None, (line.note, "found by name only")))


def comment(one: Standing) -> str:
    """A grade in a line, as HTML: for a field that is read beside it."""
    said = [f"{number(one.score or 0)} of {points(one.max_score)}"]
    if one.penalty:
        late = lateness(one.late_seconds)
        said.append(f"handed in {late} late: {points(one.penalty)} off".replace("  ", " "))
    if one.repaired:
        said.append(f"repaired before grading: {one.repaired}")
    return escape("; ".join(said), quote=False)
