# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "09"
#   title: "HART II: images from a caption, a scale at a time"
#   minutes: 180
#   masks:
#     - models/hart/masks.py
#     - models/hart/rope.py
#     - models/hart/sampling.py
#     - models/hart/generator.py
#     - models/hart/diffusion.py
#     - models/hart/residual.py
#     - models/hart/raster.py
#     - models/hart/masked.py
# ---

# %% [markdown]
# # Lab 09 · HART II: images from a caption, a scale at a time
#
# Lab 08 turned an image into tokens: codes from a list, coarse to fine, and residual tokens for what
# the codes leave out. This lab **writes** such tokens from a caption. A language model would write
# them one after another, a pass of the network for each: 130 passes for the small images of this
# lab, thousands for large ones. **HART** (Tang et al., 2024) writes a whole *scale* in one pass, six
# passes here, and adds the residual tokens by a diffusion of eight short steps.
#
# You build what makes that possible: who may look at whom, where a token lies in the image, how a
# caption is made to count, how codes are drawn by lot, the loop that draws an image, and the
# residual diffusion. Your functions then run inside a trained HART, which is stored with the lab.
#
# **After this lab you can** explain why a scale can be written in one pass and what the mask must
# hide for that; place tokens of any grid so that a network meets known positions on a larger one;
# sample from logits, with guidance; write tokens with a cache; and draw continuous tokens by
# diffusion.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Who may look at whom | `next_scale_mask` | 3 | 15 | ●○○ |
# | 2 Where a token lies | `scale_angles` | 4 | 30 | ●●○ |
# | 3 Making the caption count | `guide` | 3 | 15 | ●○○ |
# | 4 Codes by lot | `keep_likely` | 4 | 25 | ●●○ |
# | 5 Training it | a written question | 2 | 20 | ●●○ |
# | 6 The loop | `generate` | 6 | 35 | ●●● |
# | 7 What the codes leave out | `denoise` | 6 | 30 | ●●● |
# | 8 Measured | a written question | 2 | 15 | ●●○ |
#
# **30 points, about three hours.** You need PyTorch, attention (lab 01) and the tokenizer of lab 08.
# With all exercises solved the notebook runs in about four minutes on two cores; nothing is
# downloaded.
#
# **How it works.** Write your code where a cell says `YOUR CODE HERE`. The cell below it checks
# your answer at once and tells you what it found; it is not graded, so run it as often as you
# like. When you hand in, your code is asked about fresh inputs that only you get.

# %% [markdown]
# ## Set up
#
# Run the next four cells. The first says whether this machine has what the lab needs.
# `PROFILE = "cpu"` is meant for a laptop or a free Colab machine, `"smoke"` runs everything in
# seconds with results that mean nothing, and `"gpu"` trains longer.

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport import environment

environment.report(PROFILE);

# %% tags=["setup"]
import json
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport import charts, comparisons, figures, hart_views
from labsupport.checks import Check
from labsupport.data import data_path
from labsupport.data.stickers import TEXT_LENGTH, VOCABULARY, stickers, tokenize
from labsupport.profiles import profile
from labsupport.profiling import count_parameters
from labsupport.training import normalize

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %% experiment="showcase"
from labsupport.experiments.hart_generation import shipped_hart

hart = shipped_hart()  # trained, in eval mode: hart.transformer, hart.residual, hart.tokenizer
tokenizer = hart.tokenizer
scales = tokenizer.quantizer.scales
test_captions = stickers(6, tokenizer.size, split="triple", seed=1).captions
print(f"scales {scales}: {sum(s * s for s in scales)} tokens of "
      f"{len(tokenizer.quantizer.codebook.weight):,} codes; {tokenizer.size} pixels")
print(f"{count_parameters(hart.transformer):,} parameters write the codes, "
      f"{count_parameters(hart.residual):,} the residual tokens")

drawn = []
final = hart.generate(tokenize(test_captions), residual=False,
                      on_scale=lambda k, images: drawn.append(images))
with_residual = hart.generate(tokenize(test_captions), steps=8)
names = [f"{s} × {s}" for s in scales] + ["+ residual"]
hart_views.show_scales([*drawn, with_residual], test_captions, names,
                       title="Six captions that were never seen in training")

# %% [markdown]
# This is what you will build. A row is one caption, of four words: place, tint, thing, ground. (A
# thing without a tint has its own colours.) Each column but the last is one pass of the transformer, in
# which it writes all codes of a scale at once; the last column adds the residual tokens. No training
# image shows this thing at this place on this ground: the network has to put together what it
# knows from others.

# %% [markdown]
# ## 1 · Who may look at whom
#
# The transformer reads one row of tokens: the caption first, then one scale after the other,
#
# $$ [\;\underbrace{w_1 \dots w_4}_{\text{caption}}\;|\;\underbrace{1}_{1 \times 1}\;|\;
#    \underbrace{4}_{2 \times 2}\;|\;\underbrace{9}_{3 \times 3}\;|\;\dots\;] $$
#
# Each of these pieces is a **block**. At the places of scale $k$ the input is *not* the codes of
# scale $k$ but what the scales before add up to, averaged down to that size (lab 08's sum of scales);
# the output there is a guess of the codes of scale $k$. So within a scale nothing is given away: all
# its tokens may look at each other, and must, because they are written at the same time. What has to
# be hidden is what comes **later**: the inputs of scale $k + 1$ contain the codes of scale $k$, which
# are the answer.
#
# So a token of block $b(i)$ may look at a token of block $b(j)$ when
#
# $$ M_{ij} = \bigl[\, b(i) \ge b(j) \,\bigr] $$
#
# This is the **next-scale mask**, *block-causal*: causal between blocks, open within them. (A
# language model's mask is *token-causal*, $i \ge j$. HART shares with it that the caption is in front,
# so every visual token sees all of it, and the caption sees no image.)
#
# **What to expect.** With `True` painted blue: a staircase whose steps grow, 4, 1, 4, 9, …, tokens wide.
#
# ### Exercise 1 · `next_scale_mask` · 3 points · 15 minutes · ●○○
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of two or three lines |
# | **Shapes** | `lengths`: a list with the number of tokens of each block, the caption's first; out: `(tokens, tokens)`, `bool` |
# | **Mind** | row = who looks, column = who is looked at; `True` = may look |
# | **Read** | VAR paper (Tian et al., 2024), section 3.2, "VAR transformer" |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# Give every token the number of its block: `lengths = [2, 1, 4]` becomes `[0, 0, 1, 2, 2, 2, 2]`.
# </details>
# <details><summary>Hint 2: which function does that?</summary>
#
# `torch.repeat_interleave(torch.arange(n), torch.tensor(lengths))`.
# </details>
# <details><summary>Hint 3: "the mask is transposed"</summary>
#
# `block[:, None]` varies along the rows: it belongs to the one who looks. `block[None, :]` belongs to
# the one who is looked at, and must not be larger.
# </details>

# %% exercise="next_scale_mask"
def next_scale_mask(lengths):
    """Who may look at whom: at the tokens of the own block and of all blocks before it.

    lengths: the tokens of each block, in order. Returns (tokens, tokens), bool: True where the
    token of the row may look at the token of the column.
    """
    ### BEGIN SOLUTION
    block = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))  # (tokens,)
    return block[:, None] >= block[None, :]
    ### END SOLUTION

# %% check="next_scale_mask"
with Check("next_scale_mask", read="section 1, the formula") as check:
    check.signature(next_scale_mask, "lengths")
    found = next_scale_mask([2, 1, 4])
    check.shape(found, (7, 7), "the mask of blocks of 2, 1 and 4 tokens", "every token of every "
                "block has a row and a column")
    check.dtype(found, torch.bool, "the mask")
    wanted = torch.tensor([[1, 1, 0, 0, 0, 0, 0]] * 2 + [[1, 1, 1, 0, 0, 0, 0]]
                          + [[1, 1, 1, 1, 1, 1, 1]] * 4)
    inside = torch.block_diag(*(torch.ones(n, n) for n in (2, 1, 4))).long()
    unread = wanted.clone()
    unread[2:, :2] = 0
    everything = wanted.clone()
    everything[:2] = 1
    check.values(found.long(), wanted, "the mask of blocks of 2, 1 and 4 tokens", otherwise={
        "the mask is token-causal: the tokens of one scale are written at the same time and look at "
        "each other": torch.ones(7, 7).tril(),
        "a block may not look at itself; it holds no answer of its own, only what is before it":
            wanted - inside,
        "the mask is transposed: early blocks see late ones, where the answers are": wanted.T,
        "True and False are swapped: True means may look": 1 - wanted,
        "the image cannot see its caption: the first block counts as one before all others": unread,
        "blocks see themselves only; they need the scales before them, and the caption": inside,
        "the caption sees the image; a block sees none that come later": everything,
        "everything sees everything: the inputs of later scales hold the answers": torch.ones(7, 7),
    })
    check.values(next_scale_mask([3]).long(), torch.ones(3, 3), "the mask of a single block")
    check.values(next_scale_mask([1, 1, 1]).long(), torch.ones(3, 3).tril(),
                 "the mask of three blocks of one token")

# %% judge="next_scale_mask" points=3
def ask(rng):
    for title, lengths in (("the caption and three scales", [4, 1, 4, 9]),
                           ("a single block", [5]), ("blocks of one token", [1, 1, 1, 1]),
                           ("blocks that shrink", [6, 3, 1]), ("two equal blocks", [3, 3])):
        yield Case(title, lengths=lengths)
    yield Case("blocks of any size", lengths=[int(n) for n in rng.integers(1, 9, 6)])

# %% trap="next_scale_mask" name="token-causal"
# Your mask equals the token-causal one of a language model. The tokens of one scale are written at
# the same time: they may all look at each other.
def next_scale_mask(lengths):
    return torch.ones(sum(lengths), sum(lengths)).tril().bool()

# %% trap="next_scale_mask" name="own scale excluded"
# Your mask equals the one in which a block may not look at itself. The inputs of a scale hold what
# is before it, not its codes, so a scale may see itself; and the first block would see nothing at all.
def next_scale_mask(lengths):
    block = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return block[:, None] > block[None, :]

# %% trap="next_scale_mask" name="looked at from behind"
# Your mask is transposed: early blocks look at late ones. Rows are those who look.
def next_scale_mask(lengths):
    block = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return block[:, None] <= block[None, :]

# %% trap="next_scale_mask" name="the caption is not seen"
# In your mask the visual tokens do not see the caption. It is the first block, before all others.
def next_scale_mask(lengths):
    block = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    mask = block[:, None] >= block[None, :]
    mask[lengths[0]:, :lengths[0]] = False
    return mask

# %% alternative="next_scale_mask" name="row by row"
def next_scale_mask(lengths):
    total, end, rows = sum(lengths), 0, []
    for n in lengths:
        end += n
        rows += [[place < end for place in range(total)]] * n
    return torch.tensor(rows)

# %% alternative="next_scale_mask" name="ends of blocks"
def next_scale_mask(lengths):
    ends = np.cumsum(lengths)
    seen = torch.from_numpy(np.repeat(ends, lengths))  # up to where each token sees
    return torch.arange(int(ends[-1])).expand(len(seen), -1) < seen.unsqueeze(1)

# %% alternative="next_scale_mask" name="a triangle, enlarged"
def next_scale_mask(lengths):
    n = torch.as_tensor(lengths)
    small = torch.ones(len(n), len(n), dtype=torch.bool).tril()
    return small.repeat_interleave(n, dim=0).repeat_interleave(n, dim=1)

# %%
blocks = [TEXT_LENGTH, *(s * s for s in (1, 2, 3, 4))]
hart_views.show_mask(next_scale_mask(blocks), blocks, ["caption", "1 × 1", "2 × 2", "3 × 3", "4 × 4"],
                     title="Your mask: the caption and the first four scales")

# %% [markdown]
# **What it shows.** Read a row from left to right: that is what the token knows. The largest scale
# knows everything, the caption knows itself only. All tokens of a step have the same row, so they can be computed
# in one pass; and nothing that a row sees ever depends on a later block, so keys and values once
# computed stay right. Section 6 lives on that.

# %% [markdown]
# ## 2 · Where a token lies
#
# Attention does not know where its tokens come from; it must be told. **Rotary positions** (Su et
# al., 2021) do it by turning: the numbers of a query or key are taken in pairs, each pair is a point
# in a plane, and it is turned by an angle that grows with the position. The product of a query and a
# key then depends on the *difference* of their positions, because only the difference of two turns is
# left. In this lab the turning is given; you say by **how much**.
#
# A visual token has two coordinates, a row and a column: the first half of the pairs turns with the
# row, the second half with the column. And there are six grids in one sequence. HART gives all of them the
# *same* coordinates, those of the largest map: a map of $s \times s$ tokens is stretched over it, and
# each token lies in the **middle** of the area that it stands for,
#
# $$ \text{place}(i) = \left(i + \tfrac{1}{2}\right) \frac{\text{side}}{s} - \tfrac{1}{2},
#    \qquad i = 0, \dots, s - 1 $$
#
# For $s = \text{side}$ that is $0, 1, 2, \dots$, and the single token of the 1 × 1 map lies in the middle
# of the image. So tokens that look at the same place get (nearly) the same angle, whatever
# their scale. (HART's code takes the corner of the area, $i \cdot \text{side} / s$, which puts coarse tokens
# too far up and left; the middles are this lab's.)
#
# **A larger grid comes for free.** `side` is the side of the largest map *in training*. A map of 12 × 12 tokens with
# `side` 8 puts its tokens *between* the places that the network has met, and hardly beyond: from $-\tfrac16$ to
# $7\tfrac16$. That is **interpolation**.
#
# With the frequencies $\omega_j$, which fall from 1 to nearly 1/100, and the caption's length $T$ added to
# both coordinates (the words have the positions $0, \dots, T - 1$), the angles of a token are
#
# $$ \bigl[\,(\text{row} + T)\,\omega_0,\ (\text{row} + T)\,\omega_1, \dots,\
#    (\text{column} + T)\,\omega_0,\ (\text{column} + T)\,\omega_1, \dots \bigr] $$

# %% tags=["setup"]
def frequencies(pairs):
    """How far each of `pairs` pairs turns with one step, in radians: from 1 down, (pairs,)."""
    return 100.0 ** (-torch.arange(pairs) / pairs)

# %% [markdown]
# **What to expect.** The places of all scales in one picture share one centre, and coarse tokens
# lie in the middle of the fine ones that they stand for.
#
# ### Exercise 2 · `scale_angles` · 4 points · 30 minutes · ●●○
#
# | | |
# |:--|:--|
# | **Deliverable** | the functions `places(scale, side)` and `scale_angles(scales, head_dim, side, text_length)`, two points each, two to four lines |
# | **Shapes** | `places`: `(scale², 2)`, row and column of every token, row by row; `scale_angles`: `(tokens of all scales, head_dim / 2)` |
# | **Given** | `frequencies(pairs)`; a head of `head_dim` numbers has `head_dim / 2` pairs, a quarter of `head_dim` for each coordinate |
# | **Mind** | `side` is an argument: it need not be the last of `scales`; both results are `float32` |
# | **Read** | HART paper, section 3.2; RoFormer paper, section 3.2 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# `middles = (torch.arange(scale) + 0.5) * side / scale - 0.5` holds the places of one axis.
# `torch.cartesian_prod(middles, middles)` makes all pairs of them; look at the order it has.
# </details>
# <details><summary>Hint 2: from places to angles</summary>
#
# `torch.cat` the places of all scales to `(tokens, 2)` and add `text_length`. Multiply
# `[:, :, None]` of it by the frequencies: `(tokens, 2, head_dim / 4)`.
# </details>
# <details><summary>Hint 3: "rows and columns alternate"</summary>
#
# All pairs of the row come first, then all of the column: `flatten(1)` of `(tokens, 2, pairs)`.
# </details>

# %% exercise="scale_angles"
def places(scale, side):
    """Row and column of the middle of every token of a scale x scale map, in units of a map of
    side x side whose first token is at 0.

    Returns (scale², 2), float32, row by row.
    """
    ### BEGIN SOLUTION
    middles = (torch.arange(scale) + 0.5) * side / scale - 0.5  # (scale,)
    return torch.cartesian_prod(middles, middles)
    ### END SOLUTION


def scale_angles(scales, head_dim, side, text_length):
    """The angles of the visual tokens of all scales, one scale after the other.

    Rows turn the first half of the pairs, columns the second; text_length is added to both.
    Returns (tokens, head_dim / 2), float32.
    """
    # Places of all scales, one behind the other; plus text_length; times the frequencies
    ### BEGIN SOLUTION
    at = torch.cat([places(scale, side) for scale in scales]) + text_length  # (tokens, 2)
    angles = at[:, :, None] * frequencies(head_dim // 4)  # (tokens, 2, head_dim / 4)
    return angles.flatten(1)
    ### END SOLUTION

# %% check="scale_angles"
with Check("scale_angles", read="section 2, the two formulas") as check:
    check.signature(places, "scale", "side")
    check.signature(scale_angles, "scales", "head_dim", "side", "text_length")
    found = places(2, 8)
    check.shape(found, (4, 2), "the places of a 2 × 2 map", "a row and a column for every token")
    check.dtype(found, torch.float32, "the places")
    pairs_of = lambda a, b: torch.tensor([[a, a], [a, b], [b, a], [b, b]], dtype=torch.float32)
    check.values(found, pairs_of(1.5, 5.5), "the places of a 2 × 2 map on a side of 8", otherwise={
        "tokens are counted, not placed: stretch the map over the side": pairs_of(0, 1),
        "these are the corners of the areas; add half a token, take half a place away":
            pairs_of(0, 4),
        "half a place too far: - 1/2, so that the first token of the largest map is at 0":
            pairs_of(2, 6),
        "half a token is missing: (i + 1/2) side / s - 1/2": pairs_of(-0.5, 3.5),
        "the ends of the map are pinned to the ends of the grid; every token lies in the middle of "
        "its area": pairs_of(0, 7),
        "row and column are swapped: tokens come row by row, and the row is first":
            pairs_of(1.5, 5.5).flip(1),
        "places are shares of the image; the unit is one token of the largest map":
            pairs_of(0.25, 0.75),
    })
    check.values(places(1, 8), [[3.5, 3.5]], "the place of the single token of a 1 × 1 map")
    check.values(places(3, 3)[:4], [[0, 0], [0, 1], [0, 2], [1, 0]], "the places of the largest map",
                 otherwise={"row and column are swapped: tokens come row by row":
                            [[0, 0], [1, 0], [2, 0], [0, 1]]})
    at = torch.cat([torch.tensor([[2.5, 2.5]]), pairs_of(1, 4)])  # scales 1 and 2 of a side of 6
    turns = torch.tensor([1, 0.1])  # of two pairs
    angles = scale_angles([1, 2], 8, 6, 3)
    check.shape(angles, (5, 4), "the angles of scales 1 and 2 with 8 numbers a head",
                "half as many angles as numbers; a quarter for rows, a quarter for columns")
    check.dtype(angles, torch.float32, "the angles")
    by_rows = lambda where: (where[:, :, None] * turns).flatten(1)
    own_side = torch.cat([torch.tensor([[0.5, 0.5]]), pairs_of(0, 1)])
    check.values(angles, by_rows(at + 3), "the angles of scales 1 and 2 on a side of 6", otherwise={
        "text_length is not added": by_rows(at),
        "text_length is taken away": by_rows(at - 3),
        "the side is taken from the last scale; it is an argument, so that a larger grid keeps the "
        "places of training": by_rows(own_side + 3),
        "columns turn the first half of the pairs; rows should": by_rows(at.flip(1) + 3),
        "rows and columns alternate; all pairs of the row come first":
            by_rows(at + 3).unflatten(1, (2, 2)).mT.flatten(1),
        "text_length is added to the row only": by_rows(at + torch.tensor([3, 0])),
        "text_length is added after the frequencies; it is a position": by_rows(at) + 3,
    })
    check.values(scale_angles([12], 8, 8, 0)[[0, -1]], by_rows(torch.tensor(
        [[-1 / 6, -1 / 6], [7 + 1 / 6, 7 + 1 / 6]])), "the angles of a 12 × 12 map on a side of 8",
        likely="the side is the argument side, also where a scale is larger")

# %% judge="scale_angles" points=4
parts = {"places": 2, "scale_angles": 2}


def ask(rng):
    for title, size, side in (("a 2 × 2 map on 8", 2, 8), ("a single token", 1, 7),
                              ("the largest map", 5, 5), ("a 3 × 3 map on 8", 3, 8),
                              ("a map larger than the side", 12, 8), ("a single token on 1", 1, 1)):
        yield Case(title, part="places", scale=size, side=side)
    for title, scales, head_dim, side, text in (
            ("three scales", [1, 2, 4], 16, 4, 4), ("the lab's own", [1, 2, 3, 4, 6, 8], 32, 8, 4),
            ("no caption", [2, 3], 8, 3, 0), ("a larger grid", [1, 3, 6], 8, 4, 5),
            ("a smaller grid", [1, 2], 12, 6, 2), ("one pair for each", [3], 4, 3, 1)):
        yield Case(title, part="scale_angles", scales=scales, head_dim=head_dim, side=side,
                   text_length=text)


def stand_in_places(scale, side):
    middles = torch.linspace(0.5, scale - 0.5, scale) * side / scale - 0.5
    return torch.stack(torch.meshgrid(middles, middles, indexing="ij"), dim=-1).view(-1, 2)


def stand_in_frequencies(pairs):
    return torch.logspace(0, -2, pairs + 1)[:pairs]


def drive(lab, side, scale=None, scales=None, head_dim=None, text_length=None):
    if scale is not None:
        return lab.places(scale, side)
    with lab.replacing(places=stand_in_places, frequencies=stand_in_frequencies):
        return lab.scale_angles(scales, head_dim, side, text_length)

# %% trap="scale_angles" name="positions by index"
# Your places are those of counted tokens, 0, 1, 2, …, at every scale. A coarse map covers the whole
# image: stretch it over the side, so that a place means the same at every scale.
def places(scale, side):
    counted = torch.arange(scale).float()
    return torch.cartesian_prod(counted, counted)


def scale_angles(scales, head_dim, side, text_length):
    at = torch.cat([places(scale, side) for scale in scales]) + text_length
    return (at[:, :, None] * frequencies(head_dim // 4)).flatten(1)

# %% trap="scale_angles" name="corners"
# Your places are the corners of the tokens' areas, i · side / s, as in HART's own code. This lab
# asks for the middles: half a token further, half a place back.
def places(scale, side):
    corners = torch.arange(scale) * side / scale
    return torch.cartesian_prod(corners, corners)


def scale_angles(scales, head_dim, side, text_length):
    at = torch.cat([places(scale, side) for scale in scales]) + text_length
    return (at[:, :, None] * frequencies(head_dim // 4)).flatten(1)

# %% trap="scale_angles" name="row and column swapped"
# In your places rows and columns are swapped: the image is mirrored at its diagonal, and the order no
# longer is that of the codes, row by row.
def places(scale, side):
    middles = (torch.arange(scale) + 0.5) * side / scale - 0.5
    return torch.cartesian_prod(middles, middles).flip(1)


def scale_angles(scales, head_dim, side, text_length):
    at = torch.cat([places(scale, side) for scale in scales]) + text_length
    return (at[:, :, None] * frequencies(head_dim // 4)).flatten(1)

# %% trap="scale_angles" name="the last scale for the side"
# Your angles take the side from the last of the scales. It is the side of training, an argument:
# only then do the places of a larger grid fall between those that the network knows.
def places(scale, side):
    middles = (torch.arange(scale) + 0.5) * side / scale - 0.5
    return torch.cartesian_prod(middles, middles)


def scale_angles(scales, head_dim, side, text_length):
    at = torch.cat([places(scale, scales[-1]) for scale in scales]) + text_length
    return (at[:, :, None] * frequencies(head_dim // 4)).flatten(1)

# %% trap="scale_angles" name="the caption's length forgotten"
# Your angles lack the caption's length: the first visual tokens then have the positions of words.
def places(scale, side):
    middles = (torch.arange(scale) + 0.5) * side / scale - 0.5
    return torch.cartesian_prod(middles, middles)


def scale_angles(scales, head_dim, side, text_length):
    at = torch.cat([places(scale, side) for scale in scales])
    return (at[:, :, None] * frequencies(head_dim // 4)).flatten(1)

# %% alternative="scale_angles" name="a mesh, halves joined"
def places(scale, side):
    step = side / scale
    line = torch.arange(scale) * step + (step - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], dim=1)


def scale_angles(scales, head_dim, side, text_length):
    turns, found = frequencies(head_dim // 4), []
    for scale in scales:
        rows, columns = (places(scale, side) + text_length).T
        found.append(torch.cat([torch.outer(rows, turns), torch.outer(columns, turns)], dim=1))
    return torch.cat(found)

# %% alternative="scale_angles" name="token by token"
def places(scale, side):
    def middle(i):
        return (2 * i + 1) * side / (2 * scale) - 0.5

    return torch.tensor([[middle(n // scale), middle(n % scale)] for n in range(scale * scale)])


def scale_angles(scales, head_dim, side, text_length):
    turns = frequencies(head_dim // 4)
    rows = [torch.cat([(row + text_length) * turns, (column + text_length) * turns])
            for scale in scales for row, column in places(scale, side)]
    return torch.stack(rows)

# %%
by_index = {s: torch.cartesian_prod(torch.arange(s), torch.arange(s)) for s in (1, 2, 4, 8)}
hart_views.show_places({
    "your places": ((1, 2, 4, 8), [places(s, 8) for s in (1, 2, 4, 8)]),
    "counted, for comparison": ((1, 2, 4, 8), list(by_index.values()))},
    title="Four scales on the grid of the largest")

# %% [markdown]
# On the left every circle sits in the middle of the smaller ones that it stands for. On the right, where
# tokens are merely counted, the same position means another place of the image at every scale, and
# what a network learned for one grid is of no use on another.
#
# Now plug both functions into the trained HART. They replace its own, so the images should be the
# same to rounding. Then draw on a **larger grid**: 12 × 12 tokens, images of 72 pixels, with a network
# that only ever saw 8 × 8. The tokenizer can do that, being made of convolutions; can the transformer?
# Twice: with places interpolated (`side` 8), and with places that simply go on beyond those of training
# (`side` 12). What do you expect of the second?

# %% experiment="larger grid"
from labsupport.hart_lab import larger_tokenizer, plug_in

words = tokenize(test_captions)
before = hart.generate(words)
hart = plug_in(hart, next_scale_mask, scale_angles)  # from now on it runs on your functions
after = hart.generate(words)
print(f"largest difference of a pixel before and after: {(before - after).abs().max():.1g}")

wide = larger_tokenizer(tokenizer, (*scales[:-2], 8, 12))
ways = {f"{tokenizer.size} pixels,\nas trained": F.interpolate(after, size=(wide.size, wide.size)),
        f"{wide.size} pixels,\ninterpolated": hart.generate(words, tokenizer=wide),
        f"{wide.size} pixels,\ncontinued": hart.generate(words, tokenizer=wide, interpolate=False)}
above = [caption.replace(" ", "\n").replace("on\n", "on ") for caption in test_captions]
hart_views.show_scales(list(torch.stack(list(ways.values()), dim=1)), list(ways), above,
                       title="A larger grid than in training")

# %% [markdown]
# **What it shows.** Interpolated, the thing has its place and size, and 2¼ times as many tokens; the
# finer texture is restless, because the codes of the last scale have never lain so close together.
# Continued, the network draws the image that it knows into the upper left 8 × 8 tokens and is at a
# loss beyond. Interpolation alone is a beginning: HART *trains on* at the larger size, and needs few
# steps for it, since the places are known.

# %% [markdown]
# ## 3 · Making the caption count
#
# A network trained on captioned images may still lean on what images look like in general. To hear
# more of the caption, ask twice: **given** the caption, with the logits $\ell$, and **free**, with an empty
# caption, $\ell_\varnothing$. (In training a tenth of the captions were emptied, so that the network knows
# what that means.) The difference is what the caption adds; go further in that direction:
#
# $$ \ell_{\text{guided}} = \ell + t\,(\ell - \ell_\varnothing) = (1 + t)\,\ell - t\,\ell_\varnothing $$
#
# This is **classifier-free guidance** (Ho and Salimans, 2022). For logits it has a plain meaning: each
# probability is multiplied by $(p / p_\varnothing)^t$, the factor by which the caption makes that code
# more likely, to the power $t$.
#
# VAR and HART let it **grow with the scale**. The first scale decides what all others have to fit, and wants
# variety; details want to be true to the caption. With scales $k = 0, \dots, K - 1$ and the full guidance $g$:
#
# $$ t_k = g \, \frac{k}{K - 1} $$
#
# none at the first scale and all of it at the last. (Where there is a single scale, $t = 0$.)
#
# ### Exercise 3 · `guide` · 3 points · 15 minutes · ●○○
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of two lines |
# | **Shapes** | `given` and `free`: any shape, the same for both; out: that shape |
# | **Mind** | `k` counts from 0 and `scales` is *how many* there are; a single scale must not divide by 0 |
# | **Read** | classifier-free guidance paper, equation 6; VAR's `autoregressive_infer_cfg` |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# First the number `t`, from `k`, `scales` and `guidance`; then the formula.
# </details>
# <details><summary>Hint 2: a single scale</summary>
#
# `max(scales - 1, 1)` in the place of `scales - 1`: then `0 / 1` is 0.
# </details>
# <details><summary>Hint 3: "the guidance points the wrong way"</summary>
#
# With `t = 1` a code with given 3 and free 1 gets 5: more than the caption alone says.
# </details>

# %% exercise="guide"
def guide(given, free, k, scales, guidance):
    """Logits that follow the caption more closely, at scale number k (from 0) of `scales`.

    given, free: logits with the caption and without, any shape. The weight grows from 0 at the
    first scale to `guidance` at the last. Returns the same shape.
    """
    ### BEGIN SOLUTION
    t = guidance * k / max(scales - 1, 1)
    return (1 + t) * given - t * free
    ### END SOLUTION

# %% check="guide"
with Check("guide", read="section 3, the two formulas") as check:
    check.signature(guide, "given", "free", "k", "scales", "guidance")
    given, free = torch.tensor([[3.0, -1, 0.5]]), torch.tensor([[1.0, -2, 2.5]])
    added = given - free
    found = guide(given, free, 5, 6, 2.0)
    check.shape(found, (1, 3), "guided logits")
    check.values(found, given + 2 * added, "logits at the last scale with guidance 2", otherwise={
        "the guidance points away from the caption: the difference is given - free":
            given - 2 * added,
        "given and free are swapped": free - 2 * added,
        "it starts from the free logits, so that 1 means no guidance; here 0 does":
            free + 2 * added,
        "the weights do not add up to 1: (1 + t) given - t free": 2 * given - 2 * free,
        "there is no guidance at all": given,
        "the last scale has less than all of the guidance: its number is K - 1":
            given + 2 * 5 / 6 * added,
    })
    check.values(guide(given, free, 2, 6, 2.0), given + 0.8 * added,
                 "logits at scale number 2 of 6 with guidance 2", otherwise={
        "the guidance is the same at every scale; it grows from 0 to all": given + 2 * added,
        "k is divided by K; the last of K scales has the number K - 1": given + 4 / 6 * added,
        "scales are counted from 1; k begins with 0": given + 6 / 6 * added,
        "k + 1 is divided by K - 1; k begins with 0": given + 6 / 5 * added,
        "the guidance falls with the scale; it grows": given + 1.2 * added,
        "the guidance grows with the square of k": given + 2 * (2 / 5) ** 2 * added,
    })
    check.values(guide(given, free, 0, 6, 2.0), given, "logits at the first scale",
                 likely="there is no guidance at the first scale")
    check.values(guide(given, free, 0, 1, 2.0), given, "logits of a single scale",
                 likely="0 / 0: the only scale is the first one, without guidance")
    check.values(guide(given, free, 4, 6, 0.0), given, "logits with guidance 0",
                 likely="guidance 0 leaves the logits that the caption gives")

# %% judge="guide" points=3
def ask(rng):
    for title, k, scales, guidance in (("the last scale", 5, 6, 1.5), ("a scale between", 2, 6, 3.0),
                                       ("the first scale", 0, 4, 2.0), ("a single scale", 0, 1, 4.0),
                                       ("no guidance", 3, 5, 0.0), ("ten scales", 6, 10, 4.5),
                                       ("negative guidance", 1, 3, -0.5)):
        given, free = randn(rng, 2, 2, 4, 7).double()
        yield Case(title, given=given, free=free, k=k, scales=scales, guidance=guidance)
    given, free = randn(rng, 2, 5)
    yield Case("single precision, a row", given=given, free=free, k=1, scales=2, guidance=2.0)


tolerance = dict(float64=1e-10)

# %% trap="guide" name="wrong direction"
# Your logits equal what you get when the guidance points away from the caption. The difference is given -
# free, and it is added.
def guide(given, free, k, scales, guidance):
    t = guidance * k / max(scales - 1, 1)
    return (1 - t) * given + t * free

# %% trap="guide" name="constant"
# Your guidance is the same at every scale. It grows from 0 at the first scale to all of it at the last.
def guide(given, free, k, scales, guidance):
    return (1 + guidance) * given - guidance * free

# %% trap="guide" name="from the free logits"
# Your logits start from those without caption: then a weight of 1 means no guidance, and 0 no
# caption. Here 0 is no guidance: given + t (given - free).
def guide(given, free, k, scales, guidance):
    t = guidance * k / max(scales - 1, 1)
    return free + t * (given - free)

# %% trap="guide" name="divided by K"
# Your guidance at the last scale is not all of it: scale numbers end at K - 1, so divide by that.
def guide(given, free, k, scales, guidance):
    t = guidance * k / scales
    return (1 + t) * given - t * free

# %% alternative="guide" name="a line through two points"
def guide(given, free, k, scales, guidance):
    share = k / (scales - 1) if scales > 1 else 0.0
    return torch.lerp(free, given, 1 + guidance * share)

# %% alternative="guide" name="weights from a table"
def guide(given, free, k, scales, guidance):
    weights = [guidance * step / (scales - 1) for step in range(scales)] if scales > 1 else [0.0]
    return given.add(given - free, alpha=weights[k])

# %% [markdown]
# How much does a caption say, and at which scale? Take held-out images with their true codes, show
# the network every scale before, and ask for the codes of the next: with the caption, without, and with
# your `guide`. The measure is the **cross-entropy**, minus the logarithm of the probability of the true
# code, on average: 0 is certainty, $\ln 1024 \approx 6.9$ a guess among all codes. Before you run the cell: at
# which scale should the caption matter most?

# %% experiment="what a caption says"
held = stickers(scale(smoke=8, cpu=100, gpu=500), tokenizer.size, split="triple", seed=2, jitter=0.5)
with torch.no_grad():
    quantizer = tokenizer.quantizer
    true = quantizer(tokenizer.encode(normalize(held.images))).indices  # (images, tokens)
    shown, asked = quantizer.inputs(true), tokenize(held.captions)
    given = hart.transformer(asked, shown).logits  # (images, tokens, codes)
    free = hart.transformer(torch.zeros_like(asked), shown).logits
lengths = [s * s for s in scales]


def entropy_by_scale(logits):
    """Mean cross-entropy of the true codes at every scale."""
    wrong = F.cross_entropy(logits.mT, true, reduction="none")  # (images, tokens)
    return [part.mean().item() for part in wrong.split(lengths, dim=1)]


def guided(guidance):
    """Logits of all scales, guided by your function."""
    parts = zip(given.split(lengths, dim=1), free.split(lengths, dim=1))
    return torch.cat([guide(one, other, k, len(scales), guidance)
                      for k, (one, other) in enumerate(parts)], dim=1)


table = {"without caption": free, "with caption": given, "guidance 1": guided(1.0),
         "guidance 4": guided(4.0)}
charts.Table(["cross-entropy of the true codes", *(f"{s} × {s}" for s in scales)],
             [[name, *(f"{value:.2f}" for value in entropy_by_scale(logits))]
              for name, logits in table.items()], title=f"{len(held)} held-out images")

# %% experiment="guidance"
weights = (0.0, 1.0, 2.0, 4.0, 8.0)
hart_views.show_scales([hart.generate(words, guidance=g) for g in weights], test_captions,
                       [f"guidance {g:g}" for g in weights],
                       title="The same captions and seeds, more and more guidance")

# %% [markdown]
# **What it shows.** The caption matters most at the first scales: one code says mostly the ground, the next
# four where something is. The more of this the sum of scales shows, the less the caption adds, and the first two
# rows draw near each other. Guidance does not lower the cross-entropy at the later scales: it makes the
# network surer than it has reason to be. In the images a little of it makes shapes crisper; too much
# overdraws them, until they break. HART's paper uses 4.5 with a network and captions that leave far more
# to chance.

# %% [markdown]
# ## 4 · Codes by lot
#
# The most probable code at every place gives the same image every time. To get variety, draw by lot,
# each code with its probability. But of a thousand codes most are improbable, and together they are not:
# if 900 codes have one chance in 3,000 each, one token in three or four is a bad one. So cut the tail off,
# in two steps.
#
# * **Top-k**: keep the $k$ codes with the largest logits. The number is fixed, however sure the network is.
# * **Nucleus**, or *top-p* (Holtzman et al., 2020): of those, keep the *fewest* codes whose probabilities add
#   up to $p$ **at least**, the most probable first. Where the network is sure, that is one code; where not,
#   many.
#
# All others get the logit $-\infty$: after a softmax their probability is exactly 0. The probabilities
# of the nucleus are those *after* top-k, which add up to 1 again. "At least" says that the code with which the sum
# reaches $p$ is in: with probabilities 0.5, 0.3, 0.2 and $p = 0.7$, the first two stay. Put differently: a code goes when the
# codes **before** it, in falling order, already have $p$.
#
# ### Exercise 4 · `keep_likely` · 4 points · 25 minutes · ●●○
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of five to eight lines |
# | **Shapes** | `logits`: `(..., V)`; out: the same shape; codes that stay keep their logits, at their own places |
# | **Mind** | `top_k` may be larger than $V$; codes as likely as the $k$-th stay too; `top_p=1` keeps all that top-k kept, whatever the rounding |
# | **Read** | Holtzman et al., section 3.1 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# Top-k: `logits.topk(k).values[..., -1:]` is the $k$-th largest logit. `masked_fill(condition, -torch.inf)`
# removes those below.
# </details>
# <details><summary>Hint 2: the sum of the codes before this one</summary>
#
# `ranked, order = logits.sort(dim=-1, descending=True)`. With `p = ranked.softmax(-1)`, the sum of those before is
# `p.cumsum(-1) - p`.
# </details>
# <details><summary>Hint 3: "the sorted order is not undone"</summary>
#
# What you decide is in sorted order: entry $j$ belongs to the code `order[..., j]`. Put it there:
# `out.scatter(-1, order, out)`.
# </details>

# %% exercise="keep_likely"
def keep_likely(logits, top_k, top_p):
    """All but the likely codes become -inf: first those below the top_k largest logits, then those
    outside of the nucleus, the fewest codes whose probabilities add up to top_p at least.

    logits: (..., V). Returns the same shape; what stays is unchanged and in its place.
    """
    # Step 1: top-k; Step 2, where top_p < 1: sort, add up, decide, and back to the old order
    ### BEGIN SOLUTION
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ranked, order = logits.sort(dim=-1, descending=True)
        p = ranked.softmax(dim=-1)
        out = p.cumsum(dim=-1) - p >= top_p  # enough before this one
        logits = logits.masked_fill(out.scatter(-1, order, out), -torch.inf)
    return logits
    ### END SOLUTION

# %% check="keep_likely"
with Check("keep_likely", read="section 4, the two steps") as check:
    check.signature(keep_likely, "logits", "top_k", "top_p")
    p = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.91, 0.03, 0.02, 0.04]])
    logits, gone = p.log() + 2.0, -math.inf


    def kept(*rows):
        """The logits where a row says 1."""
        return logits.masked_fill(~torch.tensor(rows).bool(), gone).clamp(min=-99)


    def answer(top_k, top_p, given=logits):
        got = keep_likely(given, top_k, top_p)
        check.shape(got, given.shape, "the logits", "all codes stay in their places; those that go "
                    "become -inf")
        check.that(not ((got == 0) & (given != 0)).any(), "some logits are 0, which is a probability like any other",
                   "codes that go get the logit -inf; 0 is not improbable")
        return got.clamp(min=-99)

    before = logits.clone()
    check.values(answer(2, 1.0), kept([0, 1, 0, 1], [1, 0, 0, 1]), "the logits with top_k = 2",
                 otherwise={"the smallest are kept": kept([1, 0, 1, 0], [0, 1, 1, 0]),
                            "one code too few is kept": kept([0, 1, 0, 0], [1, 0, 0, 0]),
                            "one code too many is kept": kept([0, 1, 1, 1], [1, 1, 0, 1])})
    check.values(answer(9, 1.0), logits, "the logits with top_k = 9 of 4 codes and top_p = 1",
                 likely="top_k may be larger than the number of codes; then all stay")
    check.values(answer(4, 0.6), kept([0, 1, 0, 1], [1, 0, 0, 0]), "the logits with top_p = 0.6",
                 otherwise={
        "the code with which the sum reaches top_p is dropped; the sum shall be top_p at least":
            kept([0, 1, 0, 0], [0, 0, 0, 0]),
        "the code with which the sum reaches top_p is dropped, or the first one is always kept":
            kept([0, 1, 0, 0], [1, 0, 0, 0]),
        "the sorted order is not undone: what you decide for a rank belongs to the code order[rank]":
            kept([1, 1, 0, 0], [1, 0, 0, 0]),
        "codes of a probability below top_p go; it is the sum that counts":
            kept([0, 0, 0, 0], [1, 0, 0, 0]),
        "one code too many is kept": kept([0, 1, 1, 1], [1, 0, 0, 1]),
        "the sum begins with the least probable code": kept([1, 0, 1, 1], [1, 1, 1, 1]),
    }, likely="a code goes when the codes before it, in falling order, already have top_p")
    check.values(answer(2, 0.56), kept([0, 1, 0, 0], [1, 0, 0, 0]),
                 "the logits with top_k = 2 and top_p = 0.56", otherwise={
        "the nucleus is taken of the probabilities before top-k; cut first, then softmax":
            kept([0, 1, 0, 1], [1, 0, 0, 0])})
    tied = torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]])
    check.values(answer(2, 1.0, tied), [[-99.0, 3.0, 2.0, 2.0, -99.0]],
                 "the logits 1, 3, 2, 2, 0 with top_k = 2", otherwise={
        "of two codes with the same logit one went: codes as likely as the k-th stay too":
            [[-99.0, 3.0, 2.0, -99.0, -99.0]],
        "of two codes with the same logit one went; codes as likely as the k-th stay too":
            [[-99.0, 3.0, -99.0, 2.0, -99.0]]})
    spread_out = torch.linspace(0, 30, 2000)[None]
    check.values(answer(2000, 1.0, spread_out), spread_out, "2,000 logits with top_p = 1",
                 likely="sums of small probabilities round to 1 too early; leave the nucleus out "
                        "where top_p is 1")
    cube = logits.view(2, 1, 4).expand(2, 3, 4)
    check.values(answer(4, 0.6, cube)[:, 1], kept([0, 1, 0, 1], [1, 0, 0, 0]),
                 "logits of the shape (2, 3, 4)", likely="codes are the last axis, dim=-1")
    check.unchanged(logits, before, "logits")

# %% judge="keep_likely" points=4
def ask(rng):
    for title, shape, top_k, top_p in (("both", (3, 5, 20), 8, 0.8), ("top-k only", (4, 12), 3, 1.0),
                                       ("the nucleus only", (6, 15), 15, 0.7),
                                       ("top_k larger than V", (5, 9), 50, 0.9),
                                       ("a small nucleus", (8, 10), 10, 0.05),
                                       ("one code", (4, 7), 1, 0.5), ("a row", (16,), 9, 0.6),
                                       ("both, a small k", (9, 30), 4, 0.75)):
        yield Case(title, logits=2 * randn(rng, *shape).double(), top_k=top_k, top_p=top_p)
    tied = torch.from_numpy(rng.permutation([3.0, 1, 1, 1, 0.5, -2]))[None]
    yield Case("equal logits at the k-th place", logits=tied, top_k=2, top_p=1.0)
    slope = torch.from_numpy(rng.permutation(np.linspace(0, 30, 1500)))[None].float()
    yield Case("top_p of 1 and many codes, single precision", logits=slope, top_k=1500, top_p=1.0)


tolerance = dict(float64=1e-10)

# %% trap="keep_likely" name="the crossing code dropped"
# Your nucleus lacks the code with which the sum reaches top_p. It shall hold top_p at least: a code goes
# when the codes before it have enough without it.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ranked, order = logits.sort(dim=-1, descending=True)
        out = ranked.softmax(dim=-1).cumsum(dim=-1) > top_p
        logits = logits.masked_fill(out.scatter(-1, order, out), -torch.inf)
    return logits

# %% trap="keep_likely" name="sorted order not undone"
# Your decision is right in sorted order but is applied to codes in their own order. Entry j of the sorted row
# belongs to the code order[j]: scatter it back.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        p = logits.sort(dim=-1, descending=True).values.softmax(dim=-1)
        logits = logits.masked_fill(p.cumsum(dim=-1) - p >= top_p, -torch.inf)
    return logits

# %% trap="keep_likely" name="nucleus before top-k"
# Your nucleus is taken of the probabilities before top-k. Cut to the top k first: the probabilities of what
# is left add up to 1 again, and fewer codes reach top_p.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    out = logits < least
    if top_p < 1:
        ranked, order = logits.sort(dim=-1, descending=True)
        p = ranked.softmax(dim=-1)
        late = p.cumsum(dim=-1) - p >= top_p
        out = out | late.scatter(-1, order, late)
    return logits.masked_fill(out, -torch.inf)

# %% trap="keep_likely" name="zero for minus infinity"
# Your function gives the codes that go the logit 0. That is a probability like any other, and often a large
# one; only -inf makes it 0.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    out = logits < least
    if top_p < 1:
        ranked, order = logits.masked_fill(out, -torch.inf).sort(dim=-1, descending=True)
        p = ranked.softmax(dim=-1)
        late = p.cumsum(dim=-1) - p >= top_p
        out = out | late.scatter(-1, order, late)
    return logits.masked_fill(out, 0.0)

# %% alternative="keep_likely" name="from the least probable up"
def keep_likely(logits, top_k, top_p):
    places = logits.shape[-1]
    if top_k < places:
        least = logits.sort(dim=-1).values[..., places - top_k].unsqueeze(-1)
        logits = torch.where(logits < least, torch.full_like(logits, -torch.inf), logits)
    if top_p >= 1:
        return logits
    rising, order = logits.sort(dim=-1)
    at_least = rising.softmax(dim=-1).flip(-1).cumsum(dim=-1).flip(-1)  # this one and all above
    above = torch.cat([at_least[..., 1:], torch.zeros_like(at_least[..., :1])], dim=-1)
    rising = torch.where(above < top_p, rising, torch.full_like(rising, -torch.inf))
    return rising.gather(-1, order.argsort(dim=-1))

# %% alternative="keep_likely" name="row by row"
def keep_likely(logits, top_k, top_p):
    rows = logits.reshape(-1, logits.shape[-1])
    result = torch.full_like(rows, -math.inf)
    for row, out in zip(rows, result):
        least = sorted(row.tolist(), reverse=True)[min(top_k, len(row)) - 1]
        stay = [i for i in range(len(row)) if row[i] >= least]
        p = row[stay].softmax(0).tolist()
        total = 0.0
        for place, i in sorted(enumerate(stay), key=lambda pair: -p[pair[0]]):
            if total >= top_p and top_p < 1:
                break
            out[i] = row[i]
            total += p[place]
    return result.reshape(logits.shape)

# %% [markdown]
# Now the logits of the held-out images once more. How many codes does a nucleus of 0.9 keep at each scale,
# and is the true one among them? And what do images look like that are drawn by lot, with the whole tail
# and without?

# %% experiment="how many stay"
rows = []
for name, top_k, top_p in (("top-k of 50", 50, 1.0), ("nucleus of 0.9", 1024, 0.9),
                           ("top-k of 50, nucleus of 0.9", 50, 0.9)):
    stays = keep_likely(given, top_k, top_p).isfinite()  # (images, tokens, codes)
    for part, numbers, label in zip(stays.split(lengths, dim=1), true.split(lengths, dim=1), scales):
        count = part.sum(dim=-1).float()
        found = part.gather(-1, numbers[..., None]).float().mean()
        if label in (scales[0], scales[2], scales[-1]):
            rows.append([name, f"{label} × {label}", f"{count.mean():.1f}",
                         f"{count.min():.0f} to {count.max():.0f}", f"{found:.0%}"])
charts.Table(["", "scale", "codes that stay, on average", "from … to", "true code among them"], rows,
             title=f"{len(held)} held-out images, all tokens of a scale")

# %% experiment="by lot"
ways = {"most probable": {"temperature": 0.0}, "by lot": {"temperature": 1.0},
        "by lot,\nnucleus 0.8": {"temperature": 1.0, "top_p": 0.8},
        "temperature 2": {"temperature": 2.0},
        "temperature 2,\nnucleus 0.8": {"temperature": 2.0, "top_p": 0.8}}
hart_views.show_scales([hart.generate(words, guidance=1.0, **way) for way in ways.values()],
                       test_captions, list(ways), title="The same captions, codes chosen in five ways")

# %% [markdown]
# **What it shows.** Top-k keeps fifty codes where the network is sure of one. The nucleus keeps few there and
# many where much is open, and still has the true one in about as many cases as it promises. In the images, whose
# captions leave little to chance, the most probable codes do well. A **temperature** divides the
# logits first: at 2 all probabilities come closer together, the tail grows, and ground and outline are
# speckled; the nucleus takes part of that back.

# %% [markdown]
# ## 5 · Training it
#
# Training needs no loop over scales. All codes of an image are known, so the sums of scales are too; the
# mask hides what must be hidden, and one pass gives a guess of every code of every scale. The loss is
# their cross-entropy. (A scale of side $s$ weighs $s$ in it: weighed by tokens, the largest scale would be all
# that counts. The part for the residual tokens comes in section 7. Most tokens of the last scale are left
# out of each step, as in HART, which saves time and costs little.)
#
# Train a small transformer of your own mask and positions, from nothing, for less than a minute. Then the same once more with
# a mask that hides **nothing**. Before you run it: which of the two will have the lower loss, and which scale
# betrays what happens?

# %% experiment="train"
from labsupport.experiments.hart_training import sticker_source, train_generator
from labsupport.hart_lab import loss_by_scale
from labsupport.models.hart.generator import Hart
from labsupport.models.hart.residual import ResidualDiffusion
from labsupport.models.hart.transformer import HartTransformer


def small_hart(mask, dim=96, depth=3, heads=3):
    """An untrained generator over the stored tokenizer, with this mask and your positions."""
    torch.manual_seed(SEED)
    transformer = HartTransformer(len(VOCABULARY), TEXT_LENGTH, scales,
                                  tokenizer.quantizer.codebook.weight.detach(), dim, depth, heads)
    fresh = Hart(tokenizer, transformer, ResidualDiffusion(tokenizer.dim, dim, dim))
    return plug_in(fresh, mask, scale_angles)


def open_mask(lengths):
    """Everybody sees everything."""
    return torch.ones(sum(lengths), sum(lengths), dtype=torch.bool)


steps = scale(smoke=2, cpu=200, gpu=4000)
source = sticker_source(tokenizer.size, 16, seed=SEED)
logs = {}
for name, mask in (("your mask", next_scale_mask), ("open mask", open_mask)):
    mine = small_hart(mask)
    logs[name] = train_generator(mine, source, steps=steps, lr=2.5e-3, seed=SEED, drop_last=True,
                                 progress=name)
    if name == "your mask":
        trained_here = mine
        print(f"{count_parameters(mine.transformer):,} parameters, {steps} steps of 16 images, "
              f"{logs[name][-1]['seconds']:.0f} seconds")
for name, log in logs.items():
    charts.lines([record["step"] for record in log], loss_by_scale(log, scales), xlabel="step",
                 ylabel="cross-entropy of the codes", title=f"Loss of every scale, {name}")
charts.Table(["cross-entropy at the end", *(f"{s} × {s}" for s in scales)],
             [["a guess among all codes", *[f"{math.log(len(tokenizer.quantizer.codebook.weight)):.2f}"]
               * len(scales)]]
             + [[name, *(f"{curve[-1]:.2f}" for curve in loss_by_scale(log, scales).values())]
                for name, log in logs.items()])

# %% experiment="trained here"
stored = json.loads(data_path("results", "09_hart_generation.json").read_text())
pair = torch.stack([trained_here.generate(words), hart.generate(words)], dim=1)
hart_views.show_scales(list(pair), [f"yours,\n{steps} steps",
                                    f"stored,\n{stored['settings']['steps']:,} steps"], above,
                       title="What a short training has learned, and a long one")

# %% [markdown]
# **What it shows.** The 1 × 1 code falls first and furthest: it is mostly the colour of the ground, and the
# caption names that. The other scales have fallen by one or two units and go on falling; the images show grounds of
# the right colour and hardly a thing on them. The stored network is larger and has seen many times more
# images.
#
# And the open mask? Its loss is *lower* at the early scales, though nothing else was changed: their
# answers are in the inputs of the scales behind. At the last scale, which has none behind it, there is no
# gain. A loss that is lower because the answer was in sight is worth nothing when images are drawn: then the
# later scales do not exist yet.

# %% [markdown] question="q_training" points=2
# ### Question 1 · 2 points
#
# Answer in five to eight sentences, with numbers from your tables of sections 3 and 5.
#
# (a) At which scale does the stored network profit most from the caption, and at which least? Why does the
# gap shrink from scale to scale, though the caption stays the same?
# (b) Compare the two trainings of section 5, scale by scale. Where does the open mask lower the loss, where
# not, and how can you tell from this that it is a leak and not better learning?
# (c) A fellow student replaces your mask by a language model's token-causal one. Would that leak as well? What
# would it do instead, in training and when a whole scale is written in one pass?
#
# ### BEGIN SOLUTION
# (a) It profits most at the first scale, where the cross-entropy falls from 3.5 without the caption to 0.4
# with it, and least at the last, 2.9 to 2.4. The first code has nothing else to go by. Later scales see the
# sum of those before, which already shows ground, place and, bit by bit, the thing: the caption says less
# and less that is new, and what is left open are details of a place that no caption names. (b) The open mask ends lower at
# 1 × 1 (1.0 against 1.7), 2 × 2 (3.1 against 3.9), 3 × 3 and 4 × 4 (3.3 against 3.8 and 4.2 against 4.4), and
# equal to a few hundredths at 6 × 6 and 8 × 8. Better learning would show at the last scale too; that it does not, where
# no later input holds the answer, and most where many later scales do, says that the answers were read off.
# When images are drawn the later scales do not exist, so the gain is lost. (c) No: token-causal hides more
# than needed, never less, so nothing leaks. But a token then does not see those of its own scale that come
# after it in the row, and so lacks part of the sum so far, at places to its right and below; in training the
# loss would be somewhat higher. All tokens of a scale could still be written in one pass, since the inputs are known
# beforehand; a token-by-token order would bring no benefit in return, as the codes of the own scale are not
# among the inputs.
#
# Rubric. ½ point: (a) both scales with numbers, and the reason. ½ point: (b) numbers, early scales lower, last one
# not. ½ point: (b) why that is a leak. ½ point: (c) no leak, but less is seen. Numbers of the student's own
# run may differ in the first decimal.
# ### END SOLUTION
