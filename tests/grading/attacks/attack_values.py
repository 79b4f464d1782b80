"""Family 1, continued: answers that only look like one. And some right ones that look odd."""

from attack import HONEST, Attack


def returns(name: str, expression: str, words: str, status: str = "failed") -> Attack:
    code = f"import numpy as np\ndef scale(x, factor):\n    y = x * factor\n    return {expression}"
    return Attack(name, code, status, words)


VALUES = [
    returns("NaN", "torch.where(y == y[0], float('nan'), y)", "holds NaN"),
    returns("infinite", "y / 0", "holds infinite values"),
    returns("integer", "y.long()", "is int64 instead of float32"),
    returns("complex", "torch.complex(y, torch.zeros_like(y))", "is complex64"),
    returns("one dimension more", "y[None]", "has shape (1, 1) instead of (1,)"),
    returns("expanded to a billion", "y[:1].expand(10**9)", "too large to send"),
    returns("expanded, empty", "torch.empty(0).expand(10**12, 0)", "has shape"),
    returns("sparse", "y.to_sparse()", "has the layout sparse_coo"),
    returns("quantised", "torch.quantize_per_tensor(y, .1, 0, torch.quint8)", "is quantised"),
    returns("without values", "y.to('meta')", "holds no values"),
    returns("a million numbers", "[0.5] * 10**6", "more than 100,000 values"),
    returns("a number of a thousand digits", "10**1000", "not a tensor"),
    returns("a lazy iterator", "(v for v in y)", "is a generator"),
    returns("a function", "lambda: y", "a function"),
    returns(
        "a tensor that will not be copied",
        "type('T', (torch.Tensor,), {})(y)",
        "a subclass of torch.Tensor",
    ),
    returns("a masked array", "np.ma.array(y.numpy())", "a subclass of numpy's array"),
    returns("a numpy array of objects", "np.array([y, None], dtype=object)", "", "failed"),
    Attack(
        "a list in itself",
        "def scale(x, factor):\n    y = []; y.append(y); return y",
        "failed",
        "RecursionError",
    ),
    # controls: right answers must pass
    returns("needs a gradient", "y.clone().requires_grad_()", "", "passed"),
    returns("a lazily conjugated view", "torch.complex(x * 0, -y).conj().imag", "", "passed"),
    returns("strided", "torch.stack([y, y], 1)[:, 0]", "", "passed"),
    returns("a parameter", "torch.nn.Parameter(y)", "", "passed"),
    Attack(
        "warnings on stderr",
        "import sys, warnings\nwarnings.warn('careful')\n"
        "print('NNPACK', file=sys.stderr)\n" + HONEST,
        "passed",
    ),
]
