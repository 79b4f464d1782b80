"""``python -m labsupport.cli``: the same as ``labs``."""

from labsupport.cli import app

app()
