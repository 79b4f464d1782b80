# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "01"
#   title: "Vision Transformer: an image is a sentence of patches"
#   minutes: 180
#   masks: ["models/vit.py", "models/layers.py"]
# ---

# %% [markdown]
# # Lab 01 · Vision Transformer: an image is a sentence of patches
#
# A transformer reads a sequence of vectors and does not care where they came from. In a language
# model they were words. To make a transformer see, cut the image into squares, turn each square
# into a vector, and hand over the sequence. That is the whole idea of the Vision Transformer, ViT
# (Dosovitskiy et al., 2021).
#
# In this lab you build every part of it, load a library's weights into it to prove that nothing is
# missing, look inside a trained one, and then measure the two facts that the rest of this course
# answers: **attention gets expensive as images grow**, and **a ViT has to learn from data what a
# convolution knows from the start**.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Cut the image | `patchify` | 3 | 15 | easy |
# | 2 Embed the patches | `patch_embedding` | 2 | 15 | easy |
# | 3 Say where they were | `position_embedding` | 4 | 25 | medium |
# | 4 Let them listen | `attention` | 3 | 15 | medium |
# | 5 Several questions at once | `multi_head_attention` | 4 | 20 | medium |
# | 6 Make it deep | `encoder_block` | 3 | 10 | easy |
# | 7 Put it together | `vision_transformer` | 4 | 20 | hard |
# | 8 Count it | `parameter_count` | 3 | 15 | medium |
# | 9 to 11 Look inside, measure | two written questions | 4 | 30 | medium |
#
# **30 points, about three hours.** You need Python, PyTorch tensors (`reshape`, `permute`, matrix
# products) and `nn.Module`. You need not have met a transformer before. With all exercises solved
# the notebook runs in under five minutes on a laptop; nothing is downloaded.
#
# **How it works.** Write your code where a cell says `YOUR CODE HERE`. The cell below it checks
# your answer at once and tells you what it found; it is not graded, so run it as often as you
# like. When you hand in, your code is asked about fresh inputs that only you get; what every
# exercise may count on is folded up below. Terms are explained in the glossary at the end.
#
# <!-- contract -->

# %% [markdown]
# ## Set up
#
# Run the next three cells. The second says whether this machine has what the lab needs.
# `PROFILE = "cpu"` is meant for a laptop or a free Colab machine, `"smoke"` runs everything in
# seconds with results that mean nothing, and `"gpu"` takes the long runs.

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport.notebook import environment

environment.report(PROFILE);

# %% tags=["setup"]
import json
import math

import einops
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.data import data_path, normalize, scenes, singles
from labsupport.labs.lab01 import diagrams, widgets
from labsupport.labs.lab01.data_scaling import STEPS, data_scaling_run
from labsupport.metrics import accuracy
from labsupport.models.cnn import cnn_with_parameters
from labsupport.notebook import plot as figures
from labsupport.notebook.check import Check
from labsupport.notebook.plot import charts, maps
from labsupport.notebook.profile import profile
from labsupport.profiling import count_macs, count_parameters, measure_seconds
from labsupport.training import load_checkpoint

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %%
# The lecture's case: 96 x 96 pixels in three colours.
picture = scenes(8, size=96, objects=(2, 3), seed=0).images[7]  # (3, 96, 96), values from 0 to 1
diagrams.show_vit(picture, 32, title="An image is a sentence of patches")

# %% [markdown]
# This is the picture to remember. Read it from bottom left to top right: the image is cut into
# nine patches; one linear map turns each into a *token*; a learned *class token* joins them; every
# token gets a vector that says where it was; a stack of identical encoder blocks lets all tokens
# listen to each other; and the answer is read from the class token alone. Each step is one
# exercise.

# %% [markdown]
# ## 1 · Cut the image into patches
#
# Call the side of a patch $p$. An image with $C$ channels, $H$ rows and $W$ columns has
# $N = \frac{H}{p} \cdot \frac{W}{p}$ patches of $C p^2$ numbers each. Two choices of order make
# "flatten the patches" precise, and everything later depends on them:
#
# * **patches** are numbered row by row, as you read a page: the patch at row $r$, column $c$ of the
#   grid is token $r \cdot \frac{W}{p} + c$;
# * **numbers inside a patch** keep the order of the image tensor: first all of channel 0 (row by
#   row), then all of channel 1, and so on.
#
# Nothing is computed here and nothing is lost: the $3 \cdot 96 \cdot 96 = 27{,}648$ numbers of our
# image become $9$ tokens of $3{,}072$ numbers. So there is a way back, and you write that too.

# %%
figures.show_patches(picture, 32, title="32 px: nine tokens of 3 · 32 · 32 = 3,072 numbers",
                     alt="A drawing of a turtle, a pineapple and a frog on lilac ground.")
figures.show_patches(picture, 12, title="12 px: sixty-four tokens of 3 · 12 · 12 = 432 numbers",
                     alt="The same turtle, pineapple and frog.")

# %% [markdown]
# Why not just `images.reshape(batch, 9, 3072)`? The shape would be right. But `reshape` cuts the
# numbers in the order in which they lie in memory, and the first 3,072 of them are the upper 32
# *full* rows of the red channel: a strip across three patches, without green or blue. The numbers
# of one patch lie scattered in memory, and you have to bring them together.
#
# ### Exercise 1 · `patchify` · 3 points · 15 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | `patchify` and its inverse `unpatchify`, about five lines each |
# | **Shapes** | `(batch, channels, height, width)` to `(batch, tokens, channels * p * p)`, and back |
# | **Allowed** | everything in PyTorch and einops; the result must let gradients through |
# | **Read** | ViT paper, section 3.1, first paragraph ($\mathbf{x} \rightarrow \mathbf{x}_p$) |
#
# <details><summary>Hint 1: I do not know where to begin</summary>
#
# Give every pixel more than two coordinates. A pixel's row is a patch row together with a row
# inside the patch, just as minute 135 is hour 2 together with minute 15. Once each of these has an
# axis of its own, bringing the numbers of a patch together is a matter of reordering axes.
# </details>
# <details><summary>Hint 2: "RuntimeError: shape '[...]' is invalid for input of size ..."</summary>
#
# `reshape` can split one axis into two (or merge neighbours), it never reorders. `permute`
# reorders axes and never changes their sizes. You need split, reorder, merge, in this sequence.
# When the sizes do not multiply up, print `images.shape` and check each factor. With `view` you
# may get "view size is not compatible": after `permute` the numbers are no longer in order in
# memory; `reshape` copies them. `einops.rearrange` does all three steps in one pattern.
# </details>
# <details><summary>Hint 3: the shapes are right but the picture of my tokens is scrambled</summary>
#
# Name the six axes before you permute: `(batch, patch row, row inside, patch column, column
# inside)` plus the channel, wherever it is. The order to reach is: batch · the two that count
# patches · channel · the two that count inside a patch. `unpatchify` makes the same moves
# backwards: split, the inverse permutation, merge.
# </details>

# %% exercise="patchify"
def patchify(images, patch_size):
    """Cut images into square patches and flatten each one into a token.

    images: (batch, channels, height, width); patch_size divides height and width.
    Returns (batch, tokens, channels * patch_size * patch_size): patches row by row, and inside a
    patch the channels one after the other, each row by row.
    """
    # Step 1: count the patch rows and patch columns
    # Step 2: give the height two axes (patch row, row inside the patch), the width likewise
    # Step 3: reorder the axes so that those inside a patch, channel first, come last
    # Step 4: merge the axes that count patches, and merge those inside a patch
    ### BEGIN SOLUTION
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    x = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    x = x.permute(0, 2, 4, 1, 3, 5)  # (batch, rows, columns, channels, patch, patch)
    return x.flatten(3).flatten(1, 2)  # (batch, tokens, channels * patch * patch)
    ### END SOLUTION


def unpatchify(patches, patch_size, height, width):
    """Put the patches of `patchify` back together.

    patches: (batch, tokens, channels * patch_size * patch_size).
    Returns (batch, channels, height, width).
    """
    # Step 1: find the number of channels; Step 2: undo the steps of patchify, last one first
    ### BEGIN SOLUTION
    rows, columns = height // patch_size, width // patch_size
    x = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, (rows, columns))
    x = x.permute(0, 3, 1, 4, 2, 5)  # (batch, channels, rows, patch, columns, patch)
    return x.flatten(4).flatten(2, 3)  # (batch, channels, height, width)
    ### END SOLUTION

# %% check="patchify"
with Check("patchify", read="section 1, the two choices of order") as check:
    check.signature(patchify, "images", "patch_size")
    check.signature(unpatchify, "patches", "patch_size", "height", "width")

    # An image that tells where its pixels are: 2 channels, 4 rows, 6 columns, and the number
    # 123 stands for channel 1, row 2, column 3.
    digits = torch.tensor([[[[100.0 * c + 10 * y + x for x in range(6)] for y in range(4)]
                            for c in range(2)]])
    got = patchify(digits.clone(), 2)
    check.shape(got, (1, 6, 8), "the tokens of 2 x 4 x 6 numbers in patches of 2")
    corner = torch.tensor([0.0, 2, 4, 20, 22, 24])[:, None]  # the top left pixel of each patch
    inside = torch.tensor([0, 1, 10, 11, 100, 101, 110, 111])  # and what follows it
    check.values(got[0], corner + inside, "the tokens", draw=True, otherwise={
        "your patches are numbered column by column": corner[[0, 3, 1, 4, 2, 5]] + inside,
        "inside a patch, your numbers have the channel last":
            corner + inside[[0, 4, 1, 5, 2, 6, 3, 7]],
        "the numbers inside a patch run down the columns":
            corner + inside[[0, 2, 1, 3, 4, 6, 5, 7]],
        "a reshape without permute: your tokens are stretches of memory": digits.reshape(6, 8),
    })
    images = unpatchify((corner + inside)[None], 2, 4, 6)
    check.shape(images, (1, 2, 4, 6), "the images of unpatchify")
    check.values(images, digits, "the images of unpatchify", likely="the permutation is not the "
                 "inverse of patchify's, or columns come before rows")
    check.cases("01", globals())

# %% judge="patchify" points=3
parts = {"patchify": 2, "unpatchify": 1}


def ask(rng):
    for title, batch, channels, height, width, patch in (
        ("two colours, wider than tall", 3, 2, 6, 10, 2),
        ("taller than wide", 2, 3, 12, 8, 4),
        ("one channel, one row of patches", 1, 1, 4, 12, 4),
        ("five channels, patches of odd size", 1, 5, 9, 15, 3),
        ("three rows of three patches, in colour", 1, 3, 24, 24, 8),
        ("one patch", 2, 2, 3, 3, 3),
        ("patches of one pixel", 1, 2, 2, 3, 1),
    ):
        yield Case(title, part="patchify", patch_size=patch,
                   images=randn(rng, batch, channels, height, width))
        # numbers that no patchify gave, so that two mistakes cannot cancel each other
        tokens = (height // patch) * (width // patch)
        yield Case(title, part="unpatchify", patch_size=patch, size=(height, width),
                   patches=randn(rng, batch, tokens, channels * patch**2))


def drive(lab, patch_size, images=None, patches=None, size=()):
    if patches is None:
        given, result = images, lab.patchify(images.requires_grad_(), patch_size)
    else:
        given, result = patches, lab.unpatchify(patches.requires_grad_(), patch_size, *size)
    steps = torch.arange(result.numel()).view_as(result)
    (gradient,) = torch.autograd.grad((result * steps).sum(), given)
    return {"tokens" if patches is None else "images": result, "gradient": gradient}

# %% trap="patchify" name="column-major"
# Your output equals what you get when patches are numbered column by column. Tokens run like
# reading: along the first row of patches, then the second.
def patchify(images, patch_size):
    return einops.rearrange(images, "b c (h p) (w q) -> b (w h) (c p q)", p=patch_size,
                            q=patch_size)


def unpatchify(patches, patch_size, height, width):
    return einops.rearrange(patches, "b (w h) (c p q) -> b c (h p) (w q)", h=height // patch_size,
                            p=patch_size, q=patch_size)

# %% trap="patchify" name="channels-last"
# Your output equals what you get when the channel comes last inside a patch. The numbers of a patch
# are all of its channel 0, then all of channel 1, and so on.
def patchify(images, patch_size):
    return einops.rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=patch_size,
                            q=patch_size)


def unpatchify(patches, patch_size, height, width):
    return einops.rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", h=height // patch_size,
                            p=patch_size, q=patch_size)

# %% alternative="patchify" name="loops"
def patchify(images, patch_size):
    tokens = []
    for y in range(0, images.shape[2], patch_size):
        for x in range(0, images.shape[3], patch_size):
            tokens.append(images[:, :, y:y + patch_size, x:x + patch_size].flatten(1))
    return torch.stack(tokens, dim=1)


def unpatchify(patches, patch_size, height, width):
    channels = patches.shape[2] // patch_size**2
    images = patches.new_zeros(len(patches), channels, height, width)
    columns = width // patch_size
    for n in range(patches.shape[1]):
        y, x = n // columns * patch_size, n % columns * patch_size
        patch = patches[:, n].reshape(-1, channels, patch_size, patch_size)
        images[:, :, y:y + patch_size, x:x + patch_size] = patch
    return images

# %% alternative="patchify" name="unfold and fold"
def patchify(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def unpatchify(patches, patch_size, height, width):
    return F.fold(patches.transpose(1, 2), (height, width), patch_size, stride=patch_size)

# %% alternative="patchify" name="einops"
def patchify(images, patch_size):
    return einops.rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch_size,
                            q=patch_size)


def unpatchify(patches, patch_size, height, width):
    return einops.rearrange(patches, "b (h w) (c p q) -> b c (h p) (w q)", h=height // patch_size,
                            p=patch_size, q=patch_size)

# %%
figures.compare_tokens(patchify(picture[None], 32)[0], picture, 32,
                       title="Your tokens below the patches they should hold (✗ and red: different)")

# %% [markdown]
# **What it shows.** A token is a small picture. No neighbourhood is left between tokens: that
# token 3 lies below token 0 is not written anywhere in the sequence, and you come back to that in
# section 3. Compare a convolutional network, in which each layer is told by its very structure
# which pixels are neighbours.

# %% [markdown]
# ## 2 · Embed the patches, or: a convolution in disguise
#
# The encoder works on vectors of a fixed length $D$, whatever the patch size. So one linear map,
# the same for every patch, takes each flattened patch $\mathbf{x}_p^n \in \mathbb{R}^{C p^2}$ to a
# token:
#
# $$ \mathbf{z}^n = E\, \mathbf{x}_p^n + \mathbf{b}, \qquad E \in \mathbb{R}^{D \times C p^2} $$
#
# In the lecture's case $C p^2 = 3 \cdot 32 \cdot 32 = 3{,}072$ and $D = 768$.
#
# Now think of a convolution. At each place it takes the dot product of a kernel with the pixels
# below it, and its stride says how far it moves before the next one. Make kernel and stride both
# $p$: it stops exactly once on each patch, and each of its $D$ kernels is one row of $E$, bent
# into a $C \times p \times p$ block. **Patch embedding is a convolution whose kernel and stride
# equal the patch size.** Nearly all ViT code writes it so, because convolutions need no `patchify`
# and are fast. You will prove the equality by copying the weights of a linear layer into a
# convolution.
#
# ### Exercise 2 · `patch_embedding` · 2 points · 15 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `PatchEmbedding` and the function `linear_to_conv`, about three lines each |
# | **Shapes** | `PatchEmbedding`: `(batch, in_channels, height, width)` to `(batch, tokens, dim)` |
# | **Names** | the convolution is `self.proj`; it has a bias |
# | **Allowed** | everything in PyTorch and einops |
# | **Read** | ViT paper, section 3.1, equation 1 (the $\mathbf{x}_p^n \mathbf{E}$ in it) |
#
# <details><summary>Hint 1: what does the convolution give, and what is wanted?</summary>
#
# It gives `(batch, dim, rows, columns)`: for each of the `dim` kernels, a small image. Wanted is,
# for each place in that small image, the vector of all `dim` values. Which axis must move?
# </details>
# <details><summary>Hint 2: my shape is right, but the check says that the values are scrambled</summary>
#
# A `reshape` from `(batch, dim, rows, columns)` to `(batch, tokens, dim)` has the right size but
# mixes tokens with channels, for the reason you saw in section 1. Merge rows and columns first
# (`flatten`), then exchange two axes (`transpose`).
# </details>
# <details><summary>Hint 3: "RuntimeError: a leaf Variable that requires grad is being used in an in-place operation"</summary>
#
# Copying into a parameter is no step of training, so do it inside `with torch.no_grad():`, with
# `parameter.copy_(values)`, or hand both tensors to `load_state_dict`. The rows of `linear.weight`
# are in `patchify`'s order: channel, row, column. The kernel of a `Conv2d` is `(out, in, row,
# column)`. Do any numbers have to move?
# </details>

# %% exercise="patch_embedding"
class PatchEmbedding(nn.Module):
    """Turn images into tokens with one linear map for all patches.

    images (batch, in_channels, height, width) -> (batch, tokens, dim), patches row by row.
    Parameters: proj.weight (dim, in_channels, patch_size, patch_size), proj.bias (dim,).
    """

    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        # Step 1: the convolution that stops once on each patch
        ### BEGIN SOLUTION
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        ### END SOLUTION

    def forward(self, images):
        # Step 2: convolve; Step 3: make a sequence of tokens out of the small image
        ### BEGIN SOLUTION
        x = self.proj(images)  # (batch, dim, rows, columns)
        return x.flatten(2).transpose(1, 2)  # (batch, tokens, dim)
        ### END SOLUTION


def linear_to_conv(linear, patch_size, in_channels):
    """The nn.Conv2d that does to images what `linear` does to the tokens of `patchify`.

    linear: nn.Linear from in_channels * patch_size * patch_size to dim, with bias.
    Returns a new nn.Conv2d (in_channels -> dim) that holds a copy of its weight and bias.
    """
    # Step 1: a convolution as above, of the right sizes
    # Step 2: copy the weight, in the kernel's shape, and the bias
    ### BEGIN SOLUTION
    conv = nn.Conv2d(in_channels, linear.out_features, kernel_size=patch_size, stride=patch_size)
    kernels = linear.weight.reshape(conv.weight.shape)  # (dim, in_channels, patch, patch)
    conv.load_state_dict({"weight": kernels, "bias": linear.bias})
    return conv
    ### END SOLUTION

# %% check="patch_embedding"
with Check("patch_embedding", read="section 2") as check:
    check.signature(PatchEmbedding, "patch_size", "in_channels", "dim")
    check.signature(linear_to_conv, "linear", "patch_size", "in_channels")
    embed = PatchEmbedding(2, 2, 3)
    check.parameters(embed, {"proj.weight": (3, 2, 2, 2), "proj.bias": (3,)})

    # Three kernels that each pick one number of a patch, on the image of digits from exercise 1
    with torch.no_grad():
        embed.proj.weight.zero_()
        embed.proj.bias.zero_()
        for kernel, channel, row, column in ((0, 0, 0, 0), (1, 0, 1, 1), (2, 1, 0, 0)):
            embed.proj.weight[kernel, channel, row, column] = 1
    got = embed(torch.tensor([[[[100.0 * c + 10 * y + x for x in range(6)] for y in range(4)]
                               for c in range(2)]]))
    check.shape(got, (1, 6, 3), "the tokens of a 4 x 6 image in patches of 2, with dim 3")
    expected = torch.tensor([0.0, 2, 4, 20, 22, 24])[:, None] + torch.tensor([0, 11, 100])
    check.values(got[0], expected, "the tokens", draw=True, otherwise={
        "a reshape where a transpose is needed: tokens and channels are mixed":
            expected.T.reshape(6, 3),
        "your tokens run column by column": expected[[0, 3, 1, 4, 2, 5]],
    })
    check.cases("01", globals())

# %% judge="patch_embedding" points=2
parts = {"PatchEmbedding": 1, "linear_to_conv": 1}


def ask(rng):
    for title, shape, patch, dim in (
        ("wider than tall", (2, 3, 4, 10), 2, 5),
        ("taller than wide, one channel", (1, 1, 9, 3), 3, 4),
        ("as many tokens as channels", (2, 2, 4, 8), 2, 8),
        ("one patch", (2, 2, 3, 3), 3, 4),
    ):
        yield Case(title, part="PatchEmbedding", images=randn(rng, *shape), patch_size=patch,
                   dim=dim)
        yield Case(title, part="linear_to_conv", images=randn(rng, *shape), patch_size=patch,
                   weight=randn(rng, dim, shape[1] * patch**2), bias=randn(rng, dim))


def called(module, x, training):
    """The output, and whether the call leaves the mode as it was."""
    output = module.train(training)(x)
    return output, all(part.training == training for part in module.modules())


def described(module):
    return {"parameters": {name: list(p.shape) for name, p in module.named_parameters()},
            "parameters that learn": sorted(n for n, p in module.named_parameters()
                                            if p.requires_grad)}


def stand_in_patchify(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def drive(lab, images, patch_size, dim=None, weight=None, bias=None):
    with lab.replacing(patchify=stand_in_patchify):
        if weight is not None:
            return convolution(lab, images, patch_size, weight, bias)
        module = lab.PatchEmbedding(patch_size, images.shape[1], dim)
        about = described(module)
        fill_parameters(module, seed=1)
        tokens, stays = called(module, images.requires_grad_(), training=False)
        in_training, stays_in_training = called(module, images, training=True)
        steps = torch.linspace(-1, 1, tokens.numel()).view_as(tokens)
        (in_training * steps).sum().backward()
        return {**about, "tokens": tokens, "tokens in training mode": in_training,
                "gradients": {"images": images.grad,
                              **{name: p.grad for name, p in module.named_parameters()}},
                "a call leaves training and evaluation mode alone": stays and stays_in_training}


def convolution(lab, images, patch_size, weight, bias):
    linear = nn.Linear(weight.shape[1], len(weight))
    linear.load_state_dict({"weight": weight, "bias": bias})
    with torch.random.fork_rng(devices=[]):  # what a new layer starts with is the same each time
        torch.manual_seed(0)
        conv = lab.linear_to_conv(linear, patch_size, images.shape[1])
    after = [linear.weight.detach().clone(), linear.bias.detach().clone()]
    with torch.no_grad():  # a copy does not notice
        linear.weight.zero_()
        linear.bias.zero_()
    return {"linear_to_conv gives an nn.Conv2d": isinstance(conv, nn.Conv2d), **described(conv),
            "linear after linear_to_conv": after,
            "output of the convolution, once linear is changed": conv(images)}

# %% trap="patch_embedding" name="reshape-for-transpose"
# Your tokens equal what you get when the convolution's output is reshaped without a transpose: each
# row then mixes several patches.
class PatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images):
        x = self.proj(images)
        return x.reshape(x.shape[0], -1, x.shape[1])


def linear_to_conv(linear, patch_size, in_channels):
    conv = nn.Conv2d(in_channels, linear.out_features, kernel_size=patch_size, stride=patch_size)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.reshape(conv.weight.shape))
        conv.bias.copy_(linear.bias)
    return conv

# %% trap="patch_embedding" name="bias not copied"
# Your convolution equals one that has linear's weight and a bias of its own: the bias was not
# copied.
class PatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images):
        return self.proj(images).flatten(2).mT


def linear_to_conv(linear, patch_size, in_channels):
    conv = nn.Conv2d(in_channels, linear.out_features, kernel_size=patch_size, stride=patch_size)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.reshape(conv.weight.shape))
    return conv

# %% alternative="patch_embedding" name="patchify and matrix product"
class PatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, dim, patch_size, patch_size)

    def forward(self, images):
        kernels = self.proj.weight.flatten(1)
        return F.linear(patchify(images, self.patch_size), kernels, self.proj.bias)


def linear_to_conv(linear, patch_size, in_channels):
    conv = nn.Conv2d(in_channels, linear.out_features, patch_size, patch_size)
    kernel = einops.rearrange(linear.weight, "d (c p q) -> d c p q", c=in_channels, p=patch_size)
    conv.load_state_dict({"weight": kernel, "bias": linear.bias})
    return conv

# %% alternative="patch_embedding" name="one token at a time"
class PatchEmbedding(nn.Module):
    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride=patch_size)

    def forward(self, images):
        p = self.proj.kernel_size[0]
        tokens = []
        for y in range(0, images.shape[2], p):
            for x in range(0, images.shape[3], p):
                patch = images[:, :, y:y + p, x:x + p]
                tokens.append(torch.einsum("bcpq,dcpq->bd", patch, self.proj.weight))
        return torch.stack(tokens, 1) + self.proj.bias


def linear_to_conv(linear, patch_size, in_channels):
    conv = nn.Conv2d(in_channels, linear.out_features, patch_size, stride=patch_size)
    for i in range(linear.in_features):
        c, rest = divmod(i, patch_size**2)
        conv.weight.data[:, c, rest // patch_size, rest % patch_size] = linear.weight.data[:, i]
    conv.bias.data = linear.bias.data.clone()
    return conv

# %% [markdown]
# Now the proof, on the lecture's image and sizes. Both ways should give the same 9 × 768 numbers
# up to rounding (around 10⁻⁶), for the same number of multiply-accumulates (MACs).

# %%
linear = nn.Linear(3 * 32 * 32, 768)
conv = linear_to_conv(linear, 32, 3)
embed = PatchEmbedding(32, 3, 768)
embed.proj = conv

with torch.no_grad():
    one_way = linear(patchify(picture[None], 32))  # (1, 9, 768)
    other_way = embed(picture[None])  # (1, 9, 768)
largest = (one_way - other_way).abs().max().item()
measured["embedding difference"] = largest
measured["tokens"] = f"{one_way.shape[1]} tokens of {patchify(picture[None], 32).shape[-1]:,}"
macs = (count_macs(lambda images: linear(patchify(images, 32)), picture[None]),
        count_macs(embed, picture[None]))
charts.Table(["patch embedding", "numbers out", "MACs", "parameters"], [
    ["linear layer after patchify", f"{one_way.numel():,}", f"{macs[0]:,}",
     f"{count_parameters(linear):,}"],
    ["convolution, kernel = stride = 32", f"{other_way.numel():,}", f"{macs[1]:,}",
     f"{count_parameters(embed):,}"],
], title=f"Same weights, same tokens: the largest difference is {largest:.1e}")

# %% [markdown]
# ## 3 · Say where each patch was
#
# Attention, which comes next, treats its tokens as a *set*: shuffle them and it gives the same
# answers, shuffled. (You will measure this in section 5.) To such a model the two pictures below
# are one and the same input.

# %%
order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
jigsaw = unpatchify(patchify(picture[None], 12)[:, order], 12, 96, 96)[0]
figures.show_images(torch.stack([picture, jigsaw]), ["in order", "tokens shuffled"], inches=3,
                    title="Without positions, these are the same",
                    alt="The drawing of three things, and its 64 patches in random order, a jigsaw.")

# %% [markdown]
# So each token gets a vector added that says where it was. ViT *learns* these vectors: a parameter
# of shape `(1, 1 + N, D)`, one row for each token and one for the class token. There is also a
# recipe without learning, which you will meet again in lab 07: **sines and cosines of the row and
# the column.**
#
# Think of clock hands. A hand's angle $\theta$ is written as $(\sin\theta, \cos\theta)$; a fast
# hand tells neighbours apart, a slow hand tells the top of the image from the bottom, and several
# hands of different speed together tell every position from every other. Use $D/4$ speeds
#
# $$ \omega_i = 10000^{-i/(D/4)}, \qquad i = 0, 1, \dots, D/4 - 1 $$
#
# and give the patch at row $r$, column $c$ of the grid the vector of length $D$
#
# $$ \big[\; \sin(r\,\omega_0), \sin(r\,\omega_1), \dots \;\big|\; \cos(r\,\omega_0), \dots \;\big|\;
#    \sin(c\,\omega_0), \dots \;\big|\; \cos(c\,\omega_0), \dots \;\big] $$
#
# First half row, second half column; in each half first all sines, then all cosines.
#
# **Another resolution.** A ViT trained on a $14 \times 14$ grid has 196 learned positions. Give it
# a larger image, and there are more tokens than positions. The remedy of the paper: the learned
# positions form an image themselves, 14 × 14 pixels with $D$ channels, so **resize that image**
# (here by bicubic interpolation). The class token's row has no place in the grid and stays as it
# is.
#
# ### Exercise 3 · `position_embedding` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | `sincos_position_embedding`, about eight lines; `interpolate_position_embedding`, about six |
# | **Shapes** | to `(height * width, dim)`; from `(1, 1 + old tokens, dim)` to `(1, 1 + new tokens, dim)` |
# | **Allowed** | everything; for resizing `F.interpolate` with `mode="bicubic"`, `align_corners=False`, nothing else set |
# | **Read** | ViT paper, end of section 3.1 and section 3.2; appendix D.4 compares kinds of positions |
#
# <details><summary>Hint 1: where do row and column of each token come from?</summary>
#
# Tokens run row by row, so a grid of 2 × 3 has rows 0, 0, 0, 1, 1, 1 and columns 0, 1, 2, 0, 1, 2.
# Build these two lists of length height · width, then write one helper that turns a list of
# coordinates into `(tokens, dim / 2)` sines and cosines, and use it twice.
# </details>
# <details><summary>Hint 2: "RuntimeError: ... must match the size of tensor" / which functions do I need?</summary>
#
# Angles are an outer product: every coordinate times every speed, `(tokens, 1) * (dim / 4,)` by
# broadcasting, or `torch.outer`. For rows and columns: `torch.meshgrid(..., indexing="ij")`, or
# `repeat_interleave` for one and `repeat` for the other. Integers have no sine precision to lose,
# but `torch.arange(n) / k` is what you want for the exponents, not `//`.
# </details>
# <details><summary>Hint 3: interpolation gives the right shape but the check says the grid is scrambled</summary>
#
# `F.interpolate` wants `(batch, channels, rows, columns)`; your positions are `(1, tokens, dim)`.
# Bring the channel axis to the front *first* and split the tokens into rows and columns *then*.
# Afterwards all the way back: merge rows and columns, channel axis to the end, class row in front.
# </details>

# %% exercise="position_embedding"
def sincos_position_embedding(height, width, dim):
    """Fixed 2-D sine-cosine positions of a grid of height x width patches, row by row.

    dim: a multiple of 4. Returns (height * width, dim): [sin row | cos row | sin column | cos
    column], each dim / 4 wide, speeds 10000 ** (-i / (dim / 4)).
    """
    # Step 1: the dim / 4 speeds
    # Step 2: row and column of every patch
    # Step 3: angles = coordinate times speed; their sines and cosines, side by side
    ### BEGIN SOLUTION
    quarter = dim // 4
    speeds = 10000.0 ** (-torch.arange(quarter) / quarter)  # (dim / 4,)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    parts = []
    for coordinate in (rows, columns):
        angles = coordinate.reshape(-1, 1) * speeds  # (tokens, dim / 4)
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)  # (tokens, dim)
    ### END SOLUTION


def interpolate_position_embedding(pos_embed, old_grid, new_grid):
    """Resize learned positions to another grid of patches; the class token's row stays.

    pos_embed: (1, 1 + rows * columns, dim), class token first; grids: (rows, columns).
    Returns (1, 1 + new rows * new columns, dim), by bicubic interpolation.
    """
    # Step 1: take the class token's row away
    # Step 2: make an image of dim channels out of the rest and resize it
    # Step 3: make a sequence of it again and put the class token's row back
    ### BEGIN SOLUTION
    class_row, grid_rows = pos_embed[:, :1], pos_embed[:, 1:]
    x = grid_rows.transpose(1, 2).unflatten(2, old_grid)  # (1, dim, rows, columns)
    x = F.interpolate(x, size=new_grid, mode="bicubic", align_corners=False)
    x = x.flatten(2).transpose(1, 2)  # (1, new tokens, dim)
    return torch.cat([class_row, x], dim=1)  # (1, 1 + new tokens, dim)
    ### END SOLUTION

# %% check="position_embedding"
with Check("position_embedding", read="section 3") as check:
    check.signature(sincos_position_embedding, "height", "width", "dim")
    check.signature(interpolate_position_embedding, "pos_embed", "old_grid", "new_grid")

    # One row of two patches, dim 8: two speeds, 1 and 10000 ** (-1 / 2) = 1 / 100
    got = sincos_position_embedding(1, 2, 8)
    check.shape(got, (2, 8), "sincos_position_embedding(1, 2, 8)")
    row = [0, 0, 1, 1]  # sin 0, sin 0, cos 0, cos 0
    column = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    check.values(got, [row + row, row + column], "sincos_position_embedding(1, 2, 8)", draw=True,
                 otherwise={
        "the first half encodes the column and the second the row: exchange them":
            [row + row, column + row],
        "sines and cosines alternate; the layout wanted is all sines, then all cosines":
            [[0, 1, 0, 1] * 2, [0, 1, 0, 1] + column[::2] + column[1::2]],
        "cosines come before sines": [[1, 1, 0, 0] * 2, [1, 1, 0, 0] + column[2:] + column[:2]],
        "the exponent is divided by dim / 2 instead of dim / 4":
            [row + row, row + [math.sin(1), math.sin(0.1), math.cos(1), math.cos(0.1)]],
    })

    # One bright position in a row of four, resized to eight; the class token's row holds 9
    bright = torch.tensor([9.0, 0, 1, 0, 0])[None, :, None]
    got = interpolate_position_embedding(bright, (1, 4), (1, 8))
    check.shape(got, (1, 9, 1), "positions of a 1 x 4 grid, resized to 1 x 8")
    check.values(got[0, :, 0], [9, -0.10546875, 0.26171875, 0.87890625, 0.87890625, 0.26171875,
                                -0.10546875, -0.03515625, 0], "one bright position, resized",
                 otherwise={
        "this is bilinear interpolation": [9, 0, 0.25, 0.75, 0.75, 0.25, 0, 0, 0],
        "this is nearest-neighbour interpolation": [9, 0, 0, 1, 1, 0, 0, 0, 0],
    }, likely="align_corners=True, antialias=True or another mode")
    check.cases("01", globals())

# %% judge="position_embedding" points=4
parts = {"sine-cosine table": 2, "interpolation": 2}


def ask(rng):
    for title, height, width, dim in (("a wide grid", 2, 5, 8), ("one row", 1, 7, 4),
                                      ("a square grid", 6, 6, 32), ("a tall grid", 9, 3, 16)):
        yield Case(title, part="sine-cosine table", height=height, width=width, dim=dim)
    for title, old, new in (("made taller", (3, 5), (7, 5)), ("made smaller", (4, 6), (2, 3)),
                            ("a square grid made oblong", (4, 4), (3, 9)),
                            ("kept as it is", (5, 2), (5, 2)),
                            ("one row made longer", (1, 4), (1, 7))):
        yield Case(title, part="interpolation", old_grid=old, new_grid=new,
                   pos_embed=randn(rng, 1, 1 + old[0] * old[1], 3 + new[1]))


def drive(lab, height=0, width=0, dim=0, pos_embed=None, old_grid=None, new_grid=None):
    if pos_embed is None:
        return {"sine-cosine positions": lab.sincos_position_embedding(height, width, dim)}
    pos_embed.requires_grad_()
    resized = lab.interpolate_position_embedding(pos_embed, old_grid, new_grid)
    steps = torch.linspace(-1, 1, resized.numel()).view_as(resized)
    (gradient,) = torch.autograd.grad((resized * steps).sum(), pos_embed)
    return {"interpolated positions": resized, "gradient": gradient}

# %% trap="position_embedding" name="row and column exchanged"
# Your sine-cosine positions equal what you get when the first half encodes the column and the
# second half the row. Row first.
def sincos_position_embedding(height, width, dim):
    quarter = dim // 4
    speeds = 10000.0 ** (-torch.arange(quarter) / quarter)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    parts = []
    for coordinate in (columns, rows):
        angles = coordinate.reshape(-1, 1) * speeds
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)


def interpolate_position_embedding(pos_embed, old_grid, new_grid):
    x = pos_embed[:, 1:].transpose(1, 2).unflatten(2, old_grid)
    x = F.interpolate(x, size=new_grid, mode="bicubic", align_corners=False)
    return torch.cat([pos_embed[:, :1], x.flatten(2).transpose(1, 2)], dim=1)

# %% trap="position_embedding" name="grid scrambled"
# Your interpolated positions equal what you get when tokens are reshaped straight to (dim, rows,
# columns). The channel axis must be moved to the front before the tokens are split into a grid.
def sincos_position_embedding(height, width, dim):
    quarter = dim // 4
    speeds = 10000.0 ** (-torch.arange(quarter) / quarter)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    parts = []
    for coordinate in (rows, columns):
        angles = coordinate.reshape(-1, 1) * speeds
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)


def interpolate_position_embedding(pos_embed, old_grid, new_grid):
    dim = pos_embed.shape[2]
    x = pos_embed[:, 1:].reshape(1, dim, *old_grid)
    x = F.interpolate(x, size=new_grid, mode="bicubic", align_corners=False)
    return torch.cat([pos_embed[:, :1], x.reshape(1, -1, dim)], dim=1)

# %% alternative="position_embedding" name="loops"
def sincos_position_embedding(height, width, dim):
    table = []
    for row in range(height):
        for column in range(width):
            vector = []
            for coordinate in (row, column):
                angles = [coordinate / 10000 ** (i / (dim / 4)) for i in range(dim // 4)]
                vector += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            table.append(vector)
    return torch.tensor(table)


def interpolate_position_embedding(pos_embed, old_grid, new_grid):
    (rows, columns), (new_rows, new_columns) = old_grid, new_grid
    channels = []
    for channel in range(pos_embed.shape[2]):
        image = pos_embed[0, 1:, channel].reshape(1, 1, rows, columns)
        image = F.interpolate(image, (new_rows, new_columns), mode="bicubic")
        channels.append(torch.cat([pos_embed[0, :1, channel], image.reshape(-1)]))
    return torch.stack(channels, dim=1)[None]

# %% alternative="position_embedding" name="complex numbers and matrices"
def sincos_position_embedding(height, width, dim):
    quarter = dim // 4
    speeds = torch.logspace(0, -4, quarter + 1)[:-1]
    hands = torch.polar(torch.ones(1), torch.outer(torch.arange(max(height, width)), speeds))
    waves = torch.cat([hands.imag, hands.real], dim=1)
    rows = einops.repeat(waves[:height], "h d -> (h w) d", w=width)
    columns = einops.repeat(waves[:width], "w d -> (h w) d", h=height)
    return torch.cat([rows, columns], dim=1)


def interpolate_position_embedding(pos_embed, old_grid, new_grid):
    def along(old, new):
        basis = torch.eye(old, dtype=pos_embed.dtype).reshape(1, old, old, 1)
        return F.interpolate(basis, (new, 1), mode="bicubic").reshape(old, new)

    grid = einops.rearrange(pos_embed[:, 1:], "b (h w) d -> b h w d", h=old_grid[0])
    down, across = along(old_grid[0], new_grid[0]), along(old_grid[1], new_grid[1])
    grid = torch.einsum("bhwd,hy,wx->byxd", grid, down, across)
    return torch.cat([pos_embed[:, :1], grid.flatten(1, 2)], dim=1)

# %%
positions = sincos_position_embedding(8, 8, 64)  # (64, 64)
with_class = torch.cat([torch.zeros(1, 1, 64), positions[None]], dim=1)  # (1, 65, 64)
finer = interpolate_position_embedding(with_class, (8, 8), (12, 12))  # (1, 145, 64)
maps.show_maps([positions, maps.similarity_mosaic(positions, (8, 8)),
                positions[:, 2].reshape(8, 8), finer[0, 1:, 2].reshape(12, 12)],
               ["the table: a row a token", "similarity, a tile a position", "channel 2, 8 × 8",
                "channel 2, resized to 12 × 12"],
               title="Near positions get similar vectors; the table can be resized like an image",
               shared=False, alt="First the table; then the similarities, where a tile is bright "
                                 "around its own place; then one channel, alike in both sizes.")

# %% [markdown]
# **What it shows.** In the second map, the tile at row $r$, column $c$ shows how similar (cosine)
# that position's vector is to all 64 others: bright at its own place, fading with distance, with a
# bright cross because half of the vector only knows the row and half only the column. Section 9
# shows what a trained ViT *learned* in this place, starting from noise. Will it be the same?

# %% [markdown]
# ## 4 · Let the tokens listen to each other: attention
#
# So far each token knows its own patch. Attention lets it collect from the others what it needs.
# Every token issues a **query** $\mathbf{q}$ (what am I looking for?) and offers a **key**
# $\mathbf{k}$ (what have I got?) and a **value** $\mathbf{v}$ (what do I hand over?). The dot
# product $\mathbf{q}_i \cdot \mathbf{k}_j$ scores how well the offer of token $j$ fits the request
# of token $i$; a softmax over the offers turns the scores of one query into shares that sum to
# one; and the output is the average of the values with these shares:
#
# $$ A = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{d}}\right), \qquad
#    \operatorname{attention}(Q, K, V) = A V $$
#
# **Why divide by $\sqrt d$?** If the entries of $\mathbf{q}$ and $\mathbf{k}$ are independent with
# variance 1, their dot product is a sum of $d$ terms and has variance $d$. Without the division,
# longer vectors mean larger scores, the softmax puts everything on one key, and where one share is
# 1 and all others are 0 hardly any gradient flows. Before you run the next cell, guess: out of 64
# keys, what share does the best one get on average for $d = 1024$?

# %%
sizes = (4, 16, 64, 256, 1024)
best = {"without 1/√d": [], "with 1/√d": []}
for d in sizes:
    key_scores = (torch.randn(200, 1, d) * torch.randn(200, 64, d)).sum(-1)  # (queries, keys)
    best["without 1/√d"].append(key_scores.softmax(-1).amax(-1).mean().item())
    best["with 1/√d"].append((key_scores / d**0.5).softmax(-1).amax(-1).mean().item())
charts.lines(sizes, best, title="Without 1/√d, long vectors make attention look at one key only",
             xlabel="length d of query and key", ylabel="share of the best of 64 keys", logx=True)

# %% [markdown]
# ### Exercise 4 · `attention` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about four lines that returns the output *and* the weights |
# | **Shapes** | `q`: `(batch, heads, queries, d)`; `k`, `v`: `(batch, heads, keys, d)`; out: like `q`, and `(batch, heads, queries, keys)` |
# | **Allowed** | everything in PyTorch; scores in the hundreds must not give NaN |
# | **Read** | ViT paper, appendix A, equations 5 to 7 |
#
# <details><summary>Hint 1: which axis is which?</summary>
#
# Write the weights as a matrix: a row for each query, a column for each key. A row says how one
# token shares out its attention, so each *row* sums to one. Queries and keys may differ in
# number, which tells you at once when axes got mixed up.
# </details>
# <details><summary>Hint 2: "RuntimeError: Expected size for first two dimensions of batch2 tensor to be ..."</summary>
#
# `@` multiplies the last two axes and carries along all axes before. For scores of every query
# with every key, the keys have to be transposed in their *last two* axes: `.transpose(-2, -1)`;
# `.T` reverses all four. `d` is the size of the last axis of `q`.
# </details>
# <details><summary>Hint 3: my weights hold NaN, or do not sum to one</summary>
#
# `exp` of 100 overflows in float32; `torch.softmax` subtracts each row's maximum first, which
# changes nothing in the result. It needs to be told along which axis the shares sum to one:
# `scores: (batch, heads, queries, keys)`, so which one are the keys? Skeleton: scores → divide →
# softmax → multiply by the values.
# </details>

# %% exercise="attention"
def attention(q, k, v):
    """Scaled dot-product attention.

    q: (batch, heads, queries, d); k, v: (batch, heads, keys, d).
    Returns output (batch, heads, queries, d) and weights (batch, heads, queries, keys).
    """
    # Step 1: the score of every query with every key, scaled
    # Step 2: shares: for each query, non-negative and summing to one over the keys
    # Step 3: average the values with these shares
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (batch, heads, queries, keys)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights
    ### END SOLUTION

# %% check="attention"
with Check("attention", read="section 4, the formula for A") as check:
    check.signature(attention, "q", "k", "v")
    # By hand: d = 4, so √d = 2. The scores are 2 ln 3, 0 and 0, 2 ln 7; halved: ln 3, 0 and
    # 0, ln 7. exp gives 3, 1 and 1, 7, so the shares are 3/4, 1/4 and 1/8, 7/8.
    q = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])[None, None]
    k = torch.tensor([[2 * math.log(3), 0, 0, 0], [0, 2 * math.log(7), 0, 0]])[None, None]
    v = torch.tensor([[8.0, 0, 0, 1], [0, 8, 0, 1]])[None, None]
    result = attention(*(x.expand(3, 2, 2, 4).clone() for x in (q, k, v)))  # in each of 2 heads
    check.that(isinstance(result, tuple | list) and len(result) == 2,
               "attention does not return the pair (output, weights)")
    output, weights = result
    check.shape(weights, (3, 2, 2, 2), "the weights of 2 queries and 2 keys")
    check.values(weights[0, 0], [[3 / 4, 1 / 4], [1 / 8, 7 / 8]], "the weights of a 2 x 2 example",
                 draw=True, otherwise={
        "the 1/√d is missing": [[9 / 10, 1 / 10], [1 / 50, 49 / 50]],
        "the softmax runs over the query axis: columns sum to one, rows should":
            [[3 / 4, 1 / 8], [1 / 4, 7 / 8]],
        "the softmax runs over the wrong axis, and 1/√d is missing":
            [[9 / 10, 1 / 50], [1 / 10, 49 / 50]],
        "the scores are multiplied by √d instead of divided":
            [[81 / 82, 1 / 82], [1 / 2402, 2401 / 2402]],
        "these are the scores; the softmax is missing": [[math.log(3), 0], [0, math.log(7)]],
    })
    check.shape(output, (3, 2, 2, 4), "the output for 2 queries")
    check.values(output[0, 0], [[6, 2, 0, 1], [1, 7, 0, 1]], "the output of the 2 x 2 example")
    check.cases("01", globals())

# %% judge="attention" points=3
def ask(rng):
    for title, batch, heads, queries, keys, d in (
        ("several heads, as many queries as keys", 2, 3, 4, 4, 16),
        ("5 queries, 7 keys", 2, 2, 5, 7, 8),
        ("batch of one, one head, one query", 1, 1, 1, 6, 4),
        ("odd sizes", 3, 1, 9, 2, 3),
    ):
        yield Case(title, q=randn(rng, batch, heads, queries, d),
                   k=randn(rng, batch, heads, keys, d), v=randn(rng, batch, heads, keys, d))
    # Eighths and d = 16, so that float32 holds every score without rounding. The first channel
    # puts the scores of one query near 768 and of the next near -768, close to each other. A
    # library's backward pass rounds such scores, so no gradients are asked for.
    q, k = ((8 * randn(rng, 1, 2, n, 16)).round() / 8 for n in (6, 5))
    q[..., 0] = 48 - 96 * (torch.arange(6) % 2)
    k[..., 0] = 64
    yield Case("scores in the hundreds, of both signs", q=q, k=k, v=randn(rng, 1, 2, 5, 16),
               gradients=False)


def drive(lab, q, k, v, gradients=True):
    for tensor in (q, k, v):
        tensor.requires_grad_()
    result = lab.attention(q, k, v)
    if not isinstance(result, tuple | list):
        raise TypeError(f"a {type(result).__name__} is not the pair of output and weights")
    output, weights = result
    found = {"output": output, "weights": weights}
    for name, value in tuple(found.items()) * gradients:
        steps = torch.linspace(-1, 1, value.numel()).view_as(value)
        back = [None, None, None]
        if value.requires_grad:
            back = torch.autograd.grad((value * steps).sum(), (q, k, v), retain_graph=True,
                                       allow_unused=True)
        found |= {f"gradient of {n} through the {name}": g
                  for n, g in zip("qkv" if name == "output" else "qk", back)}
    return found

# %% trap="attention" name="no scaling"
# Your weights equal what you get without the 1/√d in front of the scores.
def attention(q, k, v):
    weights = (q @ k.transpose(-2, -1)).softmax(dim=-1)
    return weights @ v, weights

# %% trap="attention" name="softmax over queries"
# Your weights equal what you get when the softmax runs over the query axis. Each query shares out
# its attention over the keys, the last axis of the scores.
def attention(q, k, v):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-2)
    return weights @ v, weights

# %% trap="attention" name="divided by d"
# Your weights equal what you get when the scores are divided by d, and not by its root.
def attention(q, k, v):
    weights = (q @ k.transpose(-2, -1) / q.shape[-1]).softmax(dim=-1)
    return weights @ v, weights

# %% alternative="attention" name="einsum"
def attention(q, k, v):
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) * q.shape[-1] ** -0.5
    shares = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    shares = shares / shares.sum(dim=-1, keepdim=True)
    return torch.einsum("bhnm,bhmd->bhnd", shares, v), shares

# %% alternative="attention" name="library call"
def attention(q, k, v):
    one_hot = torch.eye(k.shape[-2], dtype=k.dtype).expand(*k.shape[:-1], -1)
    return F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, one_hot)

# %% alternative="attention" name="one query at a time"
def attention(q, k, v):
    outputs, rows = [], []
    for i in range(q.shape[2]):
        scores = (k * q[:, :, i:i + 1]).sum(-1) / q.shape[-1] ** 0.5
        row = F.softmax(scores, -1)
        rows.append(row)
        outputs.append((row.unsqueeze(-1) * v).sum(2))
    return torch.stack(outputs, 2), torch.stack(rows, 2)

# %%
# Attention on raw pixels, nothing learned: a patch's query and key are its own colours.
tokens = patchify(picture[None], 8)  # (1, 144, 192)
tokens = F.normalize(tokens - tokens.mean(dim=1, keepdim=True), dim=-1)  # all of length 1
sharp = 8 * tokens[:, None]  # longer queries and keys make a sharper softmax
_, weights = attention(sharp, sharp, tokens[:, None])  # (1, 1, 144, 144)
chosen = (28, 67, 100, 130)
maps.show_attention(picture, weights[0, 0, list(chosen)], chosen, 8,
                    ["turtle", "pineapple", "frog", "background"],
                    title="Even untrained, the framed patch attends to patches that look like it",
                    alt="The drawing of a turtle, a pineapple and a frog.")

# %% [markdown]
# **What it shows.** With the pixels themselves as queries and keys, "fits my request" means "looks
# like me", and attention groups patches of the same colour, however far apart: the turtle's shell
# attends to the leaves of the pineapple, because both are dark green. It took one step: in a
# convolutional network, information crosses an image only a kernel's width per layer. What
# training adds is the choice of *what to look for*: queries, keys and values become learned
# functions of the token.

# %% [markdown]
# ## 5 · Several questions at once: multi-head attention
#
# One softmax shares out one sum of attention, so it asks one question. A patch of the frog's eye
# may want to know several things: where is the other eye, what is the background like, how far
# down does the green go? **Multi-head attention** splits the $D$ channels into $h$ heads of $d = D
# / h$ channels, attends in each head on its own, and joins the results:
#
# $$ [Q, K, V] = X\, W_{qkv}, \qquad \text{head}_i = \operatorname{attention}(Q_i, K_i, V_i), \qquad
#    \text{out} = [\text{head}_1, \dots, \text{head}_h]\, W_{proj} $$
#
# It costs no more than a single head of full width, for each head works on fewer channels. One
# linear layer `qkv` makes queries, keys and values together. Its $3D$ output channels are laid out
# as **(3, heads, head_dim)**: first all queries, head by head, then all keys, then all values.
# Libraries use the same layout, so their weights will fit.

# %%
diagrams.show_heads(tokens=6, dim=12, heads=3, title="Heads divide the channels, not the tokens")

# %% [markdown]
# Both cuts of a (tokens, dim) matrix give three pieces of the same size, and no error message will
# tell you that you took the wrong one. A head on the right cannot even see the whole image.
#
# ### Exercise 5 · `multi_head_attention` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `MultiHeadAttention`, about ten lines |
# | **Shapes** | `(batch, tokens, dim)` to the same; `heads` divides `dim` |
# | **Names** | `self.qkv`: Linear from dim to 3 · dim, laid out (3, heads, head_dim); `self.proj`: Linear from dim to dim; both with bias |
# | **Allowed** | your `attention`, or `F.scaled_dot_product_attention`; not `nn.MultiheadAttention` |
# | **Read** | ViT paper, appendix A, equation 8 |
#
# <details><summary>Hint 1: from (batch, tokens, 3 · dim) to what?</summary>
#
# `attention` wants three tensors `(batch, heads, tokens, head_dim)`. The last axis of `qkv(x)`
# holds three axes in one; split it first, then reorder. Draw the five axes with their sizes before
# you write a line.
# </details>
# <details><summary>Hint 2: the check says that heads are split without a transpose</summary>
#
# `reshape(batch, heads, tokens, head_dim)` on `(batch, tokens, dim)` is the right picture in the
# figure above. Split the *last* axis only, so that `heads` and `head_dim` appear at the end, and
# then move `heads` in front of `tokens` (`permute` or `transpose`). On the way back, move first,
# merge then.
# </details>
# <details><summary>Hint 3: "RuntimeError: mat1 and mat2 shapes cannot be multiplied"</summary>
#
# Before `proj`, the tensor must be `(batch, tokens, dim)` again: heads back behind the tokens,
# then heads and head_dim merged. Skeleton: `qkv` → split into five axes → reorder so that the 3
# comes first → unpack `q, k, v` → attention → reorder → merge → `proj`. Remember that your
# `attention` returns two things.
# </details>

# %% exercise="multi_head_attention"
class MultiHeadAttention(nn.Module):
    """Multi-head self-attention: x (batch, tokens, dim) -> (batch, tokens, dim).

    Parameters: qkv.weight (3 * dim, dim), qkv.bias; proj.weight (dim, dim), proj.bias.
    The output channels of qkv are laid out (3, heads, head_dim): queries, keys, values.
    """

    def __init__(self, dim, heads):
        super().__init__()
        # Step 1: keep the number of heads; make the two linear layers
        ### BEGIN SOLUTION
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        ### END SOLUTION

    def forward(self, x):
        # Step 2: queries, keys and values, each (batch, heads, tokens, head_dim)
        # Step 3: attention in every head
        # Step 4: join the heads to (batch, tokens, dim), then the output projection
        ### BEGIN SOLUTION
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, head_dim)
        output, _ = attention(q, k, v)  # (batch, heads, tokens, head_dim)
        output = output.transpose(1, 2).flatten(2)  # (batch, tokens, dim)
        return self.proj(output)
        ### END SOLUTION

# %% check="multi_head_attention"
with Check("multi_head_attention", read="section 5, the layout (3, heads, head_dim)") as check:
    check.signature(MultiHeadAttention, "dim", "heads")
    module = MultiHeadAttention(12, 3)
    check.parameters(module, {"qkv.weight": (36, 12), "qkv.bias": (36,),
                              "proj.weight": (12, 12), "proj.bias": (12,)})
    check.shape(module(torch.ones(2, 5, 12)), (2, 5, 12), "MultiHeadAttention(12, 3) of (2, 5, 12)")
    check.cases("01", globals())

# %% judge="multi_head_attention" points=4
def ask(rng):
    for title, batch, tokens, dim, heads in (
        ("3 heads, 7 tokens", 2, 7, 12, 3),
        ("one head", 1, 4, 6, 1),
        ("heads of one channel", 3, 5, 4, 4),
        ("as many tokens as heads", 2, 4, 16, 4),
        ("one token", 1, 1, 8, 2),
    ):
        yield Case(title, x=randn(rng, batch, tokens, dim), heads=heads)


def stand_in_attention(q, k, v):
    one_hot = torch.eye(k.shape[-2], dtype=k.dtype).expand(*k.shape[:-1], -1)
    return F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, one_hot)


def called(module, x, training):
    """The output, and whether the call leaves the mode as it was."""
    output = module.train(training)(x)
    return output, all(part.training == training for part in module.modules())


def drive(lab, x, heads):
    with lab.replacing(attention=stand_in_attention):
        module = lab.MultiHeadAttention(x.shape[-1], heads)
        fill_parameters(module, seed=2)
        output, stays = called(module, x.requires_grad_(), training=False)
        in_training, stays_in_training = called(module, x, training=True)
        steps = torch.linspace(-1, 1, output.numel()).view_as(output)
        (in_training * steps).sum().backward()
    return {
        "parameters": {name: list(p.shape) for name, p in module.named_parameters()},
        "parameters that learn": sorted(n for n, p in module.named_parameters()
                                        if p.requires_grad),
        "output": output, "output in training mode": in_training,
        "gradients": {"x": x.grad, **{name: p.grad for name, p in module.named_parameters()}},
        "a call leaves training and evaluation mode alone": stays and stays_in_training,
    }

# %% trap="multi_head_attention" name="reshape without transpose"
# Your output equals what you get when heads are split by reshape without a transpose: a head then
# sees every channel of some tokens instead of some channels of every token.
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (t.reshape(batch, self.heads, tokens, dim // self.heads) for t in (q, k, v))
        output, _ = attention(q, k, v)
        return self.proj(output.reshape(batch, tokens, dim))

# %% trap="multi_head_attention" name="joined without a transpose"
# Your output equals what you get when heads are joined by reshape without moving them behind the
# tokens first.
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        output, _ = attention(q, k, v)
        return self.proj(output.reshape(batch, tokens, dim))

# %% trap="multi_head_attention" name="one head"
# Your output equals what you get with a single head, whatever heads says.
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x)[:, None].chunk(3, dim=-1)
        output, _ = attention(q, k, v)
        return self.proj(output[:, 0])

# %% trap="multi_head_attention" name="heads before the three"
# Your output equals what you get when the channels of qkv are cut as (heads, 3, head_dim). The
# layout is (3, heads, head_dim): first all queries, head by head.
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, self.heads, 3, dim // self.heads)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)
        output, _ = attention(q, k, v)
        return self.proj(output.transpose(1, 2).flatten(2))

# %% trap="multi_head_attention" name="no projection"
# Your output equals the joined heads: the projection proj is not applied.
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        output, _ = attention(q, k, v)
        return output.transpose(1, 2).flatten(2)

# %% alternative="multi_head_attention" name="einops and the library"
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.n = heads
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.n)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% alternative="multi_head_attention" name="one head at a time"
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.head_dim = dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=2)
        joined = []
        for start in range(0, x.shape[2], self.head_dim):
            part = slice(start, start + self.head_dim)
            out, _ = attention(q[:, None, :, part], k[:, None, :, part], v[:, None, :, part])
            joined.append(out[:, 0])
        return self.proj(torch.cat(joined, dim=2))

# %%
# What section 3 claimed: attention treats its tokens as a set.
layer = MultiHeadAttention(768, 12)
embed = PatchEmbedding(32, 3, 768)
with torch.no_grad():
    seen = embed(picture[None])  # (1, 9, 768)
    mixed = torch.randperm(seen.shape[1], generator=torch.Generator().manual_seed(1))
    gap = (layer(seen[:, mixed]) - layer(seen)[:, mixed]).abs().max().item()
    table = sincos_position_embedding(3, 3, 768).float()
    with_position, moved = seen + table, seen[:, mixed] + table
    gap_positions = (layer(moved) - layer(with_position)[:, mixed]).abs().max().item()
charts.Table(["tokens", "largest change of the output when the patches are shuffled"], [
    ["patch embeddings alone", f"{gap:.1e} (rounding)"],
    ["patch embeddings + positions", f"{gap_positions:.1e}"],
], title="Shuffle the image: attention alone does not notice, with positions it does")

# %% [markdown]
# ## 6 · Make it deep: the encoder block
#
# Attention moves information *between* tokens. A small network of two layers, the **MLP**, then
# works on each token *by itself*. Attention and MLP make one encoder block, and a transformer is a
# stack of these:
#
# $$ \mathbf{z}' = \mathbf{z} + \operatorname{MSA}(\operatorname{LN}(\mathbf{z})), \qquad
#    \mathbf{z}'' = \mathbf{z}' + \operatorname{MLP}(\operatorname{LN}(\mathbf{z}')) $$
#
# Two details decide whether a deep stack can be trained.
#
# * **The shortcut** ($\mathbf{z} + \dots$, the *residual connection*): a block adds a correction
#   to its input instead of replacing it. The figure below shows what happens without: attention
#   averages, and averages of averages are all alike.
# * **The place of the norm.** Layer normalisation (LN) brings each token to mean 0 and variance 1.
#   Here it stands *inside* the branch, before attention and before the MLP (*pre-norm*), so the
#   shortcut runs from the first block to the last without being touched. The original transformer
#   normalised after the addition (*post-norm*).

# %% experiment="similarity by depth"
def similarity_by_depth(shortcut, depth=12, dim=64, tokens=50):
    """Mean cosine similarity of different tokens after each of `depth` random blocks."""
    torch.manual_seed(SEED)
    x, alike = torch.randn(1, tokens, dim), []
    with torch.no_grad():
        for _ in range(depth):
            mix = nn.MultiheadAttention(dim, 4, batch_first=True)
            think = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
            for branch in (lambda y: mix(y, y, y)[0], think):
                x = shortcut * x + branch(F.layer_norm(x, (dim,)))
            unit = F.normalize(x[0], dim=-1)
            alike.append(((unit @ unit.T).sum().item() - tokens) / (tokens**2 - tokens))
    return alike


alike = {"without shortcut": similarity_by_depth(0), "with shortcut": similarity_by_depth(1)}
charts.lines(range(1, 13), alike,
             title="Without the shortcut, two random blocks make all tokens alike", xlabel="blocks",
             ylabel="similarity of different tokens")

# %% [markdown]
# The MLP is given: two linear layers with a GELU between, four times wider inside.

# %% tags=["setup"]
class MLP(nn.Module):
    """Two linear layers applied to each token by itself: (batch, tokens, dim) -> the same shape.

    Parameters: fc1.weight (hidden, dim), fc1.bias; fc2.weight (dim, hidden), fc2.bias.
    """

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))

# %% [markdown]
# ### Exercise 6 · `encoder_block` · 3 points · 10 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `EncoderBlock`, about six lines |
# | **Shapes** | `(batch, tokens, dim)` to the same |
# | **Names** | `norm1`, `attn` (your `MultiHeadAttention(dim, heads)`), `norm2`, `mlp` (the given `MLP` with `int(dim * mlp_ratio)` hidden) |
# | **Mind** | `nn.LayerNorm` with `eps=1e-6`, as all published ViT weights assume; PyTorch's default is 1e-5 |
# | **Read** | ViT paper, equations 2 and 3 |
#
# <details><summary>Hint 1: which norm goes where?</summary>
#
# Read equation 2 from the inside out: norm, then attention, then add what came *in*. The thing
# that is added has not been normalised. Equation 3 does the same again with the result of equation
# 2.
# </details>
# <details><summary>Hint 2: "AttributeError: cannot assign module before Module.__init__() call"</summary>
#
# `super().__init__()` has to be the first line of the constructor; it is there already, so keep
# your layers below it. The four parts are plain attributes: a module assigned to `self` is
# registered with that name.
# </details>
# <details><summary>Hint 3: the check says that faint inputs come out wrong</summary>
#
# LayerNorm divides by the root of variance + eps. For inputs around 1 nobody sees eps; for inputs
# around 0.001 the variance is 10⁻⁶, and eps = 10⁻⁵ is larger than the variance itself. Pass `eps=`
# to both norms.
# </details>

# %% exercise="encoder_block"
class EncoderBlock(nn.Module):
    """Pre-norm transformer encoder block: x (batch, tokens, dim) -> (batch, tokens, dim).

    Submodules: norm1, attn, norm2, mlp. The norms use eps=1e-6.
    """

    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        # Step 1: norm1, attn, norm2, mlp
        ### BEGIN SOLUTION
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        ### END SOLUTION

    def forward(self, x):
        # Step 2: equation 2; Step 3: equation 3
        ### BEGIN SOLUTION
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))
        ### END SOLUTION

# %% check="encoder_block"
with Check("encoder_block", read="section 6, the two equations") as check:
    check.signature(EncoderBlock, "dim", "heads", "mlp_ratio")

    # A block whose attention always says 1 and whose MLP always says 2 must add 3 to its input
    class Says(nn.Module):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def forward(self, x):
            return torch.full_like(x, self.number)

    block = EncoderBlock(8, 2)
    block.attn, block.mlp = Says(1), Says(2)
    x = torch.arange(16.0).sin().reshape(1, 2, 8)
    before = x.clone()
    got = block(x)
    check.unchanged(x, before, "x")
    check.shape(got, (1, 2, 8), "EncoderBlock(8, 2) of (1, 2, 8)")
    check.values(got, x + 3, "a block whose attention says 1 and whose MLP says 2", otherwise={
        "the shortcut around attention is missing": torch.full_like(x, 3),
        "the shortcut around the MLP is missing": torch.full_like(x, 2),
        "the norms stand after the addition: post-norm":
            F.layer_norm(F.layer_norm(x + 1, (8,)) + 2, (8,)),
        "the shortcut carries the normalised input; it should carry the input itself":
            F.layer_norm(F.layer_norm(x, (8,)) + 1, (8,)) + 2,
    })
    check.cases("01", globals())

# %% judge="encoder_block" points=3
def ask(rng):
    yield Case("two heads, odd number of tokens", x=randn(rng, 2, 7, 8), heads=2)
    yield Case("another mlp_ratio, batch of one", x=randn(rng, 1, 4, 6), heads=3, mlp_ratio=2)
    # so faint that the norms show their eps: the second one too, where attention is faint as well
    yield Case("faint inputs", x=0.001 * randn(rng, 2, 5, 12), heads=4)
    yield Case("faint inputs, faint attention", x=0.001 * randn(rng, 2, 4, 8), heads=2, faint=True)
    yield Case("inputs far from zero", x=50 + 10 * randn(rng, 2, 3, 8), heads=1, mlp_ratio=3)
    yield Case("a fractional mlp_ratio", x=randn(rng, 1, 5, 6), heads=2, mlp_ratio=2.6)


class StandInAttention(nn.Module):
    """The library's multi-head attention under the names of MultiHeadAttention."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        x = x.transpose(0, 1)
        return F.multi_head_attention_forward(
            x, x, x, x.shape[-1], self.heads, self.qkv.weight, self.qkv.bias, None, None, False, 0,
            self.proj.weight, self.proj.bias, need_weights=False)[0].transpose(0, 1)


def called(module, x, training):
    """The output, and whether the call leaves the mode as it was."""
    output = module.train(training)(x)
    return output, all(part.training == training for part in module.modules())


def drive(lab, x, heads, faint=False, **mlp_ratio):
    with lab.replacing(MultiHeadAttention=StandInAttention):
        module = lab.EncoderBlock(x.shape[-1], heads, **mlp_ratio)
        fill_parameters(module, seed=3)
        if faint:
            with torch.no_grad():
                module.attn.proj.weight.mul_(0.001)
                module.attn.proj.bias.mul_(0.001)
        output, stays = called(module, x.requires_grad_(), training=False)
        in_training, stays_in_training = called(module, x, training=True)
        steps = torch.linspace(-1, 1, output.numel()).view_as(output)
        (in_training * steps).sum().backward()
    return {
        "parameters": {name: list(p.shape) for name, p in sorted(module.named_parameters())},
        "parameters that learn": sorted(n for n, p in module.named_parameters()
                                        if p.requires_grad),
        "output": output, "output in training mode": in_training,
        "gradients": {"x": x.grad, **{name: p.grad for name, p in module.named_parameters()}},
        "a call leaves training and evaluation mode alone": stays and stays_in_training,
    }


# near-zero variance makes the norm magnify rounding
tolerance = dict(rtol=1e-3, atol=1e-4)

# %% trap="encoder_block" name="post-norm"
# Your output equals what you get when the norm comes after the addition (post-norm). It stands
# inside the branch, before attention and before the MLP.
class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))

# %% trap="encoder_block" name="dropped residual"
# Your output equals what you get when the shortcut around attention is missing: add attention's
# result to the block's input instead of replacing it.
class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x):
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))

# %% trap="encoder_block" name="default eps"
# Your output equals what you get when the norms have PyTorch's default eps, 1e-5. It is to be 1e-6.
class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))

# %% trap="encoder_block" name="shortcut of the norm"
# Your output equals what you get when the shortcuts carry the normalised input. What is added to a
# branch is what came in, before the norm.
class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x):
        x = self.norm1(x)
        x = self.norm2(x + self.attn(x))
        return x + self.mlp(x)

# %% alternative="encoder_block" name="a loop over the branches"
class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        self.mlp = MLP(dim, hidden=int(mlp_ratio * dim))
        self.attn = MultiHeadAttention(dim=dim, heads=heads)
        for name in ("norm1", "norm2"):
            self.add_module(name, nn.LayerNorm((dim,), 1e-6))

    def forward(self, x):
        for norm, branch in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            x = torch.add(branch(norm(x)), x)
        return x

# %% alternative="encoder_block" name="functional norms"
class EncoderBlock(nn.Module):
    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = MultiHeadAttention(dim, heads)
        self.mlp = MLP(dim, int(mlp_ratio * dim))

    def normalise(self, x, norm):
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred * torch.rsqrt(variance + 1e-6) * norm.weight + norm.bias

    def forward(self, x):
        attended = self.attn(self.normalise(x, self.norm1)) + x
        return self.mlp(self.normalise(attended, self.norm2)) + attended

# %% [markdown]
# ## 7 · Put it together
#
# One question is left: the encoder gives a vector for each of $N$ patches, and the task wants one
# answer for the image. ViT adds one more token that belongs to no patch. This **class token**
# starts as a learned vector, the same for every image; it attends to the patches in every block,
# and at the end the answer is read from it alone. In the paper's equations:
#
# $$ \mathbf{z}_0 = [\, \mathbf{x}_\text{class};\; \mathbf{x}_p^1 E;\; \dots;\; \mathbf{x}_p^N E \,] + E_{pos}
#    \qquad\qquad \mathbf{y} = \operatorname{head}\big(\operatorname{LN}(\mathbf{z}_L)^{0}\big) $$
#
# Mind the brackets: the class token is put in front *first*, and then positions are added to all
# $N + 1$ tokens, its own included. And because pre-norm leaves the shortcut alone, there is one
# more norm after the last block.
#
# ### Exercise 7 · `vision_transformer` · 4 points · 20 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `VisionTransformer`, about fifteen lines |
# | **Shapes** | `(batch, in_channels, image_size, image_size)` to logits `(batch, num_classes)` |
# | **Names** | `patch_embed` · `cls_token` `(1, 1, dim)` · `pos_embed` `(1, N + 1, dim)` · `blocks` (`nn.ModuleList` or `nn.Sequential`) · `norm` (eps 1e-6) · `head` |
# | **Start values** | `cls_token` zeros; `pos_embed` normal with standard deviation 0.02 |
# | **Read** | ViT paper, section 3.1, equations 1 to 4 |
#
# When you are graded, a library's modules stand in for `PatchEmbedding` and `EncoderBlock`. Make
# them only by `PatchEmbedding(patch_size, in_channels, dim)` and `EncoderBlock(dim, heads,
# mlp_ratio)`, and use them only by calling them.
#
# <details><summary>Hint 1: how many positions, and which of these things are parameters?</summary>
#
# `(image_size // patch_size) ** 2` patches and one class token. A tensor that is to be learned is
# wrapped in `nn.Parameter` and assigned to `self`; a bare tensor would be neither trained nor
# saved.
# </details>
# <details><summary>Hint 2: "RuntimeError: Sizes of tensors must match except in dimension 1. Expected size 2 but got size 1"</summary>
#
# `cls_token` is `(1, 1, dim)`, the batch is larger: `expand` repeats it without copying. A plain
# Python list of blocks would hide their parameters from PyTorch; use `nn.ModuleList` (and a loop)
# or `nn.Sequential`.
# </details>
# <details><summary>Hint 3: the check says that the class token has no position</summary>
#
# Follow the shapes: patches `(batch, N, dim)` → with the class token in front `(batch, N + 1,
# dim)` → plus `pos_embed` of the same length → blocks → norm → token 0, `(batch, dim)` → head. If
# your sum needs `pos_embed[:, 1:]`, it comes too early.
# </details>

# %% exercise="vision_transformer"
class VisionTransformer(nn.Module):
    """ViT classifier: images (batch, in_channels, image_size, image_size) -> (batch, num_classes).

    Parameters and submodules: patch_embed, cls_token (1, 1, dim), pos_embed (1, N + 1, dim) with
    N = (image_size / patch_size) ** 2, blocks (depth of them), norm, head.
    """

    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_ratio=4,
                 in_channels=3):
        super().__init__()
        # Step 1: patch embedding, class token, positions
        # Step 2: blocks, final norm, head
        ### BEGIN SOLUTION
        tokens = (image_size // patch_size) ** 2
        self.patch_embed = PatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens + 1, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)
        ### END SOLUTION

    def forward(self, images):
        # Step 3: tokens, class token in front, positions added to all
        # Step 4: the blocks; Step 5: norm, and the class token to the head
        ### BEGIN SOLUTION
        x = self.patch_embed(images)  # (batch, tokens, dim)
        cls_token = self.cls_token.expand(len(x), -1, -1)  # (batch, 1, dim)
        x = torch.cat([cls_token, x], dim=1) + self.pos_embed  # (batch, tokens + 1, dim)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])  # (batch, num_classes)
        ### END SOLUTION

# %% check="vision_transformer"
with Check("vision_transformer", read="section 7, the equation for z, its brackets") as check:
    check.signature(VisionTransformer, "image_size", "patch_size", "num_classes", "dim", "depth",
                    "heads", "mlp_ratio", "in_channels")
    # No blocks: the class token has heard nothing of the image
    deaf = VisionTransformer(8, 4, num_classes=5, dim=12, depth=0, heads=3)
    check.parameters(deaf, {"cls_token": (1, 1, 12), "pos_embed": (1, 5, 12), "norm.weight": (12,),
                            "norm.bias": (12,), "head.weight": (5, 12), "head.bias": (5,),
                            "patch_embed.proj.weight": (12, 3, 4, 4), "patch_embed.proj.bias": (12,)})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in deaf.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    logits = deaf(torch.zeros(2, 3, 8, 8))
    check.shape(logits, (2, 5), "the logits of 2 images in 5 classes")
    first = deaf.cls_token[0, 0] + deaf.pos_embed[0, 0]
    check.values(logits[0], deaf.head(deaf.norm(first)), "the logits of a ViT with depth 0",
                 otherwise={
        "the class token has no position: it is put in front after positions are added":
            deaf.head(deaf.norm(deaf.cls_token[0, 0])),
        "the norm after the last block is missing": deaf.head(first),
        "the class token is not in the sum, only its position":
            deaf.head(deaf.norm(deaf.pos_embed[0, 0])),
    })
    check.cases("01", globals())

# %% judge="vision_transformer" points=4
parts = {"the model": 3, "start values": 1}


def ask(rng):
    small = dict(image_size=8, patch_size=4, num_classes=5, dim=6, depth=2, heads=2)
    grey = dict(image_size=9, patch_size=3, num_classes=3, dim=8, depth=1, heads=4, in_channels=1)
    deep = dict(image_size=6, patch_size=2, num_classes=4, dim=4, depth=4, heads=1, mlp_ratio=2)
    wide = dict(image_size=16, patch_size=2, num_classes=3, dim=32, depth=1, heads=4)
    flat = dict(image_size=4, patch_size=2, num_classes=3, dim=8, depth=0, heads=2)
    for title, images, sizes in (
        ("3 channels, 2 blocks", randn(rng, 2, 3, 8, 8), small),
        ("batch of one, one channel", randn(rng, 1, 1, 9, 9), grey),
        ("4 blocks, another mlp_ratio", randn(rng, 3, 3, 6, 6), deep),
        ("64 patches", randn(rng, 1, 3, 16, 16), wide),
    ):
        yield Case(title, part="the model", images=images, sizes=sizes)
    yield Case("no blocks, faint tokens", part="the model", images=randn(rng, 2, 3, 4, 4),
               sizes=flat, faint=True)
    yield Case("65 tokens of 32 channels", part="start values", images=None, sizes=wide)


def start_values(model):
    """What does not depend on the random numbers drawn: 2,080 of them lie within these bounds."""
    spread, mean = model.pos_embed.std().item(), model.pos_embed.mean().item()
    far = (model.pos_embed - mean).abs().gt(2 * spread).float().mean().item()  # normal: 4.6%
    return {"cls_token at the start": model.cls_token.detach().clone(),
            "pos_embed at the start: mean about 0": abs(mean) < 0.004,
            "pos_embed at the start: standard deviation about 0.02": 0.016 < spread < 0.024,
            "pos_embed at the start: normal": 0.02 < far < 0.08}


class StandInEmbedding(nn.Module):
    """In the place of PatchEmbedding."""

    def __init__(self, patch_size, in_channels, dim):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, patch_size)

    def forward(self, images):
        patches = F.unfold(images, self.proj.kernel_size, stride=self.proj.stride)
        return F.linear(patches.transpose(1, 2), self.proj.weight.flatten(1), self.proj.bias)


class StandInBlock(nn.TransformerEncoderLayer):
    """In the place of EncoderBlock: the library's own."""

    def __init__(self, dim, heads, mlp_ratio=4):
        super().__init__(dim, heads, int(dim * mlp_ratio), dropout=0, activation="gelu",
                         layer_norm_eps=1e-6, batch_first=True, norm_first=True)


def called(module, x, training):
    """The output, and whether the call leaves the mode as it was."""
    output = module.train(training)(x)
    return output, all(part.training == training for part in module.modules())


def drive(lab, images, sizes, faint=False):
    with lab.replacing(PatchEmbedding=StandInEmbedding, EncoderBlock=StandInBlock):
        model = lab.VisionTransformer(**sizes)
        if images is None:
            return start_values(model)
        parameters = {name: list(p.shape) for name, p in sorted(model.named_parameters())}
        learn = sorted(name for name, p in model.named_parameters() if p.requires_grad)
        fill_parameters(model, seed=4)
        if faint:  # so faint that the final norm shows its eps
            with torch.no_grad():
                model.cls_token.mul_(0.001)
                model.pos_embed.mul_(0.001)
        logits, stays = called(model, images.requires_grad_(), training=False)
        in_training, stays_in_training = called(model, images, training=True)
        steps = torch.linspace(-1, 1, logits.numel()).view_as(logits)
        (in_training * steps).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()} | {"images": images.grad}
    return {
        "parameters": parameters, "parameters that learn": learn, "logits": logits,
        "logits in training mode": in_training, "gradients": gradients,
        "a call leaves training and evaluation mode alone": stays and stays_in_training,
    }

# %% trap="vision_transformer" name="positions before the class token"
# Your logits equal what you get when positions are added before the class token is put in front:
# the class token then has no position, and the first row of pos_embed is never used.
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_ratio=4,
                 in_channels=3):
        super().__init__()
        tokens = (image_size // patch_size) ** 2
        self.patch_embed = PatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens + 1, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])

# %% trap="vision_transformer" name="default eps"
# Your logits equal what you get when the norm after the last block has PyTorch's default eps, 1e-5.
# It is to be 1e-6.
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_ratio=4,
                 in_channels=3):
        super().__init__()
        tokens = (image_size // patch_size) ** 2
        self.patch_embed = PatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens + 1, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])

# %% trap="vision_transformer" name="mean of all tokens"
# Your logits equal what you get when the head reads the mean of all tokens. It reads the class
# token alone.
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_ratio=4,
                 in_channels=3):
        super().__init__()
        tokens = (image_size // patch_size) ** 2
        self.patch_embed = PatchEmbedding(patch_size, in_channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens + 1, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1))

# %% alternative="vision_transformer" name="sequential and einops"
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_ratio=4,
                 in_channels=3):
        super().__init__()
        side = image_size // patch_size
        self.patch_embed = PatchEmbedding(patch_size=patch_size, in_channels=in_channels, dim=dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side * side, dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.Sequential(*[EncoderBlock(dim=dim, heads=heads, mlp_ratio=mlp_ratio)
                                      for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x, _ = einops.pack([einops.repeat(self.cls_token, "1 1 d -> b 1 d", b=len(images)),
                            self.patch_embed(images)], "b * d")
        return self.head(self.norm(self.blocks(x + self.pos_embed)[:, 0]))

# %% alternative="vision_transformer" name="class token with its own position, then joined"
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, num_classes, dim, depth, heads, mlp_ratio=4,
                 in_channels=3):
        super().__init__()
        count = 1 + (image_size // patch_size) * (image_size // patch_size)
        self.head = nn.Linear(dim, num_classes)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(EncoderBlock(dim, heads, mlp_ratio))
        self.register_parameter("cls_token", nn.Parameter(torch.zeros(1, 1, dim)))
        self.register_parameter("pos_embed", nn.Parameter(torch.randn(1, count, dim) / 50))
        self.patch_embed = PatchEmbedding(patch_size, in_channels, dim)

    def forward(self, images):
        patches = self.patch_embed(images) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).repeat(images.shape[0], 1, 1)
        x = torch.hstack((first, patches))
        for i in range(len(self.blocks)):
            x = self.blocks[i](x)
        answer = self.norm(x).select(1, 0)
        return self.head(answer)

# %% [markdown]
# **The proof.** torchvision's `VisionTransformer` was written by others, with other names. If
# yours is right, then with the same weights it must give the same logits. The table of names is
# all that is needed, because both lay out queries, keys and values alike. In the `cpu` profile
# this is the real ViT-B/16: 86 million parameters on an image of 224 × 224. Random weights serve
# as well as trained ones here, and need no download. (torchvision starts the head at zero, which
# would make any two models agree, so it is filled first.)

# %% experiment="parity"
import torchvision

NAMES = {  # torchvision's name -> ours
    "class_token": "cls_token", "encoder.pos_embedding": "pos_embed",
    "conv_proj.": "patch_embed.proj.", "encoder.layers.encoder_layer_": "blocks.",
    ".ln_1.": ".norm1.", ".ln_2.": ".norm2.", ".self_attention.in_proj_": ".attn.qkv.",
    ".self_attention.out_proj.": ".attn.proj.", ".mlp.0.": ".mlp.fc1.", ".mlp.3.": ".mlp.fc2.",
    "encoder.ln.": "norm.", "heads.head.": "head.",
}


def from_torchvision(state):
    """torchvision's state dict with the names of this lab."""
    renamed = {}
    for name, tensor in state.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    return renamed


# ViT-B/16, or for tests something much smaller
base = dict(image_size=224, patch_size=16, dim=768, depth=12, heads=12, num_classes=1000)
tiny = dict(image_size=32, patch_size=8, dim=48, depth=2, heads=3, num_classes=10)
size = scale(smoke=tiny, cpu=base, gpu=base)
mine = VisionTransformer(**size).eval()
theirs = torchvision.models.VisionTransformer(
    image_size=size["image_size"], patch_size=size["patch_size"], num_layers=size["depth"],
    num_heads=size["heads"], hidden_dim=size["dim"], mlp_dim=4 * size["dim"],
    num_classes=size["num_classes"]).eval()
nn.init.normal_(theirs.heads.head.weight, std=0.05)
mine.load_state_dict(from_torchvision(theirs.state_dict()))

images = torch.randn(1, 3, size["image_size"], size["image_size"])
with torch.no_grad():
    logits, reference = mine(images), theirs(images)
del theirs
gap = (logits - reference).abs().max().item()
measured["parity"] = f"equal within {gap:.0e}" if gap else "equal to the last bit"
measured["parity parameters"] = count_parameters(mine)
measured["macs 224"] = count_macs(mine, images)

# The same weights at a higher resolution, through your interpolation of positions
sides = (size["image_size"], scale(smoke=48, cpu=384, gpu=384))
grids = [(side // size["patch_size"],) * 2 for side in sides]
state = mine.state_dict()
state["pos_embed"] = interpolate_position_embedding(state["pos_embed"], *grids)
del mine
larger = VisionTransformer(**size | {"image_size": sides[1]}).eval()
larger.load_state_dict(state)
measured["macs 384"] = count_macs(larger, torch.randn(1, 3, sides[1], sides[1]))
del larger, state

charts.Table(["quantity", f"{sides[0]} × {sides[0]}", f"{sides[1]} × {sides[1]}"], [
    ["tokens (with class token)"] + [str(grid[0] ** 2 + 1) for grid in grids],
    ["MACs", f"{measured['macs 224']:,}", f"{measured['macs 384']:,}"],
    ["logits, held against torchvision's", measured["parity"], "not compared"],
], title=f"Your ViT with torchvision's weights: {measured['parity parameters']:,} parameters")

# %% [markdown]
# Logits are of the order of one, so a difference below 10⁻⁴ is rounding: **you have written
# ViT-B/16.** Look at the MACs too: from 224 to 384 pixels the image has 2.9 times as many patches.
# Did the cost grow by the same factor? Section 10 asks why.

# %% [markdown]
# ## 8 · Count it
#
# "ViT-B/16" is a size (B) and a patch (16). A size is three numbers; the patch decides how many
# tokens the model reads.

# %% tags=["setup"]
VARIANTS = {  # Dosovitskiy et al. 2021, table 1; Ti and S: Touvron et al. 2021 (DeiT), table 1
    "ViT-Ti": dict(dim=192, depth=12, heads=3),
    "ViT-S": dict(dim=384, depth=12, heads=6),
    "ViT-B": dict(dim=768, depth=12, heads=12),
    "ViT-L": dict(dim=1024, depth=24, heads=16),
    "ViT-H": dict(dim=1280, depth=32, heads=16),
}

# %% [markdown]
# Knowing a model means being able to say what it weighs without building it. Go through it part by
# part and count: a linear layer from $a$ to $b$ has $ab + b$ parameters, a norm has $2D$ (a scale
# and a shift), an `nn.Parameter` what its shape says. Before you start, two guesses: does the
# number of heads matter? And which has more parameters, ViT-B/16 or ViT-B/32?
#
# ### Exercise 8 · `parameter_count` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function that returns the exact number of parameters as an `int`, about eight lines of arithmetic |
# | **Input** | the sizes of your `VisionTransformer`; its MLP has `int(dim * mlp_ratio)` hidden units |
# | **Must equal** | the published models to the last digit, for any patch size, image size and number of classes |
# | **Read** | ViT paper, table 1; your own `__init__` of exercises 2, 5, 6 and 7 |
#
# <details><summary>Hint 1: what are the parts?</summary>
#
# Patch embedding · class token · positions · depth times (norm, qkv, proj, norm, two layers of the
# MLP) · final norm · head. Write one line for each and add them up; it is easier to find a mistake
# in eight lines than in one formula.
# </details>
# <details><summary>Hint 2: I am off by exactly dim, or by a multiple of it</summary>
#
# Off by `dim`: the class token, its row of the positions, or the bias of the patch embedding is
# missing. Off by `3 * dim * depth`: the bias of qkv. Off by `2 * dim`: the final norm. Off by
# `num_classes`: the bias of the head.
# </details>
# <details><summary>Hint 3: I cannot find what is missing</summary>
#
# Build your own model small, and print: `for name, p in VisionTransformer(8, 4, 5, 12, 1,
# 3).named_parameters(): print(name, p.numel())`. Every line of that list must appear in your sum.
# </details>

# %% exercise="parameter_count"
def parameter_count(dim, depth, patch_size=16, image_size=224, num_classes=1000, mlp_ratio=4,
                    in_channels=3):
    """The number of parameters of VisionTransformer of these sizes, as an int."""
    # Step 1: before the blocks: patch embedding, class token, positions
    # Step 2: one block: two norms, attention, MLP
    # Step 3: after the blocks: norm, head
    ### BEGIN SOLUTION
    tokens = (image_size // patch_size) ** 2
    hidden = int(dim * mlp_ratio)
    patch_embed = in_channels * patch_size**2 * dim + dim
    embeddings = dim + (tokens + 1) * dim  # class token and positions
    attention_layers = (dim * 3 * dim + 3 * dim) + (dim * dim + dim)  # qkv, proj
    mlp = (dim * hidden + hidden) + (hidden * dim + dim)
    block = 2 * dim + attention_layers + 2 * dim + mlp
    head = dim * num_classes + num_classes
    return patch_embed + embeddings + depth * block + 2 * dim + head
    ### END SOLUTION

# %% check="parameter_count"
with Check("parameter_count", read="section 8, and the names in exercises 2, 5, 6 and 7") as check:
    check.signature(parameter_count, "dim", "depth", "patch_size", "image_size", "num_classes",
                    "mlp_ratio", "in_channels")
    official = {  # patch, pixels: counted in timm 1.0.31 and torchvision 0.29.1, 1000 classes
        ("ViT-Ti", 16, 224): 5_717_416, ("ViT-S", 16, 224): 22_050_664,
        ("ViT-S", 32, 224): 22_878_952, ("ViT-B", 16, 224): 86_567_656,
        ("ViT-B", 32, 224): 88_224_232, ("ViT-B", 16, 384): 86_859_496,
        ("ViT-L", 16, 224): 304_326_632, ("ViT-H", 14, 224): 632_045_800,
    }
    for (variant, patch, side), expected in official.items():
        dim, depth = VARIANTS[variant]["dim"], VARIANTS[variant]["depth"]
        check.values(parameter_count(dim, depth, patch, side), expected,
                     f"the count of {variant}/{patch} at {side} px", rtol=0, atol=0.5, otherwise={
            "dim numbers are missing: the class token, its position, or the bias of the patch "
            "embedding": expected - dim,
            "twice dim numbers are missing, as many as the final norm has": expected - 2 * dim,
            "the bias of qkv is missing": expected - 3 * dim * depth,
            "the norms in the blocks are missing": expected - 4 * dim * depth,
            "the norms have a scale but no shift": expected - 2 * dim * depth - dim,
            "the bias of the head is missing": expected - 1000,
            "the head is missing": expected - 1000 * dim - 1000,
            })
    check.cases("01", globals())

# %% judge="parameter_count" points=3
parts = {"published models": 2, "other channels and MLPs": 1}


def ask(rng):
    for variant, dim, depth in (("Ti", 192, 12), ("S", 384, 12), ("B", 768, 12), ("L", 1024, 24),
                                ("H", 1280, 32)):
        patch, side = int(rng.choice((8, 14, 16, 32))), int(rng.integers(5, 30))
        yield Case(f"ViT-{variant}/{patch}", part="published models", dim=dim, depth=depth,
                   patch_size=patch, image_size=patch * side,
                   num_classes=int(rng.integers(2, 20000)))
    yield Case("the default sizes", part="published models", dim=1024, depth=24)
    sizes = dict(depth=int(rng.integers(2, 9)), patch_size=3, image_size=21, num_classes=2)
    yield Case("one channel, another mlp_ratio", part="other channels and MLPs", **sizes,
               dim=4 * int(rng.integers(2, 30)), mlp_ratio=int(rng.integers(1, 4)), in_channels=1)
    # a dim that ends in 1: int(dim * mlp_ratio) cuts off 0.7, where round would go up
    yield Case("a fractional mlp_ratio", part="other channels and MLPs", **sizes,
               dim=1 + 10 * int(rng.integers(1, 12)), mlp_ratio=2.7)


def drive(lab, **sizes):
    count = lab.parameter_count(**sizes)
    if "mlp_ratio" in sizes:  # the other part asks for the type
        return {"count": int(count)}
    return {"the count is an int": isinstance(count, int | np.integer), "count": int(count)}

# %% trap="parameter_count" name="class token without position"
# Your count equals what you get when the class token has no position: there are N + 1 positions.
def parameter_count(dim, depth, patch_size=16, image_size=224, num_classes=1000, mlp_ratio=4,
                    in_channels=3):
    tokens = (image_size // patch_size) ** 2
    hidden = int(dim * mlp_ratio)
    block = 4 * dim + 4 * (dim * dim + dim) + dim * hidden + hidden + hidden * dim + dim
    before = in_channels * patch_size**2 * dim + dim + dim + tokens * dim
    return before + depth * block + 2 * dim + dim * num_classes + num_classes

# %% trap="parameter_count" name="a float"
# Your count has the right value and is no int. A division with / gives a float; // stays with
# whole numbers.
def parameter_count(dim, depth, patch_size=16, image_size=224, num_classes=1000, mlp_ratio=4,
                    in_channels=3):
    tokens = (image_size / patch_size) ** 2
    hidden = int(dim * mlp_ratio)
    block = 4 * dim + 4 * (dim * dim + dim) + dim * hidden + hidden + hidden * dim + dim
    before = in_channels * patch_size**2 * dim + dim + dim + (tokens + 1) * dim
    return before + depth * block + 2 * dim + dim * num_classes + num_classes

# %% alternative="parameter_count" name="built without memory"
def parameter_count(dim, depth, patch_size=16, image_size=224, num_classes=1000, mlp_ratio=4,
                    in_channels=3):
    hidden, side = int(dim * mlp_ratio), image_size // patch_size
    with torch.device("meta"):
        block = nn.ModuleList([nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim),
                               nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.Linear(hidden, dim)])
        rest = nn.ModuleList([nn.Conv2d(in_channels, dim, patch_size), nn.LayerNorm(dim),
                              nn.Linear(dim, num_classes), nn.Embedding(side * side + 2, dim)])
    count = lambda module: sum(p.numel() for p in module.parameters())
    return depth * count(block) + count(rest)

# %% alternative="parameter_count" name="polynomial in dim"
def parameter_count(dim, depth, patch_size=16, image_size=224, num_classes=1000, mlp_ratio=4,
                    in_channels=3):
    patches = (image_size // patch_size) * (image_size // patch_size)
    hidden = math.floor(mlp_ratio * dim)
    linear = (in_channels * patch_size * patch_size + 1 + 1 + patches + 1
              + depth * (2 + 3 + 1 + 2 + 2 * hidden + 1) + 2 + num_classes)
    return 4 * depth * dim**2 + linear * dim + depth * hidden + num_classes

# %%
published = {"ViT-Ti/16": "5 M", "ViT-S/16": "22 M", "ViT-B/16": "86 M", "ViT-B/32": "",
             "ViT-L/16": "307 M", "ViT-H/14": "632 M"}
rows = []
for name, said in published.items():
    variant, patch = name.split("/")
    d, depth = VARIANTS[variant]["dim"], VARIANTS[variant]["depth"]
    total = parameter_count(d, depth, int(patch))
    blocks = depth * (parameter_count(d, 2) - parameter_count(d, 1))
    rows.append([name, f"{d}", f"{depth}", f"{(224 // int(patch)) ** 2 + 1}", f"{total:,}", said,
                 f"{blocks / total:.1%}"])
    measured[name] = total
charts.Table(["model at 224 px", "dim", "depth", "tokens", "parameters (your formula)",
              "in the paper's table", "in the blocks"], rows,
             title="Nearly all parameters are in the blocks, and patch size hardly changes them")

# %% [markdown]
# **What it shows.** ViT-B/32 has *more* parameters than ViT-B/16 (larger patches need a larger
# embedding) and reads a quarter of the tokens, so it costs about a quarter of the compute.
# Parameters say what a model weighs on disk, not what it costs to run. Heads do not appear in the
# formula at all. The published figures are rounded by the papers: for ViT-L they say 307 M, and
# the released models have 304.3 M, your number.

# %% [markdown]
# ## 9 · Look inside
#
# First play with the trade that the patch size makes. Choose a size: smaller patches show more
# detail and make a longer sentence, and the number of pairs that attention has to compare grows
# with the *square* of its length.

# %% widget="patch_size"
widgets.patch_chooser(picture, (4, 6, 8, 12, 16, 24, 32, 48), start=16)

# %%
figures.show_grids(picture, (8, 16, 32), title="The same picture as a longer or shorter sentence",
                   alt="The drawing of a turtle, a pineapple and a frog.")

# %% [markdown]
# Now a trained one. The checkpoint below is a small ViT (32 × 32 pixels, patches of 4, so 8 × 8
# tokens; 4 blocks, 4 heads) that was trained for a few minutes on 40 kinds of emoji;
# `data/checkpoints/README.md` says how. Its weights go into *your* `VisionTransformer`, so what
# you see is your code at work.

# %%
TRAINED = dict(image_size=32, patch_size=4, num_classes=40, dim=64, depth=4, heads=4, mlp_ratio=2)


def trained_vit():
    """Your VisionTransformer with the weights of the shipped checkpoint."""
    model = VisionTransformer(**TRAINED)
    load_checkpoint(model, "01_vit")
    return model.eval()


def attention_of(images):
    """Weights of all layers and heads, (layers, batch, heads, tokens + 1, tokens + 1)."""
    return widgets.attention_maps(trained_vit(), normalize(images), attention, TRAINED["heads"])


zoo = singles(12, 32, concepts=40, split="test", seed=5)
guesses = trained_vit()(normalize(zoo.images)).argmax(-1)
figures.show_images(zoo.images, [zoo.classes[guess] for guess in guesses], columns=12,
                    title="What the trained ViT sees in twelve new drawings",
                    alt=f"It names {(guesses == zoo.labels).sum()} of them rightly; its answers:")

# %% widget="attention"
widgets.attention_explorer(zoo.images, attention_of(zoo.images), TRAINED["patch_size"],
                           [zoo.classes[label] for label in zoo.labels], layer=0, token=27)

# %% [markdown]
# Click a square, or choose a token from the list: it is one token, in the mean colour of its patch.
# The picture then shows where that token attends. Go through layers 1 to 4, then compare the
# heads. Does the first layer look near, or far? Which head of the last layer does the class token
# use to find the object? Where widgets do not run, the next figure shows the same.

# %%
drawing = zoo.images[0]
weights = attention_of(drawing[None])[:, 0]  # (layers, heads, tokens + 1, tokens + 1)
token = 27  # row 3, column 3 of the 8 x 8 grid
heads_named = [f"head {head + 1}" for head in range(4)]
for layer in (0, 3):
    maps.show_attention(drawing, weights[layer, :, token + 1, 1:], [token] * 4, 4, heads_named,
                        title=f"Layer {layer + 1}: where the framed patch attends",
                        alt=f"A drawing of a {zoo.classes[zoo.labels[0]]}.")
maps.show_attention(drawing, weights[3, :, 0, 1:], [None] * 4, 4, heads_named,
                    title="Layer 4: where the class token attends, just before it answers",
                    alt=f"The same {zoo.classes[zoo.labels[0]]}.")
maps.show_maps([weights[layer].mean(0) for layer in range(4)],
               [f"layer {layer + 1}" for layer in range(4)], xlabel="key", ylabel="query",
               shared=False,
               title="The same weights as matrices, mean of the heads; token 0 is the class token",
               alt="A bright column is a key that many queries attend to.")

# %%
learned = trained_vit().pos_embed[0, 1:]  # (64, 64): the class token's row left out
maps.show_maps([maps.similarity_mosaic(learned, (8, 8)),
                maps.similarity_mosaic(sincos_position_embedding(8, 8, 64), (8, 8)),
                maps.similarity_mosaic(0.02 * torch.randn(64, 64), (8, 8))],
               ["learned", "sine-cosine, yours", "before training: noise"],
               title="What training made of the positions: the rim and the middle of a picture",
               shared=False, ticks=False, alt="A tile a position, bright where another is similar. "
               "Learned: positions at the rim resemble the rim, those in the middle the middle. "
               "Sine-cosine: each resembles its neighbours. Noise: each resembles itself only.")

# %% [markdown]
# **What it shows.** Nobody told the model where its patches are; the positions started as noise
# (right). This is what training made of them (left): a tile at the border is bright along the
# whole border, a tile in the middle is bright in the middle. The model learned to tell the rim of
# a picture, where hardly anything is drawn, from its middle, and little more; a likely reason is
# that these drawings lie anywhere and at any angle, so that row 3 means no more than row 5. The
# large ViTs of the paper were trained on photographs, with sky above and ground below, and learned
# rows and columns (their figure 7). A model learns about positions what its data make worth
# knowing; your sine-cosine table (middle) holds the whole grid from the start.

# %% [markdown]
# ## 10 · What it costs
#
# Let $s$ be the side of the image. The number of tokens is $N = (s/p)^2$, so it grows as $s^2$.
# For width $D$, one encoder block takes
#
# $$ \underbrace{12\, N D^2}_{\text{linear layers}} \;+\; \underbrace{2\, N^2 D}_{Q K^\top \text{ and } A V} \quad \text{MACs.} $$
#
# The first term grows as $s^2$, like every convolutional network. The second grows as $N^2$, that
# is as $s^4$: **twice the side, sixteen times the attention.** Now measure it on your own code.
# MACs are counted exactly as your block runs; seconds are medians of repeated runs on one thread of
# this machine. On logarithmic axes a power law is a straight line, and its slope is the exponent.

# %% experiment="cost"
wide_range = (64, 96, 128, 192, 256, 384)
sides = scale(smoke=(32, 48, 64, 96), cpu=wide_range, gpu=wide_range)
patch, dim, heads = 8, 64, 4
block = EncoderBlock(dim, heads).eval()
rows, tokens, core, rest, seconds = [], [], [], [], []
for side in sides:
    n = (side // patch) ** 2
    q = torch.randn(1, heads, n, dim // heads)
    x = torch.randn(1, n, dim)
    tokens.append(n)
    core.append(count_macs(attention, q, q, q))
    rest.append(count_macs(block, x) - core[-1])
    with torch.no_grad():
        seconds.append(measure_seconds(block, x, threads=1,
                                       min_seconds=scale(smoke=0.02, cpu=0.5, gpu=0.5)))
    rows.append([f"{side} px", f"{n:,}", f"{core[-1]:,}", f"{rest[-1]:,}",
                 f"{core[-1] / (core[-1] + rest[-1]):.1%}", f"{1000 * seconds[-1]:.2f} ms"])

fits = charts.loglog_fit(
    sides, {"attention QKᵀ, AV": core, "linear layers": rest, "tokens": tokens},
    title="Attention grows with the fourth power of the side", xlabel="side of the image, px",
    ylabel="MACs in one block (and tokens)")
half = len(sides) // 2  # the small sizes measure the start of an operation, not its work
time_fit = charts.loglog_fit(
    sides[half:], {"one block": [1000 * s for s in seconds[half:]]}, ylabel="milliseconds",
    title="The clock follows, in its own way", xlabel="side of the image, px")
measured["attention exponent"] = fits["attention QKᵀ, AV"]
measured["token exponent"] = fits["tokens"]
measured["time exponent"] = time_fit["one block"]
charts.Table(["side", "tokens", "attention MACs", "other MACs", "share of attention",
              "time, one thread"], rows,
             title=f"One encoder block, patch {patch}, dim {dim}, measured on your code")

# %% [markdown]
# **What it shows.** The counted exponents should be 2 for the tokens, 2 for the linear layers and
# 4 for attention, to the last digit. The clock's exponent is your machine's business: small inputs
# are dominated by the fixed cost of starting an operation, large ones by memory, for the attention
# weights have to be written and read (at 384 px, 4 heads · 2,304² numbers · 4 bytes = 85 MB), and
# once they no longer fit in the cache the exponent can even exceed 4. Set the two terms equal and
# you get $2N^2D = 12ND^2$, so attention overtakes everything else when $N = 6D$. In this narrow
# block that is soon ($6 \cdot 64 = 384$ tokens); ViT-B, twelve times wider, reaches it at 4,608
# tokens. The next cell counts blocks of ViT-B's width.

# %% experiment="share"
wide = VARIANTS["ViT-B"]["dim"]
wide_block = EncoderBlock(wide, VARIANTS["ViT-B"]["heads"]).eval()
rows = []
for side in scale(smoke=(224,), cpu=(224, 384, 512), gpu=(224, 384, 512)):
    n = (side // 16) ** 2 + 1
    total = count_macs(wide_block, torch.randn(1, n, wide))
    share = (total - 12 * n * wide**2) / total  # what is not in the linear layers
    rows.append([f"{side} px", f"{n:,}", f"{total:,}", f"{share:.1%}", f"{n / (6 * wide + n):.1%}"])
charts.Table(["side", "tokens", "MACs of the block", "share of attention, counted",
              "N / (6D + N)"], rows,
             title="ViT-B/16: attention is cheap at 224 px and does not stay so")

# %% [markdown] question="q_cost" points=2
# ### Question 1 · 2 points
#
# Answer from *your* tables and figures above, in three to five sentences, with numbers.
#
# **(a)** In your table for patch 8, between which two sides does attention come to take more than
# half of the block's MACs, and does this agree with $N = 6D$?
#
# **(b)** By what factor do the MACs of attention, and by what factor does the measured time of the
# block, grow over your last two sides? Give one reason why the two factors differ.
#
# **(c)** A detector runs ViT-B/16 on images of 1024 × 1024. What share of a block's MACs is
# attention then?
# ### BEGIN SOLUTION
# Model answer. (a) With dim 64 the two terms are equal at N = 6 · 64 = 384 tokens, a side of 8 ·
# √384 ≈ 157 px: the share passes one half between 128 px (256 tokens, 40%) and 192 px (576 tokens,
# 60%). (b) From 256 to 384 px the side grows by 1.5, so attention's MACs grow by 1.5⁴ = 5.06, and
# all MACs of the block by 4.3. The measured time grows by the student's own factor. Reasons for a
# smaller one: part of the time is the linear layers, whose MACs grow by 2.25 only, and large
# matrix products use the processor better. For a larger one: the attention weights no longer fit
# in the cache, and memory traffic is not counted as MACs. (c) N = 64² + 1 = 4,097 tokens, so N /
# (6D + N) = 4,097 / (4,608 + 4,097) = 47%.
#
# Rubric. ½ point: (a) names the two sides of the student's own table and compares with 384 tokens.
# 1 point: (b) both factors from the student's own numbers (½) and a reason that fits them (½). ½
# point: (c) 47%, derived. No points for numbers that are not in the student's own output.
# ### END SOLUTION

# %% [markdown]
# ## 11 · ViT against a convolutional network, as data grows
#
# A convolution is built on two beliefs: that nearby pixels belong together, and that a thing is
# the same thing wherever it appears. A ViT has neither built in (its only structure is the cut
# into patches) and must learn them. The ViT paper's headline is about exactly this: trained on a
# mid-sized data set such as ImageNet, ViTs stay a few points below convolutional networks of
# comparable size; trained on hundreds of millions of images, they overtake.
#
# Here is the experiment at a size that fits on a laptop: your ViT against a plain CNN with **as
# many parameters (within 2%)**, trained on growing sets of drawings of 40 things, for the **same
# number of steps** each time, so that only the data differ. Both are trained as nearly all
# networks of this course are: by **AdamW** (Adam with the weight decay taken out of the
# gradient), with a learning rate that rises for the first tenth of the steps and then falls to
# zero as half a **cosine**. Both are tested on new drawings in the same style and, harder, on
# drawings of the same 40 things by *another* artist.
#
# What to expect? Your own short run has one seed and two sizes and takes two to three minutes.
# Beside it is a long run, made once with `labs experiment 01 data_scaling` (five sizes, three
# seeds; the reference implementation of the same ViT). Crosses are yours, lines are the long run.

# %%
styles = [singles(8, 32, concepts=40, style=style, labels=list(range(0, 40, 5)), seed=2).images
          for style in ("noto", "twemoji")]
figures.show_images(torch.cat(styles), columns=8,
                    title="Above: the style of training. Below: the other artist, never trained on",
                    alt="Eight things, each drawn twice with other lines and colours: a cat, a frog, a "
                        "key, a fish, a dog, a hamburger, an anchor and a camera.")

# %% experiment="data_scaling"
SMALL = dict(image_size=32, patch_size=8, num_classes=40, dim=64, depth=4, heads=4, mlp_ratio=2)
device = "cuda" if PROFILE == "gpu" and torch.cuda.is_available() else "cpu"
budget = count_parameters(VisionTransformer(**SMALL))

threads = torch.get_num_threads()
torch.set_num_threads(1)  # nets this small lose more by sharing their work than they gain
try:
    records = data_scaling_run(
        lambda: VisionTransformer(**SMALL).to(device),
        lambda: cnn_with_parameters(budget, 40).to(device),
        sizes=scale(smoke=(2,), cpu=(16, 256), gpu=(4, 16, 64, 256, 1024)),
        seeds=scale(smoke=(SEED,), cpu=(SEED,), gpu=(SEED, SEED + 1, SEED + 2)),
        steps=scale(smoke=2, cpu=STEPS, gpu=STEPS),
        test_images=scale(smoke=80, cpu=1000, gpu=2000),
    )
finally:  # where you interrupt it, too
    torch.set_num_threads(threads)

long_run = json.loads(data_path("results", "01_data_scaling.json").read_text())
curves = {}
for model in ("ViT", "CNN"):
    curves[f"{model}, long run"] = [r for r in long_run["records"] if r["model"] == model]
    curves[f"{model}, yours"] = [r for r in records if r["model"] == model]


def lead_of_cnn(runs):
    """By how many points the CNN is ahead at the smallest and at the largest size, as text."""
    sizes = sorted({r["images_per_class"] for r in runs})
    mean = {(model, size): np.mean([r["test"] for r in runs if r["model"] == model
                                    and r["images_per_class"] == size])
            for model in ("ViT", "CNN") for size in sizes}
    leads = [100 * (mean["CNN", size] - mean["ViT", size]) for size in (sizes[0], sizes[-1])]
    return f"{leads[0]:+.1f} to {leads[1]:+.1f} points"


measured["gap, yours"] = lead_of_cnn(records)
measured["gap, long run"] = lead_of_cnn(long_run["records"])
charts.scaling_curves(curves, x="images_per_class",
                      panels={"new drawings, same artist": "test",
                              "another artist": "other_style"},
                      xlabel="training images of each thing", ylabel="accuracy, %", chance=1 / 40,
                      title="The CNN's lead on new drawings, from few data to many: "
                            f"{measured['gap, yours']}; in the long run {measured['gap, long run']}")
charts.Table(["model", "images of each", "steps", "train", "test", "another artist", "seconds"], [
    [r["model"], r["images_per_class"], r["steps"], f"{r['train']:.1%}", f"{r['test']:.1%}",
     f"{r['other_style']:.1%}", f"{r['seconds']:.0f}"] for r in records
], title=f"Your run, one line a model and size ({budget:,} parameters each; chance is 2.5%)")

# %%
def summary(runs, key):
    """Mean and standard deviation over seeds, in percent."""
    values = [100 * run[key] for run in runs]
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else " (one seed)"
    return f"{np.mean(values):.1f}{spread}"


stored = json.loads(data_path("results", "01_data_scaling.json").read_text())
rows = []
for runs in (stored["records"], stored["longer"]):
    for size, steps in sorted({(r["images_per_class"], r["steps"]) for r in runs}):
        for model in ("ViT", "CNN"):
            same = [r for r in runs if (r["images_per_class"], r["model"]) == (size, model)]
            rows.append([model, f"{size:,}", f"{steps:,}"]
                        + [summary(same, key) for key in ("train", "test", "other_style")])
charts.Table(["model", "images of each", "steps", "train, %", "test, %", "another artist, %"], rows,
             title=f"The long run: mean ± standard deviation over seeds ({stored['date']})")

# %% [markdown]
# **What it shows, and what not.** This is about the long run; hold yours against it. With few
# drawings both networks know their training images by heart, so what decides is what they make of
# new ones. In the long run the CNN is ahead at every size, most of all with 16 drawings of each
# thing, by 9.9 points. With four, seeds differ so much that the best ViT and the worst CNN are
# level, 48% and 49%. From 16 on the gap narrows as data grow, to 2.6 points at 1,024. The paper's
# crossover does not show here: the task is nearly solved before the ViT could overtake, and three
# times the steps (the last two lines, one seed) leave a gap of 0.7 points. And neither network is
# good with the other artist, however many drawings of the first it has seen, 40% at most: more of
# the same data is not other data. Lab 06 comes back to that, with language.

# %% [markdown] question="q_scaling" points=2
# ### Question 2 · 2 points
#
# Answer from *your own* run and the long run beside it, in three to five sentences, with numbers.
#
# **(a)** How many points is the CNN ahead of the ViT on new drawings of the same artist, at your
# smallest and at your largest size? Is the difference larger than the spread over seeds in the
# long run?
#
# **(b)** At the smallest size, compare train with test accuracy of both models. Which property of
# the CNN explains what you see, and in which part of your `VisionTransformer` would you have to
# build it in?
#
# **(c)** Name one thing about this experiment that forbids the conclusion "CNNs are better than
# ViTs".
# ### BEGIN SOLUTION
# Model answer. (a) Both gaps are read off the student's own table and held against the standard
# deviations of the long run, where the gaps are 9.9 points at 16 drawings and 3.1 at 256, with
# standard deviations of 1.2 points at 16 and at most 0.8 at 256: more than the spread. (b) Both
# models reach nearly full train accuracy with 16 drawings of each thing, yet the CNN does better
# on new ones: it looks at neighbourhoods first (locality) and at every place with the same
# weights (translation equivariance). In the ViT this would go into the patch embedding (a few
# overlapping convolutions) or into attention (windows, relative positions); its weights are
# shared over patches too, but where a patch lies enters through `pos_embed`, and which patches
# are neighbours has to be learned. (c) For instance: small images and models; a fixed number of
# steps; rendered drawings on calm backgrounds; no pretraining, augmentation or regularisation for
# the ViT; equal parameters are not equal MACs; at most 41,000 training images, where the paper
# needs hundreds of millions.
#
# Rubric. ½ point: (a) both gaps from the student's own table. ½ point: comparison with the spread.
# ½ point: (b) locality or weight sharing, tied to train against test accuracy and to a part of the
# model. ½ point: (c) a limitation that applies to this experiment.
# ### END SOLUTION

# %% [markdown]
# ## 12 · Published and measured
#
# Everything you measured, beside what the papers say.

# %%
def shown(key, form="{}"):
    """A measured value, or the word that it is still to be measured."""
    return form.format(measured[key]) if key in measured else "not measured yet"


at_full_size = measured.get("parity parameters") == 86_567_656
charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["96 × 96 px in patches of 32", "9 tokens of 3,072 (lecture)", shown("tokens"),
     "they do not: it is arithmetic"],
    ["patch embedding is a convolution", "equal",
     "equal within " + shown("embedding difference", "{:.0e}"),
     "rounding: sums are taken in another order"],
    ["your ViT is the library's", "equal", shown("parity"), "rounding, where they do"],
    ["ViT-B/16, parameters", "86 M (ViT paper, table 1)", shown("ViT-B/16", "{:,}"),
     "the paper rounds"],
    ["ViT-L/16, parameters", "307 M (ViT paper, table 1)", shown("ViT-L/16", "{:,}"),
     "the released model, counted in timm and torchvision, has 304,326,632"],
    ["ViT-B/16, MACs at 224 and 384 px", "17.56 G and 55.48 G (counted in timm)",
     f"{shown('macs 224', '{:,}')} and {shown('macs 384', '{:,}')}",
     "they do not" if at_full_size else "this profile runs a smaller model"],
    ["attention, exponent of the side", "4 (theory)", shown("attention exponent", "{:.2f}"),
     "they do not: MACs are counted, not timed"],
    ["time of a block, exponent of the side", "between 2 and 4 (theory)",
     shown("time exponent", "{:.2f}"), "memory traffic, cache and start-up cost are no MACs"],
    ["lead of the CNN over the ViT, from little to much data",
     "ahead on ImageNet-1k, behind after JFT-300M (ViT paper, section 4.3)",
     f"yours: {shown('gap, yours')}; long run: {shown('gap, long run')}",
     "40 things, small images, at most 1,024 drawings of each, no pretraining"],
], title="Published · measured here · why they differ")

# %% [markdown]
# ## Where next
#
# **What the full-size system does besides.** Published ViTs are trained with strong augmentation
# (RandAugment, Mixup) and with dropout or stochastic depth; DeiT (2021) showed that with these,
# ImageNet alone is enough. Many later models drop the class token and average the patches; some
# add *registers*, spare tokens to think with; positions are often rotary or relative. The
# skeleton you built has stayed.
#
# **What this course does about the two costs you measured.** Lab 02 takes the $s^4$ apart and
# builds attention that costs less: windows, sparse windows, and linear attention. Labs 03 to 05
# make fast networks of it. Labs 06 and 07 turn to the hunger for data: learning from captions, and
# from images alone, by hiding three quarters of the patches that you learned to cut today.
#
# **To try.**
#
# * `PROFILE = "gpu"` runs the whole scaling experiment on your own ViT, all sizes and three seeds;
#   the cell below adds CIFAR-100, real photographs.
# * Replace the learned positions by your sine-cosine table and train again. Is there a difference
#   at 4 images of each thing? At 64?
# * Take the positions away entirely. How much accuracy do they buy, on drawings that may lie
#   anywhere?
# * Average the patch tokens instead of reading the class token.

# %% experiment="photographs"
if PROFILE == "gpu":
    from labsupport.data import public
    from labsupport.training import train_classifier

    photographs = {split: public("cifar100", split) for split in ("train", "test")}
    batches = {split: data.batch(range(len(data))) for split, data in photographs.items()}
    larger = SMALL | dict(patch_size=4, num_classes=100, dim=192, heads=3, depth=6)
    model = VisionTransformer(**larger).to(device)
    train_classifier(model, normalize(batches["train"].images), batches["train"].labels,
                     steps=8000, batch_size=256, lr=1e-3)
    score = accuracy(model, normalize(batches["test"].images), batches["test"].labels)
    print(f"CIFAR-100, 8,000 steps without augmentation: {score:.1%} test accuracy")
else:
    print("CIFAR-100 is downloaded and trained on with PROFILE = 'gpu' only.")

# %% [markdown]
# ## References
#
# * A. Dosovitskiy, L. Beyer, A. Kolesnikov et al., *An Image is Worth 16x16 Words: Transformers
#   for Image Recognition at Scale*, ICLR 2021: the paper of this lab.
# * A. Vaswani et al., *Attention Is All You Need*, NeurIPS 2017: attention, heads, sine and cosine
#   positions.
# * H. Touvron et al., *Training Data-Efficient Image Transformers and Distillation through
#   Attention* (DeiT), ICML 2021: ViT-Ti and ViT-S; ImageNet is enough.
# * Y. Dong, J.-B. Cordonnier, A. Loukas, *Attention Is Not All You Need: Pure Attention Loses Rank
#   Doubly Exponentially with Depth*, ICML 2021: the figure of section 6.
# * R. Xiong et al., *On Layer Normalization in the Transformer Architecture*, ICML 2020: pre-norm
#   and post-norm.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
# * I. Loshchilov, F. Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019: AdamW; *SGDR*,
#   ICLR 2017: the cosine.
#
# ## Glossary
#
# * **attention weights**: for each query, the shares of all keys; they sum to one.
# * **class token**: a learned token that belongs to no patch; the answer is read from it.
# * **embedding**: a vector that stands for a patch, a word or a position.
# * **encoder block**: attention and an MLP, each with a norm before it and a shortcut around it.
# * **head**: a part of the channels that attends on its own; also, at the end of a network, the
#   layer that gives the answer.
# * **logits**: a network's raw answers, one a class, before the softmax.
# * **MAC**: a multiply-accumulate, $a \leftarrow a + b c$; two floating-point operations.
# * **MLP**: here, two linear layers with a GELU between, applied to each token by itself.
# * **patch**: a square of pixels that becomes one token.
# * **position**: the vector, learned or computed, that says where a token was.
# * **pre-norm, post-norm**: layer normalisation before a branch, or after its sum with the
#   shortcut.
# * **query, key, value**: what a token asks, what it offers, and what it hands over.
# * **shortcut**: the input of a branch, added to its output; also called residual connection.
# * **token**: one vector of the sequence that a transformer reads.
