"""Lab 10's shipped networks do what their records say."""

import pytest

from labsupport.data.results import read_result
from labsupport.experiments.lab10 import unified
from labsupport.experiments.lab10.evaluation import rebuilt, unseen_stickers
from labsupport.models.registry import pretrained


@pytest.mark.parametrize("name", ["10_tower", "10_tower_plain"])
def test_a_tower_rebuilds_images_as_its_record_says(name):
    records = read_result("10_visual_towers").records
    (record,) = [r for r in records if r["tower"] == name]
    (told,) = [s["rebuilt"] for s in record["splits"] if s["split"] == "triple"]
    tower = pretrained(name)
    assert (tower.alignment is not None) == record["aligned"]
    found = rebuilt(tower, unseen_stickers(tower.size, "triple"))
    for row, before in zip(found, told, strict=True):
        assert row["depth"] == before["depth"]
        assert row["psnr"] == pytest.approx(before["psnr"], abs=0.02)
        assert row["distance"] == pytest.approx(before["distance"], rel=0.02)


def test_the_unified_model_reads_and_draws_as_its_record_says():
    """A part of the captions, so a share may be off by what a part is."""
    told = read_result("10_unified")
    model = pretrained("10_unified")
    drawn = unified.to_read(model, "pair")
    (reading,) = [r for r in told.more["reading"] if r["split"] == "pair"]
    assert unified.read(model, drawn)["caption"] == pytest.approx(reading["caption"], abs=0.01)
    (record,) = [
        r for r in told.records if r["split"] == "triple" and r["guidance"] == told.more["chosen"]
    ]
    bench = unified.Bench("triple", 60, model.tower.size)
    found = unified.judged(model, bench, record["guidance"], record["temperature"])
    assert found["all a"] == pytest.approx(record["all a"], abs=0.1)
    assert found["all b"] == pytest.approx(record["all b"], abs=0.1)
