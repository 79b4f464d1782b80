"""Lab 09: guidance, residual tokens, larger grids, and other ways to write an image."""

import math
from statistics import NormalDist, mean, stdev

from labsupport.models.hart.parameter_counts import parameter_count
from tests.labs.statements import by, numbers

WAYS = {"triple": "triples", "pair": "pairs"}


def said(run):
    yield from counted(run)
    yield from own_run(run)
    yield from residual(run)
    yield from speed(run)
    yield from systems(run)


def counted(run):
    published = 24 * 4 * 1536**2
    whole = sum(parameter_count().values()) / 1e6
    own = 6 * 4 * 128**2
    codes = numbers(run.printed("experiment-showcase").split("\n")[1])[0]
    yield (
        f"they would be {published / 1e6:.0f} million beside its 732, in this lab's six of width "
        f"128 they would be {own / 1e6:.2f} beside {codes / 1e6:.2f} million",
        round(whole) == 732,
    )
    yield (
        f"in HART's released code {NormalDist().cdf(0.1):.0%}, because a normal number is compared "
        "with 0.1"
    )
    yield f"{4.5 * 12 / 13:.1f} in the place of 4.5 with its 14 scales"
    yield f"begins at $\\ln 512 \\approx {math.log(512):.1f}$ nats"


def own_run(run):
    shares = [
        numbers(cell)[0] for cell in run.row("experiment-guidance-sweep", "captions right")[1:]
    ]
    yield (
        "in our run all four shares lie within four points, a standard error of each",
        max(shares) - min(shares) <= 4.5,
    )
    changed = numbers(run.printed("experiment-residual").partition("change a pixel by")[2])[0]
    yield f"({changed} of 255 in the run shown)"
    slower = numbers(run.printed("experiment-cache").partition("without:")[2])[0]
    yield f"(the student's own factor, {slower:.1f} in the run shown)", 1 < slower < 1.5
    before, after = numbers(run.printed("experiment-train").partition("residual loss")[2])[:2]
    yield "The residual's loss falls little", 0.8 < after / before < 1
    grids = {row[0]: numbers(row[1])[0] for row in run.table("experiment-larger")}
    yield (
        "With interpolated positions most captions stay right on a grid with more than twice the "
        "tokens; with positions beyond those of training, almost none",
        grids["12 × 12, interpolated"] > 70 and grids["12 × 12, extrapolated"] < 15,
    )


def residual(run):
    records = by(run.stored("09_hart_generation")["records"], "split", "way")

    def distances(split, way="residual", steps=None):
        found = records[split, way]
        return [r["distance"] for r in found if steps is None or r.get("steps") == steps]

    def at(split, steps):
        return mean(distances(split, steps=steps))

    without = mean(distances("triple", "codes only"))
    eight = distances("triple", steps=8)
    drop = 1 - mean(eight) / without
    yield (
        f"From {without:.1f} to {mean(eight):.1f} ± {stdev(eight):.1f}, by {drop:.0%}: more than "
        "twenty deviations of the three seeds",
        without - mean(eight) > 20 * stdev(eight),
    )
    noise, other = (mean(distances("triple", w)) for w in ("noise", "another image's residual"))
    yield (
        f"at {noise:.1f} and {other:.1f} both are worse than no residual",
        min(noise, other) > without,
    )
    for split, name in WAYS.items():
        one, some, many = (at(split, n) for n in (1, 8, 30))
        yield f"{one:.1f}, {some:.1f} and {many:.1f} for {name}"
    moved = [at(split, 30) - at(split, 8) for split in WAYS]
    seeds = [stdev(distances(split, steps=8)) for split in WAYS]
    yield (
        f"30 change {abs(moved[0]):.1f} and {abs(moved[1]):.1f}, where seeds differ by "
        f"{seeds[0]:.1f} and {seeds[1]:.1f}, in the one case down, in the other up",
        moved[0] < 0 < moved[1],
    )
    plain = [mean(distances(split, "unguided residual")) for split in WAYS]
    yield f"Without guidance eight steps come to {plain[0]:.1f} and {plain[1]:.1f} in the stored record"
    clips = [
        mean(r["clip"] for r in records["triple", way] if r.get("steps", 8) == 8)
        for way in ("codes only", "residual", "real")
    ]
    yield (
        "in the stored record the CLIP score makes up a quarter of what it lacks to real images",
        0.2 < (clips[1] - clips[0]) / (clips[2] - clips[0]) < 0.3,
    )
    codes, drawn, latent = (
        mean(distances("triple", way))
        for way in ("true codes", "true codes, drawn residual", "true latent")
    )
    yield (
        "the true residual takes off seven eighths of the distance",
        0.86 < 1 - latent / codes < 0.89,
    )
    yield f"takes off more than half ({codes:.1f} → {drawn:.1f} for triples)", drawn < codes / 2


def speed(run):
    records = by(run.stored("09_hart_speed")["records"], "system", "batch")

    def of(system, key, batch=1):
        return records[system, batch][0][key]

    var, hart, raster = "VAR (no residual)", "HART", "raster order"
    macs = [of(name, "macs") / 1e6 for name in (var, hart, raster)]
    yield (
        f"{macs[0]:.0f} million MACs for VAR, {macs[1]:.0f} for HART, {macs[2]:.0f} for raster order"
    )
    slow, fast = (1000 * of(name, "seconds") for name in (raster, hart))
    yield f"raster order takes {slow:.0f} ms and HART {fast:.0f}, {slow / fast:.1f} times less"
    full = [of(name, "images a second", 32) for name in (raster, hart, var)]
    yield f"the gain is gone: {full[0]:.1f} images a second against {full[1]:.1f}"
    more = of(hart, "seconds") / of(var, "seconds") - 1
    yield (
        f"{fast:.1f} ms against {1000 * of(var, 'seconds'):.1f}: {more:.0%} more "
        f"({full[2] / full[1] - 1:.0%} in the large batch)"
    )
    yield f"Half of its {macs[1] / macs[0] - 1:.0%} more MACs is guidance"


def systems(run):
    stored = run.stored("09_hart_systems")
    records = by([r for r in stored["records"] if r["split"] == "held out"], "system")
    hart = [r["distance"] for r in records["HART"]]
    steps = {r["steps"]: r["distance"] for r in records["diffusion"]}
    yield (
        f"distance of {steps[4]:.1f} with four steps against {mean(hart):.1f} ± {stdev(hart):.1f}"
    )
    yield (
        f"{steps[10]:.1f}, {steps[20]:.1f}, {steps[30]:.1f} and {steps[50]:.1f} with 10, 20, 30 and "
        "50"
    )
    var, raster, masked = (
        mean(r["distance"] for r in records[name]) for name in ("VAR", "raster order", "MAR-like")
    )
    yield f"HART does show is the residual: {var:.1f} → {mean(hart):.1f}"
    true = {r["system"]: r["distance"] for r in stored["true_codes"]}
    yield (
        "real images that go through its codes have "
        f"{true['HART']:.1f}. Raster order stands before the same wall. Real images through its 64 "
        f"codes of one scale have {true['raster order']:.1f}, and {raster:.1f} is close to that"
    )
    yield f"MAR-like needs no codes, but is further away ({masked:.1f})"
