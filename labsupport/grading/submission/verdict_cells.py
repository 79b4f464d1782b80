"""A verdict as it stands in a graded notebook: what a person reads, what nbgrader reads."""

import html
from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode


def verdict_outputs(verdict: Mapping[str, Any]) -> list[NotebookNode]:
    """One result: its HTML is for people, its plain text is the grade nbgrader reads.

    ``verdict`` is ``Verdict.as_dict``'s.
    """
    colour = "#1b7837" if verdict["status"] == "passed" else "#b2182b"
    points, most = verdict["points"], verdict["max_points"]
    worth = f"{points:g} of {most:g} points" if most else "it does not count"
    shown = (
        f'<div style="border-left:4px solid {colour};padding:4px 10px">'
        f"<b>{html.escape(verdict['exercise'])}: {html.escape(verdict['status'])}</b>, "
        f"{worth}<br>{html.escape(verdict['message'])}</div>"
    )
    result = {
        "output_type": "execute_result",
        "execution_count": None,
        "metadata": {},
        "data": {"text/plain": f"{points:g}", "text/html": shown},
    }
    return nbformat.from_dict([result])
