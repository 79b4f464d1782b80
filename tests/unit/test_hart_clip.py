"""Lab 06's CLIP on stickers: what it is trained on, its scores, and the shipped one."""

import json

import torch

from labsupport.data import data_path
from labsupport.data.stickers import attributes_of, combinations, stickers, tokenize
from labsupport.experiments.lab09.hart_clip import (
    TEST_IMAGES,
    alignment,
    clip_scores,
    one_word_wrong,
    train_clip,
)
from labsupport.models.hart.shipped import pretrained, untrained


def test_scores_are_of_the_images_caption_and_never_negative():
    torch.manual_seed(0)
    net, batch = untrained("clip").eval(), stickers(6, 48, seed=3)
    text = tokenize(batch.captions)
    scores = clip_scores(net, batch.images, text)
    with torch.no_grad():
        cosines = net.similarity(2 * batch.images - 1, text).diagonal()
    torch.testing.assert_close(scores, 100 * cosines.clamp(min=0), atol=1e-3, rtol=1e-4)
    assert (scores >= 0).all()


def test_a_wrong_caption_differs_in_one_word_and_exists():
    attributes = attributes_of(["big red fox on white", "left cat on black"])
    for seed in range(5):
        wrong = one_word_wrong(attributes, seed)
        assert (wrong != tokenize(["big red fox on white", "left cat on black"])).sum(1).eq(1).all()
        known = {tuple(row) for row in combinations("all").tolist()}
        starts = tokenize(["big cat on white"])[0]  # the first word of every kind
        assert all(tuple((row - starts).tolist()) in known for row in wrong)


def test_training_makes_captions_fit_their_images():
    torch.manual_seed(0)
    net = untrained("clip")
    losses = train_clip(net, steps=12, batch_size=16, progress=False)
    assert len(losses) == 12 and losses[-1] < losses[0]
    assert not net.training


def test_the_shipped_clip_is_as_good_as_its_record_says():
    record = json.loads(data_path("results", "09_hart_clip.json").read_text())
    assert record["settings"]["test_images"] == TEST_IMAGES
    net = pretrained("clip")
    for expected in record["records"]:
        found = alignment(net, expected["split"])
        assert abs(found["true"] - expected["true"]) < 0.05
        assert abs(found["told apart"] - expected["told apart"]) < 0.004
        assert found["told apart"] > 0.99
