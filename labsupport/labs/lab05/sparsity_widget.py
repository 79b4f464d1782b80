"""A widget: skip more and more windows, and see which are kept, what is said, how long it takes."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.labs.lab05 import kept_windows
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.plot.segmentation import draw_classes
from labsupport.notebook.plot.style import BLUE, GREY
from labsupport.notebook.widgets import Playable, png


def sparsity_explorer(
    image: Tensor,
    target: Tensor,
    ratios: Sequence[float],
    scores: Mapping[str, Callable[[float, float], tuple[Tensor, Tensor, Tensor]]],
    seconds: Callable[[float, float], float],
    *,
    start: tuple[float, float],
) -> Playable:
    """Two sliders, one a stage, and a choice of scores, over `image` (3, height, width).

    `scores` maps a label to `ask(first, second)`, which gives for two ratios the windows that the
    stages keep, (rows, columns) of True and False each, and the predicted classes (height, width).
    `seconds(first, second)` is the net's time. `target` (height, width) is what is right.
    """
    import ipywidgets

    dense = seconds(0.0, 0.0)
    known: dict = {}

    def render(name: str, first: float, second: float) -> bytes:
        key = name, first, second
        if key not in known:
            known[key] = _picture(
                image,
                target,
                scores[name](first, second),
                (first, second),
                seconds(first, second) / dense,
            )
        return known[key]

    names = list(scores)
    picture = ipywidgets.Image(value=render(names[0], *start), format="png")
    choice = ipywidgets.Dropdown(options=names, description="score")
    sliders = [
        ipywidgets.SelectionSlider(
            options=list(ratios),
            value=value,
            description=f"stage {number}",
            continuous_update=False,
        )
        for number, value in enumerate(start, 1)
    ]

    def change(_: object) -> None:
        picture.value = render(choice.value, *(s.value for s in sliders))

    for control in (choice, *sliders):
        control.observe(change, "value")
    return Playable(ipywidgets.VBox([ipywidgets.HBox([choice, *sliders]), picture]), picture.value)


@torch.no_grad()
def _picture(
    image: Tensor,
    target: Tensor,
    answer: tuple[Tensor, Tensor, Tensor],
    ratios: tuple[float, float],
    share: float,
) -> bytes:
    first, second, found = answer
    fig = Figure(figsize=(12, 3.1), dpi=80, layout="constrained")
    axes = fig.subplots(1, 5, width_ratios=[1, 1, 1, 1, 0.7])
    axes[0].imshow(pixels(image))
    axes[0].set(title="image", xticks=[], yticks=[])
    for ax, keep, ratio, number in zip(axes[1:3], (first, second), ratios, (1, 2)):
        kept_windows.draw(ax, image, keep)
        ax.set_title(f"stage {number}: {ratio:.0%} skipped", fontsize=11)
    draw_classes(axes[3], found.clamp(max=1))
    both = ((found > 0) & (target > 0)).sum().item()
    either = ((found > 0) | (target > 0)).sum().item()
    right = (found == target)[target > 0].float().mean().item()
    axes[3].set_title(
        f"found, IoU {both / max(1, either):.0%};\nnamed rightly {right:.0%}", fontsize=11
    )
    axes[4].bar([0, 1], [1, share], color=[GREY, BLUE])
    axes[4].set_xticks([0, 1], ["dense", "this"])
    axes[4].set(ylim=(0, 1.15), title=f"time: {share:.0%}")
    return png(fig)
