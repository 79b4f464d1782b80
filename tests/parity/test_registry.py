"""The registry: every shipped checkpoint has its network, and every face its names."""

import importlib

import pytest

from labsupport.data import data_path
from labsupport.models import pretrained, untrained
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


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="name='10_none' is no shipped network; choose from 01_vi"):
        pretrained("10_none")


@pytest.mark.parametrize("package", ["models", "models.clip", "models.efficientvit"])
def test_every_name_of_a_face_is_there(package):
    face = importlib.import_module(f"labsupport.{package}")
    assert face.__all__ and all(hasattr(face, name) for name in face.__all__)
