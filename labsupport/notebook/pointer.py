"""Clicks and drags on a widget's picture, by anywidget, the kept way to one's own events.

A pointer stands among the parts of a widget (see `column`) and hears what is done on the picture
beside it. Whatever it tells has a control too, so that nothing needs a mouse.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Place = tuple[int, int]
Panel = tuple[float, float, float, float]
# "in", "out" or "box"; where (x, y), None for where the fields say; where a box ends
Told = Callable[[str, Place | None, Place | None], None]


@cache
def _kind() -> type:
    import anywidget
    import traitlets

    class Pointer(anywidget.AnyWidget):
        _esm = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
        side = traitlets.Int().tag(sync=True)
        panels = traitlets.List().tag(sync=True)
        event = traitlets.Dict({"number": 0}).tag(sync=True)

    return Pointer


def pointer(side: int, told: Told) -> Any:
    """A pointer for a picture of which each panel shows a scene of `side` x `side` pixels.

    `told(kind, start, end)` is called for a click ("in"; "out" by the right button or with Shift),
    for a drag ("box", from corner to corner), and, without a place, for Enter and Shift and Enter
    in a field for a number. Set `panels` with `panels_of` whenever the picture is another one.
    """
    widget = _kind()(side=side)

    def hear(change: Any) -> None:
        event = change["new"]
        start, end = (tuple(event[k]) if event.get(k) else None for k in ("from", "to"))
        told(event["kind"], start, end)

    widget.observe(hear, "event")
    return widget


def panels_of(fig: Figure) -> Sequence[Panel]:
    """Where the axes of a drawn figure are: left, top, right and bottom, as shares of it."""
    places = (ax.get_position() for ax in fig.axes)
    return [(p.x0, 1 - p.y1, p.x1, 1 - p.y0) for p in places]
