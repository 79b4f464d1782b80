"""Lab 04's experiments: they run, repeat nothing, and what is stored belongs to the code."""

import hashlib

import pytest
import torch

from labsupport.data.click_scenes import click_scenes
from labsupport.data.clicks import clicks
from labsupport.data.results import as_stored, read_result
from labsupport.experiments.lab04 import evaluation, promptable, speed
from labsupport.labs.lab04.evaluation import candidate_iou, judge_click, part_and_whole, picked
from labsupport.labs.lab04.training import train_promptable
from labsupport.models.registry import pretrained
from labsupport.models.sam.mask_decoder import Masks
from labsupport.models.sam.model import Sam
from labsupport.models.weights import checkpoint_path


def test_training_runs_repeats_nothing_and_keeps_both_nets():
    kept = []
    records = promptable.run(
        most_steps=1,
        scenes=16,
        progress=False,
        keep=lambda role, net, records: kept.append((role, isinstance(net, Sam))),
    )
    assert kept == [("teacher", True), ("student", True)]
    assert [r["net"] for r in records] == ["teacher", "student"]
    assert len(records[1]["distil_loss"]) == len(records[1]["loss"]) == 1
    assert promptable.run(scenes=16, progress=False, done=records) == records


def test_a_killed_run_distils_from_the_teacher_it_had():
    loaded = []

    def teacher():
        loaded.append(True)
        return promptable.untrained("teacher").eval()

    done = [{"net": "teacher"}]
    records = promptable.run(most_steps=1, scenes=16, progress=False, done=done, teacher=teacher)
    assert loaded and "distil_loss" in records[1]


def test_training_moves_every_part_of_the_net_and_is_repeatable():
    scenes = promptable.training_scenes(8)
    nets = [promptable.untrained("student") for _ in range(2)]
    before = {k: v.clone() for k, v in nets[0].named_parameters()}
    # eight steps: every kind of correction, with the answer fed back and without
    losses = [train_promptable(n, scenes, steps=8, batch_size=2, progress=False).loss for n in nets]
    assert losses[0] == losses[1] and not nets[0].training
    still = [k for k, v in nets[0].named_parameters() if torch.equal(v, before[k])]
    assert still == []


def test_part_and_whole_need_a_candidate_each():
    scenes = click_scenes(20, split="test", seed=3)
    asked = clicks(scenes, 3, seed=1)
    masks = asked.all_masks(scenes)
    last = (asked.meanings >= 0).sum(1) - 1
    whole = masks[torch.arange(len(asked)), last]
    right = torch.stack([masks[:, 0], whole, torch.zeros_like(whole)], 1) * 2.0 - 1
    only_whole = torch.stack([whole] * 3, 1) * 2.0 - 1
    assert asked.ambiguous.any()
    assert part_and_whole(right, asked, scenes).eq(1).all()
    assert part_and_whole(only_whole, asked, scenes).eq(0).all()


def test_the_picked_candidate_is_the_best_scored_one():
    target = torch.zeros(1, 4, 4, dtype=torch.bool)
    target[:, :2] = True
    half = target.clone()
    half[:, 0] = False
    iou = candidate_iou(torch.stack([half, target], 1) * 2.0 - 1, target)
    assert iou.tolist() == [[0.5, 1.0]]
    assert picked(iou, torch.tensor([[0.9, 0.1]])).item() == 0.5


def test_average_precision_is_one_for_true_masks_and_less_for_wrong_scores(monkeypatch):
    scenes = evaluation.test_scenes("seen", 3)
    net = promptable.untrained("student").eval()
    found = {}
    for share in (0.0, 0.5):  # of the masks that are wrong, and believed in most

        def true_masks(net, embeddings, boxes, share=share):
            nonlocal number
            node = scenes.seen[number].nonzero()[:, 0]
            masks = scenes.masks(torch.full_like(node, number), node)
            number += 1
            wrong = torch.arange(len(masks)) < share * len(masks)
            logits = torch.where(wrong[:, None, None], ~masks, masks)[:, None] * 2.0 - 1
            return Masks(logits, 0.1 + wrong[:, None].float())

        number = 0
        monkeypatch.setattr(evaluation, "answer", true_masks)
        found[share] = evaluation.average_precision(net, scenes)
    assert found[0.0] == {"ap": 1.0, "ap_50": 1.0} and found[0.5]["ap"] < 0.5


def test_evaluation_runs_and_repeats_nothing():
    nets = {"student": promptable.untrained("student").eval()}
    done = [{"net": "student", "scenes": name} for name in list(evaluation.SETS)[1:]]
    records = evaluation.run(nets, scenes=4, each=2, done=done)
    assert records[:3] == done and len(records) == 4
    assert len(records[3]["by_clicks"]) == evaluation.MOST_CLICKS
    assert records[3]["click"]["best"] >= records[3]["click"]["picked"]
    assert evaluation.run(nets, scenes=4, each=2, done=records) == records


def test_no_concept_of_training_is_in_the_unseen_ones():
    seen = set(promptable.training_scenes(2).classes)
    assert not seen & set(evaluation.test_scenes("unseen concepts", 2).classes)
    assert seen == set(evaluation.test_scenes("unseen style", 2).classes)


def test_speed_repeats_nothing_and_its_record_has_the_published_macs():
    stored = read_result("04_speed")
    assert speed.run(done=stored.records) == stored.records
    macs = {r["net"]: r["encoder_macs"] for r in stored.records}
    assert macs == {
        "efficientvit_l0": 34_774_974_464,
        "efficientvit_l2": 68_554_326_016,
        "efficientvit_xl1": 321_870_364_672,
        "vit_h": 2_980_541_415_424,
    }
    for record in stored.records:
        both = record["encoder_processor_seconds"] + record["decoder_processor_seconds"]
        share = record["encoder_processor_seconds"] / both
        assert record["encoder_share"] == pytest.approx(share, abs=1e-3)


def test_stored_training_belongs_to_the_code():
    stored = read_result("04_promptable")
    assert stored.settings == as_stored(promptable.settings())
    assert [r["net"] for r in stored.records] == list(promptable.NETS)


def test_the_shipped_nets_are_those_of_the_readme_and_do_what_their_record_says():
    stored = {(r["net"], r["scenes"]): r for r in read_result("04_evaluation").records}
    scenes = evaluation.test_scenes("seen", 60)
    for role, name in promptable.CHECKPOINTS.items():
        data = checkpoint_path(name).read_bytes()
        readme = (checkpoint_path(name).parent / "README.md").read_text(encoding="utf-8")
        assert len(data) < 3e6 and hashlib.sha256(data).hexdigest() in readme
        found = judge_click(pretrained(name), scenes, clicks(scenes, 4, seed=evaluation.TEST_SEED))
        # a fifth of the scenes of the record
        assert found["best"] == pytest.approx(stored[role, "seen"]["click"]["best"], abs=0.05)
