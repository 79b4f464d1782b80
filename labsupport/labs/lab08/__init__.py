"""Lab 08: what its notebook uses and no other.

Rooms: `tokenizers` (stored nets, training, vectors to make codes of), `image_quality` (measures of
rebuilt images), `scale_figures` (pictures), `scale_widget` (one to play with).
"""
