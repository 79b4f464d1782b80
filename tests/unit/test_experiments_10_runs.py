"""Lab 10's comparisons: each measures what it says, repeats nothing, and goes on where it was."""

from dataclasses import replace

import pytest
import torch

from labsupport.data.results import as_stored, read_result
from labsupport.data.stickers import attributes_of, stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.experiments import experiments_of
from labsupport.experiments.lab10 import (
    alignment,
    comparison,
    depths,
    evaluation,
    few_captions,
    order,
    reader,
    start,
    training,
)
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.tokenizer import new_tokenizer
from labsupport.models.vilau.config import DepthConfig, TowerConfig, TrunkConfig, VilaUConfig
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.tower import new_tower
from labsupport.models.vilau.words import VOCABULARY

SIZES = dict(size=16, side=2, dim=8, widths=(8, 16, 16), blocks=1)
TOWER = TowerConfig(codes=16, depth=2, **SIZES)
TRUNK = TrunkConfig(len(VOCABULARY), dim=24, depth=1, heads=2, hidden=32)
SMALL = VilaUConfig(TOWER, TRUNK, DepthConfig(24, 8, 16, 2, dim=16, depth=1, heads=2, dropout=0.0))


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_every_comparison_is_found_by_name():
    assert {"depths", "order", "start", "alignment", "comparison"} <= set(experiments_of("10"))


@pytest.mark.parametrize(
    "module", [alignment, comparison, depths, order, start], ids=lambda m: m.__name__.split(".")[-1]
)
def test_stored_records_are_of_the_settings_of_now(module):
    name = module.__name__.rpartition(".")[-1]
    stored = read_result(f"10_{name}")
    assert stored.command == f"labs experiment 10 {name}" and stored.records
    assert stored.settings == as_stored(module.settings())


def test_a_reader_learns_from_features_what_the_whole_model_would_from_images():
    tower = new_tower(TOWER).eval()
    drawn = stickers(6, 16, seed=3)
    images, text = normalize(drawn.images), tokenize(drawn.captions)
    features = evaluation.discrete_of(tower, images)
    model = reader.reader(SMALL)
    whole = VilaU(SMALL, tower)
    learned = {n: v for n, v in model.state_dict().items() if not n.startswith("tower.")}
    whole.load_state_dict(learned, strict=False)
    rows = [training.reading_row(caption, torch.tensor([0.9, 0.0])) for caption in text]
    ours, theirs = model.loss(rows, features), whole.loss(rows, images)
    torch.testing.assert_close(ours.total, theirs.total)
    assert ours.image == 0
    assert evaluation.read_images(model, features, text) == evaluation.read(whole.eval(), drawn)


def test_a_reader_learns_repeatably_and_leaves_its_tower():
    text = tokenize(stickers(12, 16).captions)
    features = torch.randn(12, 4, 8)
    losses, states = [], []
    for _ in range(2):
        torch.manual_seed(1)
        model = reader.reader(SMALL)
        before = {n: v.clone() for n, v in model.tower.state_dict().items()}
        history = reader.train_reader(
            model, features, text, steps=40, seed=1, batch_size=6, progress=False
        )
        assert all(torch.equal(before[n], v) for n, v in model.tower.state_dict().items())
        losses.append(history.loss)
        states.append(model.state_dict())
    assert losses[0] == losses[1] and losses[0][-1] < 0.8 * losses[0][0]
    assert all(torch.equal(states[0][n], v) for n, v in states[1].items())


def test_few_captions_are_all_that_alignment_sees(monkeypatch):
    seen, shown = [], []
    real = few_captions.sigmoid_loss
    monkeypatch.setattr(few_captions, "sigmoid_loss", lambda x, s: seen.append(x) or real(x, s))
    distance = few_captions.reconstruction_loss
    monkeypatch.setattr(
        few_captions, "reconstruction_loss", lambda m, x: shown.append(x) or distance(m, x)
    )
    drawn = stickers(4, 16, seed=2)
    images, text = normalize(drawn.images), tokenize(drawn.captions)
    tower = new_tower(TOWER)
    few_captions.train_with_few(tower, images, text, steps=3, batch_size=8, progress=False)
    assert [len(x) for x in seen] == [4, 4, 4]  # half of each batch
    endless = torch.cat([x[4:] for x in shown])
    assert all(len(x) == 8 for x in shown) and len(endless.flatten(1).unique(dim=0)) == 12
    for x in shown:  # all four captioned images, in any order
        assert torch.equal(x[:4].flatten(1).sort(0).values, images.flatten(1).sort(0).values)
    assert not tower.training
    plain = new_tower(replace(TOWER, aligned=False))
    with pytest.raises(ValueError, match="without alignment"):
        few_captions.train_with_few(plain, images, text, steps=1, progress=False)


def test_few_captioned_images_are_the_first_of_many():
    few, many = (
        [torch.cat(part) for part in zip(*alignment.captioned(16, n), strict=True)]
        for n in (40, 70)
    )
    assert len(few[0]) == len(few[1]) == 40 and len(many[0]) == 70
    assert torch.equal(few[0], many[0][:40]) and torch.equal(few[1], many[1][:40])
    known = alignment.to_read(16, "train", 20)
    style = alignment.to_read(16, "style", 20)
    assert known.captions == style.captions
    assert not torch.allclose(known.images, style.images, atol=0.1)


def test_towers_are_compared_at_every_amount_and_what_is_done_is_not_done_again():
    towers = {
        name: new_tower(replace(TOWER, aligned=name == "aligned")).eval()
        for name in ("aligned", "plain")
    }
    kept = []
    options = dict(seeds=(0,), steps=2, images=6, config=SMALL)
    records = alignment.run(towers, amounts=(8, 40), keep=lambda r: kept.append(len(r)), **options)
    assert len(records) == 2 * 2 * 4 and kept == list(range(1, 17))
    assert {(r["tower"], r["aligned"]) for r in records} == {("aligned", True), ("plain", False)}
    assert {r["steps"] for r in records} == {2}
    assert {r["split"] for r in records} == {"train", "triple", "pair", "style"}
    assert all(0 <= r["caption"] <= 1 and 0 <= r["answer ground"] <= 1 for r in records)
    again = alignment.run(towers, amounts=(8, 40), done=records[:6], **options)
    assert sorted(map(str, again)) == sorted(map(str, records))
    scores = alignment.tower_scores(towers["aligned"], 8)
    assert [s["split"] for s in scores] == list(alignment.SPLITS)
    assert alignment.tower_scores(towers["plain"], 8)[0]["captions"] is None


def test_the_third_tower_is_kept(tmp_path):
    path = tmp_path / "build/tower.pt"
    first = alignment.third_tower(path, steps=1, few=20, config=TOWER)
    assert all(torch.equal(v, v.half().float()) for v in first.state_dict().values())
    again = alignment.third_tower(path, steps=99, few=20, config=TOWER)  # read, not trained
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in first.state_dict().items())


def test_depths_have_their_bits_and_codes_start_again_at_the_same_share():
    tried = ((1, 16), (2, 16), (1, 256))
    records = depths.run(tried, steps=15, images=20, sizes=SIZES)
    assert [(r["depth"], r["codes"], r["bits"]) for r in records] == [
        (1, 16, 4),
        (2, 16, 8),
        (1, 256, 8),
    ]
    assert [len(r["used"]) for r in records] == [1, 2, 1]
    assert all(r["psnr"] > 5 and r["distance"] > 0 for r in records)
    assert len(depths.held_out(16, 7)) == 14
    again = depths.run(tried, steps=15, images=20, sizes=SIZES, done=records)
    assert again == records
    least = {codes: depths.tower_of(1, codes, 0).quantizer.codebook.least for codes in (512, 4096)}
    assert least[512] == pytest.approx(TowerConfig.least)
    assert least[4096] == pytest.approx(TowerConfig.least / 8)


def test_both_orders_draw_as_many_codes_and_one_row_has_d_times_the_steps():
    config = replace(SMALL, trunk=replace(TRUNK, depth=3))
    records = order.measure((2, 4), config, batches=(1, 2), seconds=0.01, rounds=(1, 1))
    tokens = {(r["depth"], r["order"]): r["tokens"] for r in records}
    assert tokens == {
        (2, "depth transformer"): 4,
        (2, "one row"): 8,
        (4, "depth transformer"): 4,
        (4, "one row"): 16,
    }
    assert all(r["seconds"] > 0 and r["macs"] > 0 for r in records)
    text = tokenize(stickers(2, 16).captions)
    for draw in order.orders(order.model_of(4, config)).values():
        codes = draw(text)
        assert codes.shape == (2, 4, 4) and codes.max() < TOWER.codes


def test_one_row_with_a_cache_draws_as_without():
    """Every code is the most probable one after all that stand before it."""
    model = order.model_of(2, SMALL)
    head = torch.nn.Linear(TRUNK.dim, TOWER.codes)
    text = tokenize(stickers(1, 16).captions)
    codes = order.one_row(model, head, text, guidance=1.0)[0].flatten()
    prompt = torch.tensor([order.START, *text[0].tolist(), order.IMAGE_START])
    x = torch.cat(
        [model.trunk.words(prompt), model.projector(model.tower.quantizer.codebook.embed(codes))]
    )
    with torch.no_grad():
        logits = head(model.trunk(x[None]))[0, len(prompt) - 1 : -1]
    assert torch.equal(logits.argmax(dim=1), codes)


def test_both_beginnings_have_curves_and_nothing_is_quantized_before_both_losses():
    records = start.run({"scratch": 0, "contrastive first": 2}, steps=4, images=20, config=TOWER)
    assert [(r["start"], r["step"]) for r in records] == [
        ("scratch", 0),
        ("scratch", 4),
        ("contrastive first", 0),
        ("contrastive first", 4),
    ]
    assert records[2]["psnr"] is None and records[3]["psnr"] > 5
    assert start.run({"scratch": 0}, steps=4, done=records, config=TOWER) == records


def test_the_contrastive_loss_alone_leaves_the_decoder_and_the_codes():
    tower = new_tower(TOWER)
    before = {n: v.clone() for n, v in tower.state_dict().items()}
    drawn = evaluation.unseen_stickers(16, "triple", 10)
    curve = start.train(tower, drawn, alone=3, steps=3, every=1, progress=False)
    assert [point["step"] for point in curve] == [0, 1, 2, 3]
    assert all(point["psnr"] is None for point in curve)
    same = {n for n, v in tower.state_dict().items() if torch.equal(v, before[n])}
    moved = set(before) - same
    assert {n.split(".")[0] for n in moved} == {"encoder", "alignment"}
    assert not any(n.startswith("encoder") for n in same)


def test_both_systems_are_judged_on_the_same_captions():
    sizes = dict(codes=16, widths=(8, 16, 16), dim=16, depth=1, heads=2)
    small = HartConfig(tokenizer_blocks=1, residual_width=8, residual_depth=1, **sizes)
    hart = Hart(small, new_tokenizer(small)).eval()
    hart.measure(normalize(stickers(4, 48).images))
    tower = TowerConfig(codes=16, dim=8, depth=2, widths=(8, 16, 16), blocks=1)
    model = VilaU(replace(SMALL, tower=tower)).eval()
    options = {"guidance": 2.0, "temperature": 0.7}
    spent = comparison.costs(
        comparison.drawers(hart, model, options), 48, (1, 2), seconds=0.01, rounds=(1, 1)
    )
    records, real = comparison.measure(hart, model, options, ("pair",), 4, spent)
    assert [r["system"] for r in records] == ["HART", "VILA-U"]
    ours, theirs = records
    assert (ours["tokens"], ours["steps"], ours["diffusion"], ours["captions"]) == (
        85,
        4,
        True,
        None,
    )
    assert (theirs["tokens"], theirs["codes"], theirs["steps"]) == (36, 72, 36)
    assert not theirs["diffusion"] and 0 <= theirs["captions"] <= 1
    assert all(r["macs"] > 0 and r["milliseconds"] > 0 and r["pixels"] == 48 for r in records)
    assert [r["images"] for r in real] == ["real", "rebuilt, HART", "rebuilt, VILA-U"]
    assert real[0]["judge_a"] > 0.9  # the judges know real images
    whole = comparison.count_parameters(model)
    assert theirs["parameters"] + theirs["alignment"] == whole


def test_settings_of_vila_u_are_chosen_by_distance(monkeypatch):
    class Scores:
        text = attributes_of(["fox on pink"])

        def score(self, images):
            guidance, temperature = images
            return {"distance": abs(guidance - 1.5) + abs(temperature - 0.7)}

    monkeypatch.setattr(
        comparison, "paint_all", lambda m, t, guidance, temperature: (guidance, temperature)
    )
    tried = []
    best = comparison.best_options(None, Scores(), tried)
    assert best == {"guidance": 1.5, "temperature": 0.7}
    assert len(tried) == len(comparison.GUIDANCES) * len(comparison.TEMPERATURES)
