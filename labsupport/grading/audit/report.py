"""The report of an audit: tables for a terminal."""

from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labsupport.grading.audit.results import ExerciseAudit, LabAudit, Result

DIAGNOSES = ("right", "seen", "silent", "wrong")


def show(console: Console, audit: LabAudit) -> None:
    """Print the counts of each exercise, then all survivors, equivalents and stale entries."""
    sample = "a sample of " if audit.fast else ""
    wall = "" if audit.sandbox else ", without a sandbox"
    title = f"{audit.lab}: {sample}mutants of the solutions, {audit.seconds:.0f} s{wall}"
    console.print(_table(title, audit, _mistakes))
    console.print(_table("Right answers, and what is said of wrong ones", audit, _fairness))
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


def _table(
    title: str, audit: LabAudit, counts: Callable[[list[ExerciseAudit]], dict[str, str]]
) -> Table:
    """A row an exercise, and one for all."""
    table = Table(title=title, title_justify="left")
    table.add_column("exercise", no_wrap=True)
    for name in counts([]):
        table.add_column(name, justify="right")
    for row in audit.exercises:
        table.add_row(row.exercise, *counts([row]).values())
    table.add_section()
    table.add_row("all", *counts(audit.exercises).values(), style="bold")
    return table


def _mistakes(rows: list[ExerciseAudit]) -> dict[str, str]:
    results = [r for row in rows for r in row.results]
    fates = Counter(r.fate for r in results)
    caught, survived = fates["caught"], fates["survived"]
    return {
        "mutants": str(len(results)),
        "caught": str(caught),
        "survived": str(survived),
        "equi- valent": str(fates["equivalent"]),
        "caught, %": f"{caught / max(caught + survived, 1):.1%}",
        "by the check": str(sum(r.fate == "caught" and bool(r.outcome.red) for r in results)),
        "green but lost": str(sum(r.green_but_lost for r in results)),
        "red but full": str(sum(r.red_but_full for r in results)),
    }


def _fairness(rows: list[ExerciseAudit]) -> dict[str, str]:
    right = sum(len(row.alternatives) for row in rows)
    told = {kind: str(sum(row.diagnosed(kind) for row in rows)) for kind in DIAGNOSES}
    return {
        "right answers": str(right),
        "refused": str(sum(row.refused for row in rows)),
        "cause told": told["right"],
        "how it differs": told["seen"],
        "neither": told["silent"],
        "wrong cause": told["wrong"],
    }


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
