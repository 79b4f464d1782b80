"""Parts of a widget, for the tests that move its controls."""


def parts(widget, kind: str) -> list:
    """All widgets of a class below `widget`, in order."""
    found = [widget] if type(widget).__name__ == kind else []
    for child in getattr(widget, "children", ()):
        found += parts(child, kind)
    return found
