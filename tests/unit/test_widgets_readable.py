"""Widgets for everyone: named controls, pictures in words, few stops of the tab key, a still."""

import re
from html import unescape

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labsupport.course.solve import without_traces
from labsupport.notebook.widgets import VIEW, Drawn, Message, Playable
from tests.unit.figure_gallery import WIDGETS
from tests.unit.widgets import alerts, control, parts, said

CONTROLS = ("Dropdown", "BoundedIntText", "Text", "Checkbox", "Button")
UNREAD = (
    "Image",
    "IntSlider",
    "FloatSlider",
    "SelectionSlider",
    "ToggleButtons",
    "Label",
    "Select",
)


@pytest.fixture(scope="module", params=WIDGETS)
def shown(request):
    return WIDGETS[request.param]()


def test_every_control_has_a_name_and_a_value_that_can_be_read(shown):
    controls = [w for kind in CONTROLS[:-1] for w in parts(shown.widget, kind)]
    assert controls and all(w.description.strip() for w in controls)
    assert all(w.description.strip() or w.tooltip for w in parts(shown.widget, "Button"))
    names = [w.description for w in controls]
    assert len(names) == len(set(names))
    assert not [kind for kind in UNREAD if parts(shown.widget, kind)]
    for one in parts(shown.widget, "Dropdown"):
        assert all(str(label).strip() for label in one._options_labels)


def test_at_most_ten_stops_of_the_tab_key(shown):
    stops = [w for kind in CONTROLS for w in parts(shown.widget, kind) if w.tabbable is not False]
    assert 1 <= len(stops) <= 10


def test_each_control_changes_what_is_said(shown):
    """As the arrow keys do: the next entry of a list, the next number."""
    for one in [w for kind in CONTROLS[:2] for w in parts(shown.widget, kind)]:
        before = said(shown.widget)
        if hasattr(one, "options"):
            values = (
                [value for _, value in one.options]
                if isinstance(one.options[0], tuple)
                else list(one.options)
            )
            one.value = values[(values.index(one.value) + 1) % len(values)]
        else:
            one.value = one.value + one.step if one.value < one.max else one.min
        if one.description not in (
            "% across",
            "token: % down",
        ):  # four of a hundred: often the same
            assert said(shown.widget) != before, one.description


def test_the_picture_is_said_in_words_and_fits_a_narrow_page(shown):
    (page,) = [p.value for p in parts(shown.widget, "HTML") if "<img" in p.value]
    words = said(shown.widget)
    assert 40 <= len(words) <= 1500 and words.endswith(".")
    assert '<p role="status"' in page and unescape(page).count(words) == 2
    assert "max-width:100%" in page and re.search(r' width="\d+"', page)


def test_labels_are_not_cut_off_and_rows_wrap(shown):
    for one in [w for kind in CONTROLS[:3] for w in parts(shown.widget, kind)]:
        assert one.style.description_width == "initial" and one.layout.width
    assert all(box.layout.flex_flow == "row wrap" for box in parts(shown.widget, "Box"))
    assert not parts(shown.widget, "HBox")


def test_a_notebook_gets_the_widget_and_a_still_that_is_shown_without_it(shown):
    (view, _), (still, metadata), (words, _) = shown.outputs()
    assert view[VIEW]["model_id"] == shown.widget.model_id and "image/png" not in view
    assert metadata["image/png"]["alt"] == shown.still.words
    assert "Figure in words" in words["text/html"]
    # an error in the place of a widget is hidden, and a still under a widget that lives
    assert words["text/html"].count("display: none") == 2


def test_colab_gets_both_in_one_output(shown):
    (both, metadata), _ = shown.outputs(together=True)
    assert list(both)[0] == VIEW and both["image/png"]
    assert metadata["image/png"]["alt"] == shown.still.words


def test_what_is_wrong_is_said_aloud_and_whole():
    widget = WIDGETS["lab09.caption_widget.caption_explorer"]().widget
    before = said(widget)
    assert not alerts(widget)
    control(widget, "caption").value = "a zebra"
    assert "lacks 'zebra'" in alerts(widget) and len(alerts(widget)) > 200
    assert said(widget) == before
    control(widget, "caption").value = "a fox again"
    assert not alerts(widget)


def test_a_message_is_text_and_no_html():
    message = Message()
    message.say("<img src=x onerror=alert(1)>")
    assert "<img" not in message.widget.value and 'role="alert"' in message.widget.value


def test_an_executed_solution_keeps_stills_and_no_state_of_widgets():
    output = new_output("display_data", {VIEW: {"model_id": "1"}, "image/png": "iVBORw0KGgo="})
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[output])])
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    kept = without_traces(notebook)
    assert "widgets" not in kept.metadata and kept.cells[0].outputs == [output]
    nbformat.validate(kept)


def test_a_playable_displays_its_outputs_in_order(monkeypatch):
    import IPython.display

    calls = []
    monkeypatch.setattr(
        IPython.display, "display", lambda data, metadata, raw: calls.append((data, metadata))
    )

    class Widget:
        model_id = "7"

    playable = Playable(Widget(), Drawn(b"\x89PNG", "A picture.", 100))
    playable._ipython_display_()
    assert calls == playable.outputs()
