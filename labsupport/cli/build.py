"""``labs build``: the notebooks, out of their sources."""

import time
from typing import Annotated

import typer

from labsupport.cli.application import Labs, console, one_line_errors, root


def build(
    labs: Labs = None,
    execute: Annotated[bool, typer.Option(help="also run the solutions with papermill")] = False,
    profile: Annotated[str, typer.Option(help="profile of --execute")] = "cpu",
):
    """Build notebooks/ from solutions/*.py.    Example: labs build 01 --execute"""
    with one_line_errors():
        from labsupport.course.build import build_notebook
        from labsupport.course.conda_environment import write_environment
        from labsupport.course.publication import fill_readme, published_at
        from labsupport.course.solve import execute_solution, refresh_prose
        from labsupport.course.source import find_labs, read_lab
        from labsupport.grading.judging.examples import write_examples

        top = root()
        published = published_at(top)
        for path in find_labs(top / "solutions", labs):
            lab = read_lab(path)
            built = build_notebook(lab, top / "notebooks", published)
            console.print(
                f"{built.relative_to(top)}: {len(lab.exercises)} exercises, {lab.points:g} points"
            )
            write_examples(lab, top / "data" / "checks")
            if execute:
                begin = time.monotonic()
                done = execute_solution(lab, path.with_suffix(".ipynb"), profile, published)
                console.print(
                    f"{done.relative_to(top)}: executed in {time.monotonic() - begin:.0f} s"
                )
            elif not refresh_prose(lab, path.with_suffix(".ipynb"), published):
                console.print(
                    f"{path.with_suffix('.ipynb').name}: its code has changed since it was run; "
                    f"'labs build {lab.number} --execute' runs it"
                )
        fill_readme(top, published, [p.stem for p in find_labs(top / "solutions")])
        write_environment(top)
