"""Lab 10: what its notebook uses and no other.

Rooms: `figures_tower` (images and codes of the visual tower), `figures_captions` (captions that are
read, drawn and found), `figures_row` (words and images in one row).
"""
