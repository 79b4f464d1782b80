"""VILA-U's model: who sees what, the two losses, text and images written token by token."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.data.stickers import stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.models import vilau
from labsupport.models.hart.sampling import guided
from labsupport.models.vilau.config import DepthConfig, TowerConfig, TrunkConfig, VilaUConfig
from labsupport.models.vilau.depth import DepthTransformer
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.painting import (
    decode_codes,
    draw_codes,
    mixed_with,
    paint,
    paint_codes,
)
from labsupport.models.vilau.sequence import mix
from labsupport.models.vilau.trunk import Trunk
from labsupport.models.vilau.words import (
    DESCRIBE,
    END,
    IGNORE,
    IMAGE,
    IMAGE_START,
    QUESTIONS,
    START,
    VOCABULARY,
    drawing,
    reading,
)
from labsupport.models.vilau.writing import next_word, write
from labsupport.profiling.counts import count_parameters

TOWER = TowerConfig(
    size=16, side=2, dim=8, codes=16, depth=3, widths=(8, 16, 16), blocks=1, aligned=False
)
TRUNK = TrunkConfig(len(VOCABULARY), dim=24, depth=2, heads=2, hidden=32)


def small(head: str = "linear") -> VilaU:
    torch.manual_seed(0)
    depth = DepthConfig(24, 8, 16, 3, dim=16, depth=2, heads=2, head=head, dropout=0.0)
    model = VilaU(VilaUConfig(TOWER, TRUNK, depth))
    model.tower.start_from(batch()[0])
    return model.eval()


def batch():
    drawn = stickers(4, 16, seed=3)
    return normalize(drawn.images), tokenize(drawn.captions)


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def sequences(text):
    first, second, third, _ = text.tolist()
    return [
        reading(DESCRIBE, first),
        drawing(second),
        reading(QUESTIONS["thing"], third[2:3]),
        drawing([]),
    ]


def test_the_two_losses_are_those_written_out():
    model, (images, text) = small(), batch()
    rows = sequences(text)
    loss = model.loss(rows, images)
    quantized = model.tower.tokenize(images)
    words, texts, codes = [], [], []
    for row, image, indices in zip(rows, quantized.discrete, quantized.indices, strict=True):
        x, labels, places = [], [], []
        for word, label in zip(*row, strict=True):
            if word == IMAGE:
                drawn = labels[-1] == IMAGE_START
                x.extend(model.projector(image))
                places = [len(labels) + k for k in range(4)] if drawn else []
                labels.extend([IGNORE] * 4)
            else:
                x.append(model.trunk.words.weight[word])
                labels.append(label)
        states = model.trunk(torch.stack(x)[None])[0]
        for at, label in enumerate(labels):
            if label != IGNORE:  # read from the state before
                words.append(model.trunk.head(states[at - 1]))
                texts.append(label)
        for k, at in enumerate(places):
            sums = model.tower.quantizer.partial_sums(indices[k])[None, :-1]
            logits = model.depth(states[at - 1][None], sums).logits[0]
            codes.append(F.cross_entropy(logits, indices[k], reduction="none"))
    torch.testing.assert_close(loss.text, F.cross_entropy(torch.stack(words), torch.tensor(texts)))
    assert len(codes) == 2 * 4  # two images are drawn
    torch.testing.assert_close(loss.image, torch.stack(codes).mean())
    torch.testing.assert_close(loss.codes, torch.stack(codes).mean(dim=0))
    torch.testing.assert_close(loss.total, loss.text + loss.image)


def test_padding_changes_nothing():
    """The loss of rows together is made of those alone, weighted by what each has to learn."""
    model, (images, text) = small(), batch()
    rows = sequences(text)
    together = model.loss(rows, images)
    alone = [model.loss([row], images[i : i + 1]) for i, row in enumerate(rows)]
    learned = [sum(label not in (IGNORE, IMAGE) for label in labels) for _, labels in rows]
    mean = sum(n * one.text for n, one in zip(learned, alone, strict=True)) / sum(learned)
    torch.testing.assert_close(together.text, mean)
    torch.testing.assert_close(together.image, (alone[1].image + alone[3].image) / 2)


def test_what_is_given_is_not_learned():
    """Other questions and captions as *labels* do not exist: the prompt's logits have no gradient,
    and an image that is read has no codes to be predicted."""
    model, (images, text) = small(), batch()
    loss = model.loss([reading(DESCRIBE, text[0].tolist())], images[:1])
    assert loss.image == 0 and (loss.codes == 0).all()
    seen = []
    hook = model.trunk.head.register_forward_hook(lambda _, __, out: seen.append(out))
    loss = model.loss(sequences(text)[:1], images[:1])
    hook.remove()
    (grad,) = torch.autograd.grad(loss.total, seen)
    learned = grad[0].abs().sum(dim=1) > 0
    # the state of the question's last word is for the answer's first, that of <end> for nothing
    assert learned.int().tolist() == [0] * (len(learned) - 6) + [1] * 5 + [0]


def test_the_tower_stays_as_it_is():
    model, (images, text) = small(), batch()
    before = {name: value.clone() for name, value in model.tower.state_dict().items()}
    model.train()
    assert model.training and not model.tower.quantizer.training
    model.loss(sequences(text), images).total.backward()
    assert all(torch.equal(before[name], v) for name, v in model.tower.state_dict().items())
    assert all(p.grad is None for p in model.tower.parameters())
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


def test_a_codebook_head_learns_the_features_too():
    model, (images, text) = small("codebook"), batch()
    loss = model.loss(sequences(text), images)
    assert loss.latents > 0
    torch.testing.assert_close(loss.total, loss.text + loss.image + loss.latents)


def test_no_gradient_reaches_a_place_from_a_later_one():
    """Place k's codes are told by words and places before it, and by its own codes before."""
    model, (images, text) = small(), batch()
    mixed = mix([drawing(text[0].tolist())], 4)
    features, codes = model.look(images[:1])
    for k in range(4):
        x = features.clone().requires_grad_()
        logits = model.predict(mixed, x, codes)[1].logits
        (grad,) = torch.autograd.grad(logits[k].square().sum() + 0 * x.sum(), x)
        assert (grad[0].abs().sum(dim=1) > 0).tolist() == [j < k for j in range(4)]


def test_depth_inputs_are_sums_and_not_the_code_before():
    """Two ways to the same sum are the same to the next step; the same last code is not."""
    config = DepthConfig(6, 5, 9, 4, dim=8, depth=1, heads=2, dropout=0.0)
    net, book, hidden = DepthTransformer(config).eval(), torch.randn(9, 5), torch.randn(1, 6)
    x = net.inputs(hidden, book[None, [0, 1, 2]].cumsum(dim=1))
    other = net.inputs(hidden, book[None, [1, 0, 2]].cumsum(dim=1))
    torch.testing.assert_close(x[:, 2:], other[:, 2:])
    third = net.inputs(hidden, book[None, [3, 1, 2]].cumsum(dim=1))
    assert (x[:, 2] - third[:, 2]).abs().max() > 1e-2


@pytest.mark.parametrize("head", ["linear", "codebook"])
def test_steps_of_depth_with_a_cache_are_those_of_one_pass(head):
    config = DepthConfig(6, 5, 9, 4, dim=8, depth=2, heads=2, head=head, dropout=0.0)
    book, hidden = torch.randn(9, 5), torch.randn(3, 6)
    net = DepthTransformer(config, book).eval()
    sums = book[torch.randint(9, (3, 3))].cumsum(dim=1)
    whole, cache = net(hidden, sums).logits, net.new_cache()
    for d in range(4):
        step = net(hidden, sums[:, :d], cache).logits
        assert step.shape == (3, 1, 9)
        torch.testing.assert_close(step[:, 0], whole[:, d], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="sums of 4"):
        net(hidden, F.pad(sums, (0, 0, 0, 1)))


def test_the_trunk_with_a_cache_is_that_of_one_pass_padded_or_not():
    trunk, x = Trunk(TRUNK).eval(), torch.randn(2, 6, 24)
    whole, cache = trunk(x), trunk.new_cache()
    parts = [trunk(part, cache=cache) for part in (x[:, :3], x[:, 3:5], x[:, 5:])]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_guidance_is_vila_us_and_hart_counts_from_one_less():
    given, free = torch.randn(2, 5), torch.randn(2, 5)
    torch.testing.assert_close(mixed_with(given, free, 1.0), given)
    torch.testing.assert_close(mixed_with(given, free, 0.0), free)
    torch.testing.assert_close(mixed_with(given, free, 3.0), guided(given, free, 2.0))
    assert (mixed_with(given, free, 3.0) - guided(given, free, 3.0)).abs().max() > 0.1


def test_guidance_is_mixed_at_every_depth_and_both_rows_take_the_same_codes():
    model = small()
    asked = []

    def noting(given, free, guidance):
        asked.append((given, free, guidance))
        return mixed_with(given, free, guidance)

    states = torch.randn(4, 24)  # two captions, and twice none
    codes = draw_codes(model, states, 2.5, None, 0.0, 0, 1.0, noting)
    assert codes.shape == (2, 3) and [c for *_, c in asked] == [2.5] * 3
    sums = model.tower.quantizer.partial_sums(codes)[:, :-1].repeat(2, 1, 1)
    given, free = model.depth(states, sums).logits.chunk(2)  # (2, D, codes)
    for d, (ours, theirs, _) in enumerate(asked):
        torch.testing.assert_close(ours, given[:, d], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs, free[:, d], atol=1e-5, rtol=1e-5)
    mixed = free + 2.5 * (given - free)
    assert torch.equal(codes, mixed.argmax(dim=-1))


def slowly_painted(model, caption, guidance):
    """Codes (places, D) of one image, without cache or padding: everything again for each code."""
    quantizer, codes = model.tower.quantizer, torch.zeros(0, 3, dtype=torch.int64)
    for _ in range(model.tower.tokens):
        states = []
        for words in ([START, *caption, IMAGE_START], [START, IMAGE_START]):
            x = model.trunk.words.weight[words]
            x = torch.cat([x, model.projector(quantizer.accumulate(codes))])
            states.append(model.trunk(x[None])[0, -1])
        place = torch.zeros(0, dtype=torch.int64)
        for _ in range(3):
            sums = quantizer.partial_sums(place)[None]
            given, free = (model.depth(s[None], sums).logits[0, -1] for s in states)
            new = (free + guidance * (given - free)).argmax()
            place = torch.cat([place, new[None]])
        codes = torch.cat([codes, place[None]])
    return codes


@torch.no_grad()
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_images_are_painted_place_by_place_as_without_cache_and_padding(guidance):
    """Depth runs inside a place, places follow each other: not all first codes, then the second."""
    model, (_, text) = small(), batch()
    captions = text[:2].tolist()
    told = []
    codes = paint_codes(
        model, captions, guidance, temperature=0.0, on_place=lambda k, c: told.append((k, c))
    )
    expected = torch.stack([slowly_painted(model, c, guidance) for c in captions])
    assert torch.equal(codes, expected)
    assert [k for k, _ in told] == [0, 1, 2, 3]
    assert all(torch.equal(c, codes[:, : k + 1]) for k, c in told)
    images = decode_codes(model, codes)
    assert images.shape == (2, 3, 16, 16) and images.min() >= 0 and images.max() <= 1
    assert decode_codes(model, codes[:, :2]).shape == images.shape
    assert torch.equal(paint(model, captions, guidance, temperature=0.0), images)


def test_an_image_is_its_seeds_and_not_its_batchs():
    model, (_, text) = small(), batch()
    captions = text[:3].tolist()
    together = paint_codes(model, captions, 2.0, seed=[5, 6, 7])
    alone = paint_codes(model, captions[1:2], 2.0, seed=6)
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(alone, paint_codes(model, captions[1:2], 2.0, seed=8))


@torch.no_grad()
def test_a_caption_is_written_word_by_word_as_without_cache():
    model, (images, _) = small(), batch()
    written, shares = write(model, images, DESCRIBE, length=4)
    features, _ = model.look(images)
    for i, row in enumerate(written.tolist()):
        words: list[int] = []
        for k, word in enumerate(row):
            asked = reading(DESCRIBE, words)[0][:-1]
            mixed = mix([(asked, [IGNORE] * len(asked))], 4)
            share = model.trunk.head(model.states(mixed, features[i : i + 1]))[0, -1].softmax(0)
            expected = share.argmax().item()
            assert word == expected
            assert shares[i, k].item() == pytest.approx(share.max().item(), abs=1e-5)
            words.append(expected)
            if word == END:
                assert row[k:] == [END] * len(row[k:])
                break
    first = next_word(model, images, DESCRIBE)
    assert torch.equal(first.argmax(dim=1), written[:, 0])
    torch.testing.assert_close(first.sum(dim=1), torch.ones(4))


def test_writing_stops_where_all_have_ended():
    model, (images, _) = small(), batch()
    model.trunk.head.weight.data.zero_()
    model.trunk.head.weight.data[END] = 0  # all alike: the first word, 0, is the most probable
    assert write(model, images, QUESTIONS["place"], length=3)[0].shape == (4, 3)
    with torch.no_grad():
        for block in model.trunk.blocks:
            block.attention.proj.weight.zero_()
            block.mlp.down.weight.zero_()
        model.trunk.words.weight.copy_(torch.eye(len(VOCABULARY), 24) + 1)
        model.trunk.head.weight[END] = 1.0
    assert write(model, images, QUESTIONS["place"], length=3)[0].tolist() == [[END]] * 4


def test_the_labs_sizes():
    """Half precision of tower and of what learns: each fits into 5 MB."""
    model = VilaU()
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert 2 * count_parameters(model.tower) < 5e6 and 2 * learned < 5e6
    assert model.tower.tokens == 36 and model.depth.steps == 4


def test_every_name_of_the_room_is_there():
    for name in vilau.__all__:
        assert getattr(vilau, name) is not None
