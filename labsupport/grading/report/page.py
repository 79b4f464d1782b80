"""Report as one page of HTML that needs nothing else: no script, no network, prints well."""

import datetime
from collections import Counter
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labsupport.grading.report.data import UNANSWERED, LabResults, Run
from labsupport.grading.report.mistakes import catalogue_size, mistakes
from labsupport.grading.report.pictures import LOW, item_picture, outcomes, score_picture
from labsupport.grading.report.statistics import (
    ENOUGH,
    FEWEST,
    ItemStatistics,
    describe,
    quantile,
    reliability,
)

SHOWN = 15  # rows of a list; the CSV has them all
NAMED = 4  # students named in one row


def render(
    results: LabResults, items: list[ItemStatistics], course: str, now: datetime.datetime
) -> str:
    """The page's text. Everything that comes from a submission is escaped by the template."""
    template = _environment(results).get_template("page.html.j2")
    graded = results.graded
    scores = [run.score for run in graded]
    about = describe(scores)
    wrong = mistakes(results)
    known = sorted((i for i in items if i.settled), key=lambda i: i.ease or 0)
    seconds = [run.seconds for run in graded if run.seconds is not None]
    return template.render(
        lab=results.lab,
        course=course,
        now=now.strftime("%d %B %Y, %H:%M"),
        results=results,
        graded=graded,
        about=about,
        items=items,
        outcomes=[outcomes(results, i.item) for i in items],
        early=[i for i in items if i.waiting and not i.settled],
        enough=ENOUGH,
        hardest=known[0] if len(known) > 1 else None,
        easiest=known[-1] if known else None,
        weak=[i for i in items if i.power is not None and i.power < LOW],
        alpha=reliability(results),
        scores=score_picture(scores, results.max_score, about),
        drawing=item_picture(results, items),
        low=LOW,
        fewest=FEWEST,
        shown=SHOWN,
        wrong=wrong,
        catalogue=catalogue_size(results.lab),
        hits=sum(len(m.students) for m in wrong if m.catalogued),
        wrong_total=sum(len(m.students) for m in wrong),
        unanswered=sum(s in UNANSWERED for r in graded for s, _ in r.verdicts.values()),
        late=sorted((r for r in graded if r.is_late), key=lambda r: -r.late_hours),
        waiting=[r for r in graded if r.waiting],
        failed=[r for r in results.runs if r.problem],
        troubled=[r for r in graded if _troubles(r)],
        troubles=_troubles,
        slowest=sorted((r for r in graded if r.seconds is not None), key=_seconds, reverse=True)[
            :5
        ],
        run_median=describe(seconds).median,
        run_most=quantile(seconds, 0.9),
        repairs=_grouped((repair, r.student) for r in graded for repair in r.repairs),
        repaired=sum(bool(r.repairs) for r in graded),
        versions=Counter(r.versions or "not recorded" for r in graded).most_common(),
        unsandboxed=[r.student for r in graded if r.sandbox is False],
        unknown=[r.student for r in graded if r.sandbox is None],
    )


def _seconds(run: Run) -> float:
    return run.seconds or 0


def _troubles(run: Run) -> list[str]:
    """What went wrong while a graded submission ran."""
    found = list(run.deaths)
    found += [
        f"{name}: {message}"
        for name, (status, message) in run.verdicts.items()
        if status in ("timeout", "not reached", "tampered")
    ]
    return found


def _grouped(pairs) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for what, who in pairs:
        groups.setdefault(what, []).append(who)
    return sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))


def _environment(results: LabResults) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "names": lambda students, most=NAMED: names([results.who(s) for s in students], most),
        "who": results.who,
        "plural": plural,
        "fixed": fixed,
    }
    return environment


def number(value: float | None, digits: int = 1) -> str:
    """A number, or "-" where there is none; trailing zeros are not shown."""
    return "-" if value is None else f"{round(value, digits) + 0:.{digits + 6}g}"


def fixed(value: float | None) -> str:
    """A correlation, or the like, to two decimals."""
    return "-" if value is None else f"{round(value, 2) + 0:.2f}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def names(students: list[str], most: int = NAMED) -> str:
    more = len(students) - most
    return ", ".join(students[:most]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
