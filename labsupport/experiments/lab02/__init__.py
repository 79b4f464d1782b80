"""Lab 02, attention cost: the long runs behind its figures.

Room: `attention_cost` (time, memory and multiply-accumulates of six kinds of attention).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["attention_cost"])
