"""Lab 04, segment anything: what its notebook uses and no other.

Rooms: `training` (a net that is asked and corrected), `evaluation` (how good its answers are),
`figures` (clicks, boxes and masks on images), `click_widget` (click and look).
"""
