"""Results of an audit: what became of every mistake and of every right answer, and the counts."""

from dataclasses import dataclass, field
from importlib.metadata import version

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

    @property
    def green(self) -> bool:
        return not self.outcome.red


@dataclass
class KnownMistake:
    """A trap, and whether its student is told ``text``."""

    label: str
    text: str
    outcome: Outcome

    @property
    def diagnosis(self) -> str:
        """ "right", "silent" or "wrong"."""
        if self.text in self.outcome.message:
            return "right"
        return "wrong" if self.outcome.hint else "silent"


@dataclass
class Result:
    """One mutant's fate. ``reason`` says why it was declared equivalent, "" if it was not;
    ``stray``: it was diagnosed as a known mistake of other lines than its own."""

    mutant: Mutant
    outcome: Outcome
    reason: str = ""
    stray: bool = False

    @property
    def fate(self) -> str:
        """ "equivalent", "caught" or "survived"; a declared mutant that is caught is "caught"."""
        if self.outcome.status != "passed":
            return "caught"
        # one that another student's inputs give away is a mistake, whatever was declared
        by_all = self.outcome.passed == self.outcome.asked
        return "equivalent" if self.reason and by_all else "survived"

    @property
    def green_but_lost(self) -> bool:
        """The visible check finds nothing, and the judge does."""
        return self.fate == "caught" and self.outcome.red == ""

    @property
    def red_but_full(self) -> bool:
        """The judge gives full points for what the visible check refuses."""
        return self.fate != "caught" and bool(self.outcome.red)

    @property
    def diagnosis(self) -> str:
        """ "right", "seen" (how and where, without a cause), "silent", "wrong"; "" where no
        answer was wrong."""
        if self.outcome.hint:
            return "wrong" if self.stray else "right"
        if self.outcome.cause != "not what is right":
            return ""
        return "seen" if self.outcome.seen else "silent"

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
            "seen": self.outcome.seen,
            "check": self.outcome.red,
            "diagnosis": self.diagnosis,
            "seeds_passed": self.outcome.passed,
            "reason": self.reason,
        }


@dataclass
class ExerciseAudit:
    """All mutants, known mistakes and right answers of one exercise."""

    exercise: str
    results: list[Result] = field(default_factory=list)
    alternatives: list[Alternative] = field(default_factory=list)
    traps: list[KnownMistake] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """Right answers that lose points, or that the visible check refuses."""
        return sum(not (a.accepted and a.green) for a in self.alternatives)

    @property
    def green_but_lost(self) -> list[Result]:
        return [r for r in self.results if r.green_but_lost]

    @property
    def red_but_full(self) -> list[Result]:
        return [r for r in self.results if r.red_but_full]

    def diagnosed(self, kind: str) -> int:
        """Mutants and known mistakes whose diagnosis is of a kind, see ``Result.diagnosis``."""
        kinds = [r.diagnosis for r in self.results] + [t.diagnosis for t in self.traps]
        return kinds.count(kind)

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
        refused = sum(e.refused for e in self.exercises)
        return self.caught_share >= WANTED and not refused and not stale

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
                            "check": a.outcome.red,
                        }
                        for a in e.alternatives
                    ],
                }
                for e in self.exercises
            ],
            "stale": [list(r.mutant.identity) for r in self.results if r.stale]
            + [list(entry.identity) for entry in self.absent],
        }
