"""Widgets to play with an idea, for everyone: by mouse or keyboard, seen or listened to.

Made of ipywidgets (7.7 or newer), so they run in JupyterLab, Notebook and Colab; clicks on the
picture are heard by a `pointer`, and whatever it does a control does too. Controls are
those that a screen reader names and reads (a list, a number, a line of text; sliders are neither),
the picture is said in words, and where no widget can be shown its still picture is.
"""

import sys
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

from matplotlib.figure import Figure

VIEW = "application/vnd.jupyter.widget-view+json"
SHARP = 2  # pixels drawn for each that is laid out: sharp on screens of high resolution
# In JupyterLab and Notebook a widget without its kernel is an error message, in an output that has
# the class itself: it is hidden. While the widget lives, inside its output, the still picture and
# its words are.
_STYLE = """<style>
.jp-OutputArea-child:has(> .jupyter-widgets) { display: none; }
.jp-OutputArea-child:has(> * > .jupyter-widgets) + .jp-OutputArea-child,
.jp-OutputArea-child:has(> * > .jupyter-widgets) + * + .jp-OutputArea-child { display: none; }
</style>"""

# JupyterLab and Notebook take arrows, Enter and letters pressed in a list for commands on cells:
# an arrow leaves the list, a "d" twice deletes the cell. A control with this mark is let alone; it
# can be set from the page only, so the picture does it when it appears beside its controls.
_KEYS = (
    "onload=\"this.closest('.jp-OutputArea-output')?.querySelectorAll('select, input, button')"
    ".forEach(e => e.setAttribute('data-lm-suppress-shortcuts', ''))\""
)


class Drawn(NamedTuple):
    """A picture: its PNG, what it shows in words, and how wide it is laid out, in pixels."""

    png: bytes
    words: str
    width: int


def drawn(fig: Figure, words: str) -> Drawn:
    """Draw a figure that is no notebook's output, with what it shows."""
    stream = BytesIO()
    fig.savefig(stream, format="png", dpi=SHARP * fig.dpi)
    return Drawn(stream.getvalue(), " ".join(words.split()), round(fig.get_figwidth() * fig.dpi))


class Picture:
    """A widget's picture with its words, as its alternative text and below it. HTML, because
    ipywidgets' own Image cannot have a text."""

    def __init__(self, first: Drawn):
        import ipywidgets

        self.widget = ipywidgets.HTML(layout=ipywidgets.Layout(max_width="100%"))
        self.show(first)

    def show(self, picture: Drawn) -> None:
        words = escape(picture.words)
        self.shown = picture
        self.widget.value = (
            f'<img alt="{words}" width="{picture.width}" style="max-width:100%;height:auto" '
            f'{_KEYS} src="data:image/png;base64,{b64encode(picture.png).decode()}">'
            f'<p role="status" style="max-width:60em;line-height:1.4">{words}</p>'
        )


class Message:
    """A line below a control that says what is wrong with what was typed, aloud too."""

    def __init__(self) -> None:
        import ipywidgets

        self.widget = ipywidgets.HTML()

    def say(self, text: str = "") -> None:
        self.widget.value = f'<p role="alert"><b>{escape(text)}</b></p>' if text else ""


_LABEL = {"description_width": "initial"}  # no label is cut off


def choice(name: str, options: Sequence[Any], value: Any = None) -> Any:
    """A list to choose from; `options` are values, or pairs of what is shown and a value."""
    import ipywidgets

    value = {} if value is None else {"value": value}
    layout = ipywidgets.Layout(width="max-content", max_width="100%", flex="0 0 auto")
    return ipywidgets.Dropdown(
        options=list(options), description=name, style=_LABEL, layout=layout, **value
    )


def whole_number(name: str, low: int, high: int, value: int, step: int = 1) -> Any:
    """A field for a whole number from `low` to `high`; arrow keys step through them."""
    import ipywidgets

    layout = ipywidgets.Layout(width="max-content", flex="0 0 auto")
    return ipywidgets.BoundedIntText(
        value=value, min=low, max=high, step=step, description=name, style=_LABEL, layout=layout
    )


def line_of_text(name: str, value: str) -> Any:
    """A field for a line of text, read when Enter is pressed."""
    import ipywidgets

    layout = ipywidgets.Layout(width="480px", max_width="100%")
    return ipywidgets.Text(
        value=value, description=name, continuous_update=False, style=_LABEL, layout=layout
    )


def row(*controls: Any) -> Any:
    """Controls side by side; where the window is too narrow they go on in the next line."""
    import ipywidgets

    return ipywidgets.Box(controls, layout=ipywidgets.Layout(display="flex", flex_flow="row wrap"))


def column(*parts: Any) -> Any:
    """Controls and pictures below one another."""
    import ipywidgets

    return ipywidgets.VBox(parts)


class Playable:
    """A widget together with a still picture that shows the same.

    JupyterLab and Notebook get both and show the widget while its kernel runs, the still picture
    after that and in exported pages. Elsewhere the first of both is shown that can be.
    """

    def __init__(self, widget: Any, still: Drawn):
        self.widget, self.still = widget, still

    def outputs(self, together: bool = False) -> list[tuple[dict, dict]]:
        """What a notebook gets, data and metadata each; `together` puts the widget and the still
        picture into one output, of which a reader shows the first that it can."""
        model = self.widget.model_id
        view = {VIEW: {"version_major": 2, "version_minor": 0, "model_id": model}}
        size = {"alt": self.still.words, "width": self.still.width}
        png = {"image/png": b64encode(self.still.png).decode(), "text/plain": self.still.words}
        words = f"<details><summary>Figure in words</summary>{escape(self.still.words)}</details>"
        said = {"text/html": words, "text/plain": ""}
        if together:
            return [({**view, **png}, {"image/png": size}), (said, {})]
        said["text/html"] += _STYLE
        return [({**view, "text/plain": ""}, {}), (png, {"image/png": size}), (said, {})]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for data, metadata in self.outputs(together="google.colab" in sys.modules):
            display(data, metadata=metadata, raw=True)
