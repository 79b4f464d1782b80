"""What an audit found: counts, tables for a terminal, plain values for machines."""

from dataclasses import dataclass, field
from importlib.metadata import version

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labsupport.grading.audit.equivalents import Equivalent
from labsupport.grading.audit.mutants import Mutant
from labsupport.grading.audit.workers import Outcome

WANTED = 0.99  # of mutants that are mistakes, caught; of alternatives, all


@dataclass
class Alternative:
    """A right answer that the judge has to accept."""

    exercise: str
    label: str
    outcome: Outcome

    @property
    def accepted(self) -> bool:
        return self.outcome.passed == self.outcome.asked


@dataclass
class Result:
    """One mutant's fate. ``reason`` says why it was declared equivalent, "" if it was not."""

    mutant: Mutant
    outcome: Outcome
    reason: str = ""

    @property
    def fate(self) -> str:
        """ "equivalent", "caught" or "survived"; a declared mutant that is caught is "caught"."""
        if self.outcome.status != "passed":
            return "caught"
        # one that another student's inputs give away is a mistake, whatever was declared
        by_all = self.outcome.passed == self.outcome.asked
        return "equivalent" if self.reason and by_all else "survived"

    @property
    def stale(self) -> bool:
        return bool(self.reason) and self.fate != "equivalent"

    def as_dict(self) -> dict:
        mutant = self.mutant
        return {
            "operator": mutant.operator,
            "where": mutant.where,
            "before": mutant.before,
            "after": mutant.after,
            "fate": self.fate,
            "status": self.outcome.status,
            "message": self.outcome.message,
            "cause": self.outcome.cause,
            "hint": self.outcome.hint,
            "seeds_passed": self.outcome.passed,
            "reason": self.reason,
        }


@dataclass
class ExerciseAudit:
    """All mutants and alternatives of one exercise."""

    exercise: str
    results: list[Result] = field(default_factory=list)
    alternatives: list[Alternative] = field(default_factory=list)

    def count(self, fate: str, *statuses: str) -> int:
        """Mutants of a fate, all or those with a verdict of one of these statuses."""
        return sum(
            r.fate == fate and (not statuses or r.outcome.status in statuses) for r in self.results
        )


@dataclass
class LabAudit:
    """A whole lab. ``absent``: declared equivalents that match no mutant."""

    lab: str
    fast: bool
    exercises: list[ExerciseAudit]
    absent: list[Equivalent]
    seconds: float
    sandbox: bool = False

    @property
    def results(self) -> list[Result]:
        return [r for e in self.exercises for r in e.results]

    @property
    def caught_share(self) -> float:
        """Caught mutants as a share of those that are not equivalent."""
        caught = sum(r.fate == "caught" for r in self.results)
        survived = sum(r.fate == "survived" for r in self.results)
        return caught / max(caught + survived, 1)

    @property
    def accepted_share(self) -> float:
        right = [a for e in self.exercises for a in e.alternatives]
        return sum(a.accepted for a in right) / max(len(right), 1)

    @property
    def good(self) -> bool:
        stale = self.absent or any(r.stale for r in self.results)
        return self.caught_share >= WANTED and self.accepted_share == 1 and not stale

    def as_dict(self) -> dict:
        return {
            "lab": self.lab,
            "fast": self.fast,
            "seconds": round(self.seconds, 1),
            "sandbox": self.sandbox,
            "versions": {name: version(name) for name in ("labsupport", "torch", "cosmic-ray")},
            "caught_share": self.caught_share,
            "accepted_share": self.accepted_share,
            "exercises": [
                {
                    "exercise": e.exercise,
                    "mutants": [r.as_dict() for r in e.results],
                    "alternatives": [
                        {
                            "name": a.label,
                            "accepted": a.accepted,
                            "message": a.outcome.later or a.outcome.message,
                        }
                        for a in e.alternatives
                    ],
                }
                for e in self.exercises
            ],
            "stale": [list(r.mutant.identity) for r in self.results if r.stale]
            + [list(entry.identity) for entry in self.absent],
        }


def show(console: Console, audit: LabAudit) -> None:
    """Print the counts of each exercise, then all survivors, equivalents and stale entries."""
    table = Table(
        title=f"{audit.lab}: {'a sample of ' if audit.fast else ''}mutants of the "
        f"solutions, {audit.seconds:.0f} s"
        f"{'' if audit.sandbox else ', without a sandbox'}",
        title_justify="left",
    )
    table.add_column("exercise", no_wrap=True)
    for name in (
        "mutants",
        "caught",
        "by wrong answer",
        "by error",
        "by timeout",
        "survived",
        "equi- valent",
        "caught, %",
        "other right answers",
    ):
        table.add_column(name, justify="right")
    for row in audit.exercises:
        table.add_row(row.exercise, *_counts([row]))
    table.add_section()
    table.add_row("all", *_counts(audit.exercises), style="bold")
    console.print(table)
    _show_results(console, "Survived: the judge takes these for right", audit, "survived")
    _show_results(console, "Equivalent: no mistakes, for the reason given", audit, "equivalent")
    _show_stale(console, audit)
    for row in audit.exercises:
        for answer in (a for a in row.alternatives if not a.accepted):
            told = answer.outcome.later or answer.outcome.message
            console.print(
                f"[red]refused[/red] {row.exercise}, alternative {answer.label!r}: {escape(told)}",
                soft_wrap=True,
            )


def _counts(rows: list[ExerciseAudit]) -> list[str]:
    def total(fate: str, *statuses: str) -> int:
        return sum(row.count(fate, *statuses) for row in rows)

    caught, survived = total("caught"), total("survived")
    right = [a for row in rows for a in row.alternatives]
    return [
        str(sum(len(row.results) for row in rows)),
        str(caught),
        str(total("caught", "failed")),
        str(total("caught", "error", "missing", "crashed")),
        str(total("caught", "timeout")),
        str(survived),
        str(total("equivalent")),
        f"{caught / max(caught + survived, 1):.1%}",
        f"{sum(a.accepted for a in right)} of {len(right)}",
    ]


def _show_results(console: Console, title: str, audit: LabAudit, fate: str) -> None:
    results = [r for r in audit.results if r.fate == fate]
    if not results:
        return
    last = "reason" if fate == "equivalent" else "seeds passed"
    table = Table(title=title, show_lines=True, title_justify="left")
    for name in ("where", "operator", "before", "after", last):
        table.add_column(name, overflow="fold")  # an entry is declared by these very words
    for result in results:
        mutant = result.mutant
        told = result.reason or f"{result.outcome.passed} of {result.outcome.asked}"
        table.add_row(
            mutant.where, mutant.operator, escape(mutant.before), escape(mutant.after), told
        )
    console.print(table)


def _show_stale(console: Console, audit: LabAudit) -> None:
    for result in (r for r in audit.results if r.stale):
        told = result.outcome.later or result.outcome.message
        console.print(
            f"[red]stale[/red] declared equivalent, yet it is caught: "
            f"{escape(' | '.join(result.mutant.identity))} ({escape(told)})",
            soft_wrap=True,
        )
    for entry in audit.absent:
        console.print(
            "[red]stale[/red] declared equivalent, but there is no such mutant: "
            f"{escape(' | '.join(entry.identity))}",
            soft_wrap=True,
        )
