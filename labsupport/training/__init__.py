"""Training: the optimiser loop, its schedule, and weights in files.

Rooms: `fit` (the one loop, classifiers), `schedule` (learning rates), `checkpoints` (safetensors).
"""

from labsupport.training.checkpoints import (
    checkpoint_path,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from labsupport.training.fit import History, train_classifier
from labsupport.training.schedule import learning_rate_factor

__all__ = [
    "History",
    "checkpoint_path",
    "learning_rate_factor",
    "load_checkpoint",
    "read_metadata",
    "save_checkpoint",
    "train_classifier",
]
