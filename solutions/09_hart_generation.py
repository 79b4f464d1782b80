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
