"""The registry: every shipped checkpoint has its network, and every face its names."""

import importlib

import pytest
import torch

from labsupport.data import data_path
from labsupport.experiments.lab01 import checkpoint
from labsupport.experiments.lab03 import segmentation, super_resolution
from labsupport.experiments.lab05 import sparsity
from labsupport.models import load_checkpoint, pretrained, untrained
from labsupport.models.registry import NETWORKS, OF_HART


def test_every_shipped_checkpoint_is_registered():
    shipped = {path.stem for path in data_path("checkpoints").glob("*.safetensors")}
    assert {*NETWORKS, *OF_HART} == shipped


@pytest.mark.parametrize("name", [*NETWORKS, *OF_HART])
def test_a_network_takes_its_weights_and_comes_ready_to_be_used(name):
    begun, trained = untrained(name), pretrained(name)
    assert begun.training and not trained.training
    begun, trained = begun.state_dict(), trained.state_dict()
    assert list(begun) == list(trained)
    assert any((begun[key] != trained[key]).any() for key in begun)


MAKERS = {  # what trained them, where that is not the same function
    "01_vit": checkpoint.make_vit,
    "03_segformer": segmentation.NETS["SegFormer-like, softmax"],
    "03_super_resolution": super_resolution.NETS["EfficientViT"],
    "05_sparsevit": sparsity.lab_net,
    "05_sparsevit_dense": sparsity.lab_net,
}


@torch.no_grad()
@pytest.mark.parametrize("name", MAKERS)
def test_a_network_computes_what_was_trained(name):
    """Numbers of heads, say, do not show in names and shapes."""
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    trained = MAKERS[name]().eval()
    load_checkpoint(trained, name)
    assert torch.equal(pretrained(name)(images), trained(images))


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="name='10_none' is no shipped network; choose from 01_vi"):
        pretrained("10_none")


@pytest.mark.parametrize("package", ["models", "models.clip", "models.efficientvit"])
def test_every_name_of_a_face_is_there(package):
    face = importlib.import_module(f"labsupport.{package}")
    assert face.__all__ and all(hasattr(face, name) for name in face.__all__)
