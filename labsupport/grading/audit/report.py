"""The report of an audit: tables for a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labsupport.grading.audit.results import ExerciseAudit, LabAudit, Result

COLUMNS = (
    "mutants",
    "caught by the judge",
    "by the check",
    "green but lost",
    "red but full",
    "survived",
    "equi- valent",
    "caught, %",
    "right answers accepted",
    "diagnosed, right",
    "seen",
    "silent",
    "wrong",
)
DIAGNOSES = ("right", "seen", "silent", "wrong")


def show(console: Console, audit: LabAudit) -> None:
    """Print the counts of each exercise, then all survivors, equivalents and stale entries."""
    table = Table(
        title=f"{audit.lab}: {'a sample of ' if audit.fast else ''}mutants of the "
        f"solutions, {audit.seconds:.0f} s"
        f"{'' if audit.sandbox else ', without a sandbox'}",
        title_justify="left",
    )
    table.add_column("exercise", no_wrap=True)
    for name in COLUMNS:
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
        for answer in row.alternatives:
            told = answer.outcome.later or answer.outcome.message if not answer.accepted else ""
            red = (answer.outcome.red or "").replace("\n", " ")
            for who, said in (("judge", told), ("check", red)):
                if said:
                    console.print(
                        f"[red]refused[/red] by the {who}: {row.exercise}, {answer.label!r}: "
                        f"{escape(said)}",
                        soft_wrap=True,
                    )
        for result in row.green_but_lost:
            _show_one(console, "green but lost", result, result.outcome.message)
        for result in row.red_but_full:
            _show_one(console, "red but full", result, (result.outcome.red or "").splitlines()[0])
        for result in row.results:
            if result.diagnosis == "wrong":
                _show_one(console, "wrong diagnosis", result, result.outcome.hint)
        for trap in (t for t in row.traps if t.diagnosis != "right"):
            console.print(
                f"[red]not told[/red] {row.exercise}, {trap.label!r}: "
                f"{escape(trap.outcome.message)}",
                soft_wrap=True,
            )


def _show_one(console: Console, what: str, result: Result, said: str) -> None:
    mutant = result.mutant
    console.print(
        f"[red]{what}[/red] {escape(f'{mutant.where}: {mutant.before!r} → {mutant.after!r}')}: "
        f"{escape(said)}",
        soft_wrap=True,
    )


def _counts(rows: list[ExerciseAudit]) -> list[str]:
    def total(fate: str) -> int:
        return sum(row.count(fate) for row in rows)

    caught, survived = total("caught"), total("survived")
    results = [r for row in rows for r in row.results]
    right = [a for row in rows for a in row.alternatives]
    return [
        str(len(results)),
        str(caught),
        str(sum(r.fate == "caught" and bool(r.outcome.red) for r in results)),
        str(sum(r.green_but_lost for r in results)),
        str(sum(r.red_but_full for r in results)),
        str(survived),
        str(total("equivalent")),
        f"{caught / max(caught + survived, 1):.1%}",
        f"{len(right) - sum(row.refused for row in rows)} of {len(right)}",
        *(str(sum(row.diagnosed(kind) for row in rows)) for kind in DIAGNOSES),
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
