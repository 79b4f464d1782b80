"""The visual tower: images to tokens of D codes each, and back; and, if it is aligned, to meaning.

VILA-U, section 3.1 and figure 2. Encoder → quantizer → decoder (reconstruction) and → alignment
(contrastive). Small here: the encoder and decoder are lab 08's convolutions, the published ones a
SigLIP (`siglip`) and the decoder of a VQGAN, whose size is not in the repository.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.stickers import TEXT_LENGTH
from labsupport.data.stickers import VOCABULARY as STICKER_WORDS
from labsupport.models.clip.towers import TextEncoder
from labsupport.models.hart.tokenizer import Sum, decoder, encoder, start_linear
from labsupport.models.vilau.alignment import (
    AlignmentHead,
    SigmoidScale,
    same_captions,
    sigmoid_loss,
)
from labsupport.models.vilau.config import TowerConfig
from labsupport.models.vilau.quantizer import Quantized, ResidualQuantizer

COMMITMENT = 0.25  # weight of the commitment, as RQ-VAE has it
RECONSTRUCTION, CONTRASTIVE = 1.0, 1.0  # VILA-U, section 4.1


class Alignment(nn.Module):
    """What an aligned tower has more: a reader of quantized tokens, one of captions, a scale."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        tokens, width, heads = config.side**2, config.width, config.heads
        self.image = AlignmentHead(tokens, config.dim, width, heads, config.embed_dim)
        # reads a caption at its largest number, which is the ground, the last word
        self.text = TextEncoder(len(STICKER_WORDS), TEXT_LENGTH, width, 2, heads, config.embed_dim)
        self.scale = SigmoidScale()

    def forward(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Logits (images, captions) of quantized tokens and captions (n, words)."""
        return self.scale(self.image(tokens), self.text(text))


class TowerLoss(NamedTuple):
    """Of a batch: `total`, the weighted sum, to be minimised, and its parts. `contrastive` is 0 for
    a tower without alignment. `made` (batch, 3, size, size) are the images rebuilt."""

    total: Tensor
    reconstruction: Tensor
    commitment: Tensor
    contrastive: Tensor
    made: Tensor


class VisualTower(nn.Module):
    """Images (batch, 3, size, size) in [-1, 1] to tokens (batch, side², dim) row by row, their
    codes (batch, side², D), and images again."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        patch, rest = divmod(config.size, 2 * config.side)
        if rest:
            raise ValueError(f"size={config.size} must be a multiple of twice side={config.side}")
        self.size, self.side, self.dim = config.size, config.side, config.dim
        self.encoder = Sum(
            nn.Conv2d(3, config.dim, 2 * patch, stride=2 * patch),
            encoder(patch, config.dim, config.widths, config.blocks),
        )
        self.quantizer = ResidualQuantizer(config.codes, config.dim, config.depth, config.least)
        self.decoder = Sum(
            nn.ConvTranspose2d(config.dim, 3, 2 * patch, stride=2 * patch),
            decoder(patch, config.dim, config.widths, config.blocks),
        )
        self.alignment = Alignment(config) if config.aligned else None

    def start_from(self, images: Tensor) -> None:
        """Let the linear paths be the principal components of patches of `images`, as those of lab
        08's tokenizer. The codebook starts by itself, at the first batch."""
        start_linear(self.encoder.linear, self.decoder.linear, images)

    @property
    def tokens(self) -> int:
        """Places of an image."""
        return self.side**2

    def encode(self, images: Tensor) -> Tensor:
        """Features before they are quantized, (batch, side², dim)."""
        return self.encoder(images).flatten(2).mT

    def tokenize(self, images: Tensor) -> Quantized:
        """Codes (batch, side², D) and quantized features (batch, side², dim)."""
        return self.quantizer(self.encode(images))

    def decode(self, tokens: Tensor) -> Tensor:
        """Images of features (batch, side², dim), quantized or not."""
        return self.decoder(tokens.mT.unflatten(2, (self.side, self.side)))

    def loss(
        self,
        images: Tensor,
        text: Tensor | None = None,
        *,
        reconstruction: float = RECONSTRUCTION,
        contrastive: float = CONTRASTIVE,
        distance=F.l1_loss,
    ) -> TowerLoss:
        """The joint loss on images (batch, 3, size, size) and their captions (batch, words).

        `reconstruction` and `contrastive` are weights, `distance(made, images)` what is wrong with
        images rebuilt (published: absolute and perceptual error and a discriminator). Both
        losses see the quantized features. Raises ValueError where an aligned tower gets no text.
        """
        quantized = self.tokenize(images)
        made = self.decode(quantized.discrete)
        rebuilt, agree = distance(made, images), images.new_zeros(())
        if self.alignment is not None and contrastive:
            if text is None:
                raise ValueError("an aligned tower learns from captions too: text is None")
            agree = sigmoid_loss(self.alignment(quantized.discrete, text), same_captions(text))
        total = reconstruction * rebuilt + contrastive * agree + COMMITMENT * quantized.commitment
        return TowerLoss(total, rebuilt, quantized.commitment, agree, made)


def new_tower(config: TowerConfig | None = None, aligned: bool = True) -> VisualTower:
    """An untrained tower: of `config`, or of the lab's size, `aligned` or not."""
    return VisualTower(TowerConfig(aligned=aligned) if config is None else config)
