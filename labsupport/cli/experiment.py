"""``labs experiment``: a long run behind a lab's figures."""

from typing import Annotated

import typer

from labsupport.cli.application import one_line_errors, root


def experiment(
    lab: Annotated[str, typer.Argument(help="lab number")],
    name: Annotated[str, typer.Argument(help="the experiment's name")],
):
    """Run a long experiment and keep its results.    Example: labs experiment 01 data_scaling"""
    with one_line_errors():
        from labsupport.experiments import find_experiment

        find_experiment(lab, name)(root())
