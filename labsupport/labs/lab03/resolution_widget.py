"""A widget: the same scene at several resolutions, through several nets, with their times."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from labsupport.data.rule_scenes import CLASSES, RuleScenes
from labsupport.data.transforms import normalize
from labsupport.metrics.segmentation import class_iou
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.plot.segmentation import class_legend, draw_classes
from labsupport.notebook.plot.style import bar_of
from labsupport.notebook.widgets import Drawn, Picture, Playable, choice, column, drawn


@torch.no_grad()
def resolution_explorer(
    nets: Mapping[str, nn.Module],
    pictures: Sequence[RuleScenes],
    seconds: Mapping[str, Sequence[float]],
    sides: Sequence[int],
    *,
    start: int | None = None,
) -> Playable:
    """A choice of resolutions: what each of `nets` says of a scene, and how long it takes.

    `pictures` hold one scene each, the same one at growing resolution; `seconds` are the times of
    each net at `sides`, which must contain every picture's side, or ValueError is raised. All
    answers are computed at once, so the picture follows the hand.
    """
    at = {picture.images.shape[-1]: picture for picture in pictures}
    missing = [side for side in at if side not in sides]
    if missing:
        raise ValueError(
            f"pictures: no time was measured at {missing[0]} px, only at "
            f"{', '.join(map(str, sides))}"
        )
    answers = {
        side: {name: net.eval()(normalize(picture.images)).argmax(1) for name, net in nets.items()}
        for side, picture in at.items()
    }

    def render(side: int) -> Drawn:
        fig = Figure(figsize=(10.5, 4.2), dpi=80, layout="constrained")
        axes = fig.subplots(1, len(nets) + 2, width_ratios=[1] * (len(nets) + 1) + [1.25])
        picture = at[side]
        axes[0].imshow(pixels(picture.images[0]))
        axes[0].set(title=f"{side} × {side} px", xticks=[], yticks=[])
        iou = {}
        for ax, (name, found) in zip(axes[1:], answers[side].items()):
            draw_classes(ax, found[0])
            iou[name] = class_iou(found, picture.targets, len(CLASSES)).nanmean()
            ax.set_title(f"{name}\nmIoU {iou[name]:.0%} of this scene", fontsize=11)
        class_legend(fig, CLASSES)
        place = list(sides).index(side)
        ax, times = axes[-1], [1000 * seconds[name][place] for name in nets]
        for i, time in enumerate(times):
            ax.bar_label(ax.bar([i], [time], **bar_of(i)), [f"{time:.1f} ms"])
        ax.set_xticks(range(len(nets)), [name.replace(", ", ",\n") for name in nets], fontsize=10)
        top = 1000 * max(max(np.array(seconds[name])[: len(sides)]) for name in nets)
        ax.set(yscale="log", ylim=(min(1000 * min(seconds[n]) for n in nets) / 2, 3 * top))
        ax.set_title(f"one image: {max(times) / min(times):.1f} times as long", fontsize=11)
        said = [f"{n}: mIoU {iou[n]:.0%} of this scene, {t:.1f} ms" for n, t in zip(nets, times)]
        return drawn(
            fig,
            f"The scene at {side} × {side} pixels, the class that each net gives every pixel, and "
            f"bars of the time of one image. {'; '.join(said)}.",
        )

    options = sorted(at)
    start = start if start in at else options[0]
    pictures_of = {side: render(side) for side in options}
    picture = Picture(pictures_of[start])
    pixels_a_side = choice("pixels a side", options, start)
    pixels_a_side.observe(lambda change: picture.show(pictures_of[change["new"]]), "value")
    return Playable(column(pixels_a_side, picture.widget), picture.shown)
