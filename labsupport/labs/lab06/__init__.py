"""Lab 06, contrastive learning and CLIP: what its notebook uses and no other.

Rooms: `pairs` (scenes of two things, and training on batches of different captions), `retrieval`
(images found by sentences: measures, figures), `search_widget` (try a sentence).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["pairs", "retrieval", "search_widget"]
)
