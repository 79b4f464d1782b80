"""Every figure of the course is read by everyone: words, contrast, and nothing by colour alone."""

import ast
import re
from functools import lru_cache

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from labsupport.notebook.plot import use_style
from labsupport.notebook.plot.segmentation import COLOURS
from labsupport.notebook.plot.style import LEAST_LINE, LEAST_TEXT, contrast, luminance
from tests.conftest import ROOT
from tests.unit.figure_gallery import FIGURES, WIDGETS

ENDS = {"finish", "show", "show_figure", "drawn"}


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        use_style()
        yield
    plt.close("all")


@lru_cache(maxsize=1)
def drawing_functions():
    """Public functions of the course that draw: those of a room that end a figure."""
    found = set()
    folders = ROOT / "labsupport" / "notebook" / "plot", ROOT / "labsupport" / "labs"
    for path in sorted(p for folder in folders for p in folder.rglob("*.py")):
        if path.stem in ("ending", "__init__"):
            continue
        room = path.stem if path.parent.name == "plot" else f"{path.parent.name}.{path.stem}"
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                calls = {
                    getattr(c.func, "id", "") for c in ast.walk(node) if isinstance(c, ast.Call)
                }
                if calls & (ENDS | {"Playable"}):
                    found.add(f"{room}.{node.name}")
    return found


def test_the_gallery_has_every_figure_and_every_widget():
    assert drawing_functions() == FIGURES.keys() | WIDGETS.keys()


def figures_of(name, monkeypatch):
    """The figures that an entry of the gallery draws."""
    seen = []
    monkeypatch.setattr(plt, "show", lambda: seen.append(plt.gcf()))
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda fig, *args, **how: (seen.append(fig), save(fig, *args, **how))
    )
    (FIGURES | WIDGETS)[name]()
    assert seen
    return seen


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_shows(name, monkeypatch):
    for fig in figures_of(name, monkeypatch):
        told = fig.get_label()
        assert 25 <= len(told) <= 1500, told  # here without its title
        assert re.fullmatch(r"[^\n<>]+\.", told) and "  " not in told and ".." not in told, told
        assert not re.search(r"tensor\(|nan|None|\[|\bof , ", told), told


@pytest.mark.parametrize("name", [*FIGURES, *WIDGETS])
def test_letters_and_lines_stand_out_from_what_is_behind_them(name, monkeypatch):
    for fig in figures_of(name, monkeypatch):
        faint = [*faint_texts(fig), *faint_lines(fig), *faint_patches(fig)]
        assert not faint, faint


def faint_texts(fig):
    """Texts under 4.5 : 1, computed from the pixels behind each and its own ground."""
    FigureCanvasAgg(fig).draw()
    fig.set_layout_engine("none")
    shown = [(text, text.get_window_extent()) for text in texts_of(fig)]
    for text, _ in shown:
        text.set_visible(False)
    fig.canvas.draw()
    pixels = np.asarray(fig.canvas.buffer_rgba())[::-1, :, :3] / 255  # row 0 is below
    for text, box in shown:
        text.set_visible(True)
        part = pixels[max(0, int(box.y0)) : int(box.y1) + 1, max(0, int(box.x0)) : int(box.x1) + 1]
        if not part.size:
            continue  # outside the page
        ground = np.median(part.reshape(-1, 3), axis=0)
        if text.get_bbox_patch():
            *colour, alpha = to_rgba(text.get_bbox_patch().get_facecolor())
            behind = part.reshape(-1, 3).max(axis=0)  # the lightest is the worst for white letters
            ground = alpha * np.array(colour) + (1 - alpha) * behind
        seen = contrast(to_rgb(text.get_color()), ground)
        if seen < LEAST_TEXT:
            yield text.get_text(), f"{seen:.2f}"


def texts_of(fig):
    """All that is written on a figure; an axis that is not drawn has texts nobody sees."""
    hidden = {
        text
        for ax in fig.axes
        if not ax.axison
        for axis in (ax.xaxis, ax.yaxis)
        for text in axis.findobj(Text)
    }
    return [
        t for t in fig.findobj(Text) if t.get_text().strip() and t.get_visible() and t not in hidden
    ]


def rimmed(artist):
    """Whether a dark rim is drawn around it."""
    rims = [getattr(effect, "_gc", {}).get("foreground") for effect in artist.get_path_effects()]
    return any(rim and contrast(rim, "white") >= LEAST_LINE for rim in rims)


def faint_lines(fig):
    """Lines and marks under 3 : 1 on white; a grid laid over a picture is none."""
    for ax in fig.axes:
        for line in [] if ax.images else ax.get_lines():
            parts = [[line.get_color()]] if line.get_linestyle() not in ("None", "") else []
            if line.get_marker() not in ("None", "", None):
                edge = [line.get_markeredgecolor()] * bool(line.get_markeredgewidth())
                parts.append([*edge, line.get_markerfacecolor()])
            for colours in parts:
                best = max(on_white(colour, line.get_alpha()) for colour in colours)
                if not rimmed(line) and best < LEAST_LINE:
                    yield line, colours
        for lines in [] if ax.images else ax.collections:
            for colour in lines.get_edgecolor():
                if contrast(colour[:3], "white") < LEAST_LINE:
                    yield lines, colour


def on_white(colour, alpha=None):
    *rgb, own = to_rgba(colour, alpha)
    return contrast([1 - own * (1 - c) for c in rgb], "white")


def faint_patches(fig):
    """Bars, boxes and frames with neither a face nor an edge of 3 : 1."""
    for ax in fig.axes:
        for patch in ax.patches:
            face = on_white(patch.get_facecolor()) if patch.get_fill() else 1
            edge = on_white(patch.get_edgecolor()) if patch.get_linewidth() else 1
            framed = not ax.images or rimmed(patch) or patch.get_fill()
            if not framed or (not rimmed(patch) and max(face, edge) < LEAST_LINE):
                yield patch, face, edge


@pytest.mark.parametrize("name", [*FIGURES, *WIDGETS])
def test_nothing_is_told_by_colour_alone(name, monkeypatch):
    for fig in figures_of(name, monkeypatch):
        for ax in [] if any(ax.images for ax in fig.axes) else fig.axes:
            lines = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
            colours = {}
            for line in lines:  # of one colour is what belongs together
                colours.setdefault(look(line), set()).add(line.get_color())
            assert all(len(of_one_look) == 1 for of_one_look in colours.values()), colours
        legends = [ax.get_legend_handles_labels()[0] for ax in fig.axes if ax.get_legend()]
        for handles in [*legends, *(legend.legend_handles for legend in fig.legends)]:
            looks = [look(handle) for handle in handles]
            assert len(looks) == len(set(looks)), looks


def look(handle):
    """All of a legend's mark or of a line but its colour; of a patch without a hatch, how light
    it is, in steps of which two are told apart in grey."""
    if isinstance(handle, tuple):  # bars, or a line with error bars
        return look(handle[0])
    if isinstance(handle, Line2D):
        dash = getattr(handle, "_unscaled_dash_pattern", None)
        return handle.get_marker(), handle.get_linestyle(), str(dash)
    return handle.get_hatch() or round(lightness(handle.get_facecolor()) / 20)


def lightness(colour):
    return 116 * luminance(colour) ** (1 / 3) - 16


def test_classes_of_a_map_are_told_apart_in_grey():
    light = sorted(lightness(colour) for colour in COLOURS[:4])
    assert min(np.diff(light)) >= 20, light
    assert all(contrast(colour, COLOURS[0]) >= LEAST_LINE for colour in COLOURS[1:4])


def test_right_and_wrong_have_a_sign(monkeypatch):
    for name in ("images.compare_tokens", "lab06.retrieval.show_search"):
        (fig,) = figures_of(name, monkeypatch)
        words = [text.get_text() for ax in fig.axes for text in ax.texts]
        signs = [word[0] for word in words if word[:1] in ("✓", "✗")]
        frames = sum(not patch.get_fill() for ax in fig.axes for patch in ax.patches)
        assert signs and signs.count("✗") <= frames


CLASS_MAPS = (
    "segmentation.show_segmentations",
    "lab03.resolution_widget.resolution_explorer",
    "lab05.sparsity_widget.sparsity_explorer",
)


@pytest.mark.parametrize("name", CLASS_MAPS)
def test_a_map_of_classes_has_a_legend(name, monkeypatch):
    for fig in figures_of(name, monkeypatch):
        assert fig.legends and len(fig.legends[0].get_texts()) >= 2


def test_the_measures_find_what_is_faint():
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], color="#E69F00")
    ax.bar([1], [1], color="#BBBBBB")
    ax.text(0.5, 0.5, "pale", color="#999999")
    assert [word for word, _ in faint_texts(fig)] == ["pale"]
    assert len(list(faint_lines(fig))) == 1 and len(list(faint_patches(fig))) == 1
