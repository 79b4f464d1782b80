"""Lab 10: what its notebook uses and no other.

Rooms: `figures_tower` (images and codes of the visual tower), `figures_captions` (captions that are
read, drawn and found), `figures_row` (words and images in one row), `figures_model` (the order of
codes; what the model says, answers and draws), `student` (a trained model that learns, writes and
draws with a student's functions), `strangers` (pictures of what no training shows), `widget` (show
the model a picture, give it a caption).
"""
