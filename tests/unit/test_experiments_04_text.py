"""Words as a prompt: what is asked for has the name, and what CLIP is shown is around it."""

import hashlib

import pytest
import torch

from labsupport.data.results import as_stored, read_result
from labsupport.experiments.lab04 import evaluation, text_prompt
from labsupport.experiments.lab04.promptable import training_scenes, untrained
from labsupport.models.clip.model import small_clip
from labsupport.models.registry import pretrained
from labsupport.models.weights import checkpoint_path


@pytest.fixture(scope="module")
def scenes():
    return training_scenes(12)


def test_a_name_means_one_thing_that_is_seen(scenes):
    image, node = text_prompt.named_things(scenes)
    assert len(image) and scenes.seen[image, node].all()
    for i, n in zip(image.tolist(), node.tolist(), strict=True):
        assert (scenes.labels[i] == scenes.labels[i, n]).sum() == 1


def test_a_crop_has_the_thing_in_its_middle_and_all_of_it(scenes):
    image, node = text_prompt.named_things(scenes)
    masks = scenes.masks(image, node)
    scenes.images[:] = 0.5  # grey but for what is cut out
    shown = []
    for i, n, mask in zip(image, node, masks, strict=True):
        scenes.images[i] = mask.float()
        shown.append(text_prompt.crops(scenes, i[None], n[None])[0, 0] > 0.5)
    for cut, mask in zip(shown, masks, strict=True):
        y, x = cut.nonzero().unbind(1)
        height, width = (v.max() - v.min() + 1 for v in (y, x))
        for side, v in ((height, y), (width, x)):
            assert (v.min() + v.max() + 1) / 2 == pytest.approx(text_prompt.CLIP_SIZE / 2, abs=1.5)
            assert side <= text_prompt.CLIP_SIZE / text_prompt.AROUND + 2
        rows, columns = (mask.any(dim=d).sum() for d in (1, 0))
        assert max(height, width) >= text_prompt.CLIP_SIZE / text_prompt.AROUND - 4
        assert (height > width) == (rows > columns) or abs(rows - columns) <= 3


def test_it_runs_repeats_nothing_and_leaves_the_image_encoder():
    net, clip = untrained("teacher"), small_clip().eval()
    few = {"seeds": (0,), "steps": 1, "scenes": 6, "tested": 3}
    before = {k: v.clone() for k, v in net.state_dict().items()}
    told = text_prompt.run(net, clip, **few)
    assert [r["taught_by"] for r in told] == ["nobody"] * 2 + [
        name for name in text_prompt.TAUGHT_BY for _ in text_prompt.SETS
    ]
    assert text_prompt.run(net, clip, **few, done=told) == told
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_stored_results_belong_to_the_code_and_the_shipped_net():
    stored = read_result("04_text_prompt")
    assert stored.settings == as_stored(text_prompt.settings())
    assert {(r["taught_by"], r["seed"]) for r in stored.records if "seed" in r} == {
        (name, seed) for name in text_prompt.TAUGHT_BY for seed in text_prompt.SEEDS
    }
    data = checkpoint_path(text_prompt.CHECKPOINT).read_bytes()
    readme = checkpoint_path(text_prompt.CHECKPOINT).parent / "README.md"
    assert hashlib.sha256(data).hexdigest() in readme.read_text(encoding="utf-8")
    found = text_prompt.judge(
        pretrained(text_prompt.CHECKPOINT),
        pretrained("06_clip"),
        evaluation.test_scenes("seen", 60),
    )
    record = stored.one(taught_by="text", seed=text_prompt.SEEDS[0], scenes="seen")
    # a fifth of the scenes of the record
    assert found["text"] == pytest.approx(record["text"], abs=0.06)
    assert found["text"] > found["another_text"] + 0.2
