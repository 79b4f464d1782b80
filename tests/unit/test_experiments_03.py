"""Lab 03's experiments: they run, and what is stored belongs to the code that made it."""

import hashlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsupport.data.results import as_stored, read_result
from labsupport.data.rule_scenes import CLASSES, rule_scenes
from labsupport.data.transforms import normalize
from labsupport.experiments.lab03 import race, segmentation, super_resolution
from labsupport.labs.lab03.dense_prediction import downscale, psnr
from labsupport.metrics.segmentation import mean_iou, predict
from labsupport.models.efficientvit.heads import SuperResolution
from labsupport.models.weights import checkpoint_path, load_checkpoint, read_metadata
from labsupport.profiling.counts import count_parameters


def stored(name):
    return read_result(f"03_{name}")


def test_segmentation_runs_repeats_nothing_and_keeps_every_net():
    names = ("EfficientViT", "SegFormer-like")
    kept = []
    done = [{"net": "EfficientViT", "seed": 0, "miou": 0.5}]
    records = segmentation.run(
        seeds=[0],
        nets=names,
        most_steps=1,
        train_images=16,
        test_images=4,
        progress=False,
        done=done,
        keep=lambda name, net, records: kept.append((name, isinstance(net, nn.Module))),
    )
    assert records[0] == done[0] and kept == [("SegFormer-like", True)]
    assert set(records[1]) == {"net", "seed", "miou", "iou", "loss", "seconds"}
    assert len(records[1]["iou"]) == len(CLASSES)


def test_nets_of_the_comparison_take_equal_macs():
    nets = segmentation.settings()["nets"]
    macs = nets["EfficientViT"]["macs"]
    for name in ("SegFormer-like", "SegFormer-like, softmax"):
        assert abs(nets[name]["macs"] - macs) < 0.02 * macs


def test_stored_segmentation_is_complete_and_has_today_s_settings():
    result = stored("segmentation")
    assert result.settings == as_stored(segmentation.settings())
    runs = [(r["net"], r["seed"]) for r in result.records]
    assert len(runs) == len(set(runs))
    assert set(runs) == {(n, s) for n in segmentation.NETS for s in segmentation.SEEDS}


def test_stored_segmentation_says_what_the_lab_says():
    """Attention is needed; which attention does not matter."""
    scores = {}
    for record in stored("segmentation").records:
        scores.setdefault(record["net"], []).append(record["miou"])
    assert max(scores["without attention"]) < 0.65
    for name in segmentation.NETS:
        assert name == "without attention" or min(scores[name]) > 0.7, name


def test_stored_super_resolution_is_complete_and_gains_a_decibel():
    result = stored("super_resolution")
    assert result.settings == as_stored(super_resolution.settings())
    bicubic, *records = result.records
    assert bicubic["net"] == "bicubic"
    assert {(r["net"], r["seed"]) for r in records} == {
        (n, s) for n in super_resolution.NETS for s in super_resolution.SEEDS
    }
    assert all(r["psnr"] > bicubic["psnr"] + 1 for r in records)


def test_stored_race_has_every_model():
    result = stored("race")
    assert [r["model"] for r in result.records] == list(race.PUBLISHED)
    assert [r["model"] for r in result.more["streets"]] == list(race.STREETS)
    assert all(r["seconds"] > 0 for r in result.records + result.more["streets"])


def test_race_names_models_that_exist():
    timm = pytest.importorskip("timm")
    assert all(timm.is_model(name) for name in race.TIMM.values())
    assert set(race.TIMM) | {"EfficientNetV2-S"} == {
        name for name in race.PUBLISHED if not name.startswith("EfficientViT")
    }


@pytest.mark.parametrize("name, published", [("B0", 3.8), ("B1", 13.7), ("B2", 27.5)])
def test_segformers_of_the_race_have_the_published_size(name, published):
    pytest.importorskip("transformers")
    with torch.device("meta"):
        model = race.make_segmenter(f"SegFormer-{name}")
    classifier = model.decode_head.classifier  # the published counts, in millions, have 150 classes
    more = (150 - classifier.out_channels) * (classifier.in_channels + 1)
    assert round((count_parameters(model) + more) / 1e6, 1) == published


@pytest.mark.parametrize("net, file", segmentation.CHECKPOINTS.items())
def test_shipped_segmenters_have_the_miou_on_record(net, file):
    model = segmentation.NETS[net]()
    load_checkpoint(model, file)
    test = rule_scenes(
        segmentation.TEST_IMAGES, segmentation.SIZE, split="test", seed=segmentation.TEST_SEED
    )
    record = stored("segmentation").one(net=net, seed=0)
    found = mean_iou(model, normalize(test.images), test.targets, len(CLASSES))
    assert found == pytest.approx(record["miou"], abs=0.005)
    assert read_metadata(file)["command"] == stored("segmentation").command


def test_shipped_super_resolution_has_the_psnr_on_record():
    model = SuperResolution(32, 2)
    load_checkpoint(model, "03_super_resolution")
    test = super_resolution.pictures(
        super_resolution.TEST_IMAGES, super_resolution.HELD_OUT, "test", super_resolution.TEST_SEED
    )
    record = stored("super_resolution").one(net="EfficientViT", seed=0)
    found = psnr(predict(model, downscale(test)), test)
    assert found == pytest.approx(record["psnr"], abs=0.02)
    with torch.no_grad():
        base = F.interpolate(downscale(test), scale_factor=2, mode="bicubic")
    assert found > psnr(base, test) + 1


@pytest.mark.parametrize("name", ["03_efficientvit", "03_segformer", "03_super_resolution"])
def test_checkpoint_readme_states_the_checksum(name):
    file = checkpoint_path(name)
    assert file.stat().st_size < 3e6
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert checksum in (file.parent / "README.md").read_text()
