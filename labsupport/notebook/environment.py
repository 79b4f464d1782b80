"""Environment: does this machine have what a lab needs? One line each, with the mend."""

import os
import platform
from collections.abc import Callable
from importlib.metadata import version

NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "matplotlib",
    "einops",
    "safetensors",
    "ipywidgets",
    "tqdm",
)


def report(profile: str = "cpu") -> bool:
    """Print [OK] or [FAIL] for Python, each library, the embedded data and the machine.

    Returns whether all is well. `profile` "gpu" also asks for a CUDA device.
    """
    checks: list[tuple[str, Callable[[], str]]] = [("python", platform.python_version)]
    # the installed version says enough, and importing everything would take many times longer
    checks += [(name, lambda name=name: version(name)) for name in NEEDED]
    checks += [("data", _data), ("machine", _machine)]
    if profile == "gpu":
        checks.append(("gpu", _gpu))
    well = True
    for name, look in checks:
        try:
            print(f"[OK]   {name:<12} {look()}")
        except Exception as error:
            well = False
            mend = f"; pip install {name}" if isinstance(error, ImportError) else ""
            print(f"[FAIL] {name:<12} {error}{mend}")
    return well


def _data() -> str:
    from labsupport.data import load_emoji

    return f"{len(load_emoji().names):,} emoji in two drawing styles"


def _machine() -> str:
    import torch

    return f"{os.cpu_count()} processors, torch uses {torch.get_num_threads()} threads"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PROFILE = 'gpu' needs a CUDA device; use PROFILE = 'cpu'")
    return torch.cuda.get_device_name()
