"""Lab 01: a CNN and a ViT, as data grow."""

from tests.labs.statements import by, percent, spread


def said(run):
    stored = run.stored("01_data_scaling")
    runs = by(stored["records"], "model", "images_per_class")
    sizes = sorted({size for _, size in runs})
    lead = {s: percent(runs["CNN", s], "test") - percent(runs["ViT", s], "test") for s in sizes}

    few = [r["train"] for (_, size), group in runs.items() if size <= 16 for r in group]
    yield "With few drawings both networks know their training images by heart", min(few) > 0.999
    yield "In the long run the CNN is ahead at every size", min(lead.values()) > 0
    yield (
        f"most of all with 16 drawings of each thing, by {lead[16]:.1f} points",
        max(lead, key=lead.get) == 16,
    )
    best, worst = (
        100 * extreme(r["test"] for r in runs[model, 4])
        for model, extreme in (("ViT", max), ("CNN", min))
    )
    yield f"the best ViT and the worst CNN are level, {best:.0f}% and {worst:.0f}%"
    narrowing = [lead[s] for s in sizes if s >= 16]
    yield (
        f"From 16 on the gap narrows as data grow, to {lead[1024]:.1f} points at 1,024",
        narrowing == sorted(narrowing, reverse=True),
    )
    longer = by(stored["longer"], "model")
    gap = percent(longer["CNN"], "test") - percent(longer["ViT"], "test")
    yield f"three times the steps (the last two lines, one seed) leave a gap of {gap:.1f} points"
    other = [percent(group, "other_style") for group in (*runs.values(), *longer.values())]
    yield f"however many drawings of the first it has seen, {max(other):.0f}% at most"

    wide = [max(spread(runs[m, s], "test") for m in ("ViT", "CNN")) for s in (16, 256)]
    yield (
        f"the gaps are {lead[16]:.1f} points at 16 drawings and {lead[256]:.1f} at 256, with "
        f"standard deviations of {wide[0]:.1f} points at 16 and at most {wide[1]:.1f} at 256"
    )
