"""Diffusion schedules, choosing codes, and HART's generation and training."""

import pytest
import torch

from labsupport.data import stickers
from labsupport.labs.lab09.training import sticker_source, train_generator
from labsupport.models.hart import residual
from labsupport.models.hart.config import HartConfig
from labsupport.models.hart.diffusion import Diffusion
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.residual import DenoisingMLP, ResidualDiffusion
from labsupport.models.hart.sampling import Draws, choose, guidance_at, guided
from labsupport.models.hart.schedule import cosine_betas, respaced, respaced_betas, signal
from labsupport.models.hart.tokenizer import HybridTokenizer

SMALL = HartConfig(
    size=24,
    scales=(1, 2, 4),
    codes=32,
    latent_dim=8,
    widths=(8, 16, 16),
    tokenizer_blocks=1,
    dim=32,
    depth=2,
    heads=2,
    residual_width=32,
    residual_depth=2,
)


def small_hart() -> Hart:
    torch.manual_seed(0)
    return Hart(SMALL).eval()


def text(*captions: str) -> torch.Tensor:
    return stickers.tokenize(captions)


def test_eight_steps_are_harts():
    assert respaced(8) == [0, 143, 285, 428, 571, 714, 856, 999]
    assert respaced_betas(respaced(8)).tolist() == pytest.approx(
        [4.1e-05, 0.054878, 0.148746, 0.249546, 0.366072, 0.517566, 0.735439, 1.0], abs=6e-7
    )
    assert respaced(1) == [999] and len(set(respaced(1000))) == 1000
    torch.testing.assert_close(respaced_betas(respaced(1000)), cosine_betas())
    with pytest.raises(ValueError, match="steps=0"):
        respaced(0)


def test_parameters_of_harts_mlp_with_learned_variances():
    with torch.device("meta"):
        mlp = DenoisingMLP(32, 1536, 1024, 6, 64)
    assert sum(p.numel() for p in mlp.parameters()) == 36_585_536


def test_what_is_told_once_gives_the_same_answers():
    torch.manual_seed(0)
    mlp = DenoisingMLP(5, 12, 16, 2, 5)
    for p in mlp.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x, condition = torch.randn(7, 5), torch.randn(7, 12)
    told = mlp.told(condition)
    for time in (0, 500, 999):
        expected = mlp(x, torch.full((7,), time), condition)
        found = mlp.step(x, mlp.at(torch.tensor([time])), told)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
        assert not torch.allclose(expected, mlp(x, torch.full((7,), time), condition.flip(0)))


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_a_network_that_knows_the_data_samples_it(prediction):
    diffusion = Diffusion(prediction)
    data = torch.randn(6, 5).clamp(-2, 2)

    def network(noisy, time):
        left = diffusion.signal[time][:, None]
        noise = (noisy - left.sqrt() * data) / (1 - left).sqrt()
        return diffusion.target(data, noise.float(), time)

    for steps in (1, 3, 8) if prediction == "velocity" else (8,):
        found = diffusion.sample(network, lambda: torch.randn(6, 5), steps)
        torch.testing.assert_close(found, data, atol=2e-3, rtol=1e-3)


def test_samples_of_the_best_network_for_normal_data_have_its_deviation():
    diffusion = Diffusion(clip=None)

    def network(noisy, time):  # the mean answer for data of mean 0 and deviation 0.5
        left = diffusion.signal[time][:, None].float()
        x = 0.25 * left.sqrt() * noisy / (0.25 * left + 1 - left)
        return (left.sqrt() * noisy - x) / (1 - left).sqrt()

    torch.manual_seed(0)
    found = diffusion.sample(network, lambda: torch.randn(20_000, 1), 100)
    assert found.std().item() == pytest.approx(0.5, abs=0.02)


def test_tokens_are_drawn_alike_together_and_apart(monkeypatch):
    torch.manual_seed(0)
    diffusion = ResidualDiffusion(5, 12, 16, 2)
    for p in diffusion.parameters():
        torch.nn.init.normal_(p, std=0.3)
    condition, without = torch.randn(2, 3, 4, 12)

    def sample(together):
        monkeypatch.setattr(residual, "TOGETHER", together)
        return diffusion.sample(
            condition, 4, torch.Generator().manual_seed(1), guidance=1.0, without=without
        )

    torch.testing.assert_close(sample(5), sample(100), atol=1e-4, rtol=1e-5)


def test_choosing():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).log_softmax(0)
    uniform = (torch.arange(100_000) + 0.5) / 100_000
    drawn = choose(logits.expand(100_000, 4), uniform, temperature=1.0)
    share = torch.bincount(drawn, minlength=4) / 100_000
    torch.testing.assert_close(share, logits.exp(), atol=2e-5, rtol=0)
    rows = logits.expand(1000, 4)
    uniform = torch.rand(1000)
    assert set(choose(rows, uniform, 1.0, top_k=2).tolist()) == {0, 1}
    assert set(choose(rows, uniform, 1.0, top_p=0.5).tolist()) == {0}
    assert set(choose(rows, uniform, 1.0, top_p=0.7).tolist()) == {0, 1}
    assert choose(rows).eq(0).all()
    assert choose(torch.tensor([[-torch.inf, 0.0]]), torch.tensor([1.0]), 1.0).item() == 1


def test_guidance_grows_and_leads_away_from_what_has_no_caption():
    assert [guidance_at(k, 5, 2.0) for k in range(5)] == [0, 0.5, 1, 1.5, 2]
    assert guided(torch.tensor(3.0), torch.tensor(1.0), 0.5).item() == 4.0


def test_random_numbers_belong_to_the_image():
    assert torch.equal(Draws([5, 9], 2).normal(3)[1], Draws(9, 1).normal(3)[0])
    with pytest.raises(ValueError, match="2 seeds for 3 captions"):
        Draws([1, 2], 3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_image_depends_neither_on_the_cache_nor_on_the_batch(temperature):
    hart = small_hart()
    for layer in hart.residual.net.modules():  # its answer is 0 before training
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.1)
    captions = text("big red fox on white", "left cat on black", "top bus on pink")
    seen = []
    images = hart.generate(
        captions,
        seed=[3, 4, 5],
        temperature=temperature,
        on_scale=lambda k, image: seen.append((k, image.shape)),
    )
    assert images.shape == (3, 3, 24, 24) and 0 <= images.min() and images.max() <= 1
    assert seen == [(k, (3, 3, 24, 24)) for k in range(3)]
    plain = hart.generate(captions, seed=[3, 4, 5], temperature=temperature, cache=False)
    torch.testing.assert_close(plain, images, atol=1e-4, rtol=0)
    alone = hart.generate(captions[1:2], seed=4, temperature=temperature)
    torch.testing.assert_close(alone, images[1:2], atol=1e-4, rtol=0)
    discrete = hart.generate(captions, seed=[3, 4, 5], temperature=temperature, residual=False)
    assert (discrete - images).abs().max() > 1e-3


def test_a_larger_grid_is_drawn_by_the_same_net_with_and_without_cache():
    hart = small_hart()
    larger = HybridTokenizer(36, 8, 32, (1, 3, 6), widths=(8, 16, 16), blocks=1).eval()
    larger.load_state_dict(hart.tokenizer.state_dict())
    captions = text("big red fox on white", "left cat on black")
    images = hart.generate(captions, tokenizer=larger)
    assert images.shape == (2, 3, 36, 36)
    plain = hart.generate(captions, tokenizer=larger, cache=False)
    torch.testing.assert_close(plain, images, atol=1e-4, rtol=0)


def test_losses_are_finite_and_reach_every_weight():
    hart = small_hart()
    images, words = sticker_source(24, 4)(0)
    hart.measure(images)
    for layer in (
        hart.residual.net.outputs,
        hart.residual.net.modulation,
        *(block.modulation for block in hart.residual.net.blocks),
    ):
        torch.nn.init.normal_(layer.weight, std=0.1)  # all that is behind a 0 has no gradient
    for drop in (False, True):
        hart.zero_grad()
        loss, parts = hart.loss(images, words, torch.Generator().manual_seed(0), drop_last=drop)
        loss.backward()
        assert loss.isfinite()
        assert set(parts) == {"codes", "latents", "residual", "codes 1", "codes 2", "codes 4"}
        for name, p in hart.named_parameters():
            assert p.requires_grad != name.startswith("tokenizer.")
            assert not p.requires_grad or p.grad.abs().sum() > 0, name


def test_training_goes_on_where_it_stopped(tmp_path):
    source = sticker_source(24, 4)
    options = {
        "steps": 8,
        "progress": False,
        "average": 0.9,
        "save_every": 3,
        "at_step": lambda step: {"drop_last": step < 6},
    }
    whole, parts = small_hart(), small_hart()
    log = train_generator(whole, source, **options)
    path = tmp_path / "run.pt"
    train_generator(parts, source, checkpoint=path, stop_after=5, **options)
    parts = small_hart()
    again = train_generator(parts, source, checkpoint=path, **options)
    assert [r["step"] for r in log] == [8] and log[0]["loss"] == again[0]["loss"]
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name, atol=0, rtol=0)
    with pytest.raises(ValueError, match="delete it to start anew"):
        train_generator(small_hart(), source, checkpoint=path, **options | {"steps": 9})


def test_training_lowers_the_loss():
    log = train_generator(small_hart(), sticker_source(24, 16), steps=150, progress=False)
    assert [record["step"] for record in log] == [50, 100, 150]
    assert log[-1]["codes"] < 0.8 * log[0]["codes"]
    assert log[-1]["latents"] < 0.95 * log[0]["latents"]


def test_a_network_built_for_counting_leaves_the_schedule_as_it_is():
    signal.cache_clear()
    with torch.device("meta"):
        assert signal().device.type == "cpu"
    assert torch.equal(signal(), signal(1000)) and signal()[-1] > 0
