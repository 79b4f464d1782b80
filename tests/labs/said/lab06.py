"""Lab 06: views, captions, templates, styles and word order."""

import math
from statistics import mean, stdev

from tests.labs.statements import by, numbers, percent


def said(run):
    yield from views(run)
    yield from own_run(run)
    yield from captions(run)
    yield from word_order(run)
    both = 2 * math.log(128)
    yield f"guesses among 128 pairs has {both:.2f} by the one and {both / 2:.2f} by the other"


def views(run):
    nets = by(run.stored("06_simclr")["records"], "net")
    few = "accuracy, 80 labels"
    untrained, learned, whole = (
        percent(nets[name], few) for name in ("untrained", "SimCLR", "all trained on the labels")
    )
    yield (
        "In the stored runs, with two labels a thing, the tower that learned from views alone gives "
        f"{learned / untrained:.1f} times what the untrained one gives (even that is far above "
        f"chance), and {learned - whole:.0f} points more than training the whole tower"
    )
    spreads = 100 * stdev(r[few] for r in nets["SimCLR"])
    yield "that last difference is smaller than the spread over seeds", learned - whole < spreads
    more = "accuracy, 400 labels"
    others = [percent(nets[name], more) for name in ("SimCLR", "SimCLR, crops only")]
    yield (
        "training everything wins by far, and the two kinds of views can no longer be told apart",
        percent(nets["all trained on the labels"], more) > max(others) + 10
        and abs(others[0] - others[1]) < 100 * stdev(r[more] for r in nets["SimCLR"]),
    )


def own_run(run):
    rows = {r[0]: numbers(" ".join(r[2:4])) for r in run.table("experiment-zero_shot")}
    bare, one, many = (rows[name] for name in ("bare name", "one template", "80 templates"))
    yield (
        "In our run one template is worse than none, and eighty are better than none, in both "
        "styles",
        all(a < b < c for a, b, c in zip(one, bare, many)),
    )
    rows = {r[0]: numbers(r[2])[0] for r in run.table("experiment-hard")}
    near_chance = {name: abs(right - 50) < 4 for name, right in rows.items()}
    yield "In our run it does not read", near_chance["random negatives"]
    yield "In our run not yet", near_chance["hard negatives"]


def captions(run):
    nets = by(run.stored("06_contrastive")["records"], "net")
    clip, told, probe = (nets[name] for name in ("CLIP", "supervised", "linear probe"))
    seen, unseen, style = (percent(clip, k) for k in ("seen", "unseen pairs", "unseen style"))
    yield (
        f"CLIP names {unseen:.0f}% of unseen pairs and {seen:.0f}% of those it was trained on, and "
        f"in the drawing style it never saw {style:.0f}%"
    )
    yield (
        f"In the stored runs about {unseen:.0f}% of unseen pairs, {unseen:.0f} times chance, and "
        f"{style:.0f}% in the unseen style, {style:.0f} times chance; both together "
        f"{percent(clip, 'both unseen'):.0f}%"
    )
    yield f"about as good ({percent(told, 'unseen pairs'):.0f}% of unseen pairs)"
    yield f"the probe on CLIP's vectors worse ({percent(probe, 'unseen pairs'):.0f}%)"
    colder, single = (percent(nets[n], "unseen pairs") for n in ("temperature 1", "one direction"))
    yield f"{colder:.0f}% instead of {unseen:.0f}%. One direction loses less, {single:.0f}%"
    low, high = (
        [100 * extreme(r["unseen pairs"] for r in nets[n]) for n in ("one direction", "CLIP")]
        for extreme in (min, max)
    )
    yield (
        f"its seeds lie between {low[0]:.0f}% and {high[0]:.0f}%, CLIP's between {low[1]:.0f}% and "
        f"{high[1]:.0f}%"
    )


def word_order(run):
    nets = {r["net"]: r for r in run.stored("06_word_order")["records"]}
    none, hard, held = (
        [100 * nets[name][key][-1] for key in ("seen", "unseen")]
        for name in (
            "batches hold none",
            "batches hold none, hard negatives",
            "batches hold exchanged captions",
        )
    )
    yield (
        "In the stored run the net whose batches hold nothing that asks for order stays at chance "
        f"to the end ({none[0]:.0f}%, unseen pairs {none[1]:.0f}%)"
    )
    yield f"leave it late and reach {hard[0]:.0f}% ({hard[1]:.0f}%)"
    yield f"reach {held[0]:.0f}% ({held[1]:.0f}%)", mean(held) > 90
