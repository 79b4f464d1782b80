"""Training: the optimiser loop and its schedule.

Rooms: `loop` (the one optimiser loop; classifiers), `schedule` (learning rates), `precision`
(bfloat16 where it is faster). Weights in files are in `labsupport.models.weights`, and handed on
here.
"""

from labsupport.models.weights import (
    checkpoint_path,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from labsupport.training.loop import History, fit, train_classifier
from labsupport.training.precision import autocast
from labsupport.training.schedule import learning_rate_factor

__all__ = [
    "autocast",
    "fit",
    "History",
    "checkpoint_path",
    "learning_rate_factor",
    "load_checkpoint",
    "read_metadata",
    "save_checkpoint",
    "train_classifier",
]
