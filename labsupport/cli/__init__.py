"""The ``labs`` command.

Rooms: ``application`` (the application, the console, how errors are shown), ``stopping`` (Ctrl-C),
``beginning`` (what is begun before imports), and one a command:
``build``, ``bundle``, ``publish``, ``site``, ``start``, ``check``, ``collect``, ``grade``,
``report``, ``export``, ``demo``, ``doctor``, ``audit``, ``experiment``, ``course`` (with its own
commands). ``grading_output`` is what ``grade`` and ``demo`` both show. A command imports what it
needs when it is run: help is there at once.
"""

# ruff: noqa: E402
from labsupport.cli import stopping

stopping.listen()  # before imports that take their time

from labsupport.cli import (
    audit,
    build,
    bundle,
    check,
    collect,
    course,
    demo,
    doctor,
    experiment,
    export,
    grade,
    publish,
    report,
    site,
    start,
)
from labsupport.cli.application import app

__all__ = ["app"]

for command in (  # in the order of the help
    build.build,
    check.check,
    collect.collect,
    grade.grade,
    report.report,
    export.export,
    demo.demo,
    doctor.doctor,
    audit.audit,
    experiment.experiment,
    bundle.bundle,
    publish.publish,
    site.site,
):
    app.command()(command)
app.command(context_settings=start.SETTINGS)(start.start)
app.add_typer(course.app, name="course")
