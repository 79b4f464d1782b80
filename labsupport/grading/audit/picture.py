"""The audit as a picture: for each exercise, what became of its mutants."""

from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure  # not pyplot: there is no screen to show it on

from labsupport.grading.audit.results import LabAudit
from labsupport.notebook.plot import style

# Okabe and Ito's colours, and hatching where a print has none.
PARTS = (
    ("caught: wrong answer", style.BLUE, "", ("caught", "failed")),
    ("caught: error", style.SKY, "", ("caught", "error", "missing", "crashed", "tampered")),
    ("caught: timeout", style.PURPLE, "..", ("caught", "timeout")),
    ("equivalent", "#DDDDDD", "", ("equivalent",)),
    ("survived", style.RED, "///", ("survived",)),
)


def check_suffix(path: Path) -> None:
    """Raises ValueError for a suffix that no picture can be saved under."""
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"picture is {str(path)!r}; its suffix must be one of {', '.join(known)}")


def save_picture(audits: list[LabAudit], path: Path) -> None:
    """Draw one bar for each exercise of the labs and save it; the suffix gives the format."""
    rows = [(audit, exercise) for audit in audits for exercise in audit.exercises]
    figure = Figure(figsize=(9, 1.6 + 0.42 * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for row, (_, exercise) in enumerate(rows):
        left = 0
        for label, colour, hatch, (fate, *statuses) in PARTS:
            count = exercise.count(fate, *statuses)
            axes.barh(
                row,
                count,
                left=left,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                height=0.7,
                label=label if row == 0 else None,
            )
            left += count
        caught, survived = exercise.count("caught"), exercise.count("survived")
        share = f"{caught / max(caught + survived, 1):.1%} caught"
        if exercise.green_but_lost:
            share += f", {len(exercise.green_but_lost)} with a green check"
        axes.annotate(
            share,
            (left, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=style.RED if survived else "black",
        )
    axes.set_yticks(range(len(rows)), [f"{audit.lab[:2]} {e.exercise}" for audit, e in rows])
    axes.set_xlabel("mutants of the solution")
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(PARTS), frameon=False, fontsize=9)
    figure.suptitle(_headline(audits), x=0.01, ha="left", fontsize=13)
    figure.savefig(path, dpi=150)


def _headline(audits: list[LabAudit]) -> str:
    results = [r for audit in audits for r in audit.results]
    caught = sum(r.fate == "caught" for r in results)
    mistakes = caught + sum(r.fate == "survived" for r in results)
    right = [a for audit in audits for e in audit.exercises for a in e.alternatives]
    accepted = len(right) - sum(e.refused for audit in audits for e in audit.exercises)
    return (
        f"The judges caught {caught:,} of {mistakes:,} mistakes;\njudges and checks accepted "
        f"{accepted:,} of {len(right):,} right answers"
    )
