"""The generator of data/checkpoints still draws what its record says."""

import json

from labsupport.data import data_path
from labsupport.experiments.lab09.hart_generation import Bench, generate_all
from labsupport.models.hart import pretrained


def test_the_shipped_generator_draws_held_out_captions_as_well_as_its_record_says():
    record = json.loads(data_path("results", "09_hart_generation.json").read_text())
    (noted,) = [
        r
        for r in record["records"]
        if r["split"] == "pair" and r["way"] == "residual" and (r["steps"], r["seed"]) == (8, 0)
    ]
    bench = Bench("pair", 100)
    found = bench.score(generate_all(pretrained(), bench.text, steps=8))
    for judge in "ab":
        # of 100 images, four standard errors of a share of nineteen in twenty
        assert abs(found[f"all {judge}"] - noted[f"all {judge}"]) < 0.09
