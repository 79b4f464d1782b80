"""Widgets in JupyterLab: by keyboard, read aloud, on a narrow page, and opened again."""

import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from labsupport.course.build import KERNELSPEC
from tests.browser.jupyter import (
    AXE,
    BROWSER,
    DRIVER,
    TOKEN,
    Server,
    command,
    new_browser,
    violations,
    wait_for,
)
from tests.conftest import ROOT
from tests.unit.figure_gallery import WIDGETS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DRIVER and BROWSER), reason="chromium and its chromedriver are not installed"
    ),
]
BEGIN = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
FIRST = f"{BEGIN}from tests.unit.figure_gallery import FIGURES, WIDGETS\nFIGURES['charts.lines']()"
WIDGET = ".jp-OutputArea-output > .jupyter-widgets"
ERROR = "Error displaying widget"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jupyter")
    cells = [new_code_cell(FIRST), *(new_code_cell(f"WIDGETS[{name!r}]()") for name in WIDGETS)]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    nbformat.write(notebook, folder / "widgets.ipynb")
    server = Server(folder)
    yield server
    server.close()


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    """The notebook in a window of 700 pixels, all cells run."""
    browser = new_browser(tmp_path_factory.mktemp("profile"))
    browser.set_window_size(700, 1400)
    show(browser, server)
    wait_for(browser, "document.querySelector('[data-status=idle]') !== null")  # a kernel is there
    time.sleep(1)
    assert not command(browser, "notebook:run-all-cells")
    count = f"document.querySelectorAll({f'{WIDGET} img'!r}).length === {len(WIDGETS)}"
    wait_for(browser, count, 180)
    yield browser
    browser.quit()


def show(browser, server):
    browser.get(f"{server.url}/lab/tree/widgets.ipynb?token={TOKEN}&reset")
    cells = "document.querySelectorAll('.jp-Notebook .jp-Cell').length"
    wait_for(browser, f"window.jupyterapp && {cells} > {len(WIDGETS)}")
    time.sleep(1)


def test_no_widget_is_wider_than_the_page_and_no_picture_is_blurred(page):
    wide = page.execute_script(
        "return [...document.querySelectorAll('.jp-OutputArea-output')]"
        ".filter(o => o.scrollWidth > o.clientWidth + 1).map(o => o.innerText.slice(0, 80))"
    )
    assert not wide
    sizes = page.execute_script(
        f"return [...document.querySelectorAll({f'{WIDGET} img'!r})]"
        ".map(i => [i.naturalWidth, i.clientWidth, i.naturalHeight / i.naturalWidth,"
        " i.clientHeight / i.clientWidth])"
    )
    for natural, laid_out, shape, laid_shape in sizes:
        assert laid_out <= 700 and natural >= laid_out and abs(shape - laid_shape) < 0.02


def test_no_label_is_cut_off(page):
    cut = page.execute_script(
        f"return [...document.querySelectorAll({f'{WIDGET} .widget-label'!r})]"
        ".filter(l => l.offsetParent && l.scrollWidth > l.clientWidth + 1).map(l => l.innerText)"
    )
    assert not cut


def test_while_a_widget_lives_its_still_is_not_shown(page):
    stills = page.execute_script(
        f"return [...document.querySelectorAll({WIDGET!r})].map(w => [...w.closest("
        "'.jp-OutputArea').children].filter(o => o.offsetHeight > 2 && o.innerText !== '')"
        ".length)"
    )
    assert stills and set(stills) <= {0, 1}


def test_every_widget_is_moved_by_tab_and_arrows(page):
    """From its first control on, Tab reaches all of them; an arrow changes what is said."""
    widgets = page.find_elements("css selector", f"{WIDGET}.widget-vbox, {WIDGET}.widget-box")
    assert len(widgets) >= len(WIDGETS)
    for widget in widgets:
        stops = page.execute_script(
            "return [...arguments[0].querySelectorAll('select, input, button, a')]"
            ".filter(e => e.tabIndex >= 0 && e.offsetParent)",
            widget,
        )
        assert 1 <= len(stops) <= 10
        page.execute_script("arguments[0].focus()", stops[0])
        for stop in stops[1:]:
            ActionChains(page).send_keys(Keys.TAB).perform()
            assert page.switch_to.active_element == stop
        moved = next(
            e for e in stops if e.tag_name == "select" or e.get_attribute("type") == "number"
        )
        page.execute_script("arguments[0].focus()", moved)
        before = told(page, widget)
        arrow = Keys.DOWN if moved.tag_name == "select" and not at_end(page, moved) else Keys.UP
        ActionChains(page).send_keys(arrow).perform()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            now = told(page, widget)
            if now != before:
                break
            time.sleep(0.2)
        assert now != before, before


def test_a_picture_takes_clicks_drags_and_enter(page):
    """In, out, a box; and by keyboard in the fields that step the ring."""
    (widget,) = [
        w
        for w in page.find_elements("css selector", f"{WIDGET}.widget-vbox")
        if "clicks, x and y" in told(page, w)
    ]
    picture = widget.find_element("css selector", "img")
    # the first of four panels, in shares of the picture from its middle
    wide, high = picture.size["width"], picture.size["height"]

    def at(x, y):
        page.execute_script("arguments[0].scrollIntoView()", widget)
        time.sleep(1)  # the notebook lays its cells out anew after it was scrolled
        here = widget.find_element("css selector", "img")
        until = time.monotonic() + 20
        while here.size["height"] < high - 1 and time.monotonic() < until:  # it is put there anew
            time.sleep(0.1)
        return ActionChains(page).move_to_element_with_offset(
            here, round((x - 0.5) * wide), round((y - 0.5) * high)
        )

    def words_after(action):
        before = told(page, widget)
        action.perform()
        until = time.monotonic() + 20
        while time.monotonic() < until and told(page, widget) == before:
            time.sleep(0.1)
        return told(page, widget)

    assert words_after(at(0.1, 0.5).click()).count(" in") == 2
    assert " out" in words_after(at(0.15, 0.6).context_click())
    drag = at(0.05, 0.35).click_and_hold().move_by_offset(round(0.12 * wide), round(0.35 * high))
    assert "a box from" in words_after(drag.release())
    (x,) = [i for i in widget.find_elements("css selector", "input[type=number]")][:1]
    page.execute_script("arguments[0].focus()", x)
    words = words_after(ActionChains(page).send_keys(Keys.ENTER))
    assert words.count(" in") == 3 and words.count(" out") == 1
    shifted = ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT)
    assert words_after(shifted).count(" out") == 2


def told(page, widget):
    return page.execute_script("return arguments[0].querySelector('img').alt", widget)


def at_end(page, select):
    return page.execute_script(
        "return arguments[0].selectedIndex === arguments[0].options.length - 1", select
    )


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed; AXE names its file")
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_in_live_widgets(page, theme):
    assert not command(page, "apputils:change-theme", f"{{theme: {theme!r}}}")
    time.sleep(2)
    assert violations(page, WIDGET) == []
    assert violations(page, "details") == []


def test_a_notebook_opened_again_shows_stills_and_no_errors(page, server):
    """Last, for it ends the kernel."""
    assert not command(page, "docmanager:save")
    saved = nbformat.read(server.folder / "widgets.ipynb", as_version=4)
    server.end_kernels()
    show(page, server)
    time.sleep(4)
    for i in range(1, len(saved.cells)):
        page.execute_script(f"document.querySelectorAll('.jp-Cell')[{i}].scrollIntoView()")
        time.sleep(0.5)
        shown = page.execute_script(
            f"return [...document.querySelectorAll('.jp-Cell')[{i}].querySelectorAll("
            "'.jp-OutputArea-child')].filter(o => o.offsetHeight > 0)"
            ".map(o => [o.innerText, o.querySelectorAll('img').length])"
        )
        assert not [text for text, _ in shown if ERROR in text], shown
        assert sum(pictures for _, pictures in shown) == 1
        assert any("Figure in words" in text for text, _ in shown)
