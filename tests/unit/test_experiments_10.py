"""Lab 10's long runs: they train what they say, repeatably, and measure what they say."""

from dataclasses import replace

import pytest
import torch

from labsupport.data.stickers import stickers, tokenize
from labsupport.experiments.lab10 import evaluation, training, unified, visual_towers
from labsupport.models.vilau.config import DepthConfig, TowerConfig, TrunkConfig, VilaUConfig
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.tower import new_tower
from labsupport.models.vilau.words import (
    DESCRIBE,
    END,
    IMAGE,
    IMAGE_START,
    QUESTIONS,
    VOCABULARY,
    drawing,
    reading,
)

TOWER = TowerConfig(size=16, side=2, dim=8, codes=16, depth=2, widths=(8, 16, 16), blocks=1)


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def model(tower: TowerConfig = TOWER) -> VilaU:
    depth = DepthConfig(24, 8, 16, 2, dim=16, depth=1, heads=2, head="codebook", dropout=0.0)
    trunk = TrunkConfig(len(VOCABULARY), dim=24, depth=1, heads=2, hidden=32)
    return VilaU(VilaUConfig(tower, trunk, depth))


def test_a_tower_learns_repeatably_from_images_and_captions():
    told, states = [], []
    for _ in range(2):
        torch.manual_seed(0)
        tower = new_tower(TOWER)
        training.train_tower(
            tower,
            steps=30,
            batch_size=8,
            progress=False,
            on_step=lambda number, parts: told.append((number, dict(parts))),
        )
        assert not tower.training
        states.append(tower.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    first, last = told[0][1], told[29][1]
    assert told[29][0] == 29 and last["reconstruction"] < first["reconstruction"]
    assert last["contrastive"] < first["contrastive"]


def test_some_of_a_batch_are_read_and_the_others_drawn():
    text = tokenize(stickers(400, 16).captions)
    rows = training.rows_for(text, torch.Generator().manual_seed(0))
    reads = round(training.READ * 400)
    read, drawn = rows[:reads], rows[reads:]
    captions = text.tolist()
    whole = [row == reading(DESCRIBE, c) for row, c in zip(read, captions[:reads], strict=True)]
    assert 0.35 < sum(whole) / reads < 0.65
    for row, caption in zip(read, captions[:reads], strict=True):
        options = [reading(q, [caption[k]]) for k, q in enumerate(QUESTIONS.values())]
        assert row in [reading(DESCRIBE, caption), *options]
    bare = [row == drawing([]) for row in drawn]
    assert 0.04 < sum(bare) / len(drawn) < 0.18  # a tenth
    for row, empty, caption in zip(drawn, bare, captions[reads:], strict=True):
        assert empty or row == drawing(caption)
    assert all(IMAGE in words and labels.count(IMAGE_START) == 0 for words, labels in read)


def test_the_unified_model_learns_both_and_leaves_its_tower():
    net = model()
    before = {name: value.clone() for name, value in net.tower.state_dict().items()}
    told = []
    training.train_unified(
        net,
        steps=60,
        batch_size=8,
        progress=False,
        on_step=lambda number, parts: told.append(dict(parts)),
    )
    assert all(torch.equal(before[name], v) for name, v in net.tower.state_dict().items())
    for part in ("text", "image"):
        first, last = (sum(t[part] for t in few) for few in (told[:10], told[-10:]))
        assert last < 0.9 * first
    assert len(told[0]["codes"]) == 2


def test_a_run_that_stops_early_has_the_rates_of_the_whole():
    history = training.train_unified(
        model(), steps=1000, stop_after=3, batch_size=4, progress=False
    )
    assert history.lr == pytest.approx([training.LR * (k + 1) / 100 for k in range(3)])


def test_towers_are_measured_at_every_depth():
    tower = new_tower(TOWER)
    training.train_tower(tower, steps=20, batch_size=8, progress=False)
    drawn = evaluation.unseen_stickers(16, "pair", 40)
    records = evaluation.rebuilt(tower, drawn)
    assert [r["depth"] for r in records] == [1, 2, 0]
    assert records[0]["psnr"] < records[1]["psnr"] < records[2]["psnr"]
    use = evaluation.code_use(tower, drawn)
    assert [r["depth"] for r in use] == [1, 2]
    assert all(0 < r["used"] <= 1 and 1 <= r["perplexity"] <= 16 for r in use)
    assert 0 <= evaluation.found_captions(tower, drawn) <= 1
    scores = evaluation.probed(tower, stickers(60, 16, seed=5), drawn)
    assert set(scores) == {"place", "tint", "thing", "ground"} and scores["ground"] > 0.5


def test_captions_are_found_among_different_ones_only():
    """Two images of one caption would be each other's wrong answer."""

    class Knowing(torch.nn.Module):
        """Alignment that knows everything: the image is its caption."""

        def __init__(self, text):
            super().__init__()
            self.table = torch.eye(len(VOCABULARY))[text].sum(dim=1)
            self.asked = []

        def image(self, tokens):
            self.asked.append(len(tokens))
            return self.table[: len(tokens)]

        def text(self, text):
            return torch.eye(len(VOCABULARY))[text].sum(dim=1)

    drawn = stickers(6, 16, seed=1)
    drawn.attributes[5], drawn.images[5] = drawn.attributes[0], drawn.images[0]
    tower = new_tower(TOWER).eval()
    tower.alignment = Knowing(tokenize(drawn.captions))
    assert evaluation.found_captions(tower, drawn) == 1.0
    assert tower.alignment.asked == [5]


def test_reading_is_scored_by_words(monkeypatch):
    net = model().eval()
    drawn = evaluation.unseen_stickers(16, "train", 8)
    text = tokenize(drawn.captions)
    wrong = text.clone()
    wrong[0, 2] = 1
    wrong[1, 3], wrong[1, 1] = 1, 1
    rows = iter(wrong.split(4))
    monkeypatch.setattr(evaluation, "write", lambda *_, **__: (next(rows), None))
    found = evaluation.read(net, drawn, part=4)
    assert found["caption"] == 6 / 8
    assert [found[f"said {w}"] for w in ("place", "tint", "thing", "ground")] == [
        1,
        7 / 8,
        7 / 8,
        7 / 8,
    ]
    assert all(0 <= found[f"answer {kind}"] <= 1 for kind in QUESTIONS)


def test_a_caption_that_ends_early_is_wrong(monkeypatch):
    net, drawn = model().eval(), evaluation.unseen_stickers(16, "train", 3)
    short = torch.full((3, 2), END)
    monkeypatch.setattr(evaluation, "write", lambda *_, **__: (short, None))
    assert evaluation.read(net, drawn)["caption"] == 0


def test_both_towers_start_alike_and_what_is_measured_is_what_is_shipped():
    towers = {
        aligned: visual_towers.make(aligned, steps=1, config=TOWER) for aligned in (True, False)
    }
    (aligned, curve), (plain, other) = towers[True], towers[False]
    assert aligned.alignment is not None and plain.alignment is None
    assert curve[-1]["step"] == 1 and other[-1]["contrastive"] == 0 < curve[-1]["contrastive"]
    assert curve[-1]["reconstruction"] == other[-1]["reconstruction"]  # of the first batch
    assert all(torch.equal(v, v.half().float()) for v in aligned.state_dict().values())
    found = visual_towers.measure(aligned, images=12, probe=60)
    assert [r["split"] for r in found["splits"]] == ["train", "triple", "pair"]
    assert found["splits"][0]["captions"] is not None and len(found["codes"]) == TOWER.depth
    assert visual_towers.measure(plain, 12, 60)["splits"][0]["captions"] is None


def test_every_weight_that_learns_is_in_one_group_and_gains_have_their_own_rate():
    net = model()
    groups = training.parameter_groups(net)
    grouped = [id(p) for group in groups for p in group["params"]]
    learned = {id(p) for p in net.parameters() if p.requires_grad}
    assert len(grouped) == len(set(grouped)) and set(grouped) == learned
    (gains,) = [group["params"] for group in groups if "lr" in group]
    assert [p is net.depth.head.log_scale for p in gains] == [True]
    assert all(p.dim() > 1 for p in groups[0]["params"])


def test_the_unified_model_is_judged_by_what_it_paints():
    net = model(replace(TOWER, size=48, side=6))  # the judges' size
    curve = unified.train(net, steps=3)
    assert [point["step"] for point in curve] == [3] and len(curve[0]["codes"]) == 2
    bench = unified.Bench("train", 4, 48)
    found = unified.judged(net, bench, guidance=2.0, temperature=0.7)
    assert found["guidance"] == 2 and found["temperature"] == 0.7 and found["distance"] > 0
    text = bench.text[:3]
    alone = unified.paint_all(net, text[2:], seed=2, guidance=2.0)  # image 2 has seed 2
    together = unified.paint_all(net, text, batch=2, guidance=2.0)
    assert torch.allclose(alone[0], together[2], atol=1e-5)


def test_settings_are_chosen_for_what_both_judges_find_right():
    rows = [(1.0, 0.5, 0.9, 0.2), (2.0, 0.7, 0.6, 0.6), (3.0, 1.0, 0.2, 0.9)]
    tried = [{"guidance": g, "temperature": t, "all a": a, "all b": b} for g, t, a, b in rows]
    assert unified.chosen(tried) == (2.0, 0.7)
