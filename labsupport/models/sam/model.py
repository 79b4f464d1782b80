"""Segment Anything, all together: an image once, then as many prompts as one likes."""

from torch import Tensor, nn

from labsupport.models.sam.config import SIZES, EfficientViTConfig, SamConfig
from labsupport.models.sam.efficientvit_sam import EfficientViTImageEncoder
from labsupport.models.sam.image_encoder import ImageEncoder
from labsupport.models.sam.mask_decoder import MaskDecoder, Masks
from labsupport.models.sam.prompt_encoder import PromptEncoder


class Sam(nn.Module):
    """Images and prompts to `Masks`; nearly all of the time goes into `image_encoder`.

    `frame` is the side, in pixels, of the square in which points and boxes are given.
    """

    def __init__(
        self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder
    ):
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder, self.mask_decoder = prompt_encoder, mask_decoder

    @property
    def frame(self) -> int:
        return self.prompt_encoder.frame

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (images, dim, side, side), once an image."""
        return self.image_encoder(images)

    def decode(
        self,
        embeddings: Tensor,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> Masks:
        """Masks of n prompts, as `PromptEncoder` takes them, on embedded images.

        With more prompts than images, n / images prompts belong to each, one image after another.
        `multimask` gives the candidates for an ambiguous prompt, without it there is the one mask
        for a clear prompt. Raises ValueError where shapes do not fit.
        """
        prompt = self.prompt_encoder(points, labels, boxes, masks)
        positions = self.prompt_encoder.image_positions()
        return self.mask_decoder(embeddings, positions, prompt, multimask)

    def forward(
        self,
        images: Tensor,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> Masks:
        """`embed`, then `decode`."""
        return self.decode(self.embed(images), points, labels, boxes, masks, multimask)


def build_sam(config: SamConfig) -> Sam:
    """An untrained model of the sizes in `config`."""
    decoder, side = config.decoder, config.embedding
    encoder: nn.Module
    if isinstance(config.encoder, EfficientViTConfig):
        encoder = EfficientViTImageEncoder(config.encoder, decoder.dim, side)
    else:
        encoder = ImageEncoder(config.encoder, decoder.dim)
    prompts = PromptEncoder(decoder.dim, config.frame, side, config.mask_channels)
    return Sam(encoder, prompts, MaskDecoder(decoder))


def sam(name: str) -> Sam:
    """A model by name, untrained: "vit_b", "efficientvit_l0", … and the lab's "small_vit" and
    "small_efficientvit"; see `SIZES`. Raises ValueError for an unknown name."""
    if name not in SIZES:
        raise ValueError(f"name={name!r} is no size of SAM; choose from {', '.join(SIZES)}")
    return build_sam(SIZES[name])
