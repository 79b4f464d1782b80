"""Lab 02, attention cost: what its notebook uses and no other.

Rooms: `cost_study` (measurements), `cost_figures` (charts of them), `footprints` (who hears whom),
`cost_widget` (both, to play with).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["cost_figures", "cost_study", "cost_widget", "footprints"]
)
