"""The two courses that are attacked: an ordinary nbgrader one, and the same small lab in ours."""

import copy
import json
import os
from pathlib import Path

import nbformat
from catalogue import RIGHT, Attack
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HONEST = "zoe"  # a student whose marks, files and page must stay what they are
SECRET = "canary-5e1f-of-the-instructor"
TESTS = "secret-of-the-tests"
SECONDS = 5  # a cell

PLAIN_CONFIG = f"""
c = get_config()
c.CourseDirectory.course_id = "plain"
c.Execute.timeout = {SECONDS}
"""
SCALE_TESTS = f"""
x = np.arange(5.0) + 1
expected = np.array([2.5, 5.0, 7.5, 10.0, 12.5])
answer = scale(x, 2.5)
assert answer.shape == expected.shape
assert np.allclose(answer, expected)
### BEGIN HIDDEN TESTS
expected = np.array([3.5, -7.0])  # {TESTS}
answer = scale(np.array([1.0, -2.0]), 3.5)
assert np.allclose(answer, expected)
### END HIDDEN TESTS
""".strip()
TWICE_TESTS = """
expected = np.array([0.0, 2.0, 4.0])
assert np.allclose(twice(np.arange(3.0)), expected)
### BEGIN HIDDEN TESTS
assert np.allclose(twice(np.array([-1.5])), np.array([-3.0]))
### END HIDDEN TESTS
""".strip()


def plain_source() -> nbformat.NotebookNode:
    """The small lab as an instructor would write it for nbgrader: assertions, some hidden."""

    def about(name: str, **kind) -> dict:
        base = {
            "grade": False,
            "solution": False,
            "locked": False,
            "task": False,
            "schema_version": 3,
            "grade_id": name,
        }
        return {"nbgrader": base | kind}

    def solution(name: str, body: str, signature: str):
        text = (
            f"def {name}({signature}):\n    ### BEGIN SOLUTION\n    return {body}\n"
            "    ### END SOLUTION"
        )
        return new_code_cell(
            text, id=f"exercise-{name}", metadata=about(f"exercise-{name}", solution=True)
        )

    def tests(name: str, source: str, points: float):
        return new_code_cell(
            source,
            id=f"test-{name}",
            metadata=about(f"test-{name}", grade=True, locked=True, points=points),
        )

    return new_notebook(
        metadata={
            "kernelspec": {
                "name": "python3",
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
            }
        },
        cells=[
            new_code_cell("import numpy as np", id="setup"),
            solution("scale", "x * factor", "x, factor"),
            new_code_cell("assert scale(np.ones(2), 3).tolist() == [3, 3]", id="check"),
            tests("scale", SCALE_TESTS, 2),
            solution("twice", "2 * x", "x"),
            tests("twice", TWICE_TESTS, 1.5),
        ],
    )


def attacked(released, attack: Attack, ours: bool, names: dict[str, str]) -> str | bytes:
    """An attack's notebook as text; ``names`` fill in where things are on this host."""
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        if cell.id == "exercise-scale":
            cell.source = filled(attack.source(ours), names)
        elif cell.id == "exercise-twice":
            cell.source = "def twice(x):\n    return 2 * x"
    place = next(i for i, c in enumerate(notebook.cells) if c.id == "exercise-scale")
    own = [
        new_code_cell(filled(source.strip(), names), id=f"mine-{i}")
        for i, source in enumerate(attack.cells)
    ]
    own += [new_markdown_cell(attack.markdown, id="words")] if attack.markdown else []
    notebook.cells[place:place] = own
    return damaged(notebook, attack.damage)


def honest(released, ours: bool) -> str | bytes:
    """The notebook of the student who does no harm; nobody else is to see what is in it."""
    return attacked(released, Attack("", "", f"{RIGHT}# {SECRET}\n"), ours, {})


def filled(text: str, names: dict[str, str]) -> str:
    text = text.replace("{{", "\0").replace("}}", "\1")
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text.replace("\0", "{").replace("\1", "}")


def damaged(notebook, damage: str) -> str | bytes:
    cells = notebook.cells
    tests = next(c for c in cells if c.id in ("test-scale", "judge-scale"))
    place = cells.index(tests)
    if damage == "claims points":
        tests.outputs = [
            nbformat.from_dict(
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "metadata": {},
                    "data": {"text/plain": "2.0"},
                }
            )
        ]
    elif damage == "raises points":
        tests.metadata.nbgrader.points = 100
    elif damage == "deletes the test":
        del cells[place]
    elif damage == "empties the test":
        tests.source = ""
        tests.metadata.nbgrader.update(locked=False, solution=True)
    elif damage == "retypes the test":
        about = tests.metadata
        cells[place] = new_markdown_cell("nothing", id=tests.id, metadata=about)
    elif damage == "stripped":
        for index, cell in enumerate(cells):
            cell.metadata, cell.id = nbformat.from_dict({}), f"colab-{index}"
    elif damage == "duplicated":
        cells.insert(place, copy.deepcopy(tests))
    elif damage == "split":
        cell = next(c for c in cells if c.id == "exercise-scale")
        rest = copy.deepcopy(cell)
        cell.source, rest.source = cell.source.split("\n", 1)
        rest.id = "rest"
        cells.insert(cells.index(cell) + 1, rest)
    elif damage == "reversed":
        cells.reverse()
    elif damage == "kernelspec":
        notebook.metadata.kernelspec = {"name": "no-such", "display_name": "", "language": "sh"}
    text = json.dumps(notebook)
    return {
        "cut": text[: len(text) // 2],
        "empty": "",
        "deep": "[" * 200_000,
        "bom": text.encode("utf-8-sig"),
    }.get(damage, text)


def hand_in(
    course: Path,
    student: str,
    stem: str,
    text: str | bytes,
    damage: str = "",
    home: Path | None = None,
) -> None:
    """Put a submission in its folder, with what comes beside the notebook."""
    folder = course / "submitted" / student / stem
    folder.mkdir(parents=True)
    path = folder / f"{stem}.ipynb"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (folder / "timestamp.txt").write_text("2026-01-31 18:00:00 UTC")
    if damage == "link":
        (folder / "notes.txt").symlink_to(home / "token.txt")
    elif damage == "notebook link":
        path.unlink()
        path.symlink_to(course / "submitted" / HONEST / stem / f"{stem}.ipynb")
    elif damage == "pipe":
        os.mkfifo(folder / "data.csv")
    elif damage == "module":
        (folder / "numpy.py").write_text("raise ImportError('hidden')")
        (folder / "torch.py").write_text("raise ImportError('hidden')")
