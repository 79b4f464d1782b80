"""Weights of networks: in files of this project, and in other libraries' under their own names.

Files are safetensors: tensors only, nothing that can run code. Whatever is loaded fits every name
and every shape, or changes nothing.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from labsupport.files import data_path, write_whole

# A pattern in another library's state dict, and what it is here (as `re.sub` takes it)
Names = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]


def save_checkpoint(
    model: nn.Module, path: str | Path, metadata: dict[str, str] | None = None
) -> Path:
    """Write the state of `model` as safetensors (tensors only, nothing that can run code).

    `metadata` are short notes kept in the file's header, text to text. Returns the path.
    """
    path = Path(path)
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    # One header entry, because several come out in random order: the same model, the same bytes
    header = {"notes": json.dumps(metadata or {}, sort_keys=True)}
    write_whole(path, save(state, header))  # `save_file` would let only the owner read it
    return path


def checkpoint_path(source: str | Path) -> Path:
    """The file of a checkpoint: a plain name ("01_vit") is one shipped with the labs, anything
    ending in .safetensors is a path. Raises FileNotFoundError when there is no such file."""
    path = Path(source)
    if path.suffix != ".safetensors":
        return data_path("checkpoints", f"{source}.safetensors")
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    return path


def read_metadata(source: str | Path) -> dict[str, str]:
    """The notes `save_checkpoint` kept in the header; `source` as for `load_checkpoint`."""
    with safe_open(checkpoint_path(source), framework="pt") as file:
        return json.loads((file.metadata() or {}).get("notes", "{}"))


def load_checkpoint(model: nn.Module, source: str | Path) -> None:
    """Load the state written by `save_checkpoint` into `model`, every name and shape or nothing.

    `source` is the name of a shipped checkpoint ("01_vit") or the path of a .safetensors file.
    Raises FileNotFoundError when there is no such file, and ValueError naming the missing, the
    unknown and the misshapen entries; `model` is then left as it was.
    """
    path = checkpoint_path(source)
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a readable safetensors file: {error}") from None
    _load(model, state, path.name, "the file")


def load_renamed(model: nn.Module, state_dict: Mapping[str, Tensor], names: Names) -> None:
    """Load the weights of another library's model of the same size into `model`.

    `names` are replaced in every name, in their order; no tensor is changed. Raises ValueError
    naming the missing, the unknown and the misshapen entries; `model` is then left as it was.
    """
    state = {}
    for name, tensor in state_dict.items():
        for theirs, ours in names:
            name = re.sub(theirs, ours, name)
        state[name] = tensor
    _load(model, state, "state_dict", "it")


def _load(model: nn.Module, state: Mapping[str, Tensor], source: str, place: str) -> None:
    own = model.state_dict()
    faults = {
        f"missing from {place}": [name for name in own if name not in state],
        "not in the model": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(state[name].shape)}, in the model {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    found = [f"{kind}: {_shortened(names)}" for kind, names in faults.items() if names]
    if found:
        raise ValueError(f"{source} does not fit the model; {'; '.join(found)}")
    model.load_state_dict(state)


def _shortened(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
