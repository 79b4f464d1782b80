"""Public data sets, without a network: torchvision's classes are replaced by small stand-ins."""

from urllib.error import URLError

import pytest
import torch
from PIL import Image
from torchvision import datasets

from labsupport.data import PUBLIC, public


class StandIn(torch.utils.data.Dataset):
    """Three coloured pictures, taller than wide, in the form torchvision gives."""

    classes = ["Red_Rose", "oak"]

    def __init__(self, root, download, **split):
        self.split = split
        self.pictures = [("red", 0), ("lime", 1), ("blue", 1)]

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        colour, label = self.pictures[index]
        return Image.new("RGB", (40, 60), colour), label


@pytest.mark.parametrize("name", PUBLIC)
def test_gives_images_of_the_size_asked_for(name, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, PUBLIC[name].torchvision_name, StandIn)
    data = public(name, "test", size=24, root=tmp_path)
    assert len(data) == 3 and data.classes == ("red rose", "oak")
    image, label = data[1]
    assert image.shape == (3, 24, 24) and image.dtype == torch.float32 and label == 1
    assert torch.allclose(image[:, 0, 0], torch.tensor([0.0, 1.0, 0.0]))
    assert data.source.split == PUBLIC[name].splits["test"]
    assert public(name, root=tmp_path)[0][0].shape[-1] == PUBLIC[name].size


def test_batch_has_the_form_of_the_embedded_data(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10", StandIn)
    batch = public("cifar10", size=16, root=tmp_path).batch([2, 0])
    assert batch.images.shape == (2, 3, 16, 16) and batch.labels.tolist() == [1, 0]
    assert batch.captions == ["an oak", "a red rose"]
    assert batch.boxes.shape == (2, 0, 4) and (batch.instances == 0).all()
    assert len(batch[:1]) == 1


@pytest.mark.parametrize("name", PUBLIC)
def test_missing_files_are_named_with_the_alternative(name, tmp_path):
    with pytest.raises(RuntimeError) as caught:
        public(name, root=tmp_path, download=False)
    message = str(caught.value)
    assert repr(name) in message and PUBLIC[name].file in message and str(tmp_path) in message
    assert "labsupport.data.singles()" in message and "\n" not in message


def test_without_a_network_it_does_not_switch_silently(tmp_path, monkeypatch):
    def unreachable(**_):
        raise URLError("no route\nto host")

    monkeypatch.setattr(datasets, "CIFAR100", unreachable)
    with pytest.raises(RuntimeError) as caught:
        public("cifar100", root=tmp_path)
    message = str(caught.value)
    assert "cifar-100-python.tar.gz" in message and "no route to host" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "imagenet"}, "name is 'imagenet', but must be one of: cifar10, cifar100"),
        ({"name": "cifar10", "split": "val"}, "split is 'val', but must be one of: train, test"),
        ({"name": "cifar10", "size": 2}, "size is 2, but must be a whole number from 8 to 512"),
    ],
)
def test_bad_arguments_are_explained_in_one_line(arguments, message, tmp_path):
    with pytest.raises(ValueError) as caught:
        public(root=tmp_path, download=False, **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
