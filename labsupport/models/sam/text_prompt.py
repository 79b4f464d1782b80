"""Words as a prompt: CLIP's embedding as one token (section 7.5 of the paper)."""

from copy import deepcopy

from torch import Tensor, nn

from labsupport.models.sam.mask_decoder import Masks
from labsupport.models.sam.model import Sam, sam
from labsupport.models.sam.prompt_encoder import Prompt

GAIN = 8.0  # a vector of length 1 is small to a linear layer


class TextPrompt(nn.Module):
    """A net that reads a CLIP embedding of `width` numbers where points and boxes would be.

    Starts as a copy of `net`, of which all may learn: an encoder that never had to tell one kind of
    thing from another need not have kept what tells them apart.
    """

    def __init__(self, net: Sam, width: int):
        super().__init__()
        self.net = deepcopy(net)
        self.token = nn.Linear(width, net.prompt_encoder.dim)

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (images, dim, side, side), once an image."""
        return self.net.embed(images)

    def forward(self, embeddings: Tensor, words: Tensor) -> Masks:
        """Mask 0 of n prompts, words (n, width) of length 1, on embedded images
        (n or fewer, dim, side, side), shared out as `MaskDecoder` does.

        A name is a clear prompt. Three candidates, of which the best learns, would be three guesses
        among the things in the scene, and nothing would make them listen.
        """
        encoder = self.net.prompt_encoder
        dense = encoder.no_mask_embed.weight[:, :, None, None]
        dense = dense.expand(len(words), -1, encoder.side, encoder.side)
        prompt = Prompt(self.token(GAIN * words)[:, None], dense)
        return self.net.mask_decoder(embeddings, encoder.image_positions(), prompt, False)


def small_text_prompt() -> TextPrompt:
    """Lab 04's, untrained: EfficientViT's small net, and lab 06's CLIP of 64 numbers."""
    return TextPrompt(sam("small_efficientvit"), 64)
