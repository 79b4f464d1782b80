"""The long runs behind the figures of the labs, one file an experiment: `labs experiment NN NAME`.

Each file has `run(...)`, which measures, and `main(root)`, which also writes what it measured
under `root`/data together with the command, the settings, the date, the machine and the versions.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

EXPERIMENTS = {
    "01": ("learning_rates", "data_scaling", "checkpoint"),
    "02": ("attention_cost",),
    "03": ("segmentation", "super_resolution", "race"),
    "05": ("sparsity", "sparse_search"),
    "06": ("contrastive", "simclr", "word_order"),
    "07": ("masked_pretraining", "mask_ratio", "natural_colours"),
    "08": ("hart_tokenizer", "hart_judges", "hart_decoders"),
    "09": ("hart_clip", "hart_generation", "hart_seeds", "hart_systems", "hart_speed"),
}


def find_experiment(lab: str, name: str) -> Callable[[Path], None]:
    """The `main` of an experiment; it takes the checkout whose data/ folder gets the results.

    Raises ValueError for a lab or an experiment that does not exist.
    """
    if lab not in EXPERIMENTS:
        raise ValueError(f"lab {lab!r} has no experiments; only {', '.join(EXPERIMENTS)}")
    if name not in EXPERIMENTS[lab]:
        raise ValueError(
            f"lab {lab} has no experiment {name!r}; it has {', '.join(EXPERIMENTS[lab])}"
        )
    return import_module(f"{__name__}.{name}").main
