"""Every figure and every widget of the course, drawn with small inputs."""

import torch

from labsupport.data import pairs
from labsupport.data.click_scenes import click_scenes
from labsupport.data.clicks import clicks
from labsupport.data.rule_scenes import rule_scenes
from labsupport.labs.lab01 import diagrams
from labsupport.labs.lab01 import widgets as lab01_widgets
from labsupport.labs.lab02 import cost_figures, cost_widget, footprints
from labsupport.labs.lab03 import diagrams as blueprints
from labsupport.labs.lab03 import resolution_widget
from labsupport.labs.lab04 import click_widget
from labsupport.labs.lab04 import figures as clicked
from labsupport.labs.lab05 import kept_windows, sparsity_widget
from labsupport.labs.lab06 import retrieval, search_widget
from labsupport.labs.lab07 import mask_widget, reconstructions
from labsupport.labs.lab08 import scale_figures, scale_widget
from labsupport.labs.lab09 import caption_widget
from labsupport.labs.lab09 import figures as hart_views
from labsupport.labs.lab10 import figures_captions, figures_model, figures_row, figures_tower
from labsupport.labs.lab10 import widget as unified_widget
from labsupport.models.masking import grid_noise, random_noise
from labsupport.notebook.plot import charts, images, maps, segmentation
from labsupport.notebook.plot import comparison_charts as comparisons

MAKE = torch.Generator().manual_seed(0)


def some(*shape):
    return torch.rand(*shape, generator=MAKE)


IMAGE, BATCH = some(3, 12, 12), some(2, 3, 8, 8)
FILLED = torch.zeros(6, 6, dtype=torch.bool)
FILLED[:2, :3] = True
KEEP = some(2, 2, 2) > 0.5
FIVE = {f"series {i}": [i + 1.0, 9.0 - i, 3.0 + i] for i in range(5)}
PAIRS = pairs.pair_scenes(6, seed=1)
NESTED = click_scenes(2, 32, concepts=["key", "sun", "doughnut", "star"], seed=1)
STRIPS = torch.arange(8).expand(3, 8, 8) < torch.tensor([2, 4, 6]).view(3, 1, 1)
VECTORS = torch.nn.functional.normalize(some(6, 4), dim=1)
RUNS = {name: {0.5: [40.0 + i, 50.0]} for i, name in enumerate(("first", "second", "third"))}
RECORDS = [
    {"variant": v, "tokens": n, "attention": n * 8, "bytes": n * 64, "seconds": n / 1e6}
    for v in footprints.VARIANTS
    for n in (16, 64, 256)
]
FITS = {
    v: {key: (1.0, 2.0) for key in ("attention", "bytes", "seconds")} for v in footprints.VARIANTS
}
MODELS = [{"n": n, "test": t} for n, t in ((4, 0.2), (4, 0.4), (16, 0.5), (16, 0.7))]
CURVES = {"ViT, long run": MODELS, "CNN, long run": MODELS, "ViT, yours": MODELS[:1]}
PLACES = [torch.zeros(1, 2), some(4, 2), some(9, 2)]
CAPTIONS = ["big cat on blue", "top red dog on pink"]
ANSWERS = {"what is it": [("cat", 0.9), ("fox", 0.05)], "where is it": [("left", 0.7)]}
# <start> cat <image start>, two places, <image end> <end>: the numbers of labsupport's own words
DRAWN_ROW = ([74, 10, 76, -200, -200, 77, 75], [-100, -100, 76, -100, -100, 77, 75])

FIGURES = {
    "images.show_images": lambda: images.show_images(BATCH, ["a cat", "a dog"]),
    "images.show_patches": lambda: images.show_patches(IMAGE, 4),
    "images.show_grids": lambda: images.show_grids(IMAGE, (4, 6)),
    "images.compare_tokens": lambda: images.compare_tokens(some(9, 48), IMAGE, 4),
    "maps.compare_maps": lambda: maps.compare_maps(some(3, 4), some(3, 4)),
    "maps.show_maps": lambda: maps.show_maps(list(some(3, 4, 4)), ["a", "b", "c"]),
    "maps.show_attention": lambda: maps.show_attention(IMAGE, some(2, 9), [4, None], 4, "ab"),
    "segmentation.show_segmentations": lambda: segmentation.show_segmentations(
        BATCH, {"right": torch.arange(4).repeat(2, 4, 1)}, ["none", "sign", "take", "leave"]
    ),
    "charts.loglog_fit": lambda: charts.loglog_fit([1, 2, 4], FIVE, xlabel="side", ylabel="MACs"),
    "charts.lines": lambda: charts.lines([1, 2, 4], FIVE, xlabel="step", ylabel="loss"),
    "charts.scaling_curves": lambda: charts.scaling_curves(
        CURVES, x="n", panels={"new drawings": "test"}, chance=0.025
    ),
    "comparison_charts.bars": lambda: comparisons.bars(
        {"ours": [0.5, 0.7], "theirs": [0.4]},
        highlight=["ours"],
        line=(0.45, "guess"),
        xlabel="right, percent",
    ),
    "comparison_charts.growth": lambda: comparisons.growth([1, 2, 4], FIVE, "series 0"),
    "comparison_charts.race": lambda: comparisons.race(
        [("us-1", 5, 70), ("us-2", 20, 80), ("them", 10, 75)], "us"
    ),
    "lab01.diagrams.show_vit": lambda: diagrams.show_vit(IMAGE, 4),
    "lab01.diagrams.show_heads": lambda: diagrams.show_heads(6, 12, 3),
    "lab02.footprints.show_footprints": lambda: footprints.show_footprints(IMAGE, FILLED, 2, 0),
    "lab02.footprints.show_shift": lambda: footprints.show_shift(IMAGE, 6, 2),
    "lab02.cost_figures.show_costs": lambda: cost_figures.show_costs(RECORDS, FITS, 64),
    "lab02.cost_figures.show_crossover": lambda: cost_figures.show_crossover(
        [8, 16],
        {"softmax": [1.0, 4.0], "linear": [2.0, 3.0]},
        {"softmax": [1.0, 4.0], "linear": [2.0, 3.0], "softmax, fused": [0.5, 2.0]},
        {"MACs": 12.0, "seconds": None},
    ),
    "lab02.cost_figures.show_news": lambda: cost_figures.show_news(IMAGE, [FILLED], ["one"], 2),
    "lab03.diagrams.show_orders": lambda: blueprints.show_orders(1024, 16),
    "lab03.diagrams.show_module": lambda: blueprints.show_module(),
    "lab05.kept_windows.show": lambda: kept_windows.show(BATCH, {"kept": KEEP}),
    "lab05.kept_windows.show_heat": lambda: kept_windows.show_heat(BATCH, {"map": some(2, 4, 4)}),
    "lab05.kept_windows.curves": lambda: kept_windows.curves(
        {"task": RUNS}, {"task": [70.0, 72.0]}, ylabels={"task": "mIoU"}
    ),
    "lab05.kept_windows.trade": lambda: kept_windows.trade(
        {"one way": [(3.0, [1.0]), (1.0, [2.0])], "another": [(2.0, [1.5])]}
    ),
    "lab05.kept_windows.search_cloud": lambda: kept_windows.search_cloud(
        [(0.5, 60.0), (0.7, 70.0)], {"best": [(0.7, 70.0)], "uniform": [(0.5, 60.0)]}
    ),
    "lab06.retrieval.show_matrix": lambda: retrieval.show_matrix(
        BATCH, ["a cat", "a dog"], some(2, 2)
    ),
    "lab06.retrieval.show_search": lambda: retrieval.show_search(
        PAIRS.captions[:2], PAIRS, some(2, 6), best=3
    ),
    "lab06.retrieval.show_training": lambda: retrieval.show_training([4.0, 2.0], [14.0, 15.0], 64),
    "lab06.retrieval.show_shares": lambda: retrieval.show_shares(
        {net: {"seen": 0.9, "unseen": 0.5} for net in ("yours", "shipped", "other")}, 0.1
    ),
    "lab04.figures.show_meanings": lambda: clicked.show_meanings(
        NESTED, clicks(NESTED, 1, seed=2), [0, 1]
    ),
    "lab04.figures.show_answers": lambda: clicked.show_answers(
        BATCH[0], [(2.0, 3.0), (6.0, 1.0)], [1, 0], STRIPS, [0.4, 0.9, 0.2], (1.0, 1.0, 7.0, 5.0)
    ),
    "lab04.figures.show_named": lambda: clicked.show_named(
        BATCH[0], {"a cat": STRIPS[0], "a dog": STRIPS[1]}
    ),
    "lab04.figures.show_segments": lambda: clicked.show_segments(
        BATCH, {"found": [STRIPS, STRIPS[:1]]}
    ),
    "lab04.figures.show_stairs": lambda: clicked.show_stairs(some(6, 6) - 0.5, 48),
    "lab07.reconstructions.show_rows": lambda: reconstructions.show_rows({"visible": BATCH}),
    "lab08.scale_figures.show_rows": lambda: scale_figures.show_rows({"codes": BATCH}, "ab"),
    "lab08.scale_figures.show_losses": lambda: scale_figures.show_losses(FIVE),
    "lab08.scale_figures.show_use": lambda: scale_figures.show_use(
        {"left": torch.tensor([5, 1, 0]), "revived": torch.tensor([3, 2, 1])}
    ),
    "lab08.scale_figures.show_scales": lambda: scale_figures.show_scales(
        [10.0, 20.0], (1, 2), 25.0, "+ residual"
    ),
    "lab08.scale_figures.show_maps": lambda: scale_figures.show_maps(
        BATCH, {"latent": some(2, 4, 4)}
    ),
    "lab09.figures.show_mask": lambda: hart_views.show_mask(
        torch.tril(torch.ones(5, 5)), [1, 4], ["caption", "2 × 2"]
    ),
    "lab09.figures.show_places": lambda: hart_views.show_places({"S = 8": ([1, 2, 3], PLACES)}),
    "lab09.figures.show_scales": lambda: hart_views.show_scales(
        [BATCH, BATCH], ["big cat on blue", "top dog on red"], ["1 × 1", "2 × 2"]
    ),
    "lab09.figures.show_residual": lambda: hart_views.show_residual(
        {"triples": [(1, 9.0), (8, 4.0)], "pairs": [(1, 8.0), (8, 3.0)]},
        {"codes only": 12.0, "noise": 14.0},
        ylabel="distance",
    ),
    "lab10.figures_captions.show_both": lambda: figures_captions.show_both(
        BATCH, CAPTIONS, CAPTIONS[::-1], BATCH
    ),
    "lab10.figures_captions.show_pairs": lambda: figures_captions.show_pairs(
        some(9), some(30) - 0.7, 0.4
    ),
    "lab10.figures_captions.show_scores": lambda: figures_captions.show_scores(
        some(2, 2), BATCH, CAPTIONS
    ),
    "lab10.figures_captions.show_found": lambda: figures_captions.show_found(
        CAPTIONS, some(2, 3, 3, 8, 8), torch.tensor([[4, 2, 1], [3, 4, 0]]), 4
    ),
    "lab10.figures_model.show_order": lambda: figures_model.show_order(4, 36),
    "lab10.figures_model.show_captions": lambda: figures_model.show_captions(
        BATCH, CAPTIONS, [True, False]
    ),
    "lab10.figures_model.show_answers": lambda: figures_model.show_answers(BATCH, [ANSWERS] * 2),
    "lab10.figures_model.show_drawn": lambda: figures_model.show_drawn(
        {"guidance 1": BATCH, "guidance 3": BATCH}, CAPTIONS
    ),
    "lab10.figures_row.show_mixed": lambda: figures_row.show_mixed(
        {"drawing": tuple(map(torch.tensor, (*DRAWN_ROW, [False] * 3 + [True] * 2 + [False] * 2)))}
    ),
    "lab10.figures_tower.show_rows": lambda: figures_tower.show_rows(
        {"image": BATCH, "1 code\n20 dB": BATCH}, CAPTIONS
    ),
    "lab10.figures_tower.show_lengths": lambda: figures_tower.show_lengths(
        [some(40), some(40) / 3]
    ),
    "lab10.figures_tower.show_bits": lambda: figures_tower.show_bits(
        {"several codes": {9: [20.0, 21.0], 18: [24.0, 25.0]}, "one code": {9: [20.0], 13: [22.0]}}
    ),
    "lab10.figures_tower.show_maps": lambda: figures_tower.show_maps(
        BATCH, {"sent": some(2, 4, 4), "received": some(2, 4, 4)}, label="length"
    ),
}


class Say(torch.nn.Module):
    """A net that answers every pixel with one of four classes."""

    def forward(self, batch):
        return torch.stack([batch[:, 0] * 0 + c for c in range(4)], 1)


def encode(captions):
    return VECTORS[: len(captions)] if len(captions) > 1 else VECTORS[:1]


def keeps(first, second):
    return KEEP[0], KEEP[1], torch.ones(12, 12, dtype=torch.long)


def draw(caption, guidance, seed, residual):
    if "zebra" in caption:
        raise ValueError("the vocabulary lacks 'zebra'; it has " + "a very long list of words " * 9)
    return some(2, 3, 8, 8)


WIDGETS = {
    "lab01.widgets.patch_chooser": lambda: lab01_widgets.patch_chooser(IMAGE, (4, 6)),
    "lab01.widgets.attention_explorer": lambda: lab01_widgets.attention_explorer(
        some(2, 3, 32, 32), some(2, 2, 2, 65, 65).softmax(-1), 4, ["first", "second"]
    ),
    "lab02.cost_widget.cost_explorer": lambda: cost_widget.cost_explorer(
        IMAGE,
        (IMAGE[0] > 0.5).byte(),
        lambda side, window: {
            v: (1000.0 * side * window, 5000.0 * side) for v in footprints.VARIANTS
        },
        sides=(4, 6),
        windows=(2, 3),
    ),
    "lab03.resolution_widget.resolution_explorer": lambda: resolution_widget.resolution_explorer(
        {"a": Say(), "b": Say()},
        [rule_scenes(1, side, seed=1) for side in (48, 64)],
        {"a": [0.1, 0.2], "b": [0.2, 0.4]},
        (48, 64),
    ),
    "lab05.sparsity_widget.sparsity_explorer": lambda: sparsity_widget.sparsity_explorer(
        IMAGE,
        torch.ones(12, 12, dtype=torch.long),
        (0.0, 0.5),
        {"centred": keeps, "magnitude": keeps},
        lambda a, b: 2 - a - b,
        start=(0.0, 0.5),
    ),
    "lab04.click_widget.click_explorer": lambda: click_widget.click_explorer(
        BATCH, lambda number, points, labels, boxes: (STRIPS, some(3)), [(4, 4)] * 2
    ),
    "lab06.search_widget.search_explorer": lambda: search_widget.search_explorer(
        encode, VECTORS, PAIRS, start=PAIRS.captions[0], best=3
    ),
    "lab07.mask_widget.mask_explorer": lambda: mask_widget.mask_explorer(
        BATCH,
        ["one", "two"],
        lambda image, noise, ratio: (image, image),
        {"random": random_noise, "grid": grid_noise},
        (2, 2),
    ),
    "lab08.scale_widget.scale_explorer": lambda: scale_widget.scale_explorer(
        some(3, 2, 3, 8, 8), ["1 × 1", "2 × 2", "+ residual"], BATCH, "ab", [[9.0, 11.0]] * 3
    ),
    "lab09.caption_widget.caption_explorer": lambda: caption_widget.caption_explorer(
        draw, "a fox", (1, 2)
    ),
    "lab10.widget.unified_explorer": lambda: unified_widget.unified_explorer(
        lambda image: ("a cat", ANSWERS),
        lambda caption, guidance, seed: draw(caption, guidance, seed, False)[0],
        {"a cat": lambda variant: some(3, 8, 8), "a dog": lambda variant: some(3, 8, 8)},
        "a fox",
    ),
}
