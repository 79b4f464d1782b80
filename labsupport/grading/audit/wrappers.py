"""Wrappers: right answers in other clothes.

An exercise's functions, and its modules' forward, wrapped so that results are stored, cast or
handed over in another way that ordinary code has too.
"""

import ast

# What is done to each tensor of a result. `t` is the tensor; its numbers stay.
_TENSOR = {
    "written into a float32 buffer": """
        dtype = None if t.is_floating_point() else t.dtype
        buffer = torch.zeros(t.shape, dtype=dtype)
        buffer[...] = t
        return buffer""",
    "default dtype": """
        return t.float() if t.is_floating_point() else t""",
    "double precision": """
        return t.double() if t.is_floating_point() else t""",
    "list and stack": """
        return torch.stack([t[i] for i in range(len(t))]) if t.dim() and len(t) else t""",
    "not contiguous": """
        return t.transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else t""",
    "a view of something larger": """
        return torch.cat([t, t])[: len(t)] if t.dim() else t""",
    "by way of numpy": """
        return torch.from_numpy(t.numpy().copy())""",
    "in place on a copy": """
        t = t.clone()
        if t.is_floating_point():
            t += 1
            t -= 1
        return t""",
}
WRAPPERS = (*_TENSOR, "called by keyword", "lists for tuples", "a helper inside")

_PRELUDE = """
def _dress_(value):
    import torch
    def one(t):{body}
    if isinstance(value, torch.Tensor):
        return one(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_dress_, value))
    if isinstance(value, dict):
        return {{key: _dress_(item) for key, item in value.items()}}
    return value
"""
_LISTS = """
def _dress_(value):
    if isinstance(value, tuple):
        return [_dress_(item) for item in value]
    if isinstance(value, list):
        return tuple(_dress_(item) for item in value)
    return value
"""
_SAME = """
def _dress_(value):
    return value
"""


def wrapped(code: str, kind: str) -> str:
    """The code of a solved exercise, dressed as ``kind`` (one of ``WRAPPERS``) says."""
    tree = ast.parse(code)
    if kind in _TENSOR:
        prelude = _PRELUDE.format(body=_TENSOR[kind])
    else:
        prelude = _LISTS if kind == "lists for tuples" else _SAME
    parts = [code, prelude]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            parts.append(_function(node, kind))
        elif isinstance(node, ast.ClassDef):
            parts.append(_module(node, kind))
    return "\n".join(parts)


def _function(node: ast.FunctionDef, kind: str) -> str:
    inner = f"_{node.name}_"
    return (
        f"{inner} = {node.name}\n\n"
        f"def {node.name}({ast.unparse(node.args)}):\n"
        f"    return _dress_({inner}({_passed(node.args, kind)}))\n"
    )


def _module(node: ast.ClassDef, kind: str) -> str:
    forward = next(
        (f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "forward"), None
    )
    if forward is None:
        return ""
    inner = f"_{node.name}_forward_"
    return (
        f"{inner} = {node.name}.forward\n\n"
        f"def _forward_({ast.unparse(forward.args)}):\n"
        f"    return _dress_({inner}({_passed(forward.args, kind)}))\n\n"
        f"{node.name}.forward = _forward_\n"
    )


def _passed(arguments: ast.arguments, kind: str) -> str:
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    by_name = kind == "called by keyword"
    first = 1 if names[:1] == ["self"] else 0
    words = [f"{n}={n}" if by_name and i >= first else n for i, n in enumerate(names)]
    words += [f"{a.arg}={a.arg}" for a in arguments.kwonlyargs]
    if arguments.vararg:
        words.append(f"*{arguments.vararg.arg}")
    if arguments.kwarg:
        words.append(f"**{arguments.kwarg.arg}")
    return ", ".join(words)
