"""Lab 04's comparisons of training: they run, repeat nothing, and stay what they claim to be."""

import torch

from labsupport.data.results import as_stored, read_result
from labsupport.experiments.lab04 import ambiguity, by_masks, data_engine
from labsupport.experiments.lab04.promptable import training_scenes, untrained
from labsupport.models.sam.automatic import Segments


def test_every_loss_teaches_the_candidates_that_it_says():
    targets = torch.zeros(2, 4, 4)
    targets[:, :2] = 1
    learned = {}
    for name, (loss, _) in ambiguity.LOSSES.items():
        logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        logits.requires_grad_()
        loss(logits, torch.zeros(2, 3), targets).backward()
        learned[name] = (logits.grad != 0).flatten(2).any(2).sum(1).tolist()
    assert learned == {"three, best learns": [1, 1], "three, all learn": [3, 3], "one": [1, 1]}


def test_training_on_masks_is_repeatable_and_leaves_eval_mode():
    scenes = training_scenes(6)
    masks = by_masks.seen_masks(scenes)
    assert all(m.any(dim=(1, 2)).all() for m in masks)
    nets = [untrained("student") for _ in range(2)]
    losses = [by_masks.train_on_masks(n, scenes.images, masks, steps=2).loss for n in nets]
    assert losses[0] == losses[1] and not nets[0].training


def test_masks_or_images_are_drawn_evenly(monkeypatch):
    """Nine of ten masks are of the second image, whose masks are right of its middle."""
    scenes = training_scenes(2)
    masks = [torch.zeros(1, 64, 64, dtype=torch.bool), torch.zeros(9, 64, 64, dtype=torch.bool)]
    masks[0][:, :, :32], masks[1][:, :, 32:] = True, True
    asked = {"images": [], "masks": []}
    for evenly, seen in asked.items():
        net = untrained("student")
        decode = net.decode

        def watched(embeddings, points, labels, seen=seen, decode=decode):
            seen += (points[:, 0, 0] >= 32).tolist()
            return decode(embeddings, points, labels)

        monkeypatch.setattr(net, "decode", watched)
        by_masks.train_on_masks(net, scenes.images, masks, steps=6, evenly=evenly, seed=3)
    share = {name: sum(seen) / len(seen) for name, seen in asked.items()}
    assert 0.3 < share["images"] < 0.7 and 0.8 < share["masks"] < 1


def test_both_experiments_run_and_repeat_nothing():
    told = ambiguity.run(seeds=(0,), steps=1, scenes=8, tested=3)
    assert [r["masks"] for r in told] == list(ambiguity.LOSSES)
    assert ambiguity.run(seeds=(0,), steps=1, scenes=8, tested=3, done=told) == told
    few = {"seeds": (0,), "steps": 1, "labelled": 6, "unlabelled": 2, "tested": 3}
    turned = data_engine.run(**few)
    assert turned[0]["accepted"]["masks"] <= turned[0]["everything"]["masks"]
    assert data_engine.run(**few, done=turned) == turned


def test_true_masks_that_are_proposed_have_an_iou_of_one():
    scenes = training_scenes(3)
    found = [Segments(m, *[torch.zeros(len(m))] * 4) for m in by_masks.seen_masks(scenes)]
    assert set(data_engine.truth_of(found, scenes)) == {1.0}


def test_stored_results_belong_to_the_code():
    told, turned = read_result("04_ambiguity"), read_result("04_data_engine")
    assert {(r["masks"], r["seed"]) for r in told.records} == {
        (name, seed) for name in ambiguity.LOSSES for seed in ambiguity.SEEDS
    }
    assert told.settings == as_stored(ambiguity.settings())
    assert [r["seed"] for r in turned.records] == list(data_engine.SEEDS)
    assert turned.settings == as_stored(data_engine.settings())
