"""Lab 03: context, cost and the races."""

from statistics import mean, stdev

from tests.labs.statements import by, numbers, percent, spread


def said(run):
    yield from segmentation(run)
    yield from latency(run)
    yield from sharpening(run)
    yield from races(run)


def segmentation(run):
    nets = by(run.stored("03_segmentation")["records"], "net")
    own, softmax, single, none = (
        nets[name]
        for name in ("EfficientViT", "softmax for ReLU", "without multi-scale", "without attention")
    )
    with_it, without = percent(own, "miou"), percent(none, "miou")
    yield (
        f"Stored run: {with_it:.0f}% with attention and {without:.0f}% without, a gap of "
        f"{with_it - without:.0f} points, where three seeds differ by less than a point",
        max(spread(own, "miou"), spread(none, "miou")) < 1,
    )

    def ious(group):
        return [100 * mean(r["iou"][i] for r in group) for i in range(4)]

    ground, sign, take, leave = ious(none)
    _, _, took, left = ious(own)
    yield f"Background and sign are as good without ({ground:.0f}% and {sign:.0f}%)"
    yield (
        f"take and leave fall from {took:.0f}% and {left:.0f}% to {take:.0f}% and {leave:.0f}%, "
        "which is what guessing gives"
    )
    close = with_it - percent(softmax, "miou"), percent(single, "miou") - with_it
    spreads = [spread(group, "miou") for group in (own, softmax, single)]
    yield (
        f"ReLU is {close[0]:.1f} points ahead of softmax and two scales {close[1]:.1f} points "
        f"behind one, where seeds differ by {min(spreads):.1f} to {max(spreads):.1f}"
    )
    lower = [a > b for name in ("SegFormer-like", "SegFormer-like, softmax")
             for a, b in zip(ious(own), ious(nets[name]))]  # fmt: skip
    yield "They are lower in every class and slower learners", all(lower)


def latency(run):
    share = numbers(
        run.row("after-experiment-streets-2", "share of linear attention in our time")[2]
    )
    yield "a few per cent of the time are saved in our run", 0 <= share[0] <= 8
    table = {row[0]: [numbers(cell) for cell in row[1:]] for row in run.table("experiment-latency")}
    own, same, reduced, plain = range(4)  # columns; each has MACs, milliseconds and the ratio
    yield ("in our run there is none", all(at[reduced][2] <= 1.1 for at in table.values()))
    growth = [
        [b / a for a, b in zip(table["256 px"][net], table["512 px"][net])] for net in range(4)
    ]
    yield (
        f"In the run shown the MACs of EfficientViT grow {growth[own][0]:.1f} times and its time "
        "about as much",
        abs(growth[own][1] - growth[own][0]) < 0.7,
    )
    yield (
        f"those of the SegFormer-like softmax net {growth[plain][0]:.0f} times and its time about 13",
        11 < growth[plain][1] < 15,
    )
    yield (
        f"with reduced keys and values {growth[reduced][0]:.1f} and about 4.5",
        3.8 < growth[reduced][1] < 5.2,
    )
    yield (
        f"({table['512 px'][same][2]:.1f} at 512 px in the run shown)",
        table["512 px"][same][2] > table["64 px"][same][2],
    )


def sharpening(run):
    nets = by(run.stored("03_super_resolution")["records"], "net")
    bicubic = nets["bicubic"][0]["psnr"]
    gains = {
        name: [r["psnr"] - bicubic for r in nets[name]] for name in ("EfficientViT", "SwinIR-like")
    }
    ours, theirs = (mean(gain) for gain in gains.values())
    spreads = [stdev(gain) for gain in gains.values()]
    yield (
        f"Both nets gain over bicubic, by {ours:.2f} and {theirs:.2f} dB, far more than three seeds "
        f"differ; between the two lie {ours - theirs:.2f} dB, as much as the seeds of one of them "
        "spread",
        theirs > 10 * max(spreads) and abs(ours - theirs - max(spreads)) < 0.02,
    )


def races(run):
    race = {r["model"]: r for r in run.stored("03_race")["records"]}

    def times(one, other):
        return race[one]["seconds"] / race[other]["seconds"]

    yield (
        f"at B2's accuracy ConvNeXt-T takes {times('ConvNeXt-T', 'EfficientViT-B2'):.1f} times as "
        "long and PVTv2-B2, with reduced keys and values, three times",
        round(times("PVTv2-B2", "EfficientViT-B2")) == 3,
    )
    edge = {
        name
        for name, r in race.items()
        if not any(o["seconds"] < r["seconds"] and o["top1"] >= r["top1"] for o in race.values())
    }
    names = {"EfficientViT-B1", "EfficientViT-B2", "EfficientViT-B3"}
    yield (
        "the three EfficientViTs lie on the upper left edge, with EfficientNetV2-B1 and -S",
        edge == names | {"EfficientNetV2-B1", "EfficientNetV2-S"},
    )
    yield (
        f"and {times('EfficientNetV2-S', 'EfficientViT-B3'):.1f} times the time",
        race["EfficientNetV2-S"]["top1"] > race["EfficientViT-B3"]["top1"],
    )
    streets = {r["model"]: r for r in run.stored("03_race")["streets"]}
    pairs = [(streets[f"EfficientViT-B{i}"], streets[f"SegFormer-B{i}"]) for i in range(3)]
    longer = [b["seconds"] / a["seconds"] for a, b in pairs]
    better = [a["miou"] - b["miou"] for a, b in pairs]
    yield "SegFormer takes {:.1f}, {:.1f} and {:.1f} times as long".format(*longer)
    yield (
        f"half a point lower in B0 ({pairs[0][0]['miou']} against {pairs[0][1]['miou']}) and "
        f"{better[1]:.1f} and {better[2]:.1f} points higher in B1 and B2",
        round(better[0], 1) == -0.5,
    )
    queries, channels = (131072, 32768, 8192, 2048), (64, 128, 320, 512)
    attention = 2 * sum(2 * n * 2048 * c for n, c in zip(queries, channels))
    yield (
        f"{attention / 1e9:.0f} G, more than half of all that the network does",
        attention > pairs[1][1]["macs"] / 2,
    )
