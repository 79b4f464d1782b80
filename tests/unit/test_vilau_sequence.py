"""VILA-U's rows of words and images: where images lie, and what is learned at which token."""

import pytest
import torch

from labsupport.data.stickers import tokenize
from labsupport.models.vilau.attention import padded_mask
from labsupport.models.vilau.sequence import fill, mix, states_before
from labsupport.models.vilau.words import (
    DESCRIBE,
    END,
    IGNORE,
    IMAGE,
    IMAGE_END,
    IMAGE_START,
    INDEX,
    QUESTIONS,
    START,
    VOCABULARY,
    answers,
    drawing,
    numbers,
    reading,
    text_of,
)

CAPTION = [3, 7, 20, 60]


def test_a_drawn_image_is_learned_and_so_are_the_words_around_it():
    mixed = mix([drawing(CAPTION)], 3)
    assert mixed.words.tolist() == [
        [START, *CAPTION, IMAGE_START, IMAGE, IMAGE, IMAGE, IMAGE_END, END]
    ]
    assert mixed.labels.tolist() == [
        [IGNORE] * 5 + [IMAGE_START, IGNORE, IGNORE, IGNORE, IMAGE_END, END]
    ]
    assert mixed.drawn.int().tolist() == [[0] * 6 + [1, 1, 1] + [0, 0]]
    assert mixed.real.all()


def test_an_image_that_is_read_is_not_learned_nor_is_the_question():
    words, labels = reading(QUESTIONS["ground"], [60])
    mixed = mix([(words, labels)], 2)
    asked = numbers(QUESTIONS["ground"])
    assert mixed.words[0].tolist() == [
        START, IMAGE_START, IMAGE, IMAGE, IMAGE_END, *asked, 60, END
    ]  # fmt: skip
    assert mixed.labels[0].tolist() == [IGNORE] * (5 + len(asked)) + [60, END]
    assert not mixed.drawn.any()


def test_an_image_at_the_end_that_was_given_is_not_drawn():
    """Only where <image start> is a label itself."""
    words, labels = drawing(CAPTION)
    mixed = mix([(words, [IGNORE] * len(words))], 3)
    assert not mixed.drawn.any()
    # nor one that something else comes behind
    longer = ([*words, 5], [*labels, 5])
    assert not mix([longer], 3).drawn.any()


def test_the_state_before_a_place_is_for_that_place():
    """From <image start>, for the first place, to the last place but one, for the last."""
    mixed = mix([drawing(CAPTION), drawing([])], 3)
    states = torch.arange(2 * 11.0).view(2, 11, 1)
    found = states_before(states, mixed.drawn).flatten().tolist()
    starts = [mixed.words[i].tolist().index(IMAGE_START) + 11 * i for i in range(2)]
    assert found == [start + k for start in starts for k in range(3)]


def test_rows_are_padded_behind_or_in_front():
    behind = mix([drawing(CAPTION), drawing([])], 2)
    front = mix([drawing(CAPTION), drawing([])], 2, left=True)
    assert behind.real[1].int().tolist() == [1] * 6 + [0] * 4
    assert front.real[1].int().tolist() == [0] * 4 + [1] * 6
    assert front.words[1, 4:].tolist() == behind.words[1, :6].tolist()
    assert behind.labels[1, 6:].tolist() == [IGNORE] * 4
    mask = padded_mask(front.real)[1]
    assert mask[4:, 4:].equal(torch.ones(6, 6).tril().bool()) and not mask[4:, :4].any()
    assert mask.any(dim=1).all()  # a row that may look nowhere gives no number


def test_features_of_images_take_their_places_in_order():
    mixed = mix([drawing([]), reading(DESCRIBE, CAPTION)], 2)
    vectors = torch.zeros(*mixed.words.shape, 3)
    features = torch.arange(1, 13.0).view(2, 2, 3)
    filled = fill(vectors, mixed.words, features)
    assert torch.equal(filled[mixed.words == IMAGE], features.flatten(0, 1))
    assert filled[mixed.words != IMAGE].abs().sum() == 0


def test_images_have_to_stand_between_their_words():
    with pytest.raises(ValueError, match="image at 1 is not between"):
        mix([([START, IMAGE, IMAGE_END], [IGNORE] * 3)], 2)
    with pytest.raises(ValueError, match="not between"):
        mix([([IMAGE_START, IMAGE], [IGNORE] * 2)], 2)
    with pytest.raises(ValueError, match="3 words and 2 labels"):
        mix([([1, 2, 3], [1, 2])], 2)


def test_words_and_questions():
    assert len(set(VOCABULARY)) == len(VOCABULARY) and VOCABULARY[0] == ""
    text = tokenize(["big blue fox on yellow", "left cat on white"])
    assert text_of([*text[0].tolist(), END, 4]) == "big blue fox on yellow"
    assert text_of(text[1]) == "left cat on white"  # plain is not said
    assert numbers("What colour is the ground?") == [
        INDEX[word] for word in ("what", "colour", "is", "the", "ground")
    ]
    said = {kind: text_of(answers(text, asked)[0]) for kind, asked in QUESTIONS.items()}
    assert said == {"place": "big", "tint": "blue", "thing": "fox", "ground": "on yellow"}
    assert torch.equal(answers(text, DESCRIBE), text)
    with pytest.raises(ValueError, match="has the word 'who'"):
        numbers("who is it")
    with pytest.raises(ValueError, match="no question"):
        answers(text, "is it")
