"""Lab 08: codes, their use, and what the residual is worth."""

from statistics import mean, stdev

from tests.labs.statements import by, numbers


def said(run):
    yield from own_run(run)
    yield from stored_tokenizer(run)
    yield from decoders(run)


def own_run(run):
    errors = {r[0]: numbers(r[1])[0] for r in run.table("experiment-straight-through")}
    yield (
        "With the straight-through estimator the same network ends in our run at less than half of "
        "that error",
        errors["straight-through"] < errors["no straight-through"] / 2,
    )
    alone, revived = (
        [numbers(cell)[0] for cell in run.row("experiment-revive", name)[1:]]
        for name in ("left to itself", "with revive")
    )
    yield (
        "In our run the codebook collapses when it is left to itself: one code does a third of the "
        "work",
        28 <= alone[2] <= 40 and alone[0] < 256 / 5,
    )
    yield "as most of the 256 are chosen now and then", alone[1] < 128
    yield (
        "With revive no code is idle, and the latent comes out nearer",
        (revived[1] == 0 and revived[3] < alone[3]),
    )
    yield "it ends at five times the other", 4.5 <= revived[0] / alone[0] <= 6
    codes, both = numbers(run.alt("experiment-yours").partition("original, ")[2])[:2]
    yield f"in the run shown it gains {both - codes:.1f} dB"


def stored_tokenizer(run):
    unsaid = numbers(
        " ".join(run.row("experiment-unsaid", "variance of the latent still unsaid")[1:])
    )
    used = numbers(
        " ".join(run.row("experiment-unsaid", "perplexity of the codes of this scale")[1:])
    )
    yield "One code says seven tenths of the latent's variance", 69 < 100 - unsaid[0] < 71
    yield "say more than half of what is left", unsaid[3] < unsaid[2] / 2
    yield "About a tenth of the variance remains for the residual", 9 < unsaid[3] < 11
    yield (
        "the first makes do with about a dozen of the codes, the last spreads over about seventy",
        11 <= used[0] <= 14 and 66 <= used[3] <= 74,
    )
    codes, both = (
        [numbers(cell)[0] for cell in run.row("experiment-measures", name)[1:]]
        for name in ("codes only", "codes + residual")
    )
    gain = both[0] - codes[0]
    yield (
        f"The distance falls from {codes[2]:.1f} to {both[2]:.1f}, about ten times, and the PSNR "
        "rises by about 5½ dB, so that little more than a quarter of the squared error is left",
        9.5 < codes[2] / both[2] < 11 and 5.3 < gain < 5.7 and 0.25 < 10 ** (-gain / 10) < 0.3,
    )
    yield "from them alone the classifier reads nearly every word", codes[3] > 97


def decoders(run):
    stored = run.stored("08_hart_decoders")["records"]
    records = by([r for r in stored if r["split"] == "held out"], "net", "path")

    def of(trained, decoded, key):
        return [r[key] for r in records[trained, decoded]]

    def distance(trained, decoded):
        return mean(of(trained, decoded, "frechet"))

    def told(trained, decoded):
        found = of(trained, decoded, "frechet")
        return f"{mean(found):.1f} ± {stdev(found):.1f}"

    kinds = "discrete", "continuous"
    yield (
        "With the residual alternating training lowers the distance from "
        f"{told('discrete only', kinds[1])} to {told('alternating', kinds[1])}"
    )
    yield (
        f"it raises the distance from {told('discrete only', kinds[0])} to "
        f"{told('alternating', kinds[0])}"
    )
    psnr = [mean(of(t, kinds[1], "psnr")) for t in ("discrete only", "alternating")]
    yield f"adds {psnr[1] - psnr[0]:.1f} dB ({psnr[0]:.1f} to {psnr[1]:.1f})"
    frozen = [distance(f"frozen, {t}", k) for k in kinds for t in ("alternating", "discrete only")]
    yield (
        f"the residual's images come to {frozen[2]:.1f} against {frozen[3]:.1f} and one decibel "
        f"more, those of the codes to {frozen[0]:.0f} against {frozen[1]:.0f}"
    )
    own = distance("alternating", kinds[0]) / distance("alternating", kinds[1])
    fair = distance("discrete only", kinds[0]) / distance("alternating", kinds[1])
    yield "the alternating tokenizer improves eightfold", round(own) == 8
    yield "it is six times; that is the fairer pair", round(fair) == 6
