# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "07"
#   title: "Masked autoencoders"
#   minutes: 170
#   masks: ["models/mae.py"]
# ---

# %% [markdown]
# # Lab 07 · Masked autoencoders
#
# Lab 06 learned from captions. This lab learns from nothing but images. Hide three quarters of an
# image, and ask a network to paint them back: that is the whole task of the **masked autoencoder**
# (MAE; He et al., CVPR 2022). Nobody has to label anything, and nobody is interested in the
# paintings. But who can continue a half-hidden banana has understood something about bananas, and
# *that* stays in the network when the brush is thrown away.
#
# The idea has a second half, and this is a lab on efficiency: what is hidden need not be computed.
# The encoder, the large part, runs on the **visible quarter only**, so pretraining becomes several
# times faster *because* the task is hard.
#
# You build all of it, measure how much time is saved and where the rest of it goes, look at what
# the network paints, and find out what the encoder is worth **when labels are few**.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Hide | `random_masking` | 4 | 20 | medium |
# | 2 Put back | `put_back` | 3 | 15 | medium |
# | 3 Encode what is visible | `mae_encoder` | 5 | 25 | hard |
# | 4 Decode everything | `mae_decoder`, a written question | 6 | 35 | medium |
# | 5 What to predict, and where | `mae_loss` | 4 | 20 | medium |
# | 6 See what it paints | `reconstruct` | 3 | 15 | medium |
# | 7 Few labels | `classifier` | 3 | 15 | medium |
# | 8 How much to hide | a written question | 2 | 20 | medium |
#
# **30 points, about three hours.** You need PyTorch and the Vision Transformer of lab 01. With all
# exercises solved the notebook runs in about three minutes on two cores; nothing is downloaded.
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
# seconds with results that mean nothing, and `"gpu"` trains as long as the stored runs.

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport.notebook import environment

environment.report(PROFILE);

# %% tags=["setup"]
import copy
import json
import statistics

import einops
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.data import data_path, normalize
from labsupport.data.hues import shapes
from labsupport.labs.lab07 import reconstructions
from labsupport.labs.lab07.mask_widget import mask_explorer
from labsupport.metrics import accuracy, linear_probe
from labsupport.models.masking import block_noise, grid_noise, random_noise
from labsupport.models.vit import EncoderBlock, PatchEmbedding
from labsupport.notebook import plot as figures
from labsupport.notebook.check import Check
from labsupport.notebook.plot import charts
from labsupport.notebook.plot import comparison_charts as comparisons
from labsupport.notebook.profile import profile
from labsupport.profiling import count_macs, count_parameters, measure_in_turns
from labsupport.training import load_checkpoint, train_classifier

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %%
riddles = shapes(8, split="test", seed=21)
torch.manual_seed(8)
chance = random_noise(8, (8, 8))
hidden = (chance > chance.sort(1).values[:, 15:16]).float()  # 48 of 64 patches
reconstructions.show_rows({"what the network sees": reconstructions.hide(riddles.images, hidden, 4),
                           "what was there": riddles.images},
                          title="A quarter of the patches: can you still name the things?",
                          alt="Above, 16 of 64 patches of each image, the rest grey; below, the things: "
                              f"{', '.join(riddles.captions)}.")

# %% [markdown]
# This is the picture to remember. Cover the lower row with your hand. You can name many of these
# things from a quarter of their patches, and say roughly what the hidden ones look like. To do so
# you used what you know about things: that they are symmetric, go on behind the gaps, have two
# eyes or two wheels. A network that fills the gaps well must have found some of that too. (The
# colours are wrong on purpose; section 7 says why.)

# %% [markdown]
# ## 1 · Hide
#
# An image becomes $N$ tokens, as in lab 01. Which of them to hide is decided by chance, for **every
# image anew**. Done naively (a loop, a random permutation for each image) that is slow; MAE does it
# with two calls of `argsort`. Give every token of every image a random number, its *noise*:
#
# | token | 0 | 1 | 2 | 3 |
# |:--|:-:|:-:|:-:|:-:|
# | noise | 0.7 | 0.2 | 0.9 | 0.4 |
# | **order** = argsort(noise): which token comes first, second, … | 1 | 3 | 0 | 2 |
# | **restore** = argsort(order): at which place token 0, 1, … stands | 2 | 0 | 3 | 1 |
# | mask, when two are kept: 1 is hidden | 1 | 0 | 1 | 0 |
#
# Tokens with the *least* noise are kept: the first `kept = int(N * (1 - mask_ratio))` of the
# order. The second argsort gives the **inverse permutation**: `order` says who stands at a place,
# `restore` says where somebody stands. You will need `restore` to put everything back, and it
# gives the mask for free: hidden is who stands at place `kept` or later.
#
# ### Exercise 1 · `random_masking` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about six lines |
# | **Shapes** | `tokens`: `(batch, N, dim)`; `noise`: `(batch, N)`. Out: the kept tokens `(batch, kept, dim)` *in order of their noise*; the mask `(batch, N)`, floating, 1 for hidden and 0 for kept; `restore` `(batch, N)`, integers |
# | **Mind** | every image has noise of its own; `kept = int(N * (1 - mask_ratio))`; noise may be any numbers, none twice in an image |
# | **Graded** | in two parts of 2 points: the kept tokens; mask and restore |
# | **Read** | MAE paper, section 3, "Simple implementation" |
#
# <details><summary>Hint 1: how do I pick other tokens in every image?</summary>
#
# `tokens[:, index]` picks the same ones in all images. `torch.gather(tokens, 1, index)` picks by an
# index for each image, but wants one of the shape of the result: `(batch, kept, dim)`. An index
# `(batch, kept)` becomes that by `index[:, :, None].expand(-1, -1, dim)`.
# </details>
# <details><summary>Hint 2: the check says that the mask belongs to other tokens</summary>
#
# `zeros` for the first `kept` and `ones` for the rest is the mask *in order of noise*. It has to be
# brought back to the order of the tokens: with `restore`. Or compare `restore` with `kept`.
# </details>
# <details><summary>Hint 3: "restore" is wrong, the rest is right</summary>
#
# `order.argsort(dim=1)`, not `noise.argsort(dim=1)`. For three or more tokens a permutation and its
# inverse are different things. Skeleton: order → restore → gather the first `kept` → mask.
# </details>

# %% exercise="random_masking"
def random_masking(tokens, mask_ratio, noise):
    """Keep the int(N * (1 - mask_ratio)) tokens of every image that have the least noise.

    tokens: (batch, N, dim); noise: (batch, N).
    Returns the kept tokens (batch, kept, dim) in order of their noise, the mask (batch, N), 1 for
    a hidden token, and restore (batch, N): the place of each token in the order of noise.
    """
    # Step 1: who comes first, and where does each stand?
    # Step 2: the tokens that are kept
    # Step 3: the mask
    ### BEGIN SOLUTION
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    index = order[:, :kept, None].expand(-1, -1, dim)  # (batch, kept, dim)
    visible = tokens.gather(1, index)
    mask = (restore >= kept).to(tokens.dtype)
    return visible, mask, restore
    ### END SOLUTION

# %% check="random_masking"
with Check("random_masking", read="section 1, the table with order and restore") as check:
    check.signature(random_masking, "tokens", "mask_ratio", "noise")
    # The table: four tokens (here the numbers 10, 11, 12, 13), and a second image in another order
    hand = torch.arange(10.0, 14)[None, :, None].repeat(2, 1, 1)
    hand_noise = torch.tensor([[0.7, 0.2, 0.9, 0.4], [0.1, 0.8, 0.6, 0.3]])
    kept, mask, restore = random_masking(hand, 0.5, hand_noise)
    check.shape(kept, (2, 2, 1), "the kept tokens of the table")
    check.values(kept[..., 0], [[11.0, 13], [10, 13]], "the kept tokens of the table", otherwise={
        "tokens with the most noise are kept; keep those with the least": [[12.0, 10], [11, 12]],
        "the second image is masked as the first; every image has its own noise":
            [[11.0, 13], [11, 13]],
        "restore is used where order belongs": [[12.0, 10], [10, 13]],
        "the first tokens are kept, whatever their noise": [[10.0, 11], [10, 11]],
    })
    check.values(mask, [[1.0, 0, 1, 0], [0, 1, 1, 0]], "the mask of the table", otherwise={
        "1 and 0 are exchanged: 1 is for hidden tokens": [[0.0, 1, 0, 1], [1, 0, 0, 1]],
        "the mask is in the order of noise; it belongs to the tokens in their own order":
            [[0.0, 0, 1, 1], [0, 0, 1, 1]],
    })
    check.values(restore, [[2, 0, 3, 1], [0, 3, 2, 1]], "restore of the table", otherwise={
        "this is order; restore is its inverse: order.argsort(dim=1)": [[1, 3, 0, 2], [0, 3, 2, 1]],
    })
    check.cases("07", globals())

# %% judge="random_masking" points=4
def ask(rng):
    for title, batch, count, dim, ratio, spread in (
        ("16 tokens, three quarters hidden", 3, 16, 4, 0.75, 0.5),
        ("10 tokens, three quarters hidden", 2, 10, 3, 0.75, 0.5),
        ("27 tokens, 15% hidden", 2, 27, 3, 0.15, 0.5),  # 22.95 to keep: int is not round
        ("nothing hidden", 2, 7, 3, 0.0, 0.5),
        ("one image, 40% hidden", 1, 12, 5, 0.4, 0.5),
        ("more images than tokens", 9, 6, 2, 0.5, 0.5),
        ("tokens of one number", 2, 9, 1, 0.3, 0.5),
        ("noise that is not between 0 and 1", 3, 11, 2, 0.6, 20.0),
    ):
        for part in parts:
            places = rng.permuted(np.tile(np.arange(count), (batch, 1)), axis=1)
            noise = 0.5 + spread * (2 * (places + 0.8 * rng.random((batch, count))) / count - 1)
            yield Case(title, part=part, tokens=randn(rng, batch, count, dim), ratio=ratio,
                       noise=torch.from_numpy(noise), result=part)


def drive(lab, tokens, ratio, noise, result):
    tokens.requires_grad_()
    visible, mask, restore = lab.random_masking(tokens, ratio, noise)
    if result == "mask and restore":
        return {"mask": mask, "restore": restore}
    steps = torch.linspace(-1, 1, visible.numel()).view(visible.shape)
    (gradient,) = torch.autograd.grad((visible * steps).sum(), tokens)
    return {"visible": visible, "gradient of tokens": gradient}


parts = {"kept tokens": 2, "mask and restore": 2}

# %% trap="random_masking" name="one mask for the batch"
# The noise of the first image decides for all here: the masks are shared across the batch. Every
# image has noise, and so a mask, of its own.
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise[:1].argsort(dim=1).expand(batch, -1)
    restore = order.argsort(dim=1)
    visible = tokens[:, order[0, :kept]]
    return visible, (restore >= kept).to(tokens.dtype), restore

# %% trap="random_masking" name="most noise kept"
# The tokens with the most noise are kept here. Keep those with the least: the first ones of the
# order.
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1, descending=True)
    restore = order.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    return visible, (restore >= kept).to(tokens.dtype), restore

# %% trap="random_masking" name="order for restore"
# Your mask is right, and what you call restore is the order of the noise. Restore is its inverse:
# the place at which each token stands, order.argsort(dim=1).
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    return visible, (order.argsort(dim=1) >= kept).to(tokens.dtype), order

# %% trap="random_masking" name="order for restore, and in the mask"
# What you call restore is the order of the noise, and the mask is made with it. Restore is the
# inverse: the place at which each token stands, order.argsort(dim=1).
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    return visible, (order >= kept).to(tokens.dtype), order

# %% trap="random_masking" name="mask in the order of noise"
# Your mask is in the order of the noise: its first entries are always 0. It belongs to the tokens
# in their own order; bring it there with restore.
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    mask = torch.ones(batch, count, dtype=tokens.dtype)
    mask[:, :kept] = 0
    return visible, mask, order.argsort(dim=1)

# %% trap="random_masking" name="1 is visible"
# Your mask is 1 for visible tokens. It says what was hidden: 1 for hidden, 0 for kept.
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    return visible, (restore < kept).to(tokens.dtype), restore

# %% trap="random_masking" name="kept in the order of the image"
# The right tokens are kept here, but they stand in the order of the image. Leave them in the order
# of their noise: restore counts on it.
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = int(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    index = order[:, :kept].sort(dim=1).values
    visible = tokens.gather(1, index[:, :, None].expand(-1, -1, dim))
    return visible, (restore >= kept).to(tokens.dtype), restore

# %% trap="random_masking" name="rounded"
# The number of kept tokens is rounded to the nearest here. It is int(N * (1 - mask_ratio)), which
# cuts off: of 22.95 tokens 22 are kept.
def random_masking(tokens, mask_ratio, noise):
    batch, count, dim = tokens.shape
    kept = round(count * (1 - mask_ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, dim))
    return visible, (restore >= kept).to(tokens.dtype), restore

# %% alternative="random_masking" name="a mask that is restored"
def random_masking(tokens, mask_ratio, noise):
    batch, count, _ = tokens.shape
    keep = int(count * (1 - mask_ratio))
    order = torch.argsort(noise, dim=1)
    restore = torch.empty_like(order)
    restore.scatter_(1, order, torch.arange(count).expand(batch, -1))
    visible = torch.take_along_dim(tokens, order[:, :keep].unsqueeze(-1), dim=1)
    mask = torch.ones_like(tokens[..., 0])
    mask[:, :keep] = 0
    return visible, torch.gather(mask.detach(), 1, restore), restore

# %% alternative="random_masking" name="an image at a time"
def random_masking(tokens, mask_ratio, noise):
    keep = int(tokens.shape[1] * (1 - mask_ratio))
    visible, masks, restores = [], [], []
    for image, numbers in zip(tokens, noise):
        order = sorted(range(len(numbers)), key=lambda i: numbers[i].item())
        restore = [order.index(i) for i in range(len(order))]
        visible.append(image[order[:keep]])
        masks.append(torch.tensor([float(place >= keep) for place in restore], dtype=image.dtype))
        restores.append(torch.tensor(restore))
    return torch.stack(visible), torch.stack(masks), torch.stack(restores)

# %% alternative="random_masking" name="the smallest, with advanced indexing"
def random_masking(tokens, mask_ratio, noise):
    batch, count = noise.shape
    kept = int(count * (1 - mask_ratio))
    _, order = noise.sort(dim=-1)
    rows = torch.arange(batch)[:, None]
    visible = tokens[rows, order[:, :kept]]
    mask = tokens.new_ones(batch, count)
    mask[rows, order[:, :kept]] = 0
    return visible, mask, order.sort(dim=-1).indices

# %% [markdown]
# What do masks look like? Three quarters are hidden below, in three ways. **Random** takes every
# patch with the same chance. **Block** hides a square as a whole, **grid** keeps every second patch
# of every second row. All three are only other noise for your function.

# %%
torch.manual_seed(2)
draws = {"random": random_noise, "block": block_noise, "grid": grid_noise}
rows = {}
for name, draw in draws.items():
    _, mask, _ = random_masking(torch.zeros(8, 64, 1), 0.75, draw(8, (8, 8)))
    rows[name] = reconstructions.hide(riddles.images, mask, 4)
reconstructions.show_rows(rows, title="Three ways to hide 75%: scattered, in one piece, regularly",
                          alt="The same eight images, hidden patches grey: at random places, as one "
                              "square, and all but every second of every second row.")

# %% [markdown]
# ## 2 · Put back
#
# The decoder, later, has to paint patches at their places. It gets what the encoder said of the
# visible ones, in order of their noise, and `restore`. In the place of every hidden patch it puts
# one and the same learned vector, the **mask token**: "something is missing here". Which makes two
# steps:
#
# 1. the visible ones, and behind them as many copies of the mask token as are missing: the full
#    sequence, *in order of noise*;
# 2. token $i$ stands at place `restore[i]` of it: fetch it from there.
#
# Forget step 2, and everything still has the right shape, the loss still falls, and the network
# learns to paint an average patch, because it cannot know where anything is. This mistake is worth
# a test of its own.
#
# ### Exercise 2 · `put_back` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about four lines |
# | **Shapes** | `visible`: `(batch, kept, dim)`; `mask_token`: `(1, 1, dim)`; `restore`: `(batch, N)`; out: `(batch, N, dim)` |
# | **Mind** | it may be that nothing is missing (`kept = N`); the mask token must get a gradient |
# | **Read** | MAE paper, section 3, "MAE decoder" |
#
# <details><summary>Hint 1: how do I make copies that learn?</summary>
#
# `mask_token.expand(batch, N - kept, -1)` is a view: no memory, and the gradients of all copies are
# added up in the one parameter. `.repeat` does it too.
# </details>
# <details><summary>Hint 2: which permutation?</summary>
#
# `restore[b, i]` is the place of token `i` in order of noise, so the result at `i` is the sequence
# at `restore[b, i]`. That is `gather` along axis 1 with `restore`, expanded over the channels.
# </details>
# <details><summary>Hint 3: "Index tensor must have the same number of dimensions as input tensor"</summary>
#
# `gather` wants an index of the result's shape: `restore[:, :, None].expand(-1, -1, dim)`.
# Skeleton: copies of the mask token → `torch.cat` → `gather`.
# </details>

# %% exercise="put_back"
def put_back(visible, mask_token, restore):
    """The full sequence in its own order: what is visible where it came from, else the mask token.

    visible: (batch, kept, dim); mask_token: (1, 1, dim); restore: (batch, N), see random_masking.
    Returns (batch, N, dim).
    """
    # Step 1: the full sequence in order of noise; Step 2: back to the order of the image
    ### BEGIN SOLUTION
    batch, kept, dim = visible.shape
    missing = mask_token.expand(batch, restore.shape[1] - kept, -1)
    shuffled = torch.cat([visible, missing], dim=1)  # (batch, N, dim)
    return shuffled.gather(1, restore[:, :, None].expand(-1, -1, dim))
    ### END SOLUTION

# %% check="put_back"
with Check("put_back", read="section 2, the two steps") as check:
    check.signature(put_back, "visible", "mask_token", "restore")
    # Tokens 1 and 3 of the first image are visible, tokens 0 and 3 of the second; -1 is missing
    visible = torch.tensor([[11.0, 13], [10, 13]])[:, :, None].repeat(1, 1, 2)
    token = torch.full((1, 1, 2), -1.0)
    full = put_back(visible, token, torch.tensor([[2, 0, 3, 1], [0, 3, 2, 1]]))
    check.shape(full, (2, 4, 2), "the full sequence of 4 tokens")
    check.values(full[..., 0], [[-1.0, 11, -1, 13], [10, -1, -1, 13]], "the sequence of the table",
                 otherwise={
        "the sequence is still in order of noise: use restore":
            [[11.0, 13, -1, -1], [10, 13, -1, -1]],
        "the inverse of restore is used: the result at i is what stands at restore[i]":
            [[13.0, -1, 11, -1], [10, -1, -1, 13]],
        "0 stands where the mask token belongs": [[0.0, 11, 0, 13], [10, 0, 0, 13]],
        "the mask tokens stand before the visible ones in order of noise":
            [[11.0, -1, 13, -1], [-1, 13, 10, -1]],
    })
    check.cases("07", globals())

# %% judge="put_back" points=3
def ask(rng):
    for title, batch, kept, count, dim in (
        ("4 of 16 visible", 3, 4, 16, 5), ("one image", 1, 3, 7, 4),
        ("nothing missing", 2, 6, 6, 3), ("all but one missing", 4, 1, 5, 2),
        ("more channels than tokens", 2, 2, 4, 9), ("tokens of one number", 5, 3, 8, 1),
    ):
        order = torch.from_numpy(rng.random((batch, count))).argsort(1)
        yield Case(title, visible=randn(rng, batch, kept, dim), token=randn(rng, 1, 1, dim),
                   restore=order)
    yield Case("visible tokens with zeros in them", visible=randn(rng, 2, 5, 4).relu(),
               token=randn(rng, 1, 1, 4),
               restore=torch.from_numpy(rng.random((2, 9))).argsort(1))


def drive(lab, visible, token, restore):
    visible.requires_grad_(), token.requires_grad_()
    full = lab.put_back(visible, token, restore)
    steps = torch.linspace(-1, 1, full.numel()).view(full.shape)
    gradients = torch.autograd.grad((full * steps).sum(), (visible, token), allow_unused=True)
    return {"output": full, "gradient of visible": gradients[0],
            "gradient of the mask token": gradients[1]}

# %% trap="put_back" name="still in order of noise"
# Your sequence is still in order of noise, so the decoder would paint every patch at a random place.
# Token i stands at place restore[i].
def put_back(visible, mask_token, restore):
    batch, kept, dim = visible.shape
    missing = mask_token.expand(batch, restore.shape[1] - kept, -1)
    return torch.cat([visible, missing], dim=1)

# %% trap="put_back" name="the inverse permutation"
# The inverse of restore is used here. The result at i is what stands at place restore[i] of the
# sequence in order of noise: gather with restore itself.
def put_back(visible, mask_token, restore):
    batch, kept, dim = visible.shape
    missing = mask_token.expand(batch, restore.shape[1] - kept, -1)
    shuffled = torch.cat([visible, missing], dim=1)
    return shuffled.gather(1, restore.argsort(1)[:, :, None].expand(-1, -1, dim))

# %% trap="put_back" name="zeros for the mask token"
# Zeros stand here where the mask token belongs. It is a learned vector: put a copy of it wherever a
# token is missing.
def put_back(visible, mask_token, restore):
    batch, kept, dim = visible.shape
    missing = visible.new_zeros(batch, restore.shape[1] - kept, dim)
    shuffled = torch.cat([visible, missing], dim=1)
    return shuffled.gather(1, restore[:, :, None].expand(-1, -1, dim)) + 0 * mask_token

# %% trap="put_back" name="restore of the first image"
# The first image's restore is used for all here. Every image was shuffled in its own way.
def put_back(visible, mask_token, restore):
    batch, kept, dim = visible.shape
    missing = mask_token.expand(batch, restore.shape[1] - kept, -1)
    return torch.cat([visible, missing], dim=1)[:, restore[0]]

# %% trap="put_back" name="where the result is zero"
# The mask token is put wherever a value is 0 here, and visible tokens may hold zeros too. Which
# tokens are missing is what restore says: those at place kept or later.
def put_back(visible, mask_token, restore):
    batch, kept, dim = visible.shape
    order = restore.argsort(dim=1)[:, :kept, None].expand(-1, -1, dim)
    full = visible.new_zeros(batch, restore.shape[1], dim).scatter(1, order, visible)
    return torch.where(full == 0, mask_token, full)

# %% alternative="put_back" name="scatter into mask tokens"
def put_back(visible, mask_token, restore):
    batch, kept, dim = visible.shape
    order = restore.argsort(dim=1)[:, :kept, None].expand(-1, -1, dim)
    return mask_token.repeat(batch, restore.shape[1], 1).scatter(1, order, visible)

# %% alternative="put_back" name="written into zeros"
def put_back(visible, mask_token, restore):
    batch, count = restore.shape
    full = torch.zeros(batch, count, visible.shape[2])
    for b in range(batch):
        for i in range(count):
            place = restore[b, i]
            full[b, i] = visible[b, place] if place < visible.shape[1] else mask_token[0, 0]
    return full

# %% alternative="put_back" name="a choice for every token"
def put_back(visible, mask_token, restore):
    kept = visible.shape[1]
    here = restore.clamp(max=kept - 1)
    rows = torch.arange(len(visible)).unsqueeze(1)
    return torch.where((restore < kept).unsqueeze(-1), visible[rows, here], mask_token)

# %% alternative="put_back" name="token by token"
def put_back(visible, mask_token, restore):
    images = []
    for image, places in zip(visible, restore.tolist()):
        tokens = [image[p] if p < len(image) else mask_token[0, 0] for p in places]
        images.append(torch.stack(tokens))
    return torch.stack(images)

# %% [markdown]
# ## 3 · Encode what is visible
#
# Now the encoder, a Vision Transformer with one step between the positions and the blocks:
#
# 1. patches become tokens: `PatchEmbedding`, from lab 01;
# 2. **positions are added**, fixed ones of sines and cosines;
# 3. **masking**: your `random_masking`;
# 4. the class token comes first (it has no position, and is never hidden);
# 5. blocks, and a last layer norm.
#
# The order of 2 and 3 decides whether the network can work at all. After masking, token 0 may
# come from any corner of the image. If the positions are added *after*, every image tells the
# encoder that its kept patches are patches 0, 1, 2, …; the network sees a bag of patches.
#
# And what is *not* there: no mask token. A hidden patch costs nothing here, whereas in BERT and
# BEiT it travels through all blocks as "[MASK]". That is what makes MAE fast, and it also keeps
# the encoder from ever seeing a token that does not occur when it is used later (the paper's
# table 1c: mask tokens in the encoder cost 14 points of linear probing).
#
# **Given**: the table of positions, the start values (`initialise(self)`, call it last: it fills
# all parameters as the published code does), `PatchEmbedding(image_size, patch_size, in_channels,
# dim)` and lab 01's `EncoderBlock(dim, heads, mlp_ratio)`.

# %% tags=["setup"]
def sincos_table(rows, columns, dim):
    """Fixed positions (1, rows * columns + 1, dim): half of the channels say the column, half the
    row, each as sines, then cosines. Index 0, the class token's, is zero."""
    speed = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [index.flatten()[:, None] * speed for index in (column, row)]
    table = torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, dim), table.float()])[None]


def initialise(module):
    """Xavier-uniform matrices and zero biases; class and mask token normal with deviation 0.02."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.view(part.weight.shape[0], -1))
            nn.init.zeros_(part.bias)
    for name, parameter in module.named_parameters():
        if name.endswith(("cls_token", "mask_token")):
            nn.init.normal_(parameter, std=0.02)

# %% [markdown]
# ### Exercise 3 · `mae_encoder` · 5 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `MAEEncoder(image_size, patch_size, dim, depth, heads, mlp_ratio=4)`, about twenty lines |
# | **Shapes** | `forward(images, mask_ratio=0.0, noise=None)`: images `(batch, 3, image_size, image_size)`; noise `(batch, N)`. Out: latents `(batch, kept + 1, dim)`, class token first; mask and restore as they come from `random_masking` |
# | **Names** | `patch_embed`; `cls_token` `(1, 1, dim)`; `blocks`, an `nn.ModuleList`; `norm`, an `nn.LayerNorm` with `eps=1e-6`; the positions are a buffer: `self.register_buffer("positions", sincos_table(…), persistent=False)` |
# | **Mind** | without noise, draw it: `torch.rand`, for every image its own |
# | **Graded** | in three parts: the latents with mask and restore, 3 points; noise that is drawn, 1; start values, 1 |
# | **Read** | MAE paper, section 3, "MAE encoder", and appendix A.1 |
#
# <details><summary>Hint 1: the positions have one row too many</summary>
#
# `positions` is `(1, N + 1, dim)`, row 0 for the class token. The patches take `positions[:, 1:]`.
# (Row 0 is zero, so the class token may take it or leave it.)
# </details>
# <details><summary>Hint 2: "Sizes of tensors must match except in dimension 1. Expected size 2 but got size 1"</summary>
#
# The class token is there once and the batch is larger: `self.cls_token.expand(len(x), -1, -1)`
# before `torch.cat` along the tokens.
# </details>
# <details><summary>Hint 3: the check says that all patches go through the blocks</summary>
#
# Then hidden ones get into them, and cost time. Mask *before* the blocks, not after. Skeleton:
# `patch_embed` → add positions → `random_masking` → class token in front → blocks → norm → return
# three things.
# </details>

# %% exercise="mae_encoder"
class MAEEncoder(nn.Module):
    """A ViT that sees only what the mask leaves.

    forward(images, mask_ratio, noise): images (batch, 3, image_size, image_size), noise (batch, N)
    -> latents (batch, kept + 1, dim) with the class token first, mask and restore (batch, N).
    """

    def __init__(self, image_size, patch_size, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        # Step 1: patch_embed, cls_token, positions, blocks, norm; initialise(self) last
        ### BEGIN SOLUTION
        self.patch_embed = PatchEmbedding(image_size, patch_size, 3, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        side = image_size // patch_size
        self.register_buffer("positions", sincos_table(side, side, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)
        ### END SOLUTION

    def forward(self, images, mask_ratio=0.0, noise=None):
        # Step 2: tokens with positions, then masking
        # Step 3: the class token in front; blocks; norm
        ### BEGIN SOLUTION
        x = self.patch_embed(images) + self.positions[:, 1:]  # (batch, N, dim)
        if noise is None:
            noise = torch.rand(x.shape[:2], device=x.device)
        x, mask, restore = random_masking(x, mask_ratio, noise)  # (batch, kept, dim)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x), mask, restore
        ### END SOLUTION

# %% check="mae_encoder"
with Check("mae_encoder", read="section 3, the five steps") as check:
    check.signature(MAEEncoder, "image_size", "patch_size", "dim", "depth", "heads", "mlp_ratio")
    block = {f"blocks.{i}.{name}": tuple(p.shape) for i in range(2)
             for name, p in EncoderBlock(16, 2, 2).named_parameters()}
    check.parameters(MAEEncoder(12, 4, 16, 2, 2, 2), {
        "patch_embed.proj.weight": (16, 3, 4, 4), "patch_embed.proj.bias": (16,),
        "cls_token": (1, 1, 16), **block, "norm.weight": (16,), "norm.bias": (16,)})
    check.cases("07", globals())

# %% judge="mae_encoder" points=5
def ask(rng):
    def inputs(batch, side, patch_size, ratio):
        noise = torch.from_numpy(rng.random((batch, (side // patch_size) ** 2)))
        return {"images": randn(rng, batch, 3, side, side), "ratio": ratio, "noise": noise}

    for title, shape, size in (
        ("half of 9 patches hidden", (3, 6, 2, 0.5), (2, 8, 2, 2, 2)),
        ("three quarters of 16 hidden, batch of one", (1, 16, 4, 0.75), (4, 8, 1, 4, 3)),
        ("nothing hidden", (2, 6, 2, 0.0), (2, 12, 1, 1, 1)),
        ("mask_ratio not given", (2, 6, 3, None), (3, 4, 1, 1, 2)),
        ("mlp_ratio not given", (2, 8, 4, 0.5), (4, 8, 2, 2)),
        ("3 heads, 40% of 25 hidden", (2, 10, 2, 0.4), (2, 12, 1, 3, 1)),
        ("three blocks", (2, 8, 4, 0.25), (4, 8, 3, 2, 2)),
    ):
        yield Case(title, part="latents", **inputs(*shape), size=size)
    yield Case("small parameters", part="latents", **inputs(2, 9, 3, 0.5), size=(3, 8, 1, 2, 2),
               gain=1e-3)
    for title, ratio in (("no noise given", 0.5), ("no noise and no mask_ratio given", None)):
        same = randn(rng, 1, 3, 8, 8).repeat(6, 1, 1, 1)
        yield Case(title, part="noise that is drawn", images=same, ratio=ratio,
                   size=(2, 8, 1, 2, 2))
    yield Case("a new encoder", part="start values", size=(4, 8, 2, 2, 2))


def right_masking(tokens, mask_ratio, noise):
    """In the place of random_masking: what exercise 1 asks for, an image at a time."""
    kept = int(tokens.shape[1] * (1 - mask_ratio))
    orders = noise.argsort(1)
    restore = torch.stack([order.argsort() for order in orders])
    visible = torch.stack([image[order[:kept]] for image, order in zip(tokens, orders)])
    return visible, (restore >= kept).float(), restore


def half(module):
    """In the place of initialise: every number becomes a half."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)


def drive(lab, size, images=None, ratio=None, noise=None, gain=1.0):
    patch_size, *rest = size
    if images is None:
        with lab.replacing(initialise=half):
            net = lab.MAEEncoder(8, patch_size, *rest)
        return {"initialise(self) comes last": all((p == 0.5).all() for p in net.parameters())}
    extra = {} if ratio is None else {"mask_ratio": ratio}
    with lab.replacing(random_masking=right_masking):
        net = fill_parameters(lab.MAEEncoder(images.shape[-1], patch_size, *rest), seed=3)
        if noise is None:
            _, mask, restore = net(images, **extra)
            found = {"number of hidden patches": mask.sum(1),
                     "restore, sorted": restore.sort(1).values}
            if ratio:
                again = net(images, **extra)[1]
                found["every image has a mask of its own"] = len(mask.unique(dim=0)) > 1
                found["another call draws other masks"] = not torch.equal(mask, again)
            return found
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if not name.startswith("norm."):
                    parameter.mul_(gain)
        images.requires_grad_()
        latents, mask, restore = net.train()(images, noise=noise, **extra)
        stays = all(part.training for part in net.modules())
        evaluated = net.eval()(images, noise=noise, **extra)[0]
        stays = stays and not any(part.training for part in net.modules())
    steps = torch.linspace(-1, 1, latents.numel()).view(latents.shape)
    found = {
        "parameters": {name: list(p.shape) for name, p in sorted(net.named_parameters())},
        "norm has eps=1e-6": math.isclose(net.norm.eps, 1e-6),
        "positions are not in the state dict": "positions" not in net.state_dict(),
        "latents": latents, "mask": mask, "restore": restore, "latents in evaluation": evaluated,
        "training or evaluation mode stays as it is set": stays,
    }
    if gain == 1:  # of small parameters the gradients are large
        (latents * steps).sum().backward()
        found["gradients"] = {"images": images.grad,
                              **{name: p.grad for name, p in net.named_parameters()}}
    return found


parts = {"latents": 3, "noise that is drawn": 1, "start values": 1}

# %% trap="mae_encoder" name="positions after the masking"
# The positions are added after the masking here: every image then claims that its kept patches are
# patches 0, 1, 2, … Add the positions first, then mask.
class MAEEncoder(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, 3, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        side = image_size // patch_size
        self.register_buffer("positions", sincos_table(side, side, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)

    def forward(self, images, mask_ratio=0.0, noise=None):
        x = self.patch_embed(images)
        if noise is None:
            noise = torch.rand(x.shape[:2])
        x, mask, restore = random_masking(x, mask_ratio, noise)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + self.positions[:, :x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x), mask, restore

# %% trap="mae_encoder" name="masked after the blocks"
# All patches go through the blocks here, and some are dropped then: it costs as much as without a
# mask, and the hidden patches have already been seen. Mask first.
class MAEEncoder(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, 3, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        side = image_size // patch_size
        self.register_buffer("positions", sincos_table(side, side, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)

    def forward(self, images, mask_ratio=0.0, noise=None):
        x = self.patch_embed(images) + self.positions[:, 1:]
        if noise is None:
            noise = torch.rand(x.shape[:2])
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        patches, mask, restore = random_masking(x[:, 1:], mask_ratio, noise)
        return torch.cat([x[:, :1], patches], dim=1), mask, restore

# %% trap="mae_encoder" name="no positions"
# There are no positions in these latents: the encoder then cannot tell where in the image a patch
# comes from. Add positions[:, 1:] to the tokens before the masking.
class MAEEncoder(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, 3, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        side = image_size // patch_size
        self.register_buffer("positions", sincos_table(side, side, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)

    def forward(self, images, mask_ratio=0.0, noise=None):
        x = self.patch_embed(images)
        if noise is None:
            noise = torch.rand(x.shape[:2])
        x, mask, restore = random_masking(x, mask_ratio, noise)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x), mask, restore

# %% alternative="mae_encoder" name="class token embedded with the rest"
class MAEEncoder(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(EncoderBlock(dim, heads, mlp_ratio=mlp_ratio))
        self.patch_embed = PatchEmbedding(image_size, patch_size, in_channels=3, dim=dim)
        self.cls_token = nn.Parameter(torch.zeros((1, 1, dim)))
        count = image_size // patch_size
        self.register_buffer("positions", sincos_table(count, count, dim), persistent=False)
        initialise(self)

    def forward(self, images, mask_ratio=0.0, noise=None):
        patches = self.patch_embed(images)
        batch, count, _ = patches.shape
        patches = patches + self.positions[:, 1:]
        if noise is None:
            noise = torch.rand(batch, count)
        visible, mask, restore = random_masking(patches, mask_ratio, noise)
        first = (self.cls_token + self.positions[:, :1]).repeat(batch, 1, 1)
        out = torch.cat((first, visible), 1)
        for i in range(len(self.blocks)):
            out = self.blocks[i](out)
        return self.norm(out), mask, restore

# %% alternative="mae_encoder" name="a place for the class token"
class MAEEncoder(nn.Module):
    def __init__(self, image_size, patch_size, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.patch_embed = PatchEmbedding(image_size, patch_size, 3, dim)
        self.grid = image_size // patch_size
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.blocks = nn.ModuleList([EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialise(self)

    def forward(self, images, mask_ratio=0.0, noise=None):
        table = sincos_table(self.grid, self.grid, self.norm.normalized_shape[0]).to(images)
        x = torch.add(self.patch_embed(images), table[:, 1:])
        chance = torch.rand(len(images), self.grid**2) if noise is None else noise
        visible, *rest = random_masking(x, mask_ratio, chance)
        full = visible.new_empty(len(visible), visible.shape[1] + 1, visible.shape[2])
        full[:, :1] = self.cls_token
        full[:, 1:] = visible
        for layer in self.blocks:
            full = layer(full)
        return (self.norm(full), *rest)

# %% [markdown]
# **Time.** How much faster is it? The net of this lab has 32 × 32 pixels, patches of 4 × 4, so 64
# tokens of 96 channels, and four blocks. Before you run the cell: with 75% hidden, 17 of 65 tokens
# are left. How many times faster would you guess?

# %% tags=["setup"]
SIZES = dict(image_size=32, patch_size=4, dim=96, depth=4, heads=3, mlp_ratio=2)

# %% experiment="encoder_time"
ratios = (0.0, 0.25, 0.5, 0.75, 0.9)
torch.manual_seed(SEED)
stopwatch = MAEEncoder(**SIZES).eval()
many = scale(smoke=8, cpu=64, gpu=64)
batch, chance = torch.randn(many, 3, 32, 32), torch.rand(many, 64)
encoders = {r: (lambda images, r=r: stopwatch(images, r, chance)) for r in ratios}
encoder_seconds = measure_in_turns(encoders, batch, seconds=scale(smoke=0.1, cpu=6, gpu=6))
encoder_macs = {r: count_macs(stopwatch, batch[:1], r, chance[:1]) for r in ratios}
measured["encoder speed-up"] = encoder_seconds[0.0] / encoder_seconds[0.75]
charts.Table(["hidden", "tokens in the blocks", "MACs of one image", f"time of {many} images",
              "times fewer tokens", "times fewer MACs", "times faster"], [
    [f"{r:.0%}", f"{int(64 * (1 - r)) + 1}", f"{encoder_macs[r]:,}",
     f"{1000 * encoder_seconds[r]:.0f} ms", f"{65 / (int(64 * (1 - r)) + 1):.2f}",
     f"{encoder_macs[0.0] / encoder_macs[r]:.2f}",
     f"{encoder_seconds[0.0] / encoder_seconds[r]:.2f}"]
    for r in ratios], title="The encoder alone: medians of runs that take turns, one thread")

# %% [markdown]
# **What it shows.** Three columns of gains, and no two of them are equal: 3.82 times fewer tokens
# at 75%, 4.11 times fewer MACs, and a gain in time that is your machine's own. Question 1 asks
# why, so look for what is *not* hidden, for what is done before the hiding, and for what grows
# with pairs of tokens. Compare 90% with 75%, too.

# %% [markdown]
# ## 4 · Decode everything
#
# The decoder is a second, smaller transformer. It is used in pretraining only and thrown away
# afterwards, so it may be narrow and shallow: the paper's has 512 channels and 8 blocks beside an
# encoder of up to 1,280 channels and 32 blocks, and one block does nearly as well for
# fine-tuning. This lab's has one block of 64 channels.
#
# 1. `embed`: a linear layer takes the latents to the decoder's width;
# 2. the patches, *without* the class token, are **put back** with mask tokens;
# 3. the class token comes in front again, and positions are added to **all** tokens, mask tokens
#    too: without them every mask token is the same, and gets the same answer;
# 4. blocks, norm, and `pred`, a linear layer to the values of a patch;
# 5. what came out for the class token is dropped.
#
# ### Exercise 4 · `mae_decoder` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `MAEDecoder(grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4)`, about eighteen lines |
# | **Shapes** | `forward(latents, restore)`: `(batch, kept + 1, encoder_dim)` and `(batch, N)` to `(batch, N, values)`; `grid` is (rows, columns), N = rows × columns |
# | **Names** | `embed`, `pred`: `nn.Linear`; `mask_token` `(1, 1, dim)`; `positions` as in exercise 3; `blocks`; `norm` with `eps=1e-6`; `initialise(self)` last |
# | **Mind** | `restore` speaks of patches only; the class token has no place in it |
# | **Graded** | in two parts: the prediction, 3 points; start values, 1 |
# | **Read** | MAE paper, section 3, "MAE decoder" |
#
# <details><summary>Hint 1: which part of the latents is put back?</summary>
#
# `latents[:, :1]` is the class token, `latents[:, 1:]` are the patches in order of noise. Embed
# all, put back the second part, join.
# </details>
# <details><summary>Hint 2: the check says that mask tokens get the same answer everywhere</summary>
#
# Positions must be added *after* the mask tokens are in place. If they are added before, the mask
# tokens have none.
# </details>
# <details><summary>Hint 3: "size of tensor a (9) must match the size of tensor b (10)"</summary>
#
# `positions` is `(1, N + 1, dim)` with the class token's at index 0: join the class token first,
# then add the whole table. Skeleton: embed → put back → cat → positions → blocks → norm → pred →
# drop the first.
# </details>

# %% exercise="mae_decoder"
class MAEDecoder(nn.Module):
    """Latents (batch, kept + 1, encoder_dim) and restore (batch, N) to a prediction for every
    patch, hidden or not: (batch, N, values)."""

    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        # Step 1: embed, mask_token, positions, blocks, norm, pred; initialise(self) last
        ### BEGIN SOLUTION
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(*grid, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pred = nn.Linear(dim, values)
        initialise(self)
        ### END SOLUTION

    def forward(self, latents, restore):
        # Step 2: embed; put the patches back, the class token in front; positions
        # Step 3: blocks, norm, prediction; without the class token
        ### BEGIN SOLUTION
        x = self.embed(latents)  # (batch, kept + 1, dim)
        patches = put_back(x[:, 1:], self.mask_token, restore)  # (batch, N, dim)
        x = torch.cat([x[:, :1], patches], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x))[:, 1:]
        ### END SOLUTION

# %% check="mae_decoder"
with Check("mae_decoder", read="section 4, the five steps") as check:
    check.signature(MAEDecoder, "grid", "encoder_dim", "values", "dim", "depth", "heads",
                    "mlp_ratio")
    block = {f"blocks.0.{name}": tuple(p.shape)
             for name, p in EncoderBlock(8, 2, 2).named_parameters()}
    check.parameters(MAEDecoder((2, 3), 10, 12, 8, 1, 2, 2), {
        "embed.weight": (8, 10), "embed.bias": (8,), "mask_token": (1, 1, 8), **block,
        "norm.weight": (8,), "norm.bias": (8,), "pred.weight": (12, 8), "pred.bias": (12,)})
    check.cases("07", globals())

# %% judge="mae_decoder" points=4
def ask(rng):
    for title, (batch, kept, width), grid, size in (
        ("2 x 3 patches, half of them hidden", (3, 3, 10), (2, 3), (12, 8, 2, 2, 2)),
        ("4 x 4 patches, 4 visible, batch of one", (1, 4, 8), (4, 4), (3, 8, 1, 4, 3)),
        ("nothing hidden, a tall grid", (2, 6, 5), (3, 2), (7, 4, 1, 1, 1)),
        ("mlp_ratio not given", (2, 1, 8), (2, 2), (5, 8, 2, 2)),
        ("3 heads, a wide grid, values of one number", (2, 2, 6), (1, 5), (1, 12, 1, 3, 2)),
        ("three blocks", (2, 2, 4), (2, 3), (6, 8, 3, 2, 1)),
    ):
        yield Case(title, part="prediction", latents=randn(rng, batch, kept + 1, width),
                   restore=torch.from_numpy(rng.random((batch, math.prod(grid)))).argsort(1),
                   grid=grid, size=size)
    yield Case("a new decoder", part="start values", grid=(2, 2), size=(6, 4, 8, 2, 2, 2))


def right_put_back(visible, mask_token, restore):
    """In the place of put_back: what exercise 2 asks for, as a choice for every token."""
    kept, rows = visible.shape[1], torch.arange(len(restore))[:, None]
    there = visible[rows, restore.clamp(max=kept - 1)]
    return torch.where((restore < kept)[..., None], there, mask_token)


def half(module):
    """In the place of initialise: every number becomes a half."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)


def drive(lab, grid, size, latents=None, restore=None):
    if latents is None:
        with lab.replacing(initialise=half):
            net = lab.MAEDecoder(tuple(grid), *size)
        return {"initialise(self) comes last": all((p == 0.5).all() for p in net.parameters())}
    with lab.replacing(put_back=right_put_back):
        net = fill_parameters(lab.MAEDecoder(tuple(grid), latents.shape[-1], *size), seed=4)
        latents.requires_grad_()
        predicted = net.train()(latents, restore)
        stays = all(part.training for part in net.modules())
        evaluated = net.eval()(latents, restore)
        stays = stays and not any(part.training for part in net.modules())
    steps = torch.linspace(-1, 1, predicted.numel()).view(predicted.shape)
    (predicted * steps).sum().backward()
    return {
        "parameters": {name: list(p.shape) for name, p in sorted(net.named_parameters())},
        "norm has eps=1e-6": math.isclose(net.norm.eps, 1e-6),
        "positions are not in the state dict": "positions" not in net.state_dict(),
        "prediction": predicted, "prediction in evaluation": evaluated,
        "training or evaluation mode stays as it is set": stays,
        "gradients": {"latents": latents.grad,
                      **{name: p.grad for name, p in net.named_parameters()}},
    }


parts = {"prediction": 3, "start values": 1}

# %% trap="mae_decoder" name="positions before restoring"
# The positions are added before the tokens are put back here: mask tokens then have no position,
# and visible ones a wrong one. Put back first.
class MAEDecoder(nn.Module):
    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(*grid, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pred = nn.Linear(dim, values)
        initialise(self)

    def forward(self, latents, restore):
        x = self.embed(latents) + self.positions[:, :latents.shape[1]]
        patches = put_back(x[:, 1:], self.mask_token, restore)
        x = torch.cat([x[:, :1], patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x))[:, 1:]

# %% trap="mae_decoder" name="no positions"
# There are no positions in this prediction: every mask token is then the same vector, and gets the
# same answer. Add the table after the tokens are put back.
class MAEDecoder(nn.Module):
    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(*grid, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pred = nn.Linear(dim, values)
        initialise(self)

    def forward(self, latents, restore):
        x = self.embed(latents)
        patches = put_back(x[:, 1:], self.mask_token, restore)
        x = torch.cat([x[:, :1], patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x))[:, 1:]

# %% trap="mae_decoder" name="the last token dropped"
# The last token is dropped here: every patch then gets its neighbour's answer. The class token is
# the first one; drop that.
class MAEDecoder(nn.Module):
    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(*grid, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pred = nn.Linear(dim, values)
        initialise(self)

    def forward(self, latents, restore):
        x = self.embed(latents)
        patches = put_back(x[:, 1:], self.mask_token, restore)
        x = torch.cat([x[:, :1], patches], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x))[:, :-1]

# %% trap="mae_decoder" name="not put back"
# The mask tokens are simply appended here: the tokens are still in order of noise. Use put_back
# with restore.
class MAEDecoder(nn.Module):
    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.register_buffer("positions", sincos_table(*grid, dim), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pred = nn.Linear(dim, values)
        initialise(self)

    def forward(self, latents, restore):
        x = self.embed(latents)
        missing = self.mask_token.expand(len(x), restore.shape[1] + 1 - x.shape[1], -1)
        x = torch.cat([x, missing], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x))[:, 1:]

# %% alternative="mae_decoder" name="class token and patches apart"
class MAEDecoder(nn.Module):
    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        rows, columns = grid
        self.pred = nn.Linear(in_features=dim, out_features=values)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList([EncoderBlock(dim, heads, mlp_ratio) for _ in range(depth)])
        self.register_buffer("positions", sincos_table(rows, columns, dim), persistent=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.embed = nn.Linear(encoder_dim, dim)
        initialise(self)

    def forward(self, latents, restore):
        first, rest = latents.split([1, latents.shape[1] - 1], dim=1)
        table = self.positions
        patches = put_back(self.embed(rest), self.mask_token, restore) + table[:, 1:]
        x = torch.cat((self.embed(first) + table[:, :1], patches), dim=1)
        for block in self.blocks:
            x = block(x)
        return self.pred(self.norm(x[:, 1:]))

# %% alternative="mae_decoder" name="blocks in a loop by index, table made in forward"
class MAEDecoder(nn.Module):
    def __init__(self, grid, encoder_dim, values, dim, depth, heads, mlp_ratio=4):
        super().__init__()
        self.shape = (*grid, dim)
        self.embed = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(EncoderBlock(dim, heads, mlp_ratio))
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.pred = nn.Linear(dim, values)
        initialise(self)

    def forward(self, latents, restore):
        hidden = F.linear(latents, self.embed.weight, self.embed.bias)
        tokens = put_back(hidden[:, 1:], self.mask_token, restore)
        hidden = torch.hstack([hidden[:, 0][:, None], tokens])
        hidden = hidden.add(sincos_table(*self.shape).to(hidden))
        for i in range(len(self.blocks)):
            hidden = self.blocks[i](hidden)
        return self.pred(self.norm(hidden)).narrow(1, 1, restore.shape[1])

# %% [markdown]
# **Where the time goes.** The encoder runs on a quarter of the tokens; the decoder runs on all of
# them, whatever the mask. Measure encoder, and encoder with decoder, side by side; then look at the
# published sizes, which your classes make on PyTorch's `meta` device, where nothing is computed and
# everything is counted.

# %% experiment="model_time"
torch.manual_seed(SEED)
painter = MAEDecoder((8, 8), 96, 48, dim=64, depth=1, heads=2, mlp_ratio=2).eval()


def whole(images, ratio):
    latents, _, restore = stopwatch(images, ratio, chance[:len(images)])
    return painter(latents, restore)


def training_step(images, ratio):
    """Forward and backward through both, as in training."""
    with torch.enable_grad():
        whole(images, ratio).square().mean().backward()


calls = {("encoder", r): encoders[r] for r in ratios}
calls |= {("with decoder", r): (lambda images, r=r: whole(images, r)) for r in ratios}
calls |= {("training step", r): (lambda images, r=r: training_step(images, r)) for r in ratios}
spent = measure_in_turns(calls, batch, seconds=scale(smoke=0.1, cpu=15, gpu=15))
gains = {name: [spent[name, 0.0] / spent[name, r] for r in ratios]
         for name in ("encoder", "with decoder", "training step")}
measured["encoder speed-up"] = gains["encoder"][ratios.index(0.75)]
measured["whole speed-up"] = gains["with decoder"][ratios.index(0.75)]
measured["step speed-up"] = gains["training step"][ratios.index(0.75)]
charts.lines([100 * r for r in ratios], gains, xlabel="patches hidden, percent",
             ylabel="times as fast as with none hidden",
             title=f"With 75% hidden, the encoder is {measured['encoder speed-up']:.1f} times as "
                   f"fast, with the decoder {measured['whole speed-up']:.1f} times")

# %% experiment="published_macs"
PUBLISHED = {"ViT-B": (16, 768, 12, 12), "ViT-L": (16, 1024, 24, 16), "ViT-H": (14, 1280, 32, 16)}


class Both(nn.Module):
    """Encoder and decoder of a published size, to be counted."""

    def __init__(self, patch_size, dim, depth, heads, image_size=224, decoder=(512, 8, 16, 4)):
        super().__init__()
        side = image_size // patch_size
        self.encoder = MAEEncoder(image_size, patch_size, dim, depth, heads)
        self.decoder = MAEDecoder((side, side), dim, 3 * patch_size**2, *decoder)

    def forward(self, images, mask_ratio, noise):
        latents, _, restore = self.encoder(images, mask_ratio, noise)
        return self.decoder(latents, restore)


rows = []
for name in scale(smoke=("ViT-B",), cpu=tuple(PUBLISHED), gpu=tuple(PUBLISHED)):
    patch, dim, depth, heads = PUBLISHED[name]
    macs = {}
    for decoder in ((512, 8, 16, 4), (512, 1, 16, 4)):
        with torch.device("meta"):  # also for what your code makes anew
            net = Both(patch, dim, depth, heads, decoder=decoder).eval()
            image, noise = torch.zeros(1, 3, 224, 224), torch.zeros(1, (224 // patch) ** 2)
            macs[decoder[1]] = {r: count_macs(net, image, r, noise) for r in (0.0, 0.75)}
            if decoder[1] == 8:
                parts = {r: count_macs(net.encoder, image, r, noise) for r in (0.0, 0.75)}
                size = count_parameters(net)
    measured[f"macs {name}"] = macs[8][0.0] / macs[8][0.75]
    rows.append([name, f"{size:,}", f"{parts[0.0] / 1e9:.1f} G → {parts[0.75] / 1e9:.1f} G",
                 f"{parts[0.0] / parts[0.75]:.2f} ×",
                 f"{(macs[8][0.75] - parts[0.75]) / 1e9:.1f} G",
                 f"{1 - parts[0.75] / macs[8][0.75]:.0%}", f"{macs[8][0.0] / macs[8][0.75]:.2f} ×",
                 f"{macs[1][0.0] / macs[1][0.75]:.2f} ×"])
own = count_macs(stopwatch, batch[:1], 0.75, chance[:1])
both = {r: count_macs(lambda images, r=r: whole(images, r), batch[:1]) for r in (0.0, 0.75)}
measured["macs own"] = both[0.0] / both[0.75]
rows.append(["this lab's", f"{count_parameters(stopwatch) + count_parameters(painter):,}",
             f"{encoder_macs[0.0] / 1e6:.1f} M → {own / 1e6:.1f} M",
             f"{encoder_macs[0.0] / own:.2f} ×", "(1 block) "
             f"{(both[0.75] - own) / 1e6:.1f} M", f"{1 - own / both[0.75]:.0%}", "",
             f"{both[0.0] / both[0.75]:.2f} ×"])
charts.Table(["size", "parameters", "encoder, 0 → 75% hidden", "gain", "decoder of 8 blocks",
              "its share at 75%", "gain of both", "gain with a decoder of 1 block"], rows,
             title="MACs of one image, 224 pixels; counted on your classes")

# %% [markdown]
# **What it shows.** Your figure has three curves, and the title says how far the first two are
# apart at 75%. The table has the same for the published sizes, counted here: what a decoder of 8
# blocks leaves of the encoder's gain, and what one of a single block does. (The paper's fastest
# times, 3.7 and 4.1 times, are with one block.) For which networks does this method pay most?
# Question 1 needs your answer.

# %% [markdown] question="q_speed" points=2
# ### Question 1 · 2 points
#
# Answer from *your* tables and figure of sections 3 and 4, in three to five sentences, with
# numbers.
#
# (a) With 75% hidden, how many times fewer tokens, MACs and seconds does your encoder take? Why
# are these three numbers not all equal to 4, and what changes at 90%?
#
# (b) How much of that is left when the decoder is counted, and why? What would a decoder of 8
# blocks do to the gain of ViT-B, and why does it harm ViT-H less?
#
# (c) Somebody proposes to hide 95% instead of 75% "to train four times faster again". Use your
# figure to say what would happen to the time of a training step.
#
# ### BEGIN SOLUTION
# Model answer. (a) 65 / 17 = 3.8 times fewer tokens, 4.1 times fewer MACs, in the run shown about
# 4 times less time. Not exactly 4: the class token is never hidden (17 instead of 16), attention
# is quadratic in the tokens, all patches are embedded before masking; the time also depends on
# caches and on calls that cost the same for any number of tokens, which count most at 90%, where
# 7 tokens are left. (b) With the decoder about 3 times, a little more in a training step, because
# the way back costs the encoder most: the decoder works on all 65 tokens whatever is hidden. For
# ViT-B the 8 blocks of 512 channels take 5.4 G of 9.8 G MACs at 75%, 55%, so both together gain
# 2.35 times although the encoder gains 4.0; for ViT-H the decoder is 7.1 G of 48.6 G, 15%, so 3.6
# times are left. The speed-up is a property of large encoders with small decoders. (c) From 75 to
# 90% a training step goes from about 3 to 4 or 5 times; at 95% the encoder costs almost nothing
# and the decoder's time remains. The limit is the time of the decoder alone, so "four times
# again" is impossible.
#
# Rubric. ½ point: (a) the three numbers and the class token or the overhead. ½ point: (b) the
# encoder's and the whole model's gain, the decoder sees all tokens. ½ point: (b) its share of ViT-B
# and of ViT-H. ½ point: (c) the decoder's time is a floor.
# ### END SOLUTION

# %% [markdown]
# ## 5 · What to predict, and where
#
# For each patch the network gives $P^2 \cdot 3$ numbers. What should they be, and which of them
# count?
#
# **The target** can be the pixels. Better for the representation, says the paper (table 1d: 84.9
# → 85.4), are **normalised pixels**: from the pixels of *every single patch* subtract their mean
# and divide by their standard deviation,
#
# $$ \hat{\mathbf{t}} = \frac{\mathbf{t} - \operatorname{mean}(\mathbf{t})}
#                            {\sqrt{\operatorname{var}(\mathbf{t}) + 10^{-6}}} $$
#
# (over the patch's $P^2 \cdot 3$ values, the three colours together; the variance is the unbiased
# one, `torch.var`'s default). A grey patch without a pattern becomes zeros instead of 0 / 0. What
# is left is pattern and tint; how bright the patch was and how strong its contrast no longer
# matters, and these are what could be copied from the neighbours.
#
# **Where.** The loss is the mean squared error of a patch, averaged over the **hidden** patches
# only, all those of the batch together:
#
# $$ L = \frac{\sum_i m_i \cdot \operatorname{mean}\big((\mathbf{p}_i - \hat{\mathbf{t}}_i)^2\big)}
#             {\sum_i m_i}, \qquad m_i = 1 \text{ for hidden} $$
#
# What is visible is no riddle. With the visible patches in it the loss falls faster and the
# network is worse (half a point of accuracy, in the paper).
#
# Given: `patchify` and its inverse, with the channel fastest within a patch, as the published
# code has it.

# %% tags=["setup"]
def patchify(images, patch_size):
    """Images (batch, 3, height, width) to patches (batch, N, patch_size² * 3), row by row."""
    return einops.rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=patch_size,
                            q=patch_size)


def unpatchify(patches, patch_size, rows):
    """The images that patchify cut, with `rows` rows of patches."""
    return einops.rearrange(patches, "b (h w) (p q c) -> b c (h p) (w q)", p=patch_size,
                            q=patch_size, h=rows)

# %% [markdown]
# ### Exercise 5 · `mae_loss` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about seven lines |
# | **Shapes** | `predicted`: `(batch, N, patch_size² * 3)`; `images`: `(batch, 3, height, width)`; `mask`: `(batch, N)`, floating, 1 for hidden; out: a tensor of one number, without axes |
# | **Mind** | `normalise=False` takes the pixels as they are; images may have different numbers of hidden patches, and every hidden patch counts the same |
# | **Graded** | in two parts of 2 points: the normalised target; the hidden patches only |
# | **Read** | MAE paper, section 3, "Reconstruction target" |
#
# <details><summary>Hint 1: over which axes do mean and variance run?</summary>
#
# After `patchify` a patch is one row: the last axis. `mean(dim=-1, keepdim=True)` and
# `var(dim=-1, keepdim=True)`; with `keepdim` they broadcast.
# </details>
# <details><summary>Hint 2: the check says that visible patches are in the loss</summary>
#
# First the mean over a patch's values, `(batch, N)`; that times the mask, summed, over the sum of
# the mask. `.mean()` would divide by all patches.
# </details>
# <details><summary>Hint 3: the values differ a little, or are huge for grey patches</summary>
#
# A little: `unbiased=False` divides by $n$ instead of $n - 1$; leave it away. Huge: the $10^{-6}$
# stands inside the root, beside the variance. Skeleton: patchify → normalise → square → mean of a
# patch → masked mean.
# </details>

# %% exercise="mae_loss"
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    """Mean squared error of the hidden patches.

    predicted: (batch, N, patch_size² * 3); images: (batch, 3, height, width); mask: (batch, N), 1
    for hidden. The target is each patch's pixels, with mean 0 and variance 1 where `normalise`.
    """
    # Step 1: the target; Step 2: the error of every patch; Step 3: the mean over hidden ones
    ### BEGIN SOLUTION
    target = patchify(images, patch_size)  # (batch, N, values)
    if normalise:
        mean = target.mean(dim=-1, keepdim=True)
        variance = target.var(dim=-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = ((predicted - target) ** 2).mean(dim=-1)  # (batch, N)
    return (error * mask).sum() / mask.sum()
    ### END SOLUTION

# %% check="mae_loss"
with Check("mae_loss", read="section 5, the two formulas") as check:
    check.signature(mae_loss, "predicted", "images", "mask", "patch_size", "normalise")
    # Two black images of two patches, and a prediction that is wrong by 1, 2, 3 and 4
    guess = torch.tensor([[1.0, 2], [3, 4]])[:, :, None].repeat(1, 1, 12)
    hidden = torch.tensor([[1.0, 0], [1, 1]])
    loss = mae_loss(guess, torch.zeros(2, 3, 2, 4), hidden, 2, False)
    check.shape(loss, (), "the loss")
    check.values(loss, 26 / 3, "the mean of the squares 1, 9 and 16", otherwise={
        "the visible patch is in the loss too": 7.5, "only the visible patch is in the loss": 4.0,
        "the sum over hidden patches is divided by the number of all": 6.5,
        "the mean is taken image by image; every hidden patch counts the same": 6.75,
        "the sum over a patch's values is missing its mean": 12 * 26 / 3,
    })
    # One patch of sevens and threes: mean 5, variance 48 / 11. The prediction is 0
    chequers = torch.tensor([[7.0, 3], [3, 7]]).repeat(1, 3, 1, 1)
    loss = mae_loss(torch.zeros(1, 1, 12), chequers, torch.ones(1, 1), 2)
    check.values(loss, 11 / 12, "the loss of a normalised target", otherwise={
        "the target is not normalised": 29.0, "the mean is not subtracted": 29 / (48 / 11),
        "the variance is divided by n; torch.var divides by n - 1": 1.0,
        "the target is divided by the variance instead of its root": 4 / (48 / 11) ** 2,
    })
    check.cases("07", globals())

# %% judge="mae_loss" points=4
def ask(rng):
    def inputs(batch, rows, columns, patch):
        return {"predicted": randn(rng, batch, rows * columns, 3 * patch**2),
                "images": randn(rng, batch, 3, rows * patch, columns * patch) + 0.5,
                "patch_size": patch}

    def masks(batch, count):
        mask = torch.from_numpy((rng.random((batch, count)) < 0.5).astype("float32"))
        mask[:, 0], mask[0, 1], mask[0] = 1, 0, mask[0] * (torch.arange(count) < 3)
        return mask

    everywhere = "normalised target"
    for title, shape in (("2 x 3 patches, all hidden", (2, 2, 3, 2)),
                         ("patches of 4 x 4, one image, all hidden", (1, 2, 2, 4)),
                         ("a tall image, all hidden", (1, 4, 1, 3))):
        given = inputs(*shape)
        yield Case(title, part=everywhere, **given, mask=torch.ones(given["predicted"].shape[:2]))
    yield Case("normalise=True said, all hidden", part=everywhere, **inputs(2, 1, 3, 2),
               mask=torch.ones(2, 3), normalise=True)
    given = inputs(2, 3, 2, 2)
    given["images"] = 1e-3 * given["images"]
    yield Case("faint patches, all hidden", part=everywhere, **given, mask=torch.ones(2, 6))
    given = inputs(3, 2, 2, 2)
    given["images"][:] = 0.25
    given["images"][1] += randn(rng, 3, 4, 4)
    yield Case("grey patches, all hidden", part=everywhere, **given, mask=torch.ones(3, 4))

    where = "hidden patches only"
    yield Case("2 x 3 patches, pixels for a target", part=where, **inputs(2, 2, 3, 2),
               mask=masks(2, 6), normalise=False)
    yield Case("images with different numbers of hidden patches", part=where,
               **inputs(4, 3, 3, 2), mask=masks(4, 9), normalise=False)
    one = torch.zeros(2, 4)
    one[1, 2] = 1
    yield Case("a single hidden patch", part=where, **inputs(2, 2, 2, 4), mask=one, normalise=False)
    given = inputs(1, 2, 3, 2)
    given["predicted"] = 100 * given["predicted"]
    yield Case("one image, a prediction that is far off", part=where, **given, mask=masks(1, 6),
               normalise=False)


def drive(lab, predicted, images, mask, patch_size, normalise=None):
    extra = {} if normalise is None else {"normalise": normalise}
    loss = lab.mae_loss(predicted.requires_grad_(), images, mask, patch_size, **extra)
    (gradient,) = torch.autograd.grad(loss * predicted.numel(), predicted)
    return {"loss": loss, "gradient": gradient}


parts = {"normalised target": 2, "hidden patches only": 2}

# %% trap="mae_loss" name="all patches"
# Your loss equals the mean over all patches, the visible ones too. What is visible is no riddle:
# only the hidden patches count.
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    target = patchify(images, patch_size)
    if normalise:
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    return ((predicted - target) ** 2).mean()

# %% trap="mae_loss" name="divided by all patches"
# Your loss sums over the hidden patches and divides by the number of all. Divide by the number of
# hidden ones: the sum of the mask.
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    target = patchify(images, patch_size)
    if normalise:
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    return (((predicted - target) ** 2).mean(-1) * mask).mean()

# %% trap="mae_loss" name="pixels as they are"
# Your loss equals the one with the pixels as they are for a target. By default, every patch is
# normalised: its mean subtracted, divided by its deviation.
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    error = ((predicted - patchify(images, patch_size)) ** 2).mean(-1)
    return (error * mask).sum() / mask.sum()

# %% trap="mae_loss" name="variance divided by n"
# Your loss equals the one with a variance that is divided by n. The published code has the unbiased
# one, divided by n - 1: torch.var's default.
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    target = patchify(images, patch_size)
    if normalise:
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True, unbiased=False)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = ((predicted - target) ** 2).mean(-1)
    return (error * mask).sum() / mask.sum()

# %% trap="mae_loss" name="normalised over the image"
# Your loss equals the one with a target that is normalised over the whole image. Mean and variance
# are those of every single patch.
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    target = patchify(images, patch_size)
    if normalise:
        mean = target.mean((1, 2), keepdim=True)
        target = (target - mean) / (target.var((1, 2), keepdim=True) + 1e-6).sqrt()
    error = ((predicted - target) ** 2).mean(-1)
    return (error * mask).sum() / mask.sum()

# %% alternative="mae_loss" name="the hidden patches picked"
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    target = patchify(images, patch_size)
    if normalise:
        var, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) * torch.rsqrt(var + 1e-6)
    hidden = mask.bool()
    return F.mse_loss(predicted[hidden], target[hidden])

# %% alternative="mae_loss" name="pixel by pixel, patches by unfold"
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    batch, channels, height, width = images.shape
    p = patch_size
    x = images.unfold(2, p, p).unfold(3, p, p)  # (batch, channels, rows, columns, p, p)
    x = x.permute(0, 2, 3, 4, 5, 1).reshape(batch, (height // p) * (width // p), -1)
    if normalise:
        n = x.shape[-1]
        centred = x - x.sum(-1, keepdim=True) / n
        x = centred / torch.sqrt((centred * centred).sum(-1, keepdim=True) / (n - 1) + 1e-6)
    weights = mask.unsqueeze(-1).expand_as(predicted)
    return (weights * (predicted - x).pow(2)).sum() / weights.sum()

# %% alternative="mae_loss" name="image by image"
def mae_loss(predicted, images, mask, patch_size, normalise=True):
    total, count = 0.0, 0
    for guess, patches, hidden in zip(predicted, patchify(images, patch_size), mask):
        for i in hidden.nonzero().flatten().tolist():
            target = patches[i]
            if normalise:
                target = (target - target.mean()) / (target.var() + 1e-6) ** 0.5
            total = total + (guess[i] - target).square().mean()
            count += 1
    return total / count

# %% [markdown]
# Everything is there. Put it together and train: half a minute of hiding and painting, without a
# single label.

# %% tags=["setup"]
class MaskedAutoencoder(nn.Module):
    """Your encoder, decoder and loss: images (batch, 3, 32, 32) in [-1, 1] to loss, prediction and
    mask. `draw` makes the noise: random_noise, block_noise or grid_noise."""

    def __init__(self, mask_ratio=0.75, normalise=True, draw=random_noise):
        super().__init__()
        self.mask_ratio, self.normalise, self.draw = mask_ratio, normalise, draw
        self.encoder = MAEEncoder(**SIZES)
        self.decoder = MAEDecoder((8, 8), 96, 48, dim=64, depth=1, heads=2, mlp_ratio=2)

    def forward(self, images, noise=None, mask_ratio=None):
        if noise is None:
            noise = self.draw(len(images), (8, 8))
        ratio = self.mask_ratio if mask_ratio is None else mask_ratio
        latents, mask, restore = self.encoder(images, ratio, noise)
        predicted = self.decoder(latents, restore)
        return mae_loss(predicted, images, mask, 4, self.normalise), predicted, mask

# %% experiment="pretrain"
lessons = shapes(scale(smoke=128, cpu=8000, gpu=8000), split="train", seed=0)
exam = shapes(scale(smoke=40, cpu=2000, gpu=2000), split="test", seed=1_000_000)
train_images, test_images = normalize(lessons.images), normalize(exam.images)
torch.manual_seed(SEED)
mine = MaskedAutoencoder()
history = train_classifier(mine, train_images, torch.zeros(len(train_images)), batch_size=64,
                           lr=1.5e-3, steps=scale(smoke=2, cpu=300, gpu=1500),
                           loss_of=lambda outputs, _: outputs[0], progress="hide and paint")
smooth = history.loss
if len(smooth) > 20:
    smooth = np.convolve(history.loss, np.ones(9) / 9, "valid").tolist()
chart_steps = list(range(1, len(smooth) + 1))[:: max(1, len(smooth) // 12)]
charts.lines(chart_steps, {"your net": [smooth[i - 1] for i in chart_steps]}, xlabel="step",
             ylabel="loss of hidden patches, mean of 9 steps",
             title=f"{len(history.loss)} steps of 64 images, and not one label")

# %% [markdown]
# ## 6 · See what it paints
#
# A picture of the prediction: the hidden patches as the network paints them, the visible ones as
# they are. (The network answers for the visible patches as well, but nobody ever asked it to get
# them right.)
#
# One honest difficulty. A network trained on *normalised* pixels does not say how bright a patch
# is or how strong its contrast, only its pattern. To make a picture of it, multiply by the
# deviation and add the mean **of the true patch**: numbers that the network never saw. All
# pictures of such networks borrow them, and look better than they should. With
# `normalised=False`, for networks that were trained on pixels as they are, nothing is borrowed.
#
# ### Exercise 6 · `reconstruct` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about seven lines |
# | **Shapes** | as in `mae_loss`; out: images `(batch, 3, height, width)` |
# | **Mind** | visible patches come back exactly as they are; `normalised` says what kind of target the prediction is for |
# | **Graded** | in two parts: pixels as they are, 1 point; normalised pixels, 2 |
# | **Use** | `patchify` and `unpatchify(patches, patch_size, rows)`; images need not be square |
# | **Read** | the published code, `demo/mae_visualize.ipynb` |
#
# <details><summary>Hint 1: in which space is it easiest?</summary>
#
# In patches. Cut the images, change the hidden rows, put the image together again at the end.
# </details>
# <details><summary>Hint 2: undoing the normalisation</summary>
#
# The inverse of $\hat t = (t - \mu) / \sqrt{v + 10^{-6}}$ is $t = \hat t \sqrt{v + 10^{-6}} + \mu$,
# with mean $\mu$ and variance $v$ of the true patch, over the last axis, as in `mae_loss`.
# </details>
# <details><summary>Hint 3: "The size of tensor a must match the size of tensor b"</summary>
#
# The mask is `(batch, N)` and patches are `(batch, N, values)`: `mask[..., None]`. Then
# `torch.where(mask[..., None] == 1, painted, patches)`. `rows` is the height over the patch size.
# </details>

# %% exercise="reconstruct"
def reconstruct(images, predicted, mask, patch_size, normalised=True):
    """The images with their hidden patches painted: (batch, 3, height, width).

    predicted: (batch, N, patch_size² * 3); mask: (batch, N), 1 for hidden. A prediction of
    normalised pixels gets mean and deviation of the true patches.
    """
    # Step 1: the true patches; Step 2: the painted ones; Step 3: choose, and put together
    ### BEGIN SOLUTION
    patches = patchify(images, patch_size)
    if normalised:
        deviation = (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        predicted = predicted * deviation + patches.mean(dim=-1, keepdim=True)
    mixed = torch.where(mask[..., None] == 1, predicted, patches)
    return unpatchify(mixed, patch_size, images.shape[2] // patch_size)
    ### END SOLUTION

# %% check="reconstruct"
with Check("reconstruct", read="section 6") as check:
    check.signature(reconstruct, "images", "predicted", "mask", "patch_size", "normalised")
    # An image of two patches. The left one is hidden: sevens and threes, mean 5, variance 48 / 11
    chequers = torch.tensor([[7.0, 3, 1, 1], [3, 7, 1, 1]]).repeat(1, 3, 1, 1)
    guess, hidden = torch.full((1, 2, 12), 0.5), torch.tensor([[1.0, 0]])
    painted = reconstruct(chequers, guess, hidden, 2, False)
    check.shape(painted, (1, 3, 2, 4), "the painted image", likely="rows is height / patch_size")
    check.values(painted[0, 0, 0], [0.5, 0.5, 1, 1], "a row painted by a net of pixels", otherwise={
        "visible patches are painted, and hidden ones are true": [7.0, 3, 0.5, 0.5],
        "visible patches are painted too": [0.5, 0.5, 0.5, 0.5],
        "mean and deviation are added although normalised=False": [6.044466, 6.044466, 1, 1],
    })
    painted = reconstruct(chequers, guess, hidden, 2)
    check.values(painted[0, 0, 0], [6.044466, 6.044466, 1, 1],
                 "a row painted by a net of normalised pixels", otherwise={
        "the normalisation is not undone": [0.5, 0.5, 1, 1],
        "the mean is added before the deviation is multiplied": [11.489126, 11.489126, 1, 1],
        "the variance stands where its root belongs": [7.181818, 7.181818, 1, 1],
        "the mean is missing": [1.044466, 1.044466, 1, 1],
    })
    check.cases("07", globals())

# %% judge="reconstruct" points=3
def ask(rng):
    def inputs(batch, rows, columns, patch):
        mask = torch.from_numpy((rng.random((batch, rows * columns)) < 0.6).astype("float32"))
        mask[:, 0], mask[:, -1] = 1, 0
        return {"images": randn(rng, batch, 3, rows * patch, columns * patch),
                "predicted": randn(rng, batch, rows * columns, 3 * patch**2), "mask": mask,
                "patch_size": patch}

    def zeros(given):
        return given | {"predicted": given["predicted"].relu(), "images": given["images"].relu()}

    for title, shape in (("a wide image", (2, 2, 4, 2)), ("a tall image", (1, 5, 2, 2)),
                         ("patches of 4 x 4", (3, 2, 2, 4)), ("patches of 3 x 3", (1, 3, 2, 3))):
        yield Case(title, part="pixels as they are", **inputs(*shape), normalised=False)
        yield Case(title, part="normalised pixels", **inputs(*shape))
    yield Case("zeros in image and prediction", part="pixels as they are",
               **zeros(inputs(2, 2, 3, 2)), normalised=False)
    yield Case("nothing hidden", part="pixels as they are",
               **inputs(1, 2, 3, 2) | {"mask": torch.zeros(1, 6)}, normalised=False)
    yield Case("normalised=True said", part="normalised pixels", **inputs(2, 3, 2, 4),
               normalised=True)
    given = inputs(2, 2, 2, 2)
    given["images"] = 1e-3 * given["images"]
    yield Case("faint patches", part="normalised pixels", **given)
    given = inputs(1, 2, 3, 2)
    yield Case("everything hidden", part="normalised pixels", **given | {"mask": torch.ones(1, 6)})


def drive(lab, images, predicted, mask, patch_size, normalised=None):
    extra = {} if normalised is None else {"normalised": normalised}
    return lab.reconstruct(images, predicted, mask, patch_size, **extra)


parts = {"pixels as they are": 1, "normalised pixels": 2}

# %% trap="reconstruct" name="not undone"
# Your picture shows the prediction as it is, although it is one of normalised pixels: multiply by
# the deviation of the true patch and add its mean.
def reconstruct(images, predicted, mask, patch_size, normalised=True):
    patches = patchify(images, patch_size)
    mixed = torch.where(mask[..., None] == 1, predicted, patches)
    return unpatchify(mixed, patch_size, images.shape[2] // patch_size)

# %% trap="reconstruct" name="everything painted"
# Your picture shows the prediction everywhere. Visible patches are known: show them as they are.
def reconstruct(images, predicted, mask, patch_size, normalised=True):
    patches = patchify(images, patch_size)
    if normalised:
        deviation = (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        predicted = predicted * deviation + patches.mean(dim=-1, keepdim=True)
    return unpatchify(predicted, patch_size, images.shape[2] // patch_size)

# %% trap="reconstruct" name="mask the wrong way round"
# Your picture paints the visible patches and shows the hidden ones. The mask is 1 for hidden.
def reconstruct(images, predicted, mask, patch_size, normalised=True):
    patches = patchify(images, patch_size)
    if normalised:
        deviation = (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        predicted = predicted * deviation + patches.mean(dim=-1, keepdim=True)
    mixed = torch.where(mask[..., None] == 0, predicted, patches)
    return unpatchify(mixed, patch_size, images.shape[2] // patch_size)

# %% alternative="reconstruct" name="a weighted sum"
def reconstruct(images, predicted, mask, patch_size, normalised=True):
    truth = patchify(images, patch_size)
    if normalised:
        var, mean = torch.var_mean(truth, dim=-1, keepdim=True)
        predicted = torch.addcmul(mean, predicted, torch.sqrt(var + 1e-6))
    hidden = mask.unsqueeze(-1)
    return unpatchify(hidden * predicted + (1 - hidden) * truth, patch_size,
                      rows=images.shape[-2] // patch_size)

# %% alternative="reconstruct" name="patch by patch, in a copy"
def reconstruct(images, predicted, mask, patch_size, normalised=True):
    out, p = images.clone(), patch_size
    columns = images.shape[3] // p
    for b, i in mask.nonzero().tolist():
        top, left = i // columns * p, i % columns * p
        area = images[b, :, top:top + p, left:left + p]
        patch = einops.rearrange(predicted[b, i], "(p q c) -> c p q", p=p, q=p)
        if normalised:
            patch = patch * (area.var() + 1e-6).sqrt() + area.mean()
        out[b, :, top:top + p, left:left + p] = patch
    return out

# %% [markdown]
# **Is it the reference?** The command `labs experiment 07 masked_pretraining` trained the
# reference code for longer and wrote down its loss on images that it never saw. The same weights
# in *your* classes must give the same loss: names, order of steps, positions, target and mask all
# have to agree.

# %% experiment="shipped"
stored = json.loads(data_path("results", "07_masked_pretraining.json").read_text())
record = next(r for r in stored["records"] if r["start"] == "pretraining" and r["seed"] == 0)
shipped = MaskedAutoencoder()
load_checkpoint(shipped, "07_mae")
shipped.eval()
fixed = torch.rand(2000, 64, generator=torch.Generator().manual_seed(0))[:len(exam)]
with torch.no_grad():
    losses = {name: torch.stack([net(x, part)[0] for x, part in zip(
        test_images.split(250), fixed.split(250))]).mean().item()
        for name, net in (("shipped", shipped), ("yours, trained here", mine))}
measured["test loss"], measured["stored loss"] = losses["shipped"], record["test_loss"]
measured["own loss"] = losses["yours, trained here"]
charts.Table(["net", "steps", "loss on new images, 75% hidden"], [
    ["yours, trained here", f"{len(history.loss)}", f"{losses['yours, trained here']:.4f}"],
    ["shipped weights in your code", f"{stored['settings']['steps']}", f"{losses['shipped']:.4f}"],
    ["the same, on record (reference code)", f"{stored['settings']['steps']}",
     f"{record['test_loss']:.4f}"]], title=f"{len(exam)} images, every one with a mask of its own")

# %% experiment="paintings"
@torch.no_grad()
def paint(net, images, noise, ratio):
    """Images in [0, 1] to what is visible, and to the whole as the net paints it, in [0, 1]."""
    x = normalize(images)
    _, predicted, mask = net(x, noise, ratio)
    painted = (reconstruct(x, predicted, mask, 4, net.normalise) + 1) / 2
    return reconstructions.hide(images, mask, 4), painted.clamp(0, 1)


gallery = shapes(10, split="test", seed=33)
torch.manual_seed(4)
gallery_noise = random_noise(10, (8, 8))
visible, painted = paint(shipped, gallery.images, gallery_noise, 0.75)
_, early = paint(mine, gallery.images, gallery_noise, 0.75)
reconstructions.show_rows({"visible": visible, "yours": early, "shipped": painted,
                           "original": gallery.images},
                          title="Images the network never saw, three quarters hidden",
                          alt="A column an image: what is visible, what your net and the shipped one "
                              f"paint of it, and the thing: {', '.join(gallery.captions)}.")

# %% [markdown]
# **What it shows.** Your own net, with a fifth of the training, fills most hidden patches with one
# colour, like tiles. The shipped net draws *across* them: it rounds off the doughnut, the mushroom
# and the back of the car. But what no visible patch hints at is missing: the hole of the doughnut,
# the arms of the cactus, the second wheel. Where several continuations are possible, the network
# paints their average, because that is what a squared error rewards; this is why a masked
# autoencoder is no image generator (labs 08 to 10 build one). And remember what is borrowed:
# brightness and contrast of every painted patch are those of the original, so even a net that
# knows nothing would get the rough outline right. `reconstruct(..., normalised=False)` would show
# the bare pattern.

# %% [markdown]
# ## 7 · Few labels
#
# Now throw the decoder away. What is the encoder worth? The usual test is a common situation:
# images are plenty, labels are few. There are 8,000 images of 40 things; for 1%, 5% or 10% of
# them somebody has written down what they show. Two nets of the same design are trained on those
# labels: one starts from the pretrained encoder, the other from random weights.
#
# A classifier made from an MAE (the paper's appendix A.1) differs in three details from the
# encoder:
#
# * it sees **all** patches: nothing is hidden;
# * it reads the **mean of the patch tokens**, without the class token, which nothing in pretraining
#   asked to say anything;
# * the encoder's last norm is taken out, and a new layer norm stands **after the mean**.
#
# ### Exercise 7 · `classifier` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `Classifier(encoder, dim, classes)`, about ten lines |
# | **Shapes** | images `(batch, 3, height, width)` to logits `(batch, classes)` |
# | **Names** | `encoder`: a **copy** of the given one, with `nn.Identity()` for its `norm`; `norm`: `nn.LayerNorm` with `eps=1e-6`; `head`: `nn.Linear` |
# | **Mind** | the encoder that you were given must stay as it is, also when the classifier is trained: it is used again |
# | **Use** | the encoder by calling it, as exercise 3 has it, and by its `norm`: when this is graded, one of another make stands in for yours |
# | **Graded** | in two parts of 1.5 points: the logits; the copy |
# | **Read** | MAE paper, appendix A.1, "End-to-end fine-tuning" |
#
# <details><summary>Hint 1: how do I copy a module?</summary>
#
# `copy.deepcopy(encoder)`. Without it both nets share their weights, and training one trains the
# other.
# </details>
# <details><summary>Hint 2: the check speaks of the norm</summary>
#
# On the *copy*: `self.encoder.norm = nn.Identity()`. Done on the given encoder it would break the
# autoencoder that still uses it.
# </details>
# <details><summary>Hint 3: which tokens?</summary>
#
# The encoder returns three things; the first are the latents, class token first. Skeleton: latents
# with mask_ratio 0 → without the first → mean over the tokens → norm → head.
# </details>

# %% exercise="classifier"
class Classifier(nn.Module):
    """Logits (batch, classes) from a copy of an encoder that sees every patch: the mean of the
    patch tokens, a layer norm, a linear layer."""

    def __init__(self, encoder, dim, classes):
        super().__init__()
        # Step 1: a copy of the encoder without its last norm; a norm and a head
        ### BEGIN SOLUTION
        self.encoder = copy.deepcopy(encoder)
        self.encoder.norm = nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)
        ### END SOLUTION

    def forward(self, images):
        # Step 2: all patches; their mean; norm and head
        ### BEGIN SOLUTION
        latents, _, _ = self.encoder(images, 0.0)  # (batch, N + 1, dim)
        return self.head(self.norm(latents[:, 1:].mean(dim=1)))
        ### END SOLUTION

# %% check="classifier"
with Check("classifier", read="section 7, the three details") as check:
    check.signature(Classifier, "encoder", "dim", "classes")
    given = nn.ModuleDict({"layer": nn.Linear(4, 8), "norm": nn.LayerNorm(8)})  # for an encoder
    check.parameters(Classifier(given, 8, 5), {
        "encoder.layer.weight": (8, 4), "encoder.layer.bias": (8,), "norm.weight": (8,),
        "norm.bias": (8,), "head.weight": (5, 8), "head.bias": (5,)})
    check.that(isinstance(given.norm, nn.LayerNorm), "the given encoder has lost its norm",
               likely="copy it first: copy.deepcopy(encoder)")
    check.cases("07", globals())

# %% judge="classifier" points=3
def ask(rng):
    for title, batch, side, dim, classes in (
        ("5 classes", 3, 8, 6, 5), ("one image, one class", 1, 8, 4, 1),
        ("40 classes, 9 patches", 2, 6, 8, 40), ("two classes, one patch", 4, 2, 5, 2),
    ):
        yield Case(title, part="logits", images=randn(rng, batch, 3, side, side), dim=dim,
                   classes=classes, result="logits")
    yield Case("tokens of small numbers", part="logits", images=randn(rng, 2, 3, 8, 8), dim=6,
               classes=3, result="logits", gain=1e-3)
    for title, dim, classes in (("5 classes", 6, 5), ("one class", 4, 1)):
        yield Case(title, part="copy", images=randn(rng, 2, 3, 4, 4), dim=dim, classes=classes,
                   result="copy")


class OtherEncoder(nn.Module):
    """In the place of an encoder: called as that of exercise 3. Tokens are of patches of 2 x 2;
    the first ones are kept."""

    def __init__(self, dim):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.tokens = nn.Linear(12, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, images, mask_ratio=0.0, noise=None):
        x = self.tokens(F.unfold(images, 2, stride=2).transpose(1, 2)).tanh()
        kept = int(x.shape[1] * (1 - mask_ratio))
        restore = torch.arange(x.shape[1]).expand(len(x), -1)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x[:, :kept]], dim=1)
        return self.norm(x), (restore >= kept).float(), restore


def drive(lab, images, dim, classes, result, gain=1.0):
    given = fill_parameters(OtherEncoder(dim), seed=5)
    if result == "copy":
        latents = given(images)[0]
        before = {name: p.detach().clone() for name, p in given.named_parameters()}
        net = lab.Classifier(given, dim, classes)
        copied = [name in before and torch.equal(p, before[name])
                  for name, p in net.encoder.named_parameters()]
        kept = isinstance(given.norm, nn.LayerNorm)
        with torch.no_grad():
            for p in net.parameters():
                p.add_(1.0)
        return {
            "the classifier starts from the given weights": all(copied) and len(copied) >= 3,
            "the given encoder keeps its norm": kept,
            "the given encoder stays when the classifier is trained":
                torch.equal(given(images)[0], latents),
            "the given encoder can be trained": all(p.requires_grad for p in given.parameters()),
        }
    net = fill_parameters(lab.Classifier(given, dim, classes), seed=6)
    with torch.no_grad():
        for parameter in net.encoder.parameters():
            parameter.mul_(gain)
    logits = net.train()(images)
    stays = all(part.training for part in net.modules())
    evaluated = net.eval()(images)
    stays = stays and not any(part.training for part in net.modules())
    steps = torch.linspace(-1, 1, logits.numel()).view(logits.shape)
    (logits * steps).sum().backward()
    return {
        "parameters": {name: list(p.shape) for name, p in sorted(net.named_parameters())},
        "norm has eps=1e-6": math.isclose(net.norm.eps, 1e-6),
        "logits": logits, "logits in evaluation": evaluated,
        "training or evaluation mode stays as it is set": stays,
        "gradients": {name: p.grad for name, p in net.named_parameters()},
    }


parts = {"logits": 1.5, "copy": 1.5}

# %% trap="classifier" name="class token in the mean"
# The class token is in the mean here. Nothing in pretraining asked it to say anything: take the mean
# of the patch tokens only.
class Classifier(nn.Module):
    def __init__(self, encoder, dim, classes):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.norm = nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, images):
        return self.head(self.norm(self.encoder(images, 0.0)[0].mean(dim=1)))

# %% trap="classifier" name="class token read"
# The logits are read from the class token here. This classifier reads the mean of the patch tokens.
class Classifier(nn.Module):
    def __init__(self, encoder, dim, classes):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.norm = nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, images):
        return self.head(self.norm(self.encoder(images, 0.0)[0][:, 0]))

# %% trap="classifier" name="still hiding"
# Your classifier still hides three quarters of the patches. It may see everything: mask_ratio 0.
class Classifier(nn.Module):
    def __init__(self, encoder, dim, classes):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.norm = nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, images):
        return self.head(self.norm(self.encoder(images, 0.75)[0][:, 1:].mean(dim=1)))

# %% trap="classifier" name="not a copy"
# Your classifier and the given encoder share their layers: that one has lost its norm, and training
# the classifier would change it. Make a copy of everything in it: copy.deepcopy(encoder).
class Classifier(nn.Module):
    def __init__(self, encoder, dim, classes):
        super().__init__()
        self.encoder = encoder
        self.encoder.norm = nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, images):
        return self.head(self.norm(self.encoder(images, 0.0)[0][:, 1:].mean(dim=1)))

# %% alternative="classifier" name="a sum over the patches"
class Classifier(nn.Module):
    def __init__(self, encoder, dim, classes):
        super().__init__()
        backbone = copy.deepcopy(encoder)
        backbone.norm = nn.Identity()
        self.head = nn.Linear(dim, classes)
        self.norm = nn.LayerNorm([dim], 1e-6)
        self.encoder = backbone

    def forward(self, images):
        out = self.encoder(images, mask_ratio=0.0)
        tokens = out[0].narrow(1, 1, out[0].shape[1] - 1)
        return self.head(self.norm(tokens.sum(1) / tokens.shape[1]))

# %% alternative="classifier" name="weights by hand"
class Classifier(nn.Module):
    def __init__(self, encoder, dim, classes):
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        del self.encoder.norm
        self.encoder.norm = nn.Sequential()
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, classes)

    def forward(self, images):
        tokens = self.encoder(images, 0)[0]
        mean = torch.einsum("bnd->bd", tokens[:, 1:]) / (tokens.shape[1] - 1)
        return F.linear(self.norm(mean), self.head.weight, self.head.bias)

# %% [markdown]
# **The labels are about shape.** In their natural colours these 40 things hardly need a network:
# with ten labelled images of each, a linear classifier on the raw *pixels* already gets most of
# them right, because a banana is yellow. So this lab turns the hues of every image by a random
# angle. Its bananas are blue as often as yellow, and what is left to recognise is shape.
#
# That is a choice, and it matters: the end of this section measures pretraining in natural colours
# too.

# %% experiment="pixels"
labels_used = scale(smoke=80, cpu=400, gpu=400)
natural = [shapes(n, split=s, seed=i, natural=True)
           for n, s, i in ((labels_used, "train", 0), (len(exam), "test", 1_000_000))]
rows = []
for name, (few, many) in {"natural colours": natural,
                          "hues at random": (lessons, exam)}.items():
    right = linear_probe(normalize(few.images[:labels_used]).flatten(1), few.labels[:labels_used],
                         normalize(many.images).flatten(1), many.labels)
    measured[f"pixels, {name}"] = right
    rows.append([name, f"{right:.1%}"])
charts.Table(["the same things, in", "right by a linear classifier on pixels"], rows,
             title=f"{labels_used} labelled images of 40 things; chance is 2.5%")

# %% [markdown]
# Now the test. Classifiers of your design, trained alike on the same 400 labels (5%): from random
# weights, from the encoder that *you* pretrained a moment ago, and from the shipped one, which
# was pretrained for five times as many steps. What do you expect?

# %% experiment="fine_tune"
torch.manual_seed(SEED)
starts = {"from scratch": MaskedAutoencoder().encoder, "yours, pretrained briefly": mine.encoder,
          "shipped, pretrained longer": shipped.encoder}
few_images, few_labels = train_images[:labels_used], lessons.labels[:labels_used]
steps = scale(smoke=2, cpu=100, gpu=100)
tuned = {}
for name, start in starts.items():
    torch.manual_seed(SEED)
    net = Classifier(start, 96, 40)
    train_classifier(net, few_images, few_labels, steps=steps, batch_size=64, lr=2e-3,
                     progress=name)
    tuned[name] = accuracy(net, test_images, exam.labels)
measured["tuned"] = tuned
comparisons.bars({name: [right] for name, right in tuned.items()},
                 highlight=["shipped, pretrained longer"], line=(1 / 40, "chance"),
                 xlabel=f"right on {len(exam)} new images, percent; one run each",
                 title=f"{labels_used} labels, {steps} steps: the start decides")

# %% [markdown]
# One run is one run. The command `labs experiment 07 masked_pretraining` repeats this with three
# seeds (other images, other weights, other masks, other labels), with 1%, 5% and 10% of the
# labels.
#
# A hundred steps are few, though. Perhaps the net from scratch is not worse, only not done? So
# there is a **patient control**: with 5% of the labels, both starts are also trained for five
# times as many steps.

# %% experiment="few_labels"
arms = {"pretrained": [], "from scratch": [], "pretrained, longer": [], "from scratch, longer": []}
for r in stored["records"]:
    if r["start"] in arms:
        arms[r["start"]].append(r | {"percent": 100 * r["labels"] / stored["settings"]["images"]})


def right_with_400(start):
    return [r["accuracy"] for r in arms[start] if r["labels"] == 400]


def versus(good, poor):
    """(mean, deviation) in percent of two lists of accuracies and of the gain seed by seed; and
    the three as words."""
    three = [100 * np.array(runs) for runs in (good, poor, np.array(good) - np.array(poor))]
    numbers = [(runs.mean(), np.std(runs, ddof=1)) for runs in three]
    words = [f"{mean:.1f} ± {spread:.1f}%" for mean, spread in numbers[:2]]
    return numbers, [*words, "{:+.1f} ± {:.1f} points".format(*numbers[2])]


charts.scaling_curves({name: arms[name] for name in ("pretrained", "from scratch")}, x="percent",
                      panels={"mean and deviation of three seeds": "accuracy"},
                      xlabel="images with a label, percent of 8,000", ylabel="accuracy, percent",
                      chance=1 / 40, title="After equally few steps of fine-tuning")
patience = {"pretrained, 100 steps": right_with_400("pretrained"),
            "from scratch, 100 steps": right_with_400("from scratch"),
            "pretrained, 500 steps": right_with_400("pretrained, longer"),
            "from scratch, 500 steps": right_with_400("from scratch, longer")}
comparisons.bars(patience, highlight=["pretrained, 100 steps", "pretrained, 500 steps"],
                 xlabel="right with 400 labels, percent; dots are seeds",
                 title="Few steps of fine-tuning, and five times as many")
rows = []
for labels, more in ((80, ""), (400, ""), (800, ""), (400, ", longer")):
    good, poor = ([r for r in arms[name + more] if r["labels"] == labels]
                  for name in ("pretrained", "from scratch"))
    numbers, words = versus([r["accuracy"] for r in good], [r["accuracy"] for r in poor])
    measured[f"gain {good[0]['percent']:g}%{more}"] = numbers[2]
    rows.append([f"{good[0]['percent']:g}%", f"{good[0]['steps']}", *words, f"{len(good)}"])
charts.Table(["labels", "steps", "pretrained", "from scratch", "gain", "seeds"], rows,
             title=f"Measured on {stored['date'][:10]} by: {stored['command']}")

# %% [markdown]
# **What it shows.** Look at *your* encoder first. In the run shown it was, after 300 steps of
# pretraining, a worse start than random weights: a little pretraining can harm. (One run, so the
# size of the harm is not known; the paintings suggest a reason, the net had only just learned to
# fill in smooth colour.) Section 8 has nets of 800 steps, which help (61% against 52% in the
# stored runs), and the shipped one has 1,500.
#
# In the table of the long run a gain stands beside its spread over seeds. Read it line by line,
# the one with two labels a thing first: a gain that is smaller than its spread is not shown.
#
# **The patient control changes what this means.** Compare the two lines of 5%: what is left of
# the gain after five times as many steps is what pretraining *knows*, the rest was *speed*.
# Question 2 asks for both. (The paper's gain on ImageNet, after long training of both, is 2.4
# points.)
#
# Is it a bargain, then? Count 1,500 steps of pretraining against the steps of fine-tuning that
# they save. A step of pretraining is the cheaper one, 8.5 against 22.7 M MACs an image forwards
# (sections 3 and 4), but 1,500 of them still cost as much as 560 of the others. (SAM's image
# encoder, lab 04, began as an MAE.)

# %% experiment="natural_colours"
in_colour = json.loads(data_path("results", "07_natural_colours.json").read_text())
pretraining = [r for r in stored["records"] if r["start"] == "pretraining"]


def natural_runs(start, key):
    return [r[key] for r in in_colour["records"] if r["start"] == start]


rows = []
for name, key in (("fine-tuned for 100 steps", "accuracy"), ("linear probe, frozen", "probe")):
    numbers, words = versus(natural_runs("pretrained", key), natural_runs("from scratch", key))
    measured[f"gain natural, {key}"] = numbers[2]
    rows.append(["natural colours", name, *words])
rows.append(["hues at random", "fine-tuned for 100 steps",
             *versus(right_with_400("pretrained"), right_with_400("from scratch"))[1]])
rows.append(["hues at random", "linear probe, frozen",
             *versus([r["probe"] for r in pretraining],
                     [r["probe_untrained"] for r in pretraining])[1]])
charts.Table(["400 labels", "the encoder is", "pretrained", "random weights", "gain"], rows,
             title=f"Measured on {in_colour['date'][:10]} by: {in_colour['command']}")

# %% [markdown]
# **The same in natural colours.** Colour alone identifies many of these things, and from scratch
# the classifier is right in 94% after the same hundred steps. Pretraining helps there too, to 99%
# and more in all three seeds: in points the gain is a fifth of the other, because there was little
# left to gain; counted in mistakes, nine of ten disappear. With hues at random the effect is large
# enough to be studied, which is why this lab has them.
#
# **And the frozen encoder?** A linear probe reads the mean of the patch tokens, 96 numbers, from
# encoders that are not trained any further. Pretraining improves them much, by 31 and 18 points.
# Yet a linear classifier on bare *pixels* does as well in natural colours (91% in the table above,
# against 92%), and better with hues at random (60% against 48%): it reads 3,072 numbers that still
# have their places. So what pretraining has put into this encoder is worth something as a *start*,
# not as a finished description. The paper says the same of its own, more mildly: MAE is weak when
# probed, and strong when fine-tuned.

# %% [markdown]
# ## 8 · How much to hide
#
# BERT, the model that made masking famous, hides **15%** of the words of a text. MAE hides
# **75%** of an image. Why not the same? Look at what hiding costs a reader. Your `random_masking`
# can hide words as well:

# %%
text = ("The encoder sees only the patches that are left, and because they are few it is fast; the "
        "decoder puts back what was hidden, and is thrown away after the training.").split()
torch.manual_seed(1)
word_noise = torch.rand(1, len(text))
for ratio in (0.15, 0.5, 0.75):
    gone = random_masking(torch.zeros(1, len(text), 1), ratio, word_noise)[1][0]
    print(f"{ratio:.0%}:", " ".join("·" * len(w) if h else w for w, h in zip(text, gone)), "\n")

# %% [markdown]
# At 15% you can fill the gaps, and it takes thought: grammar, and what the text is about. At 75%
# nobody can; the words that were hidden are simply gone. **Each word carries much that its
# neighbours do not.** An image is the other way round: a patch looks like the patches beside it.
# How much so can be measured. Fill each hidden patch with the average of the visible ones, near
# ones counting most, and ask how much of the hidden pixels' variance that explains, with no
# network at all:

# %% experiment="redundancy"
@torch.no_grad()
def from_neighbours(images, mask, reach=0.7):
    """Each patch as an average of visible ones, by distance: (batch, N, values)."""
    place = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1)
    distance = torch.cdist(place.flatten(0, 1), place.flatten(0, 1))  # (N, N)
    weight = (-distance / reach).exp() * (1 - mask[:, None])  # (batch, N, N)
    return (weight / weight.sum(-1, keepdim=True)) @ patchify(images, 4)


sample = test_images[:scale(smoke=40, cpu=500, gpu=500)]
sample_noise = torch.rand(len(sample), 64, generator=torch.Generator().manual_seed(3))
shares, rows = {}, []
for ratio in (0.15, 0.5, 0.75, 0.9):
    mask = random_masking(torch.zeros(len(sample), 64, 1), ratio, sample_noise)[1]
    truth = patchify(sample, 4)
    guess = from_neighbours(sample, mask)
    wrong = (((guess - truth) ** 2).mean(-1) * mask).sum() / mask.sum()
    spread = (((truth - truth.mean((0, 1))) ** 2).mean(-1) * mask).sum() / mask.sum()
    with torch.no_grad():
        loss = shipped(sample, sample_noise, ratio)[0].item()
    shares[ratio] = 1 - (wrong / spread).item()
    rows.append([f"{ratio:.0%}", f"{shares[ratio]:.0%}", f"{loss:.3f}"])
measured["neighbours"] = (shares[0.15], shares[0.75])
charts.Table(["hidden", "variance explained by the neighbours' average",
              "loss of the shipped net (normalised pixels)"], rows,
             title=f"{len(sample)} new images: the more is hidden, the less copying helps")

# %% [markdown]
# **What it shows.** With 15% hidden, copying from the neighbours explains more than half of what
# is hidden: that much of the riddle is solved without understanding anything. The share falls
# slowly, to two fifths at 75%, and then fast, to an eighth at 90%. That is the paper's argument for
# hiding most of an image: the less can be copied, the more the task says about things. A text is so
# dense that 15% is hard enough. (It is no law: Wettig et al., 2023, found 40% better for large
# language models. And BERT's hidden words keep their places in the encoder, so hiding more would
# save it no time; in an MAE it does.)
#
# The last column shows why losses of *different* ratios must not be compared: more hidden is a
# harder riddle, and a larger loss says nothing against the net.
#
# **Does it matter for what is learned?** `labs experiment 07 mask_ratio` pretrains a net for
# every way of masking, all for 800 steps, and judges each by fine-tuning with 5% of the labels and
# by a linear probe on the frozen encoder. Two rows come from section 7 and frame them: no
# pretraining at all, and 75% for 1,500 steps. The table also says how much *work* a pretraining
# was, in MACs: a step with less hidden is a more expensive step. What do you expect to win?

# %% experiment="sweep"
sweep = json.loads(data_path("results", "07_mask_ratio.json").read_text())
short, long = sweep["settings"]["steps"], stored["settings"]["steps"]
swept = {}
for r in sorted(sweep["records"], key=lambda r: (r["draw"] == "block", r["ratio"])):
    name = f"{r['draw']}, {r['ratio']:.0%}" + ("" if r["normalised"] else ", pixels")
    swept.setdefault(name, []).append(r)
last = f"random, 75%, {long:,} steps"
fine_tuned = {"no pretraining": right_with_400("from scratch")}
probed = {"no pretraining": [r["probe_untrained"] for r in pretraining]}
for name, runs in swept.items():
    fine_tuned[name] = [r["fine_tuned"] for r in runs]
    probed[name] = [r["probe"] for r in runs]
fine_tuned[last] = right_with_400("pretrained")
probed[last] = [r["probe"] for r in pretraining]
measured["sweep"] = {name: (np.mean(runs), np.std(runs, ddof=1))
                     for name, runs in fine_tuned.items()}
best = max(swept, key=lambda name: measured["sweep"][name][0])
comparisons.bars(fine_tuned, highlight=["random, 75%", last],
                 xlabel="right after fine-tuning with 400 labels, percent; dots are seeds",
                 title=f"{short} steps of pretraining: best is {best}; last bar: {long:,} steps")
comparisons.bars(probed, highlight=["random, 75%", last],
                 xlabel="right by a linear probe with 400 labels, percent; dots are seeds",
                 title="The same encoders, frozen")
step_macs = {r: count_macs(lambda images, r=r: whole(images, r), batch[:1]) for r in ratios}


def line_of(name, steps, runs, ratio):
    work = steps * step_macs[ratio] / (short * step_macs[0.75])
    percents = [[100 * value for value in some[name]] for some in (fine_tuned, probed)]
    right = (f"{statistics.mean(p):.1f} ± {statistics.stdev(p):.1f}%" for p in percents)
    return [name, f"{steps:,}", f"{work:.2f}", f"{len(runs)}", *right,
            f"{np.mean([r['loss'] for r in runs]):.3f}"]


charts.Table(["masking", "steps", "work (random, 75% = 1)", "seeds", "fine-tuned", "linear probe",
              "loss in training"],
             [*(line_of(name, short, runs, runs[0]["ratio"]) for name, runs in swept.items()),
              line_of(last, long, pretraining, 0.75)],
             title=f"Measured on {sweep['date'][:10]} by: {sweep['command']}")

# %% [markdown]
# **What it shows.** For equally many steps, the paper's order is *not* found. Hiding less is better
# here: 25% is right in 67%, 50% in 65%, 75% in 61%. (25 and 50% differ by less than their seeds; 25
# and 75% do not.) After 90%, trained so briefly, the start is worse than no pretraining at all in
# every seed, 44% against 52% in the mean. The probes have the same order. How these nets would rank
# after the paper's hundreds of times as many steps, this sweep cannot say.
#
# **But equal steps are not equal work.** The table's column *work* says what a step costs, and
# its last line is a net with 75% hidden that was trained for *less* work than the 800 steps of
# 25%. Hold those two lines against each other before you say which ratio is best; question 2 asks
# for it. (Whether 50% would do as well for equal work, about 910 steps, is not measured.)
#
# **In one piece?** With 75% hidden as a block the start is eleven points worse than with random
# patches, and no better than none. What a large block hides can often not be inferred at all: then
# the best answer is a blur, and there is little to learn from it. At 50%, block and random differ
# by less than their seeds. The paper has the same sign: two points of fine-tuning at 75%, ten of
# probing.
#
# **Which target?** Pixels against normalised pixels: 59% against 61%, and the seeds with pixels
# differ by up to 27 points. Three runs cannot tell these apart, still less see the paper's half a
# point.

# %% [markdown] question="q_labels" points=2
# ### Question 2 · 2 points
#
# Answer from *your* figures and tables of sections 7 and 8, in four to six sentences, with
# numbers.
#
# (a) By how many points does pretraining help with 1%, 5% and 10% of the labels after equally few
# steps, and how large is that beside the spread over seeds?
#
# (b) Your own brief pretraining was fine-tuned too, and there is the patient control. What do the
# two together say about when this method is worth its price?
#
# (c) After 800 steps each, the net with 25% hidden has the lower loss and the higher accuracy
# than the one with 75%. Which of the two says something about the encoders? And why is neither a
# reason to hide 25%?
#
# ### BEGIN SOLUTION
# Model answer. (a) With 1% of the labels 24.4 against 21.9%: 2.5 ± 3.9 points, less than its
# spread, so nothing is shown. With 5%: 76.3 against 52.0%, 24.3 ± 4.4 points; with 10%: 93.3
# against 70.8%, 22.5 ± 5.7 points. Both are four to five times their spread, and at least 16
# points in every seed. (b) The student's own two numbers: in the run shown 300 steps of
# pretraining did harm. With 1,500 steps there is a gain, but with five times as many steps of
# fine-tuning it falls from 24 to 4.1 ± 2.6 points (7, 2 and 4 in the three seeds): 20 of the 24
# points were speed, the pretrained encoder reaches in a hundred steps what takes the other one
# some hundreds. So pretraining has to be long before it pays at all, and then mostly buys speed,
# at most 400 steps of fine-tuning for 1,500 of its own, which cost as much as 560: it is worth
# its price where one encoder serves many tasks, or where fine-tuning has to be short; not for one
# small task that can simply be trained for longer. (c) The accuracy does; the losses are of
# different riddles, and copying from neighbours makes the riddle of 25% easy. But a step with 25%
# hidden is 2.3 times the work: for less work 75% gets 1,500 steps and 76% right, nine points more
# than 25% with 800 (6, 7 and 15 by seed). Here hiding most of the image pays because it makes
# steps cheap, not because each step teaches more.
#
# Rubric. ½ point: (a) three gains with their spread, and that the one of 1% is none. ½ point: (b)
# the control: most of the gain is speed. ½ point: (c) losses of different ratios are of different
# tasks. ½ point: (c) equal steps are not equal work.
# ### END SOLUTION

# %% [markdown]
# ## Play with it
#
# Hide more or less, and watch the shipped network paint. Where do *you* stop
# recognising the thing, and where does the network? Try blocks. Press the button for another mask
# of the same size.

# %% widget="masks"
mask_explorer(gallery.images, gallery.captions,
              lambda images, noise, ratio: paint(shipped, images, noise, ratio), draws, (8, 8))

# %%
one = gallery.images[1:2]
torch.manual_seed(12)
still_noise, steps_shown = random_noise(1, (8, 8)), (0.15, 0.3, 0.5, 0.65, 0.75, 0.85, 0.95)
pairs = [paint(shipped, one, still_noise, ratio) for ratio in steps_shown]
reconstructions.show_rows({"visible": torch.cat([a for a, _ in pairs] + [one]),
                           "painted": torch.cat([b for _, b in pairs] + [one])},
                          title="15, 30, 50, 65, 75, 85, 95% hidden; at the right the original",
                          alt=f"The image of {gallery.captions[1]}. What is painted is wrong a pixel by "
                              f"{', '.join(f'{(b - one).square().mean().sqrt():.3f}' for _, b in pairs)}.")

# %% [markdown]
# ## 9 · Published and measured

# %%
def shown(key, form="{}"):
    """A measured value, or the word that it is still to be measured."""
    return form.format(measured[key]) if key in measured else "not measured yet"


def gain_of(percent):
    key = f"gain {percent}"
    if key not in measured:
        return "not measured yet"
    return "{:+.1f} ± {:.1f} points".format(*measured[key])


def right_with(name):
    found = measured.get("sweep", {})
    if name not in found:
        return "not measured yet"
    return "{:.0f} ± {:.0f}%".format(*(100 * value for value in found[name]))


charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["your code is the reference's", "equal", f"loss {shown('test loss', '{:.4f}')}, on record "
     f"{shown('stored loss', '{:.4f}')}", "they do not"],
    ["MACs of encoder and decoder, ViT-B, 0 → 75% hidden", "not published",
     shown("macs ViT-B", "{:.2f} × fewer"), "counted on your classes"],
    ["the same, ViT-L", "3.3 × fewer FLOPs than with mask tokens in the encoder",
     shown("macs ViT-L", "{:.2f} × fewer"),
     "another comparison: ours is with the same net that hides nothing"],
    ["encoder, time, 75% hidden", "4 × fewer tokens",
     shown("encoder speed-up", "{:.1f} × faster"),
     "the class token, and work that does not shrink"],
    ["pretraining, time", "2.8 × (ViT-L) to 4.1 × (ViT-H, one block), against mask tokens in the "
     "encoder", f"{shown('whole speed-up', '{:.1f} ×')} forward, "
     f"{shown('step speed-up', '{:.1f} ×')} a training step",
     "a small encoder with a small decoder, a CPU"],
    ["fine-tuning against from scratch", "82.5 → 84.9 (ViT-L, ImageNet, all labels)",
     f"1%: {gain_of('1%')}; 5%: {gain_of('5%')}; 10%: {gain_of('10%')}; 5% and five times the "
     f"steps: {gain_of('5%, longer')}; 5% in natural colours: {gain_of('natural, accuracy')}",
     "few labels and few steps, toy images"],
    ["mask ratio, equal steps", "flat from 40 to 80% when fine-tuned, 75% best by linear probe",
     "; ".join(f"{r}: {right_with(f'random, {r}')}" for r in ("25%", "50%", "75%", "90%")),
     "few steps: with less hidden a step does more work"],
    ["mask ratio, 75% for 1,500 steps", "-", f"{right_with('random, 75%, 1,500 steps')}, for less "
     "work than 25% for 800", "see section 8"],
    ["random against block, 75%", "84.9 against 82.8",
     f"{right_with('random, 75%')} against {right_with('block, 75%')}", "toy images"],
    ["normalised pixels against pixels", "85.4 against 84.9",
     f"{right_with('random, 75%')} against {right_with('random, 75%, pixels')}",
     "three seeds cannot tell them apart"],
], title="Published · measured here · why they differ")

# %% [markdown]
# ## Where next
#
# **What the full-size system does besides.** MAE trains for 800 to 1,600 epochs on ImageNet in
# batches of 4,096, with no augmentation but a random crop; ViT-L takes 31 hours on 128 TPU cores.
# Fine-tuning uses smaller learning rates for lower layers, stochastic depth, mixup and cutmix.
# Its linear probe is weaker than that of contrastive methods (lab 06) and its fine-tuning
# stronger: what is in the encoder is there, but not in straight lines.
#
# **DINOv3** (Siméoni et al., 2025) learns from images alone too, and predicts no pixels: a
# student network has to say what a teacher, the slow average of its own weights, says of other
# crops and of patches that the student does not see. *Gram anchoring* holds the similarities
# between patches to those of an earlier teacher, so that they do not wash out in long training.
# Its features are used frozen, where an MAE has to be fine-tuned.
#
# **Where this course goes.** Segment Anything (lab 04) was trained from an MAE on. Lab 08 also predicts
# images from parts of them, and calls it *generation*.
#
# **To try.**
#
# * `PROFILE = "gpu"` pretrains as long as the stored runs. Does yours overtake them?
# * Put the visible patches into the loss as well and look at the accuracy, not at the loss.
# * Give the decoder four blocks. Better paintings? A better encoder?
# * Pretrain on one drawing style and fine-tune on the other (`labsupport.data.singles(...,
#   style="twemoji")`).
# * Leave the positions out of the decoder and look at what it paints.
#
# ## References
#
# * K. He, X. Chen, S. Xie, Y. Li, P. Dollár, R. Girshick, *Masked Autoencoders Are Scalable Vision
#   Learners*, CVPR 2022: the paper of this lab.
# * J. Devlin et al., *BERT*, NAACL 2019: masked words. A. Wettig et al., *Should You Mask 15% in
#   Masked Language Modeling?*, EACL 2023: 40% can be better, for large models.
# * H. Bao, L. Dong, S. Piao, F. Wei, *BEiT: BERT Pre-Training of Image Transformers*, ICLR 2022:
#   blocks, mask tokens in the encoder.
# * Z. Xie et al., *SimMIM*, CVPR 2022: the same idea with a linear decoder.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
# * O. Siméoni, H. V. Vo, M. Seitzer et al., *DINOv3*, 2025.
#
# ## Glossary
#
# * **autoencoder**: an encoder and a decoder that together give back what came in.
# * **class token**: a learned token that belongs to no patch.
# * **fine-tuning**: training a pretrained network further, on labels.
# * **from scratch**: from random weights.
# * **latent**: what the encoder makes of a token.
# * **linear probe**: one linear layer trained on frozen features.
# * **mask token**: one learned vector that stands for every hidden patch in the decoder.
# * **mask_ratio**: the share of the patches that is hidden.
# * **masking**: hiding patches; the encoder never sees them.
# * **normalised pixels**: a patch's pixels minus their mean, over their standard deviation.
# * **patient control**: the net from scratch, trained for five times as many steps.
# * **permutation, its inverse**: who stands at a place, and where somebody stands.
# * **pretraining**: training without labels, for whatever comes after.
