"""Lab 04: the long runs behind its figures.

Rooms: `promptable` (the shipped nets), `evaluation` (what they can do), `speed` (of the published
encoders at their real sizes), `ambiguity` (three masks against one), `data_engine` (masks that a
net makes for the next one), `by_masks` (the training of both).
"""
