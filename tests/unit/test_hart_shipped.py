"""The networks of data/checkpoints: found by name; the generator draws what its record says."""

import json

import pytest

from labsupport.data import data_path
from labsupport.experiments.lab09.hart_generation import Bench, generate_all
from labsupport.models import hart
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


def test_every_name_of_the_package_is_found_and_a_network_that_is_not_shipped_is_refused():
    assert all(hasattr(hart, name) for name in hart.__all__)
    for build in (hart.untrained, hart.pretrained):
        with pytest.raises(ValueError, match="no network 'judge c' is shipped; choose from"):
            build("judge c")
