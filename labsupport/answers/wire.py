"""Values on the wire between the grader and a student's kernel: JSON and safetensors, no pickles.

A pickle runs code when it is read, so neither side may send one. What travels is a JSON tree of
plain values in which a tensor is a reference into one safetensors blob.
"""

import base64
import json
import math
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

_TENSOR = "$tensor"
_FLOAT = "$float"
_TUPLE = "$tuple"


class WireError(ValueError):
    """A value that cannot travel, or a message that does not decode."""


def encode(value: Any) -> str:
    """Encode tensors, numpy arrays, numbers, strings, None, lists, tuples, str-keyed dicts.

    Tensors are detached and moved to the CPU; dtype and shape are kept. Raises WireError.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _pack(value, tensors, "answer")
    blob = base64.b64encode(save(tensors)).decode("ascii") if tensors else ""
    return json.dumps({"tree": tree, "tensors": blob})


def decode(text: str) -> Any:
    """Inverse of :func:`encode` (numpy arrays come back as tensors). Raises WireError."""
    try:
        message = json.loads(text)
        blob = message["tensors"]
        tensors = load(base64.b64decode(blob, validate=True)) if blob else {}
        return _unpack(message["tree"], tensors)
    except WireError:
        raise
    except Exception as error:  # any malformed message is the same event to the caller
        raise WireError(f"message does not decode: {type(error).__name__}: {error}") from error


def _pack(value: Any, tensors: dict[str, torch.Tensor], where: str) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = torch.from_numpy(np.array(value)) if value.ndim else value.item()
    if isinstance(value, torch.Tensor):
        name = f"t{len(tensors)}"
        # clone: safetensors refuses tensors that share memory; contiguous: and strided ones
        tensors[name] = value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        items = [_pack(item, tensors, f"{where}[{i}]") for i, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise WireError(f"{where}: dict key {key!r} is not a plain string")
        return {key: _pack(item, tensors, f"{where}[{key!r}]") for key, item in value.items()}
    raise WireError(
        f"{where} is a {type(value).__name__}; what can be sent are tensors, numbers, strings, "
        "lists and dicts"
    )


def _unpack(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unpack(item, tensors) for item in tree]
    if isinstance(tree, dict):
        if set(tree) == {_TENSOR}:
            return tensors[tree[_TENSOR]]
        if set(tree) == {_FLOAT}:
            return float(tree[_FLOAT])
        if set(tree) == {_TUPLE}:
            return tuple(_unpack(item, tensors) for item in tree[_TUPLE])
        return {key: _unpack(item, tensors) for key, item in tree.items()}
    return tree
