import json

import torch

from labsupport.data import data_path
from labsupport.data.stickers import CHOICES, stickers
from labsupport.experiments.lab08.hart_judges import right, train_judge, worsen
from labsupport.models.hart.shipped import JUDGES, pretrained, untrained
from labsupport.models.judges import judge


def test_a_judge_learns_the_easy_words_in_a_few_steps():
    net = train_judge("a", 0, steps=60, progress=False)
    found = right(net, stickers(200, 48, split="pair", seed=9))
    assert found["ground"] > 0.8 and found["place"] > 0.6  # chance: 1/8 and 1/5
    assert found["all"] <= min(found[kind] for kind in ("place", "tint", "thing", "ground"))


def test_judges_give_features_and_a_word_of_every_kind_whatever_the_batch():
    images = torch.rand(5, 3, 48, 48) * 2 - 1
    for name in JUDGES:
        net = untrained(f"judge {name}").eval()
        features, words = judge(net, images, batch_size=2)
        assert features.shape == (5, 64) and words.shape == (5, len(CHOICES))
        assert torch.allclose(features, judge(net, images)[0], atol=1e-5)
        assert [int(words[:, i].max()) < len(c) for i, c in enumerate(CHOICES)] == [True] * 4


def test_worsened_images_keep_their_colours_on_average():
    images = stickers(64, 32).images
    worse = worsen(images, torch.Generator().manual_seed(0))
    assert (worse - images).abs().mean() > 0.01
    assert (worse.mean(dim=(0, 2, 3)) - images.mean(dim=(0, 2, 3))).abs().max() < 0.03


def test_the_shipped_judges_are_as_good_as_their_record_says():
    record = json.loads(data_path("results", "08_hart_judges.json").read_text())
    batch = stickers(500, 48, split="pair", seed=123)
    for name in JUDGES:
        net = pretrained(f"judge {name}")
        (noted,) = [
            r["all"] for r in record["records"] if (r["judge"], r["split"]) == (name, "pair")
        ]
        assert right(net, batch)["all"] >= noted - 0.01
