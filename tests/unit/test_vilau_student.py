"""Lab 10's parts: with a student's right functions the model learns, writes and draws the same."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.data.stickers import stickers, tokenize
from labsupport.data.transforms import normalize
from labsupport.labs.lab10.student import Lesson, Painter, Reader
from labsupport.models.vilau.config import DepthConfig, TowerConfig, TrunkConfig, VilaUConfig
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.painting import decode_codes, paint_codes
from labsupport.models.vilau.sequence import mix, states_before
from labsupport.models.vilau.words import DESCRIBE, END, VOCABULARY, drawing, numbers, reading
from labsupport.models.vilau.writing import next_word, write

SMALL = VilaUConfig(
    TowerConfig(side=3, dim=8, codes=32, depth=3, widths=(8, 16, 16), blocks=1, width=16),
    TrunkConfig(len(VOCABULARY), dim=32, depth=2, heads=2, hidden=48),
    DepthConfig(hidden=32, code_dim=8, codes=32, steps=3, dim=32, depth=2, heads=2, dropout=0.0),
)


@pytest.fixture(params=["linear", "codebook"])
def model(request):
    torch.manual_seed(0)
    config = VilaUConfig(
        SMALL.tower, SMALL.trunk, DepthConfig(**{**vars(SMALL.depth), "head": request.param})
    )
    return VilaU(config).eval()


@pytest.fixture
def images():
    return normalize(stickers(4, 48, seed=3).images)


CAPTIONS = tokenize(["big blue fox on yellow", "left owl on gray", "top star on black"])


def mix_row(words, labels, places):
    words, labels, drawn, _ = mix([(words, labels)], places)
    return words[0].tolist(), labels[0].tolist(), drawn[0].tolist()


def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = codebook[codes[:, :-1]].cumsum(dim=1)
    return torch.cat([from_hidden(hidden)[:, None], from_codes(sums)], dim=1) + positions


def paint_all(painter, captions, guidance):
    """The loop that the lab's students write."""
    x, found = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        found.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(found, dim=1)


def write_all(next_logits, words, end, length):
    start = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words, over = torch.cat([words, new[:, None]], dim=1), over | (new == end)
        if over.all():
            break
    return words[:, start:]


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 0.8, "top_p": 0.9}])
def test_a_painter_draws_what_the_package_draws(model, options):
    expected = paint_codes(model, CAPTIONS.tolist(), 2.0, seed=5, top_k=9, **options)
    painter = Painter(model, depth_inputs, seed=5, top_k=9, **options)
    for _ in range(2):  # a painter begins anew
        assert torch.equal(paint_all(painter, CAPTIONS, 2.0), expected)
    torch.testing.assert_close(painter.decode(expected), decode_codes(model, expected))
    first = painter.decode(expected[..., :1])
    torch.testing.assert_close(first, decode_codes(model, expected[..., :1]))
    assert not torch.equal(first, painter.decode(expected))


def test_a_painter_draws_with_the_functions_it_is_given(model):
    def no_codes(hidden, codes, *rest):
        return depth_inputs(hidden, torch.zeros_like(codes), *rest)

    right = paint_all(Painter(model, depth_inputs, temperature=0), CAPTIONS, 1.0)
    assert not torch.equal(paint_all(Painter(model, no_codes, temperature=0), CAPTIONS, 1.0), right)


def test_an_image_does_not_depend_on_the_others_of_its_batch(model):
    many = paint_all(Painter(model, depth_inputs, seed=[7, 8, 9]), CAPTIONS, 1.5)
    alone = paint_all(Painter(model, depth_inputs, seed=8), CAPTIONS[1:2], 1.5)
    assert torch.equal(many[1:2], alone)


def test_a_reader_writes_what_the_package_writes(model, images):
    reader, question = Reader(model, images), torch.tensor([numbers(DESCRIBE)] * len(images))
    expected = write(model, images, DESCRIBE, length=5)[0]
    for _ in range(2):  # the same words again: it begins anew
        assert torch.equal(write_all(reader, question, END, 5), expected)
    for asked in ("what is it", "where is it"):
        shares = reader.ask(numbers(asked)).softmax(dim=-1)
        torch.testing.assert_close(shares, next_word(model, images, asked), rtol=1e-4, atol=1e-6)


def test_a_reader_goes_on_from_any_words(model, images):
    """What it holds of words that were taken back is not used."""
    first = torch.tensor([numbers(DESCRIBE)] * len(images))
    second = torch.tensor([[*numbers(DESCRIBE)[:-1], END, 3]] * len(images))
    reader = Reader(model, images)
    reader(first)
    torch.testing.assert_close(reader(second), Reader(model, images)(second))


def test_a_lesson_is_what_the_model_predicts_and_learns(model, images):
    text = tokenize(stickers(4, 48, seed=3).captions)
    rows = [reading(DESCRIBE, text[0].tolist()), drawing(text[1].tolist()), drawing([])]
    rows.append(reading("what is it", text[3, 2:3].tolist()))
    features, codes = model.look(images)
    lesson = Lesson(model, mix_row, states_before, depth_inputs)
    words, labels, logits, wanted = lesson(rows, features, codes)
    assert torch.equal(wanted, codes[1:3].flatten(0, 1))
    text_loss = F.cross_entropy(words[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    image_loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten())
    expected = model.loss(rows, images)
    torch.testing.assert_close(text_loss, expected.text)
    torch.testing.assert_close(image_loss, expected.image)
    (text_loss + image_loss).backward()
    for name in ("projector.0.weight", "trunk.words.weight", "depth.from_codes.weight"):
        assert model.get_parameter(name).grad.abs().sum() > 0, name
