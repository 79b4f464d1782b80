"""VILA-U's residual quantizer and visual tower: what learns how, and what stays as it is."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.data.stickers import stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.models.vilau.alignment import SigmoidScale, same_captions, sigmoid_loss
from labsupport.models.vilau.config import TowerConfig
from labsupport.models.vilau.quantizer import ResidualQuantizer
from labsupport.models.vilau.tower import COMMITMENT, VisualTower, new_tower

SMALL = TowerConfig(size=16, side=2, dim=8, codes=16, depth=3, widths=(8, 16, 16), blocks=1)


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def batch():
    drawn = stickers(12, 16, seed=3)
    return normalize(drawn.images), tokenize(drawn.captions)


def test_gradients_pass_straight_through_and_commitment_draws_to_every_sum():
    quantizer = ResidualQuantizer(9, 4, 3).eval()
    x = torch.randn(7, 4, requires_grad=True)
    made = quantizer(x)
    weight = torch.randn_like(x)
    (made.discrete * weight).sum().backward(retain_graph=True)
    torch.testing.assert_close(x.grad, weight)
    x.grad = None
    made.commitment.backward()
    sums = quantizer.partial_sums(made.indices).unbind(dim=1)
    torch.testing.assert_close(x.grad, sum(2 * (x - s) / x.numel() for s in sums) / 3)
    assert not list(quantizer.parameters())  # the codebook learns by running averages alone


def test_the_codebook_moves_once_a_depth_in_training_and_never_in_eval():
    quantizer = ResidualQuantizer(9, 4, 3)
    book, x = quantizer.codebook, torch.randn(50, 4)
    book.update(x, book.nearest(x))
    assert book.counts.tolist() == [1.0] * 9  # all have started again
    book.counts.fill_(10.0)
    before = book.counts.sum()
    quantizer(x)
    share = book.decay**3  # three updates, each with a batch of 50
    torch.testing.assert_close(book.counts.sum(), share * before + (1 - share) * 50)
    quantizer.eval()
    frozen = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(x)
    assert all(torch.equal(frozen[name], value) for name, value in quantizer.state_dict().items())


def test_one_codebook_serves_all_depths():
    quantizer = ResidualQuantizer(9, 4, 3).eval()
    assert quantizer.codebook.vectors.shape == (9, 4)
    codes = torch.tensor([[2, 5, 7], [7, 2, 5]])
    one, other = quantizer.accumulate(codes)
    torch.testing.assert_close(one, other)  # the order of depths does not change the sum
    torch.testing.assert_close(quantizer.accumulate(codes[:, :1])[1], quantizer.codebook.vectors[7])


def test_the_first_batch_makes_the_codes_and_dead_ones_start_again_from_a_batch():
    quantizer = ResidualQuantizer(6, 4, 1)
    first = 100 + torch.randn(20, 4)  # far from where the codes begin
    quantizer(first)
    book = quantizer.codebook
    distances = torch.cdist(book.vectors, first).min(dim=1).values
    assert distances.max() < 1e-3
    book.counts.copy_(torch.tensor([0.5, 4, 4, 4, 4, 4]))
    book.sums.copy_(book.vectors * book.counts[:, None])
    kept = book.vectors.clone()
    second = torch.randn(3, 4)  # fewer than there are codes: copies, a little apart
    quantizer(second)
    assert torch.cdist(book.vectors[:1], second).min() < 0.02
    assert (book.vectors[1:] - kept[1:]).norm(dim=1).max() < 100
    assert book.counts[0] == 1


def test_each_depth_takes_some_of_what_is_left():
    """With one codebook of 64 fitted to the vectors, the error falls with every depth."""
    quantizer, x = ResidualQuantizer(64, 4, 4), torch.randn(400, 4)
    for _ in range(30):
        quantizer(x)
    quantizer.eval()
    errors = [
        (x - s).square().mean() for s in quantizer.partial_sums(quantizer(x).indices).unbind(1)
    ]
    assert all(late < 0.8 * early for early, late in zip(errors, errors[1:], strict=False))


def test_how_few_may_choose_a_code_can_be_said():
    """The published bound is one vector a batch; a smaller one leaves rare codes where they are."""
    vectors = torch.cat([torch.zeros(19, 4), torch.ones(1, 4)])
    for least, kept in ((1.0, False), (0.5, True)):
        book = ResidualQuantizer(2, 4, 1, least=least).codebook
        book.counts.copy_(torch.tensor([19.0, 0.9]))
        book.sums.copy_(torch.tensor([0.0, 0.9])[:, None] * torch.ones(2, 4))
        book.update(vectors, torch.tensor([0] * 19 + [1]))
        torch.testing.assert_close(book.counts[1].item(), 0.901 if kept else 1.0)
    assert new_tower(SMALL).quantizer.codebook.least == SMALL.least


def test_a_depth_of_none_is_refused():
    with pytest.raises(ValueError, match="depth=0"):
        ResidualQuantizer(9, 4, 0)


def test_tokens_are_places_row_by_row_and_come_back_as_an_image(batch):
    tower = new_tower(SMALL).eval()
    images = batch[0]
    features = tower.encode(images)
    assert features.shape == (12, 4, 8) and tower.tokens == 4
    changed = images.clone()
    changed[:, :, 8:, :8] = 0  # the lower left quarter: the third place of a map of 2 x 2
    tower.encoder.network[-1].weight.data.zero_()  # the linear path alone sees no neighbours
    differs = (tower.encode(changed) - tower.encode(images)).abs().sum(dim=(0, 2)) > 0
    assert differs.tolist() == [False, False, True, False]
    codes = tower.tokenize(images)
    assert codes.indices.shape == (12, 4, 3)
    assert tower.decode(codes.discrete).shape == images.shape


def test_the_linear_path_begins_with_principal_components(batch):
    tower = new_tower(SMALL)
    tower.start_from(batch[0])
    features = tower.encode(batch[0]).detach()
    assert F.mse_loss(tower.decode(features), batch[0]) < 0.3 * batch[0].var()
    assert features.var() == pytest.approx(1.0, abs=0.1)


def test_the_joint_loss_is_its_weighted_parts(batch):
    tower = new_tower(SMALL).eval()
    images, text = batch
    loss = tower.loss(images, text, reconstruction=2.0, contrastive=3.0, distance=F.mse_loss)
    quantized = tower.tokenize(images)
    torch.testing.assert_close(loss.reconstruction, F.mse_loss(loss.made, images))
    torch.testing.assert_close(loss.made, tower.decode(quantized.discrete))
    logits = tower.alignment(quantized.discrete, text)
    torch.testing.assert_close(loss.contrastive, sigmoid_loss(logits, same_captions(text)))
    torch.testing.assert_close(
        loss.total,
        2 * loss.reconstruction + 3 * loss.contrastive + COMMITMENT * quantized.commitment,
    )


def test_both_losses_reach_the_encoder_through_the_codes(batch):
    """Of reconstruction and alignment alone, without the commitment, the encoder learns."""
    for part in ("reconstruction", "contrastive"):
        tower = new_tower(SMALL).eval()
        getattr(tower.loss(*batch), part).backward()
        assert tower.encoder.linear.weight.grad.abs().sum() > 0
    every = new_tower(SMALL)
    every.loss(*batch).total.backward()
    idle = [name for name, p in every.named_parameters() if p.grad is None]
    assert not idle


def test_alignment_reads_the_codes_and_not_what_they_leave_out(batch):
    """Two images of the same codes are the same to it."""
    tower = new_tower(SMALL).eval()
    seen = []
    tower.alignment.image.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    tower.loss(*batch)
    torch.testing.assert_close(seen[0], tower.tokenize(batch[0]).discrete)
    assert (seen[0] - tower.encode(batch[0])).abs().max() > 1e-2


def test_a_tower_without_alignment_needs_no_captions(batch):
    plain = TowerConfig(**{**vars(SMALL), "aligned": False})
    tower = new_tower(plain)
    assert tower.alignment is None and tower.loss(batch[0]).contrastive == 0
    with pytest.raises(ValueError, match="text is None"):
        new_tower(SMALL).loss(batch[0])
    assert new_tower(SMALL).loss(batch[0], contrastive=0.0).contrastive == 0


def test_siglips_loss_is_a_sum_over_pairs_per_image():
    logits = torch.randn(3, 3)
    expected = 0.0
    for i in range(3):
        for j in range(3):
            sign = 1 if i == j else -1
            expected -= torch.log(1 / (1 + torch.exp(-sign * logits[i, j])))
    torch.testing.assert_close(sigmoid_loss(logits), expected / 3)
    scale = SigmoidScale()
    images, texts = torch.randn(2, 5), torch.randn(4, 5)
    cosines = F.cosine_similarity(images[:, None], texts[None], dim=2)
    torch.testing.assert_close(scale(images, texts), 10 * cosines - 10)
    torch.testing.assert_close(scale(3 * images, texts), scale(images, texts))


def test_equal_captions_in_a_batch_are_no_wrong_pairs():
    text = torch.tensor([[1, 2], [3, 4], [1, 2]])
    same = same_captions(text)
    assert same.int().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    logits = 20 * (2 * same.float() - 1)
    assert sigmoid_loss(logits, same) < 1e-6 < 1 < sigmoid_loss(logits)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="size=20"):
        VisualTower(TowerConfig(size=20, side=6))
