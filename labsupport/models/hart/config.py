"""Sizes of a HART: of its tokenizer, transformer and residual diffusion."""

from dataclasses import dataclass

from labsupport.data.stickers import TEXT_LENGTH, VOCABULARY


@dataclass(frozen=True)
class HartConfig:
    """As they stand, the sizes of the networks that labs 08 and 09 ship.

    size: side of an image in pixels. scales: sides of the maps of codes; the last is the latent's.
    codes, latent_dim: number of codes and their dimension. widths, tokenizer_blocks: channels and
    blocks of encoder and decoder. vocabulary, text_length: words there are, words of a caption.
    dim, depth, heads: of the transformer. head: "codebook" or "linear", see `heads`.
    residual_width, residual_depth: of the denoising MLP; a depth of 0 leaves it out (VAR).
    """

    size: int = 48
    scales: tuple[int, ...] = (1, 2, 4, 8)
    codes: int = 512
    latent_dim: int = 16
    widths: tuple[int, int, int] = (16, 64, 160)
    tokenizer_blocks: int = 2
    vocabulary: int = len(VOCABULARY)
    text_length: int = TEXT_LENGTH
    dim: int = 128
    depth: int = 6
    heads: int = 4
    head: str = "codebook"
    residual_width: int = 128
    residual_depth: int = 3
