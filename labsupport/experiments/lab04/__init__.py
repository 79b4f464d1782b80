"""Lab 04: the long runs behind its figures.

Rooms: `promptable` (the shipped nets), `evaluation` (what they can do), `speed` (of the published
encoders at their real sizes).
"""
