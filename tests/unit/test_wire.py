"""Only plain values and tensors travel, and they come back as they were."""

import json
import math

import numpy as np
import pytest
import torch

from labsupport.answers.wire import WireError, decode, encode


def test_round_trip():
    strided = torch.arange(6.0).reshape(2, 3).t()
    value = {
        "tensor": strided,
        "again": strided,
        "double": torch.ones(2, dtype=torch.float64),
        "none": None,
        "list": [1, 2.5, True, "text"],
        "pair": (1, 2),
        "empty": torch.zeros(0, 3),
        "numpy": np.arange(3),
    }
    back = decode(encode(value))
    assert torch.equal(back["tensor"], strided) and torch.equal(back["again"], strided)
    assert back["double"].dtype == torch.float64 and back["empty"].shape == (0, 3)
    assert back["list"] == [1, 2.5, True, "text"] and back["pair"] == (1, 2)
    assert back["numpy"].tolist() == [0, 1, 2] and back["none"] is None


def test_nan_and_infinity_survive():
    back = decode(encode([float("nan"), float("inf"), torch.tensor(float("nan"))]))
    assert math.isnan(back[0]) and back[1] == math.inf and back[2].isnan()


@pytest.mark.parametrize("value", [object(), lambda: 0, {1: 2}, {"$tensor": "t0"}, {1, 2}])
def test_what_cannot_travel_is_refused(value):
    with pytest.raises(WireError):
        encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"tree": {"$tensor": "t9"}, "tensors": ""}',
        json.dumps({"tree": 1, "tensors": "%%%"}),
        "[]",
    ],
)
def test_malformed_messages_are_one_kind_of_error(text):
    with pytest.raises(WireError):
        decode(text)
