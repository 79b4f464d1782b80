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
from labsupport.notebook.plot.segmentation import draw_classes
from labsupport.notebook.plot.style import BLUE, GREY, ORANGE
from labsupport.notebook.widgets import Playable, png


@torch.no_grad()
def resolution_explorer(
    nets: Mapping[str, nn.Module],
    pictures: Sequence[RuleScenes],
    seconds: Mapping[str, Sequence[float]],
    sides: Sequence[int],
    *,
    start: int | None = None,
) -> Playable:
    """A slider of resolutions: what each of `nets` says of a scene, and how long it takes.

    `pictures` hold one scene each, the same one at growing resolution; `seconds` are the times of
    each net at `sides`, which must contain every picture's side, or ValueError is raised. All
    answers are computed at once, so the slider follows the hand.
    """
    import ipywidgets

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

    def render(side: int) -> bytes:
        fig = Figure(figsize=(10.5, 3.9), dpi=80, layout="constrained")
        axes = fig.subplots(1, len(nets) + 2, width_ratios=[1] * (len(nets) + 1) + [1.25])
        picture = at[side]
        axes[0].imshow(pixels(picture.images[0]))
        axes[0].set(title=f"{side} × {side} px", xticks=[], yticks=[])
        for ax, (name, found) in zip(axes[1:], answers[side].items()):
            draw_classes(ax, found[0])
            iou = class_iou(found, picture.targets, len(CLASSES)).nanmean()
            ax.set_title(f"{name}\nmIoU {iou:.0%} of this scene", fontsize=11)
        place = list(sides).index(side)
        ax, times = axes[-1], [1000 * seconds[name][place] for name in nets]
        bars = ax.bar(range(len(nets)), times, color=[BLUE, ORANGE, GREY][: len(nets)])
        ax.bar_label(bars, [f"{t:.1f} ms" for t in times])
        ax.set_xticks(range(len(nets)), [name.replace(", ", ",\n") for name in nets], fontsize=10)
        top = 1000 * max(max(np.array(seconds[name])[: len(sides)]) for name in nets)
        ax.set(yscale="log", ylim=(min(1000 * min(seconds[n]) for n in nets) / 2, 3 * top))
        ax.set_title(f"one image: {max(times) / min(times):.1f} times as long", fontsize=11)
        return png(fig)

    options = sorted(at)
    start = start if start in at else options[0]
    drawn = {side: render(side) for side in options}
    picture = ipywidgets.Image(value=drawn[start], format="png")
    slider = ipywidgets.SelectionSlider(
        options=options, value=start, description="pixels", continuous_update=True
    )
    slider.observe(lambda change: setattr(picture, "value", drawn[change["new"]]), "value")
    return Playable(ipywidgets.VBox([slider, picture]), picture.value)
