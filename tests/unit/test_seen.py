"""A wrong tensor in words: what is said is so, and no value of the right one is told."""

import math

import pytest
import torch

from labsupport.answers.seen import seen
from labsupport.answers.seen_numbers import as_number, seen_in_numbers

GENERATOR = torch.Generator().manual_seed(0)
RIGHT = torch.randn(3, 5, 6, generator=GENERATOR)
SQUARE = torch.randn(4, 4, generator=GENERATOR)


def changed(where, by=1.0):
    wrong = RIGHT.clone()
    wrong[where] += by
    return wrong


SEEN = [
    (2 * RIGHT, "every value is 2 times what it should be"),
    (RIGHT / 3**0.5, "every value is 0.577 times what it should be"),
    (-RIGHT, "every value has the other sign"),
    (RIGHT + 1, "every value is too large, all by the same amount"),
    (RIGHT - 0.5, "every value is too small, all by the same amount"),
    (torch.zeros_like(RIGHT), "every value is 0"),
    (torch.full_like(RIGHT, 0.25), "every value is the same"),
    (RIGHT.flip(1), "the order along axis 1 is reversed"),
    (RIGHT.roll(2, 1), "everything is moved by 2 along axis 1"),
    (RIGHT.cumsum(2), "values are added up along axis 2"),
    (RIGHT[:, [1, 0, 2, 4, 3]], "what lies along axis 1 is right, but in another order"),
    (RIGHT.flatten().flip(0).view_as(RIGHT), "the values are right, but in other places"),
    (changed((slice(None), -1)), "only the last place along axis 1 is wrong"),
    (changed((slice(1, None),)), "everything but the first place along axis 0 is wrong"),
    (changed((slice(None), slice(None), slice(3, None))), "only the second half along axis 2"),
    (changed((1,), float("nan")), "only place 1, counted from 0, along axis 0 is wrong"),
]


@pytest.mark.parametrize(("wrong", "words"), SEEN, ids=[words for _, words in SEEN])
def test_what_is_seen(wrong, words):
    assert words in seen(wrong, RIGHT, 1e-4, 1e-5)


def test_square_and_cut():
    assert "rows and columns, are exchanged" in seen(SQUARE.T, SQUARE, 1e-4, 1e-5)
    shifted = torch.cat([torch.zeros(1, 4), SQUARE[:-1]])
    assert "moved by 1 along axis 0" in seen(shifted, SQUARE, 1e-4, 1e-5)
    edge = SQUARE.clone()
    edge[0], edge[-1], edge[:, 0], edge[:, -1] = 9, 9, 9, 9
    assert "border" in seen(edge, SQUARE, 1e-4, 1e-5)
    assert seen(SQUARE > 0, SQUARE <= 0, 0, 0) == "True and False are exchanged"


def test_nothing_is_guessed_and_nothing_told():
    assert seen(torch.tensor(3.0), torch.tensor(1.0), 1e-4, 1e-5) == ""  # any number is a multiple
    assert seen(torch.zeros(2), torch.zeros(3), 1e-4, 1e-5) == ""
    assert seen(torch.ones(4), torch.zeros(4), 1e-4, 1e-5) == ""


NOISE = torch.randn(RIGHT.shape, generator=GENERATOR)
SIZES = [
    (NOISE, "of about the right size, and hardly like what is right"),
    (RIGHT + 0.8 * NOISE, "of about the right size, and partly like what is right"),
    (-RIGHT + 0.1 * NOISE, "of about the right size, and opposite to what is right"),
    (RIGHT + 0.02 * NOISE, "every value is a little off, by about 0.02 of its size"),
    (5 * NOISE, "times as large"),
    (0.1 * NOISE, "of the size"),
    (RIGHT.exp(), "every value is wrong"),
]


@pytest.mark.parametrize(("wrong", "words"), SIZES, ids=[words for _, words in SIZES])
def test_how_far_off_where_everything_is_wrong(wrong, words):
    assert words in seen(wrong, RIGHT, 1e-4, 1e-5)


NUMBERS = [
    ([(3, 1)], "it is too large"),
    ([(3, 1), (2, 5)], "too large in some cases and too small in others"),
    ([(1, 3), (2, 4), (3, 5)], "it is too small, always by the same amount"),
    ([(2, 1), (8, 4)], "it is too large, always by the same factor"),
    ([(2, 1), (9, 4)], "it is too large"),
    ([(2, 1), (2, 1)], "it is too large"),  # the same case twice shows nothing
    ([(2, 0), (9, 4)], "it is too large"),
]


@pytest.mark.parametrize(("pairs", "words"), NUMBERS)
def test_numbers_over_all_cases(pairs, words):
    assert seen_in_numbers(pairs) == words


def test_what_is_no_single_number():
    assert as_number(torch.tensor([3])) == 3.0 == as_number(3)
    for other in (True, None, "3", math.nan, 10**400, torch.zeros(2), torch.tensor(1j)):
        assert as_number(other) is None
