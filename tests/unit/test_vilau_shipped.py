"""Lab 10's shipped networks do what their records say."""

import pytest

from labsupport.data.results import read_result
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
