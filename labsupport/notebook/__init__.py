"""What every lab's notebook calls.

Rooms: `check` (visible checks), `failures` (what a failed one looks like), `environment` (is all
there that a lab needs), `profile` (smoke, cpu, gpu), `widgets`, `plot` (figures).
"""
