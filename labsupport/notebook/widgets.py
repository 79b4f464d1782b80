"""Widgets to play with an idea. Where no widget can be shown, its still picture appears instead.

Made of ipywidgets only (7.7 or newer), so they run in JupyterLab, Notebook and Colab.
"""

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

VIEW = "application/vnd.jupyter.widget-view+json"


class Playable:
    """A widget together with a still picture (PNG) that says the same.

    A notebook gets both and shows the first that it can: the widget while a kernel runs, the
    picture in an exported page or a viewer without widgets.
    """

    def __init__(self, widget: Any, still: bytes):
        self.widget, self.still = widget, bytes(still)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict:
        from base64 import b64encode

        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {
            VIEW: view,
            "image/png": b64encode(self.still).decode(),
            "text/plain": "a widget; a still picture of it where widgets cannot be shown",
        }


def png(fig: Figure) -> bytes:
    stream = BytesIO()
    fig.savefig(stream, format="png")
    return stream.getvalue()
