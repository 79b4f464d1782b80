"""Lab 09: what its notebook uses and no other.

Rooms: `figures` (its pictures), `caption_widget` (write a caption), `painter` (a trained HART
with a student's functions), `training` (the loop of HART and of what it is compared with).
"""
