"""``labs publish``: where the course can be had, written wherever it is needed."""

from typing import Annotated

import typer

from labsupport.cli.application import console, one_line_errors, root


def publish(
    url: Annotated[str, typer.Argument(help="a git repository's address, or that of a wheel")],
    branch: Annotated[str, typer.Option(help="the repository's branch")] = "main",
):
    """Write the course's address.    Example: labs publish https://github.com/OWNER/NAME

    The address goes into pyproject.toml, README.md and the first cell of every notebook, with a
    badge that opens the lab in Colab where it is on GitHub. Nothing is run and nothing uploaded:
    commit and push what has changed. "" takes the address back.
    """
    with one_line_errors():
        from labsupport.course.build import build_notebook
        from labsupport.course.publication import NO_BADGE, Published, fill_readme, write_address
        from labsupport.course.solve import refresh_prose
        from labsupport.course.source import find_labs, read_lab

        top = root()
        published = Published(url, branch)
        sources = find_labs(top / "solutions")
        labs = [read_lab(path) for path in sources]
        write_address(top, published)
        for path, lab in zip(sources, labs):
            build_notebook(lab, top / "notebooks", published)
            if not refresh_prose(lab, path.with_suffix(".ipynb"), published):
                console.print(
                    f"{path.with_suffix('.ipynb').name} is as it was: its code has changed since "
                    f"it was run; 'labs build {lab.number} --execute' runs it"
                )
        fill_readme(top, published, [path.stem for path in sources])
        if not url:
            console.print("The address is taken back.")
            return
        console.print(f"pyproject.toml, README.md and {len(labs)} notebooks say {url} now.")
        if not published.slug:
            console.print(NO_BADGE)
        console.print(
            "Put the wheel there: 'labs bundle' makes a zip with it."
            if url.endswith(".whl")
            else f"Commit and push to {branch}: then the first cell of each notebook installs it."
        )
