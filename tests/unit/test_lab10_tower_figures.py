"""Lab 10's figures of the tower, of captions and of the mixed row say what is in their numbers."""

import matplotlib.pyplot as plt
import pytest
import torch

from labsupport.labs.lab10 import figures_captions, figures_row, figures_tower
from labsupport.models.vilau.words import END, IGNORE, IMAGE, IMAGE_END, IMAGE_START, START


@pytest.fixture
def drawn(monkeypatch):
    """Calls a figure's function and returns the figure."""
    monkeypatch.setattr(plt, "show", lambda: None)

    def draw(function, *args, **options):
        function(*args, **options)
        return plt.gcf()

    yield draw
    plt.close("all")


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def lanes(ax, tokens):
    """The texts of a strip, lane by lane from the top."""
    texts = [text.get_text().replace("\n", " ") for text in ax.texts]
    return [texts[i : i + tokens] for i in range(0, len(texts), tokens)]


def test_a_strip_shows_what_a_state_predicts_one_token_before_it_is_learned(drawn):
    row = torch.tensor([START, 7, IMAGE_START, IMAGE, IMAGE, IMAGE_END, END])
    labels = torch.tensor([IGNORE, IGNORE, IMAGE_START, IGNORE, IGNORE, IMAGE_END, END])
    marks = torch.tensor([False] * 3 + [True] * 2 + [False] * 2)
    fig = drawn(figures_row.show_mixed, {"drawing": (row, labels, marks)})
    token, learned, predicted = lanes(fig.axes[0], len(row))
    assert token[2:6] == ["<image start>", "place", "place", "<image end>"]
    assert learned == ["", "", "<image start>", "codes", "codes", "<image end>", "<end>"]
    assert predicted == [*learned[1:], ""]
    assert "3 words and the codes of 2 places are learned" in fig.get_label()


def test_an_image_that_is_only_seen_has_no_codes_to_learn(drawn):
    row = torch.tensor([START, IMAGE_START, IMAGE, IMAGE_END, 7, END])
    labels = torch.tensor([IGNORE] * 4 + [7, END])
    fig = drawn(figures_row.show_mixed, {"reading": (row, labels, torch.zeros(6).bool())})
    assert "codes" not in lanes(fig.axes[0], len(row))[1]
    assert "2 words and the codes of 0 places are learned" in fig.get_label()


def test_images_found_say_how_many_words_are_true_of_each(drawn):
    right = torch.tensor([[4, 2], [3, 4]])
    found = torch.stack([IMAGES, IMAGES])
    fig = drawn(figures_captions.show_found, ["big cat on blue", "top dog on red"], found, right, 4)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == ["✓ 4 of 4", "✗ 2 of 4", "✗ 3 of 4", "✓ 4 of 4"]
    assert "In 1 of 2 rows" in fig.get_label()


def test_pairs_say_how_many_of_either_kind_are_above_the_level(drawn):
    same, other = torch.tensor([0.9, 0.7, 0.95, 0.99]), torch.tensor([0.1, 0.85, -0.2, 0.0, 0.3])
    told = drawn(figures_captions.show_pairs, same, other, 0.8).get_label()
    assert "75% of the right pairs are above it and 20.0% of the others" in told


def test_scores_say_in_how_many_rows_the_own_image_has_the_largest(drawn):
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    told = drawn(figures_captions.show_scores, scores, IMAGES, ["a on b", "c on d"]).get_label()
    assert "1 of 2 rows" in told


def test_lengths_have_one_axis_for_all_depths_and_say_the_medians(drawn):
    chosen = [torch.tensor([4.0, 5.0, 6.0]), torch.tensor([0.1, 0.2, 0.3])]
    fig = drawn(figures_tower.show_lengths, chosen)
    assert "code 1 5 and code 2 0.2" in fig.get_label()
    first, second = (ax.get_xlim() for ax in fig.axes)
    assert first == pytest.approx(second)
    assert [sum(bar.get_height() for bar in ax.patches) for ax in fig.axes] == pytest.approx(
        [100, 100]
    )


def test_bits_are_the_mean_of_the_runs(drawn):
    told = drawn(figures_tower.show_bits, {"deep": {9: [20.0, 22.0], 18: [24.0]}}).get_label()
    assert "Deep rises from 21 at 9 to 24 at 18" in told
