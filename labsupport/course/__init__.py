"""A lab's one source file, and the notebooks that are made of it.

Rooms: `lab` (a lab as an object), `source` (reading one), `header` and `judge_cell` (two parts of
it), `rules` (what it must obey), `points_told` (points that its prose names), `readable` (what can
be read aloud), `build` (the student's notebook), `solve` (the executed solution), `publication`
(the address, badges), `first_cells` (what finds the package), `installing`, `bundle` (the
students' zip), `site` (the course as web pages), `conda_environment` (environment.yml),
`fingerprint` (what a grade depends on). A name is imported when it is first used: nbgrader and
papermill take seconds.
"""

import sys

import lazy_loader

# jsonschema, on which nbformat builds, makes a grammar of internationalised addresses when it is
# imported: a second in each process, for a format that no notebook schema has. None stands for
# "not installed", which it takes well.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None is what means it

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_notebook", "dump", "student_notebook"],
        "lab": ["Lab", "LabCell", "SourceError", "solution_code"],
        "solve": ["execute_solution"],
        "source": ["find_labs", "parse_lab", "read_lab"],
    },
)
