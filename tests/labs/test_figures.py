"""Every picture of an executed solution has words of its own, where pages of all kinds read them."""

import re

import nbformat
import pytest

from labsupport.course.source import find_labs
from tests.conftest import ROOT

SOLUTIONS = [path.with_suffix(".ipynb") for path in find_labs(ROOT / "solutions")]
FILLER = re.compile(r"no description|<figure size|^(image|figure|plot|chart|picture)\W*$", re.I)


def pictures(path):
    """(cell, alternative text, what the outputs after it say) of each PNG."""
    for cell in nbformat.read(path, as_version=4).cells:
        outputs = cell.get("outputs", [])
        for place, output in enumerate(outputs):
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                after = "".join(
                    o.get("data", {}).get("text/html", "") for o in outputs[place + 1 :]
                )
                yield cell.id, alt, after


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_every_picture_has_a_description_of_its_own(path):
    found = list(pictures(path))
    assert len(found) >= 10
    for cell, alt, after in found:
        assert len(alt) >= 40 and len(alt.split()) >= 8 and not FILLER.search(alt), (cell, alt)
        assert "<details><summary>Figure in words</summary>" in after, cell
    texts = [alt for _, alt, _ in found]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_no_state_of_widgets_hides_a_still(path):
    assert "widgets" not in nbformat.read(path, as_version=4).metadata
