"""The mask decoder: an image embedding and a prompt to masks and how good they are (appendix A)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.models.sam.config import DecoderConfig
from labsupport.models.sam.image_encoder import NORM_EPS
from labsupport.models.sam.prompt_encoder import Prompt
from labsupport.models.sam.two_way import TwoWayTransformer
from labsupport.models.segformer import LayerNorm2d


class Masks(NamedTuple):
    """Candidates for n prompts.

    Attributes:
        logits: (n, candidates, height, width); above 0 is in the mask.
        scores: (n, candidates), the IoU that each is expected to have; nothing keeps it in [0, 1].
    """

    logits: Tensor
    scores: Tensor


def select_masks(masks: Masks, points: int) -> Masks:
    """One mask for each prompt, of all four (n, 4, …), as the published export to ONNX selects.

    `points` counts tokens of the prompt: points, corners, and the one appended. With 3 or more
    the prompt is clear, and mask 0 is taken; else the best-scored one of the others. So a click
    (with the appended point, 2) is ambiguous, two clicks or a box and a click are not; and a box
    alone, 2 corners, counts as ambiguous.
    """
    favour = torch.zeros_like(masks.scores)
    favour[:, 0] = (points - 2.5) * 1000
    best = (masks.scores + favour).argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    return Masks(masks.logits[rows, best, None], masks.scores[rows, best, None])


class ReluLayers(nn.Module):
    """`depth` linear layers, (…, inputs) to (…, outputs), with ReLUs between."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int = 3):
        super().__init__()
        widths = [inputs] + [hidden] * (depth - 1) + [outputs]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MaskDecoder(nn.Module):
    """Image embeddings and prompts to `Masks`, four times as high and wide as the embeddings.

    An IoU token and one token a mask go through the two-way transformer with the prompt's. Each
    mask token then becomes the weights of a linear layer that reads the enlarged embedding pixel
    by pixel. Mask 0 is for a clear prompt, the others are candidates for an ambiguous one.
    """

    def __init__(self, config: DecoderConfig):
        super().__init__()
        dim, count = config.dim, config.masks + 1
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(count, dim)
        self.transformer = TwoWayTransformer(
            config.depth, dim, config.heads, config.hidden, config.norm_eps
        )
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2),
            LayerNorm2d(dim // 4, eps=NORM_EPS),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            ReluLayers(dim, dim, dim // 8) for _ in range(count)
        )
        self.iou_prediction_head = ReluLayers(dim, config.iou_hidden, count)

    def all_masks(self, embeddings: Tensor, positions: Tensor, prompt: Prompt) -> Masks:
        """Every candidate: mask 0, then those for ambiguous prompts.

        Args:
            embeddings: (images, dim, side, side). Where there are more prompts than images, the
                first prompts / images of them are the first image's, and so on.
            positions: of the embeddings, (1, dim, side, side).
            prompt: of n masks.

        Raises:
            ValueError: the number of images does not divide the number of prompts.
        """
        n, images = len(prompt.sparse), len(embeddings)
        if n % images:
            raise ValueError(f"{n} prompts cannot be shared out evenly among {images} images")
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(n, -1, -1), prompt.sparse], dim=1)
        image = embeddings.repeat_interleave(n // images, dim=0) + prompt.dense
        tokens, places = self.transformer(image, positions, tokens)

        pixels = self.output_upscaling(places.transpose(1, 2).view_as(image))
        weights = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )  # (n, candidates, dim / 8)
        logits = (weights @ pixels.flatten(2)).unflatten(2, pixels.shape[-2:])
        return Masks(logits, self.iou_prediction_head(tokens[:, 0]))

    def forward(
        self, embeddings: Tensor, positions: Tensor, prompt: Prompt, multimask: bool = True
    ) -> Masks:
        """The candidates for an ambiguous prompt, or with `multimask` false mask 0 alone."""
        logits, scores = self.all_masks(embeddings, positions, prompt)
        chosen = slice(1, None) if multimask else slice(0, 1)
        return Masks(logits[:, chosen], scores[:, chosen])
