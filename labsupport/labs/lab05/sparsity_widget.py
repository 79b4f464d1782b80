"""A widget: skip more and more windows, and see which are kept, what is said, how long it takes."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.labs.lab05 import kept_windows
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.plot.segmentation import class_legend, draw_classes
from labsupport.notebook.plot.style import bar_of
from labsupport.notebook.widgets import Drawn, Picture, Playable, choice, column, drawn, row


def sparsity_explorer(
    image: Tensor,
    target: Tensor,
    ratios: Sequence[float],
    scores: Mapping[str, Callable[[float, float], tuple[Tensor, Tensor, Tensor]]],
    seconds: Callable[[float, float], float],
    *,
    start: tuple[float, float],
) -> Playable:
    """Two lists of ratios, one a stage, and a choice of scores, over `image` (3, height, width).

    `scores` maps a label to `ask(first, second)`, which gives for two ratios the windows that the
    stages keep, (rows, columns) of True and False each, and the predicted classes (height, width).
    `seconds(first, second)` is the net's time. `target` (height, width) is what is right.
    """
    dense = seconds(0.0, 0.0)
    known: dict = {}

    def render(name: str, first: float, second: float) -> Drawn:
        key = name, first, second
        if key not in known:
            known[key] = _picture(
                image,
                target,
                scores[name](first, second),
                (first, second),
                seconds(first, second) / dense,
                name,
            )
        return known[key]

    names = list(scores)
    picture = Picture(render(names[0], *start))
    score = choice("score", names)
    skipped = [(f"{ratio:.0%}", ratio) for ratio in ratios]
    stages = [
        choice(f"skipped in stage {number}", skipped, value)
        for number, value in enumerate(start, 1)
    ]

    def change(_: object) -> None:
        picture.show(render(score.value, *(stage.value for stage in stages)))

    for control in (score, *stages):
        control.observe(change, "value")
    return Playable(column(row(score, *stages), picture.widget), picture.shown)


@torch.no_grad()
def _picture(
    image: Tensor,
    target: Tensor,
    answer: tuple[Tensor, Tensor, Tensor],
    ratios: tuple[float, float],
    share: float,
    score: str,
) -> Drawn:
    first, second, found = answer
    fig = Figure(figsize=(12, 3.4), dpi=80, layout="constrained")
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
    class_legend(fig, ("nothing found", "a thing found"))
    for i, height in enumerate((1, share)):
        axes[4].bar([i], [height], **bar_of(i))
    axes[4].set_xticks([0, 1], ["dense", "this"])
    axes[4].set(ylim=(0, 1.15), title=f"time: {share:.0%}")
    return drawn(
        fig,
        f"An image, the windows that two stages keep by the {score} score, {ratios[0]:.0%} and "
        f"{ratios[1]:.0%} of them skipped and dark, and what is found: IoU "
        f"{both / max(1, either):.0%}, {right:.0%} of the things' pixels named rightly, "
        f"in {share:.0%} of the dense net's time.",
    )
