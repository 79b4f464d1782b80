"""Lab 07: what hiding saves, and what an encoder is worth."""

from statistics import mean, stdev

from tests.labs.statements import by, numbers, percent, spread


def said(run):
    yield from speed(run)
    yield from few_labels(run)
    yield from ratios(run)
    yield from own_run(run)


def speed(run):
    hidden = run.row("experiment-encoder_time", "75%")
    yield (
        f"{numbers(hidden[4])[0]} times fewer tokens at 75%, {numbers(hidden[5])[0]} times fewer "
        "MACs"
    )
    base, huge = (run.row("experiment-published_macs", f"ViT-{size}") for size in "BH")
    gains = [numbers(row[6])[0] for row in (base, huge)]
    decoders = [numbers(row[4])[0] for row in (base, huge)]
    visible = [numbers(row[2])[1] for row in (base, huge)]
    yield (
        f"{decoders[0]} G of {decoders[0] + visible[0]:.1f} G MACs at 75%, {base[5]}, so both "
        f"together gain {gains[0]} times although the encoder gains {numbers(base[3])[0]:.1f}; for "
        f"ViT-H the decoder is {decoders[1]} G of 48.6 G, {huge[5]}, so {gains[1]:.1f} times are "
        "left",
        abs(decoders[1] + visible[1] - 48.6) < 0.15,
    )


def few_labels(run):
    stored = by(run.stored("07_masked_pretraining")["records"], "start", "labels")

    def of(start, labels):
        return {r["seed"]: 100 * r["accuracy"] for r in stored[start, labels]}

    def compared(labels, start="pretrained", scratch="from scratch"):
        first, second = of(start, labels), of(scratch, labels)
        return first, second, [first[s] - second[s] for s in first]

    for labels in (80, 400, 800):
        first, second, gains = compared(labels)
        yield (
            f"{mean(first.values()):.1f} against {mean(second.values()):.1f}%"
            f"{':' if labels == 80 else ','} {mean(gains):.1f} ± {stdev(gains):.1f} points"
        )
    large = compared(400)[2] + compared(800)[2]
    yield "at least 16 points in every seed", 16 <= min(large) < 17
    first, second, gains = compared(400, "pretrained, longer", "from scratch, longer")
    seeds = sorted(first)
    by_seed = [f"{first[s] - second[s]:.0f}" for s in seeds]
    short = mean(compared(400)[2])
    yield (
        f"it falls from {short:.0f} to {mean(gains):.1f} ± {stdev(gains):.1f} points "
        f"({by_seed[0]}, {by_seed[1]} and {by_seed[2]} in the three seeds): "
        f"{short - mean(gains):.0f} of the {short:.0f} points were speed"
    )


def ratios(run):
    nets = by(run.stored("07_mask_ratio")["records"], "draw", "ratio", "normalised")
    scratch = [
        r
        for r in run.stored("07_masked_pretraining")["records"]
        if (r["start"], r["labels"]) == ("from scratch", 400)
    ]
    quarter, half, most, nearly = (nets["random", r, True] for r in (0.25, 0.5, 0.75, 0.9))
    right = [percent(group, "fine_tuned") for group in (quarter, half, most, nearly)]
    yield (
        f"which help ({right[2]:.0f}% against {percent(scratch, 'accuracy'):.0f}% in the stored "
        "runs)"
    )
    yield (
        f"25% is right in {right[0]:.0f}%, 50% in {right[1]:.0f}%, 75% in {right[2]:.0f}%. (25 and "
        "50% differ by less than their seeds; 25 and 75% do not.)",
        right[0] - right[1] < spread(half, "fine_tuned")
        and right[0] - right[2] > spread(quarter, "fine_tuned") + spread(most, "fine_tuned"),
    )
    worse = [
        a["fine_tuned"] < b["accuracy"] for a in nearly for b in scratch if a["seed"] == b["seed"]
    ]
    yield (
        "the start is worse than no pretraining at all in every seed, "
        f"{right[3]:.0f}% against {percent(scratch, 'accuracy'):.0f}% in the mean",
        len(worse) == 3 and all(worse),
    )
    block = percent(nets["block", 0.75, True], "fine_tuned")
    yield (
        "the start is eleven points worse than with random patches, and no better than none",
        round(right[2] - block) == 11 and block < percent(scratch, "accuracy"),
    )
    pixels = [100 * r["fine_tuned"] for r in nets["random", 0.75, False]]
    yield f"the seeds with pixels differ by up to {max(pixels) - min(pixels):.0f} points"


def own_run(run):
    shown = numbers(run.alt("experiment-fine_tune").partition("from the top:")[2])
    scratch, brief, shipped = shown[:3]
    yield (
        "In the run shown it was, after 300 steps of pretraining, a worse start than random weights",
        brief < scratch < shipped,
    )
    yield "in the run shown 300 steps of pretraining did harm", brief < scratch
    share = [numbers(row[1])[0] for row in run.table("experiment-redundancy")]
    yield ("copying from the neighbours explains more than half of what is hidden", share[0] > 50)
    yield (
        "to two fifths at 75%, and then fast, to an eighth at 90%",
        38 <= share[2] <= 44 and 11 <= share[3] <= 14,
    )
