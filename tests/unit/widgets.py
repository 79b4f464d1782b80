"""Parts of a widget, for the tests that move its controls and read what it says."""

import re
from html import unescape


def parts(widget, kind: str) -> list:
    """All widgets of a class below `widget`, in order."""
    found = [widget] if type(widget).__name__ == kind else []
    for child in getattr(widget, "children", ()):
        found += parts(child, kind)
    return found


def control(widget, name: str):
    """The one control that is described so."""
    kinds = ("Dropdown", "BoundedIntText", "Text", "Button", "Checkbox")
    (found,) = [w for kind in kinds for w in parts(widget, kind) if w.description == name]
    return found


def said(widget) -> str:
    """What the picture of a widget shows, in words: its alternative text."""
    (alt,) = [
        alt
        for page in parts(widget, "HTML")
        for alt in re.findall(r'<img alt="([^"]*)"', page.value)
    ]
    return unescape(alt)


def alerts(widget) -> str:
    """What is said aloud as wrong."""
    found = [page.value for page in parts(widget, "HTML") if 'role="alert"' in page.value]
    return unescape("".join(found))
