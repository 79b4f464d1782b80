import pytest
import torch

from labsupport.data import stickers as world
from labsupport.data.stickers import combinations, draw_stickers, stickers, tokenize


def test_a_caption_says_what_the_image_shows():
    batch = stickers(200, 16, split="all", seed=1)
    assert torch.equal(world.attributes_of(batch.captions), batch.attributes)
    assert any(len(caption.split()) == 4 for caption in batch.captions)  # plain is not said
    assert world.captions(torch.tensor([[0, 3, 1, 3]])) == ["big blue fox on yellow"]


def test_order_of_words_and_articles_are_free_and_place_and_tint_have_a_default():
    same = [
        "big blue fox on yellow",
        "a blue fox on yellow",
        "on yellow: blue big fox".replace(":", ","),
        "Blue fox, big, on yellow",
    ]
    assert len(world.attributes_of(same).unique(dim=0)) == 1
    assert world.attributes_of(["fox on blue"]).tolist() == [[0, 0, 1, 5]]


@pytest.mark.parametrize(
    "sentence, fault",
    [
        ("big blu fox on yellow", "unknown word 'blu'"),
        ("fox", "names no ground"),
        ("fox on red", "unknown word 'red'"),
        ("big left fox on blue", "two of one kind at 'left'"),
    ],
)
def test_what_cannot_be_understood_is_named(sentence, fault):
    with pytest.raises(ValueError, match=fault):
        tokenize([sentence])


def test_tokens_are_words_of_the_vocabulary_and_no_caption_is_empty():
    tokens = tokenize(["left red car on gray", ""])
    words = [[world.VOCABULARY[i] for i in row] for row in tokens.tolist()]
    assert words == [["left", "red", "car", "on gray"], ["", "", "", ""]]
    assert len(set(world.VOCABULARY)) == len(world.VOCABULARY)


def test_held_out_combinations_never_occur_in_training():
    train, triple, pair = (combinations(split) for split in ("train", "triple", "pair"))
    assert len(train) + len(triple) + len(pair) == len(combinations("all"))

    def keys(rows, columns):
        return {tuple(row) for row in rows[:, columns].tolist()}

    assert not keys(triple, [0, 2, 3]) & keys(train, [0, 2, 3])
    assert not keys(pair, [2, 3]) & (keys(train, [2, 3]) | keys(triple, [2, 3]))
    # everything in a held-out caption is known from others
    assert keys(triple, [2, 3]) <= keys(train, [2, 3])
    assert keys(pair, [1, 2]) <= keys(train, [1, 2])
    drawn = stickers(400, 16, split="pair", seed=3).attributes
    assert {tuple(row) for row in drawn.tolist()} <= {tuple(row) for row in pair.tolist()}


def test_no_tint_lies_on_a_ground_of_its_name_and_everything_can_be_seen():
    for _, tint, _, ground in combinations("all").tolist():
        assert world.TINTS[tint] != world.GROUNDS[ground]
    rows = combinations("all")[::37]
    shown = draw_stickers(rows, 32, jitter=0).images
    ground = shown[:, :, :1, :1]  # of a corner; no thing reaches any of them
    corners = shown[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, ground[..., 0].expand_as(corners))
    differs = ((shown - ground).abs().amax(dim=1) > 0.1).float().mean(dim=(1, 2))
    assert differs.min() > 0.04


def test_places_are_where_they_are_called():
    fox = world.THINGS.index("fox")
    rows = torch.tensor([[place, 0, fox, 0] for place in range(len(world.PLACES))])
    thing = (draw_stickers(rows, 48, jitter=0).images.mean(dim=1) < 0.9).float()  # on white
    axis = torch.linspace(-1, 1, 48)
    x = (thing * axis).sum((1, 2)) / thing.sum((1, 2))
    y = (thing * axis[:, None]).sum((1, 2)) / thing.sum((1, 2))
    big, left, right, top, bottom = range(5)
    assert thing.sum((1, 2))[big] > 1.5 * thing.sum((1, 2))[1:].max()
    assert x[left] < -0.2 and x[right] > 0.2 and abs(x[top]) < 0.1
    assert y[top] < -0.2 and y[bottom] > 0.2 and abs(y[left]) < 0.1


def test_images_are_repeatable_and_jitter_varies_them():
    first, again = stickers(20, 32, seed=5), stickers(20, 32, seed=5)
    assert torch.equal(first.images, again.images)
    assert first.images.min() >= 0 and first.images.max() <= 1
    rows = first.attributes
    still = draw_stickers(rows, 32, seed=1, jitter=0).images
    assert torch.equal(still, draw_stickers(rows, 32, seed=2, jitter=0).images)
    little, much = (draw_stickers(rows, 32, seed=1, jitter=j).images for j in (0.5, 2.0))
    assert 0 < (little - still).abs().mean() < (much - still).abs().mean()


def test_another_style_shows_the_same_things_at_the_same_places():
    rows = combinations("all")[::97]
    ours, theirs = (draw_stickers(rows, 32, seed=1, style=s) for s in ("noto", "twemoji"))
    assert torch.equal(ours.images, draw_stickers(rows, 32, seed=1).images)
    assert ours.captions == theirs.captions
    torch.testing.assert_close(ours.images[:, :, 0, 0], theirs.images[:, :, 0, 0])  # the ground
    differs = (ours.images - theirs.images).abs().amax(dim=1).flatten(1).amax(dim=1)
    assert differs.min() > 0.1  # every thing is drawn another way
    ground = theirs.images[:, :, :1, :1]
    seen = ((theirs.images - ground).abs().amax(dim=1) > 0.1).float()  # (n, 32, 32)
    x = (seen * torch.linspace(-1, 1, 32)).sum((1, 2)) / seen.sum((1, 2))
    assert x[rows[:, 0] == 1].mean() < -0.2 and x[rows[:, 0] == 2].mean() > 0.2
    with pytest.raises(ValueError, match="style is 'apple'"):
        draw_stickers(rows, 32, style="apple")


@pytest.mark.parametrize("bad", [{"n": 0}, {"size": 8}, {"split": "test"}, {"jitter": -1}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        stickers(**({"n": 4} | bad))
