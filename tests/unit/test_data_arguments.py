"""Batches can be cut; bad arguments are explained in one line."""

import pytest
import torch

from labsupport.data import scenes, singles


def test_batch_slices():
    batch = scenes(10, 16, concepts=4)
    assert torch.equal(batch[[2, 5]].images, batch[torch.tensor([2, 5])].images)
    assert len(batch[3]) == 1 and batch[3].captions == [batch.captions[3]]
    chosen = batch[batch.labels[:, 0] == 0]
    assert (chosen.labels[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (singles, {"n": 0}, "n is 0, but must be a whole number from 1"),
        (singles, {"size": 4}, "size is 4, but must be a whole number from 8 to 512"),
        (singles, {"size": 32.5}, "size is 32.5, but must be a whole number"),
        (singles, {"style": "apple"}, "style is 'apple', but must be one of: noto, twemoji"),
        (singles, {"split": "val"}, "split is 'val', but must be one of: train, test, all"),
        (singles, {"place": "left"}, "place is 'left', but must be one of: random, centre"),
        (singles, {"background": "red"}, "background is 'red', but must be one of: calm"),
        (singles, {"scale": (0.9, 0.5)}, "scale is (0.9, 0.5), but must be a pair"),
        (singles, {"scale": 0.5}, "scale is 0.5, but must be a pair"),
        (singles, {"rotation": -1}, "rotation is -1, but must be a number from 0"),
        (singles, {"seed": -1}, "seed is -1, but must be a whole number from 0"),
        (singles, {"labels": [0]}, "labels must be 2 whole numbers"),
        (singles, {"labels": [0, 40]}, "from 0 to 39"),
        (scenes, {"objects": (3, 1)}, "objects is (3, 1), but must be a whole number or a pair"),
        (scenes, {"objects": 0}, "objects is 0, but must be"),
        (scenes, {"concepts": 2}, "objects is (1, 3), but a scene shows a concept once"),
        (scenes, {"labels": [[0, 0], [1, 2]]}, "labels must be different within a row"),
        (scenes, {"labels": [[-1, 0], [1, 2]]}, "labels must be 2 rows"),
        (scenes, {"labels": [[0, -1, 1], [1, 2, 3]]}, "labels must have their padding of -1"),
    ],
)
def test_bad_arguments_are_explained_in_one_line(make, arguments, message):
    with pytest.raises(ValueError) as caught:
        make(**{"n": 2, **arguments})
    assert message in str(caught.value) and "\n" not in str(caught.value)
