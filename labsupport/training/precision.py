"""bfloat16 where the processor computes in it, float32 elsewhere.

Where it does not, every operation converts there and back: a step of lab 08's tokenizer then takes
13 s instead of 0.6.
"""

import torch


def computes_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether the processor behind `device` multiplies matrices in bfloat16 by itself: AMX or
    AVX-512 BF16 of a CPU, Ampere or newer of a GPU. False where nobody can tell."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch has public words for this from 2.10 on (`torch.cpu.get_capabilities`), and these
    # two since 2.6
    known = (getattr(torch.cpu, name, None) for name in _CPU_FEATURES)
    return any(ask is not None and ask() for ask in known)


_CPU_FEATURES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def autocast(wanted: bool = True, device: torch.device | str = "cpu") -> torch.autocast:
    """A context in which `device` computes in bfloat16 where that is `wanted` and faster."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=wanted and computes_bfloat16(device))
