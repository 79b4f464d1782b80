"""Every lab ends with a glossary: at most fifteen terms, in order, all of them used in the lab."""

import re

import pytest

from labsupport.course.source import find_labs, read_lab
from tests.conftest import ROOT
from tests.labs.statements import plain

SOURCES = find_labs(ROOT / "solutions")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_last_section_is_a_glossary_of_what_the_lab_says(path):
    texts = [c.source for c in read_lab(path).cells if c.kind in ("prose", "question")]
    last, _, glossary = texts[-1].partition("## Glossary\n")
    entries = re.findall(r"^\* \*\*(.+?)\*\*: (.+)", glossary, re.M)
    assert glossary.count("\n* ") == len(entries) and 5 <= len(entries) <= 15
    terms = [term for term, _ in entries]
    assert terms == sorted(terms, key=str.lower)
    assert "explained in the glossary at the end" in " ".join(texts[0].split())
    lab = plain(" ".join([*texts[:-1], last])).lower()
    words = [word for term in terms for word in term.lower().split(", ")]
    assert not [word for word in words if word not in lab]
