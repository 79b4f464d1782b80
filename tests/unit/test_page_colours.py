"""Colours of the pages that are ours: letters stand out from every ground, light and dark."""

import re

import pytest

from labsupport.notebook.plot.style import LEAST_TEXT, contrast
from tests.conftest import ROOT

GRADING = ROOT / "labsupport" / "grading"
SHEETS = {
    "feedback": GRADING / "ledger" / "templates" / "labs_feedback" / "page.css",
    "report": GRADING / "report" / "page.html.j2",
}
GROUNDS = {"paper", "pale", "head", "note", "error"}
NO_LETTERS = {"line"}  # rims of boxes


def schemes(sheet):
    """The light and the dark scheme of a style sheet: name -> colour."""
    text = sheet.read_text(encoding="utf-8").replace("white", "#ffffff")
    blocks = re.findall(r"color-scheme: (\w+);([^}]*)}", text)
    return {scheme: dict(re.findall(r"--([\w-]+): (#\w{6})", body)) for scheme, body in blocks}


@pytest.mark.parametrize("name", SHEETS)
def test_letters_stand_out_from_every_ground_in_both_schemes(name):
    found = schemes(SHEETS[name])
    assert found.keys() == {"light", "dark"} and found["light"].keys() == found["dark"].keys()
    for scheme, colours in found.items():
        grounds = GROUNDS & colours.keys()
        letters = colours.keys() - GROUNDS - NO_LETTERS
        assert {"paper", "pale"} <= grounds and {"ink", "soft", "blue", "red"} <= letters
        for letter in letters:
            for ground in grounds:
                enough = contrast(colours[letter], colours[ground]) >= LEAST_TEXT
                assert enough, (scheme, letter, ground)
