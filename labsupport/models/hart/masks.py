"""Who may look at whom: [text | scale 1 | … | scale K], causal between blocks, open within them.

VAR, section 3.2 (the block-wise causal mask); HART, section 3.2, puts the text in front.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def block_of(lengths: Sequence[int]) -> Tensor:
    """(tokens,): the number of the block that every token belongs to."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


def block_causal_mask(lengths: Sequence[int]) -> Tensor:
    """(tokens, tokens), True where the token of the row may look at the token of the column: at
    those of its own block and of the blocks before it. `lengths` are the blocks' tokens."""
    block = block_of(lengths)
    return block[:, None] >= block[None, :]
