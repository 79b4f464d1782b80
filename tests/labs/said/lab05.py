"""Lab 05: what scores see, what training on does, and what a search and small images do."""

from statistics import mean

from tests.labs.statements import by

WAYS = ("magnitude", "smallest", "centred", "random", "oracle")


def said(run):
    runs = by(run.stored("05_sparsity")["records"], "task", "training")
    dense = runs["segmentation", "dense"]

    def at(group, score, ratio="0.6"):
        return 100 * mean(r["quality"][score][ratio] for r in group)

    def whole(group):
        return 100 * mean(r["quality"]["dense"] for r in group)

    yield (
        "the published score is far worse than choosing at random, and its mirror image is among "
        "the best",
        at(dense, "magnitude") + 10 < at(dense, "random") < at(dense, "smallest") - 10,
    )
    magnitude, smallest, centred, random, oracle = (at(dense, way) for way in WAYS)
    yield (
        f"dense {whole(dense):.1f}%) at 60% skipped windows: magnitude {magnitude:.0f}%, random "
        f"{random:.0f}%, oracle {oracle:.0f}%, centred and smallest {centred:.0f}%",
        round(centred) == round(smallest),
    )
    named = runs["classification", "dense"]
    kept = [at(named, way) / whole(named) for way in ("centred", "smallest", "oracle")]
    yield (
        f"by magnitude they come to {at(named, 'magnitude'):.0f}%, by random choice to "
        f"{at(named, 'random'):.0f}%, and with the centred score, its mirror image or the oracle "
        f"they keep {100 * min(kept):.0f} to {100 * max(kept):.0f}% of what they have"
    )
    yield f"The classifiers are weak ({whole(named):.0f}% by three seeds, chance is 12.5%)"
    yield from adaptation(runs, at, whole)
    yield from search(run)
    yield from small_images(runs, at)


def adaptation(runs, at, whole):
    dense, longer, wrong, right = (
        runs["segmentation", t]
        for t in ("dense", "dense, longer", "sparse, magnitude", "sparse, centred")
    )
    yield (
        f"in the stored runs magnitude rises from {at(dense, 'magnitude'):.0f}% to "
        f"{at(wrong, 'magnitude'):.0f}% at 60% skipped"
    )
    yield (
        f"it pays with {whole(longer) - whole(wrong):.0f} points of its dense mIoU "
        f"({whole(wrong):.0f}% where the control has {whole(longer):.0f}%), and random windows "
        f"serve the same net better ({at(wrong, 'random'):.0f}%)"
    )
    before, control, after = (at(group, "centred") for group in (dense, longer, right))
    yield (
        f"Adapted with the centred score {after:.1f}% instead of the {before:.1f}% of the dense "
        f"net, a gain of {after - before:.0f} points; but an equally long dense training also "
        f"gains, to {control:.1f}%. So {after - control:.0f} of the {after - before:.0f} points"
    )


def search(run):
    stored = run.stored("05_sparse_search")
    ways = by(stored["records"], "way")
    best = {r["budget"]: r["validation"] for r in ways["best of all"]}
    missed = {
        way: [round(100 * (best[r["budget"]] - r["validation"]), 2) for r in ways[way]]
        for way in ("evolution", "random")
    }
    hits = {way: sum(m == 0 for m in misses) for way, misses in missed.items()}
    yield (
        "In the stored runs, with 40 questions evolution finds the best of all 405 layouts in four "
        f"of nine and misses it by {max(missed['evolution']):.1f} points at most; 40 layouts drawn "
        f"at random find it in three, and miss it by {max(missed['random']):.1f} at most",
        hits == {"evolution": 4, "random": 3} and len(stored["layouts"]) == 405,
    )
    found, uniform = (
        [r for r in ways[way] if r["budget"] == 0.6] for way in ("evolution", "uniform")
    )
    known, new = (
        [100 * mean(r[key] for r in group) for group in (found, uniform)]
        for key in ("validation", "miou")
    )
    yield (
        f"on its own validation scenes ({known[0]:.1f}% against {known[1]:.1f}%) and "
        f"{new[0] - new[1]:.1f} on others ({new[0]:.1f}% against {new[1]:.1f}%)"
    )
    above = [r["predicted"] / r["measured"] for r in stored["records"]]
    yield (
        f"In the stored run its sums lie mostly above the measured times, by up to "
        f"{100 * (max(above) - 1):.0f}%",
        sum(a > 1 for a in above) > len(above) / 2,
    )
    seconds = {(r["stage"], r["ratio"]): r["seconds"] for r in stored["table"]}
    yield (
        "in the stored run a pair that skips 10% takes longer than a dense one",
        all(seconds[stage, 0.1] > seconds[stage, 0.0] for stage in (1, 2)),
    )


def small_images(runs, at):
    skipping, shrunk, published = (
        runs["segmentation", t] for t in ("sparse, centred", "any size", "sparse, magnitude")
    )
    pairs = (("0.2", "112"), ("0.4", "112"), ("0.6", "96"), ("0.8", "80"))  # about as long
    yield (
        "in the stored runs the small image wins at every time",
        all(at(published, "magnitude", r) < at(shrunk, "smaller image", s) for r, s in pairs),
    )
    leads = [
        100 * (a["quality"]["centred"]["0.6"] - b["quality"]["smaller image"]["96"])
        for a, b in zip(skipping, shrunk)
    ]
    yield (
        "by 2 to 4 points, in each seed "
        f"({at(skipping, 'centred'):.1f}% and {at(shrunk, 'smaller image', '96'):.1f}%)",
        2 <= min(leads) and max(leads) <= 4,
    )
    yield (
        f"they are level, {at(skipping, 'centred', '0.8'):.1f}% and "
        f"{at(shrunk, 'smaller image', '80'):.1f}%"
    )
