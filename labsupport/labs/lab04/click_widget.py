"""A widget: click on a scene, in or out, or put a box; masks with their scores appear."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport.labs.lab04.figures import draw_answers
from labsupport.notebook.pointer import Place, panels_of, pointer
from labsupport.notebook.widgets import (
    Drawn,
    Message,
    Picture,
    Playable,
    choice,
    column,
    drawn,
    row,
    whole_number,
)

# number of the image, points (1, k, 2), labels (1, k), boxes (1, 4) or None each, to masks
# (m, height, width), bool, and their scores (m,)
Answer = Callable[[int, Tensor | None, Tensor | None, Tensor | None], tuple[Tensor, Tensor]]


def click_explorer(images: Tensor, answer: Answer, starts: Sequence[tuple[int, int]]) -> Playable:
    """Set points in or out of what is meant, or a box, and see the masks.

    `images` (n, 3, side, side) in [0, 1]; a scene begins with the click of `starts` on it. By
    mouse: a click is in, one with the right button or Shift is out, a drag is a box. By keyboard:
    arrow keys step a ring through the fields of x and y, Enter sets a point there that is in,
    Shift and Enter one that is out; buttons do the same, and set the corners of a box.
    """
    import ipywidgets

    side = images.shape[-1]
    which = choice("scene", [(f"scene {i + 1}", i) for i in range(len(images))])
    x = whole_number("x", 0, side - 1, starts[0][0])
    y = whole_number("y", 0, side - 1, starts[0][1])
    buttons = {
        name: ipywidgets.Button(description=name)
        for name in ("in", "out", "corner of a box", "start anew")
    }
    message = Message()
    state: dict[str, Any] = {"points": [starts[0]], "labels": [1], "corners": []}

    def find() -> None:
        """Ask for the masks of what is set."""
        points, labels, corners = state["points"], state["labels"], state["corners"]
        box = None
        if len(corners) == 2:
            (a, b), (c, d) = corners
            box = [min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1]
        state["box"] = box
        state["found"] = torch.zeros(0, side, side, dtype=torch.bool), torch.zeros(0)
        if points or box:
            state["found"] = answer(
                which.value,
                torch.tensor([points]).float() if points else None,
                torch.tensor([labels]) if points else None,
                torch.tensor([box]).float() if box else None,
            )

    def render() -> Drawn:
        fig = Figure(dpi=80)
        masks, scores = state["found"]
        words = draw_answers(
            fig,
            images[which.value],
            state["points"],
            state["labels"],
            masks,
            scores.tolist(),
            state["box"],
            marker=(x.value, y.value),
        )
        picture = drawn(fig, words)
        mouse.panels = panels_of(fig)
        return picture

    def pointed(kind: str, start: Place | None, end: Place | None) -> None:
        message.say()
        if kind == "box":
            state["corners"] = [start, end]
            show()
        else:
            set_point(start or (x.value, y.value), int(kind == "in"))

    mouse = pointer(side, pointed)
    find()
    picture = Picture(render())

    def show() -> None:
        find()
        picture.show(render())

    def set_point(place: Place, label: int) -> None:
        state["points"] = [*state["points"], place]
        state["labels"] = [*state["labels"], label]
        show()

    def act(name: str) -> None:
        place = (x.value, y.value)
        message.say()
        if name == "start anew":
            state.update(points=[], labels=[], corners=[])
        elif name == "corner of a box":
            state["corners"] = [*state["corners"], place] if len(state["corners"]) < 2 else [place]
            if len(state["corners"]) == 1:
                message.say("One corner is set; move the ring and set the one across from it.")
        else:
            return set_point(place, int(name == "in"))
        show()

    def move(_: Any) -> None:
        picture.show(render())

    def new_scene(_: Any) -> None:
        message.say()
        state.update(points=[starts[which.value]], labels=[1], corners=[])
        find()
        x.value, y.value = starts[which.value]
        picture.show(render())

    for name, button in buttons.items():
        button.on_click(lambda _, name=name: act(name))
    which.observe(new_scene, "value")
    x.observe(move, "value")
    y.observe(move, "value")
    controls = row(which, x, y, *buttons.values())
    return Playable(column(controls, message.widget, picture.widget, mouse), picture.shown)
