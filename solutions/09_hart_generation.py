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
#     - models/hart/positions.py
#     - models/hart/attention.py
#     - models/hart/sampling.py
#     - models/hart/generator.py
#     - models/hart/diffusion.py
#     - models/hart/residual.py
#     - models/hart/rivals/raster.py
#     - models/hart/rivals/masked.py
# ---

# %% [markdown]
# # Lab 09 · HART II: images from a caption, a scale at a time
#
# Lab 08 turned an image into tokens: codes from a list, coarse to fine, and residual tokens for what
# the codes leave out. This lab **writes** such tokens from a caption. A language model would write
# them one after another, a pass of the network for each: 64 passes for the small images of this
# lab, thousands for large ones. **HART** (Tang et al., 2024) writes a whole *scale* in one pass, four
# passes here, and adds the residual tokens by a diffusion of eight short steps.
#
# You build what makes that possible: who may look at whom, where a token lies in the image, how a
# caption is made to count, how codes are drawn, a cache, the loop that draws an image, and the
# residual diffusion. Your functions then run inside a trained HART, which is stored with the lab.
#
# **After this lab you can** explain why a scale can be written in one pass and what the mask must
# hide for that; place tokens of any grid so that a network meets known positions on a larger one;
# sample from logits, with guidance; write tokens with a cache; and draw continuous tokens by
# diffusion.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Who may look at whom | `next_scale_mask` | 3 | 15 | easy |
# | 2 Where a token lies | `scale_angles` | 4 | 25 | medium |
# | 3 Making the caption count | `guide` | 3 | 10 | easy |
# | 4 Drawing codes | `keep_likely` | 3 | 20 | medium |
# | 5 Nothing is computed twice | `attend` | 4 | 25 | medium |
# | 6 The loop | `generate` | 4 | 25 | hard |
# | 7 Training both halves | `noise_and_target` | 3 | 20 | medium |
# | 8 Eight steps | `denoise` | 4 | 25 | hard |
# | 9 Measured | two written questions | 2 | 20 | medium |
#
# **30 points, about three hours.** You need PyTorch, attention (lab 01) and the tokenizer of lab 08.
# With all exercises solved the notebook runs in about a minute on two cores; nothing is downloaded.
#
# **How it works.** Write your code where a cell says `YOUR CODE HERE`. The cell below it checks your
# answer at once and tells you what it found; it is not graded, so run it as often as you like. When
# you hand in, your code is asked about fresh inputs that only you get. What every exercise may count
# on is folded up below. Terms are explained in the glossary at the end.
#
# <!-- contract -->

# %% [markdown]
# ## Set up
#
# Run the next four cells. The second says whether this machine has what the lab needs.
# `PROFILE = "cpu"` is meant for a laptop or a free Colab machine, `"smoke"` runs everything in
# seconds with results that mean nothing, and `"gpu"` trains longer. (In code,
# `scale(smoke=…, cpu=…)` picks a number for your profile; in the text a *scale* is always a map
# of codes. A *block* is a group of tokens here; what lab 01 called an encoder block is a
# *layer*.)

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport.notebook import environment

environment.report(PROFILE);

# %% tags=["setup"]
import json
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.data import data_path, normalize
from labsupport.data.stickers import TEXT_LENGTH, VOCABULARY, stickers, tokenize
from labsupport.labs.lab09 import figures as hart_views
from labsupport.labs.lab09.caption_widget import caption_explorer
from labsupport.notebook import plot as figures
from labsupport.notebook.check import Check
from labsupport.notebook.plot import charts
from labsupport.notebook.plot import comparison_charts as comparisons
from labsupport.notebook.profile import profile
from labsupport.profiling import count_parameters

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %% experiment="showcase"
from labsupport.models.hart import pretrained

hart = pretrained()  # trained, in eval mode: hart.transformer, hart.residual, hart.tokenizer
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
                       title="Six captions that were never seen in training",
                       alt="In each row a patch of the ground's colour becomes a blurred spot, then the "
                           "thing of the caption; the last column is a little sharper.")

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
# **Why in front, and not beside?** Many text-to-image transformers give every layer a second attention,
# from the image to the text (*cross-attention*), with four matrices of its own. With the caption in the
# same row, the attention that is there already does it. That saves $4 D^2$ parameters a layer: in HART's
# 24 layers of width 1,536 they would be 226 million beside its 732, in this lab's six of width 128 they
# would be 0.39 beside 1.34 million. (One thing is ours: a learned token for the 1 × 1 map. HART has
# none; it reads the first code at the last token of the caption.)
#
# **What to expect.** With `True` painted blue: a staircase whose steps grow, 4, 1, 4, 9, …, tokens wide.
#
# ### Exercise 1 · `next_scale_mask` · 3 points · 15 minutes · easy
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
    wanted = torch.tensor([[1, 1, 0, 0, 0, 0, 0]] * 2 + [[1, 1, 1, 0, 0, 0, 0]]
                          + [[1, 1, 1, 1, 1, 1, 1]] * 4)
    check.values(found.long(), wanted, "the mask of blocks of 2, 1 and 4 tokens", otherwise={
        "the mask is token-causal: the tokens of one scale are written at the same time and look at "
        "each other": torch.ones(7, 7).tril(),
        "the mask is transposed: early blocks see late ones, where the answers are": wanted.T,
        "True and False are swapped: True means may look": 1 - wanted,
        "everything sees everything: the inputs of later scales hold the answers": torch.ones(7, 7),
    })
    check.cases("09", globals())

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

# %% trap="next_scale_mask" name="own block only"
# In your mask a block sees itself and nothing else. It needs the blocks before it too.
def next_scale_mask(lengths):
    return torch.block_diag(*(torch.ones(n, n) for n in lengths)).bool()

# %% trap="next_scale_mask" name="the first block sees everything"
# In your mask the first block, the caption, sees all tokens. It is a block like the others and sees none that come later.
def next_scale_mask(lengths):
    block = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return (block[:, None] >= block[None, :]) | (block[:, None] == 0)

# %% trap="next_scale_mask" name="everything"
# Your mask is True everywhere. The inputs of later blocks hold the answers; they have to be hidden.
def next_scale_mask(lengths):
    return torch.ones(sum(lengths), sum(lengths), dtype=torch.bool)

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
# computed stay right. Section 5 lives on that.

# %% [markdown]
# ## 2 · Where a token lies
#
# Attention does not know where a token is; rotary positions tell it. Each pair of entries of a query or
# key is turned by an angle that grows with the token's position, so that the product of a query with
# a key depends on how far apart the two are. In a line of text, the position is a number. In an image it is
# two, a row and a column: half of the pairs turn with the row, half with the column.
#
# What is the position of a token of a $2 \times 2$ map beside those of an $8 \times 8$ map? They show the same
# image, so they should share one ruler: that of the largest map, of side $S$. Token $i$ of a row of $s$
# tokens lies in the middle of its share of the image,
#
# $$ u_i = \Bigl(i + \tfrac12\Bigr) \frac{S}{s} - \tfrac12 , \qquad i = 0, \dots, s - 1 $$
#
# so that the tokens of the largest map lie at 0, 1, …, $S - 1$ and the only one of the $1 \times 1$ map at
# $(S - 1)/2$, the centre. The text in front takes the positions 0 to `offset` − 1 of both rulers; the image begins
# behind it. With head_dim $= d$ there are $d/2$ pairs, $d/4$ for each coordinate, and pair $j$ turns by
#
# $$ \theta_j = (\text{offset} + u) \cdot \omega_j , \qquad \omega_j = 100^{-j / (d/4)} , \qquad j = 0, \dots, d/4 - 1 $$
#
# **Why this matters for size.** A network that was trained up to side $S$ has met positions from $-\tfrac12$ to
# $S - \tfrac12$ (behind the text). On a larger grid, with the *same* $S$ in the formula, tokens lie closer
# together but stay between those ends: positions are **interpolated**. With the new side in the place of $S$ they
# would run beyond all that the network knows: **extrapolated**. HART does the former, for which it needs no table
# of learned positions. (Three things differ from HART's released code. It takes $i \cdot S / s$, the corner of the
# share; the middle is used here so that coarse tokens are not shifted to one side. Its rates begin from 10,000,
# ours from 100, which is a choice for maps this small. And what it does to a query is no rotation: it pairs an
# entry that turns with the row with one that turns with the column, so that lengths change, and a score depends on
# where the two tokens lie and not only on how far apart. Yours is the rotation that its paper describes.)
#
# ### Exercise 2 · `scale_angles` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of five to eight lines |
# | **Shapes** | `scales`: sides such as `[1, 2, 4]`; out: `(tokens of all scales, head_dim / 2)` |
# | **Order** | scale after scale; within a scale row by row; in a line first the pairs of the row, then those of the column |
# | **Mind** | `side` is $S$. It is not always `scales[-1]`; `head_dim` is a multiple of 4 |
# | **Read** | HART paper, section 3.2, "Relative position embeddings"; RoFormer (Su et al., 2021) |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# One scale at a time: the `s` positions $u$, then all pairs (row, column) of them, then the angles.
# </details>
# <details><summary>Hint 2: which function makes the pairs?</summary>
#
# `torch.cartesian_prod(u, u)` gives `(s * s, 2)`, row by row.
# </details>
# <details><summary>Hint 3: "wrong shape"</summary>
#
# `coordinates[:, :, None] * rates` is `(tokens, 2, head_dim / 4)`; `.flatten(1)` puts rows before columns.
# </details>

# %% exercise="scale_angles"
def scale_angles(scales, head_dim, side, offset):
    """The rotary angles of the tokens of several scales.

    scales: the sides of the maps. side: S, that of the largest map in training. offset: positions that
    the text in front takes. Returns (tokens of all scales, head_dim / 2).
    """
    ### BEGIN SOLUTION
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    parts = []
    for s in scales:
        u = (torch.arange(s) + 0.5) * side / s - 0.5
        coordinates = torch.cartesian_prod(u, u) + offset  # (s², 2)
        parts.append((coordinates[:, :, None] * rates).flatten(1))  # (s², head_dim / 2)
    return torch.cat(parts)
    ### END SOLUTION

# %% check="scale_angles"
with Check("scale_angles", read="section 2, both formulas") as check:
    check.signature(scale_angles, "scales", "head_dim", "side", "offset")
    found = scale_angles([1, 2], 4, 4, 3)
    check.shape(found, (5, 2), "angles of the scales 1 and 2 with head_dim 4",
                "1 + 4 tokens, and head_dim / 2 pairs")
    middle = torch.tensor([[4.5, 4.5], [3.5, 3.5], [3.5, 5.5], [5.5, 3.5], [5.5, 5.5]])
    check.values(found, middle, "positions of the scales 1 and 2 on a map of side 4, behind 3 words "
                 "(head_dim 4: one pair each, rate 1)", otherwise={
        "tokens lie at the corner of their share, i · S / s, not in its middle":
            [[3.0, 3], [3, 3], [3, 5], [5, 3], [5, 5]],
        "the text's positions are not added: offset is left out": middle - 3,
        "rows and columns are swapped": middle.flip(1),
        "the −½ is missing: tokens of the largest map lie at 0, 1, …": middle + 0.5,
    })
    found = scale_angles([1], 16, 3, 0)  # u is 1: the angles are the rates
    rates = torch.tensor([1, 0.3162278, 0.1, 0.03162278])
    check.values(found, rates.repeat(2)[None], "the rates ω with head_dim 16", otherwise={
        "row and column take turns; first come all pairs of the row": rates.repeat_interleave(2)[None],
        "the exponent is j / (d / 2); each coordinate has d / 4 pairs": (rates ** 0.5).repeat(2)[None],
        "ω falls with j: the exponent is negative": (1 / rates).repeat(2)[None],
    })
    check.cases("09", globals())

# %% judge="scale_angles" points=4
def ask(rng):
    for title, scales, head_dim, side, offset in (
            ("three scales", [1, 2, 4], 8, 4, 4), ("one pair for each coordinate", [2, 3], 4, 3, 2),
            ("a larger grid than in training", [1, 4, 12], 16, 8, 4), ("one scale, no text", [5], 12, 5, 0),
            ("a smaller grid than in training", [1, 2], 8, 6, 1)):
        yield Case(title, scales=scales, head_dim=head_dim, side=side, offset=offset)
    yield Case("any scales", scales=sorted(int(s) for s in rng.choice(np.arange(1, 9), 3, replace=False)),
               head_dim=32, side=int(rng.integers(5, 12)), offset=int(rng.integers(1, 7)))

# %% trap="scale_angles" name="corners"
# Your angles equal those of tokens at the corner of their share of the image. Take the middle: add ½
# before stretching, take ½ off after.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [torch.arange(s) * side / s]) + offset for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1)

# %% trap="scale_angles" name="every scale its own ruler"
# In your angles every scale counts 0, 1, 2, … for itself. Tokens that show the same place of the image
# then get different angles: stretch each scale to the side of the largest map.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [torch.arange(s).float()]) + offset for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1)

# %% trap="scale_angles" name="extrapolated"
# Your angles take the side of the largest map from `scales`. On a grid larger than in training that puts
# tokens beyond the positions that the network knows; use the argument `side`.
def scale_angles(scales, head_dim, side, offset):
    side = scales[-1]
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s - 0.5]) + offset
              for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1)

# %% trap="scale_angles" name="rows and columns swapped"
# In your angles the first half of the pairs turns with the column. It is the row's.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s - 0.5]) + offset
              for s in scales]
    return (torch.cat(places).flip(1)[:, :, None] * rates).flatten(1)

# %% trap="scale_angles" name="on top of the text"
# Your angles leave the offset out: the image lies on the positions of its caption. It begins behind it.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s - 0.5]) for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1)

# %% trap="scale_angles" name="offset added to angles"
# You add the offset to the angles. It is a position, as u is: add it before you multiply by the rates.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s - 0.5]) for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1) + offset

# %% trap="scale_angles" name="half too far"
# Your positions are half a token too large: the −½ behind the stretching is missing.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s]) + offset for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1)

# %% trap="scale_angles" name="row and column take turns"
# In a line of your angles row and column take turns. First come all pairs of the row, then those of the column.
def scale_angles(scales, head_dim, side, offset):
    rates = 100.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s - 0.5]) + offset
              for s in scales]
    return (torch.cat(places)[:, None, :] * rates[:, None]).flatten(1)

# %% trap="scale_angles" name="another base"
# The base of your rates is 10,000, as for long texts. Here it is 100.
def scale_angles(scales, head_dim, side, offset):
    rates = 10000.0 ** (-torch.arange(head_dim // 4) / (head_dim // 4))
    places = [torch.cartesian_prod(*2 * [(torch.arange(s) + 0.5) * side / s - 0.5]) + offset
              for s in scales]
    return (torch.cat(places)[:, :, None] * rates).flatten(1)

# %% alternative="scale_angles" name="token by token"
def scale_angles(scales, head_dim, side, offset):
    quarter, rows = head_dim // 4, []
    for s in scales:
        place = [offset + (i + 0.5) * side / s - 0.5 for i in range(s)]
        for row in place:
            for column in place:
                rows.append([x * 100 ** (-j / quarter) for x in (row, column) for j in range(quarter)])
    return torch.tensor(rows)

# %% alternative="scale_angles" name="numpy and indices"
def scale_angles(scales, head_dim, side, offset):
    rates = np.power(100.0, -np.linspace(0, 1, head_dim // 4, endpoint=False))
    found = []
    for s in scales:
        rows, columns = np.indices((s, s)).reshape(2, -1)
        u = np.stack([rows, columns], axis=1) * (side / s) + (side / s - 1) / 2 + offset
        found.append(np.einsum("tc,j->tcj", u, rates).reshape(s * s, -1))
    return torch.from_numpy(np.concatenate(found)).float()

# %%
def places(shown, side):
    """Rows and columns of the tokens, one (scale², 2) a scale: with head_dim 4, angles are positions."""
    return scale_angles(shown, 4, side, 0).split([s * s for s in shown])


hart_views.show_places({
    "trained: S = 8": ([1, 2, 4, 8], places([1, 2, 4, 8], 8)),
    "12 × 12, interpolated: S = 8": ([1, 2, 6, 12], places([1, 2, 6, 12], 8)),
    "12 × 12, extrapolated: S = 12": ([1, 2, 6, 12], places([1, 2, 6, 12], 12)),
}, title="Where your tokens lie")

# %% [markdown]
# **What it shows.** All scales cover the same square, and a coarse token lies in the middle of the fine ones it
# stands for. In the middle picture a grid of 12 lies within the square of 8. On the right it leaves it: a
# third of the rows and columns lies where no token of training ever was. Section 9 draws images on both.
#
# A token also has to say which *scale* it belongs to. HART adds a **step embedding** of the scale's number $k$:
# not a learned table, but sines and cosines of $k$ behind a small network, so that a scale more than in training
# also has one. The stored network has it; you need not write it.

# %% [markdown]
# ## 3 · Making the caption count
#
# In training one caption in ten is left out (in HART's released code 54%, because a normal number is compared with 0.1
# where a uniform one was meant), so the same network can be asked twice: *what comes next, given this caption?* and
# *what comes next, whatever the caption?* Codes that only the caption explains have a larger logit in the first answer
# than in the second. **Classifier-free guidance** makes the difference larger than it is:
#
# $$ \ell = (1 + t)\,\ell_{\text{given}} - t\,\ell_{\text{free}} , \qquad t = w\,\frac{k}{K - 1} $$
#
# for scale number $k = 0, \dots, K - 1$ of $K$. The strength $t$ grows over the scales, from 0 to $w$: the single first code
# says little more than what ground the image has, and pushing it would make all images of a caption alike. (VAR and HART count
# like this: $w = 0$ means none. Others write $\ell_{\text{free}} + s\,(\ell_{\text{given}} - \ell_{\text{free}})$ with
# $s = 1 + t$. VAR's $t$ is the formula's; HART's code reuses the $t$ of the scale before at the last scale and in the
# diffusion, 4.2 in the place of 4.5 with its 14 scales.)
#
# ### Exercise 3 · `guide` · 3 points · 10 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of two lines |
# | **Shapes** | `given`, `free`: the same, any; `k`: the scale's number from 0; `scales`: how many there are, $K$ (a count here; elsewhere `scales` lists the sides) |
# | **Mind** | a single scale ($K = 1$) has no guidance |
# | **Read** | Ho and Salimans, 2022; the growth with $k$ is in VAR's and HART's code |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# Work out $t$ for the first and the last scale on paper: 0 and $w$.
# </details>
# <details><summary>Hint 2: "division by zero"</summary>
#
# `max(scales - 1, 1)`.
# </details>
# <details><summary>Hint 3: the direction</summary>
#
# Where `given` is larger than `free`, the result must be larger than `given`.
# </details>

# %% exercise="guide"
def guide(given, free, k, scales, guidance):
    """Answers pushed away from what the model says without a caption.

    given, free: answers with and without the caption, of one shape. k: number of the scale, from 0, of
    `scales`. guidance: w, reached at the last scale.
    """
    ### BEGIN SOLUTION
    t = guidance * k / max(scales - 1, 1)
    return (1 + t) * given - t * free
    ### END SOLUTION

# %% check="guide"
with Check("guide", read="section 3, the formula") as check:
    check.signature(guide, "given", "free", "k", "scales", "guidance")

    def guided(k, scales, guidance):
        given, free = torch.tensor([[3.0, 1.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        return guide(given, free, k, scales, guidance)

    check.values(guided(4, 5, 4.0), [[11.0, 1], [-4, 14]], "the last of five scales, w = 4", otherwise={
        "guidance points in the wrong direction: towards the answer without the caption":
            [[-5.0, 1], [4, -10]],
        "this is s = w, not s = 1 + w: w = 0 must leave `given`": [[9.0, 1], [-3, 11]],
        "t is w k / K; the last scale must have all of w": [[9.4, 1], [-3.2, 11.6]],
    })
    check.values(guided(0, 5, 4.0), [[3.0, 1], [0, 2]], "the first of five scales", otherwise={
        "the first scale is guided as much as the others; t grows with k": [[11.0, 1], [-4, 14]],
        "t is w (k + 1) / K; it begins at 0": [[4.6, 1], [-0.8, 4.4]],
    })
    check.cases("09", globals())

# %% judge="guide" points=3
def ask(rng):
    for title, shape, k, scales, guidance in (
            ("the last scale", (2, 3, 4), 5, 6, 1.5), ("the first scale", (2, 3, 4), 0, 6, 3.0),
            ("a scale between", (1, 5), 2, 6, 4.0), ("no guidance", (3, 1, 4), 3, 5, 0.0),
            ("one scale", (2, 3), 0, 1, 2.0), ("two scales", (2, 2, 3, 4), 1, 2, 0.5)):
        yield Case(title, given=3 * randn(rng, *shape), free=3 * randn(rng, *shape), k=k,
                   scales=scales, guidance=guidance)
    yield Case("one axis", given=randn(rng, 7), free=randn(rng, 7), k=1, scales=4,
               guidance=float(rng.uniform(1, 5)))

# %% trap="guide" name="wrong direction"
# Your guidance points in the wrong direction: it moves towards the answer without the caption.
def guide(given, free, k, scales, guidance):
    t = guidance * k / max(scales - 1, 1)
    return (1 - t) * given + t * free

# %% trap="guide" name="answers swapped"
# Your guidance swaps the two answers: it pushes away from the caption. (1 + t) belongs to `given`.
def guide(given, free, k, scales, guidance):
    t = guidance * k / max(scales - 1, 1)
    return (1 + t) * free - t * given

# %% trap="guide" name="the same at every scale"
# Your guidance is the same at every scale. It grows: none at the first, all of it at the last.
def guide(given, free, k, scales, guidance):
    return (1 + guidance) * given - guidance * free

# %% trap="guide" name="s in the place of 1 + t"
# With guidance 0 you return the answer without the caption. Here 0 means none: the factor of `given` is 1 + t.
def guide(given, free, k, scales, guidance):
    t = guidance * k / max(scales - 1, 1)
    return free + t * (given - free)

# %% trap="guide" name="K in the place of K − 1"
# Your t is w k / K, so that the last scale has less than w. Divide by K − 1.
def guide(given, free, k, scales, guidance):
    t = guidance * k / scales
    return (1 + t) * given - t * free

# %% trap="guide" name="counted from 1"
# Your t is w (k + 1) / K, so that the first scale is guided too. t begins at 0.
def guide(given, free, k, scales, guidance):
    t = guidance * (k + 1) / scales
    return (1 + t) * given - t * free

# %% alternative="guide" name="a step further"
def guide(given, free, k, scales, guidance):
    share = k / (scales - 1) if scales > 1 else 0.0
    return given + guidance * share * (given - free)

# %% alternative="guide" name="lerp"
def guide(given, free, k, scales, guidance):
    shares = np.linspace(0, guidance, scales)
    return torch.lerp(free, given, float(1 + shares[k]))

# %% alternative="guide" name="entry by entry"
def guide(given, free, k, scales, guidance):
    t = 0.0 if k == 0 else guidance * k / (scales - 1)
    pairs = zip(given.flatten(), free.flatten())
    return torch.stack([g + t * g - t * f for g, f in pairs]).view(given.shape)

# %% experiment="guidance"
from labsupport.labs.lab09.painter import Painter, larger_tokenizer

hart = hart.using(mask=next_scale_mask, angles=scale_angles)  # from now on hart has your mask and your positions
with torch.no_grad():
    twice = tokenize([*test_captions, *[""] * len(test_captions)])  # with, and without
    out = hart.transformer(twice)
given, free = out.logits[:, -1].chunk(2)
shown = {f"w = {w}": guide(given, free, 1, 2, w).softmax(dim=-1).max(dim=-1).values for w in (0, 1, 3)}
charts.Table(["caption", *shown], [[caption, *(f"{p[i]:.0%}" for p in shown.values())]
                                   for i, caption in enumerate(test_captions)],
             title="Probability of the likeliest first code, were it guided in full")

# %% [markdown]
# **What it shows.** The first code has nothing before it but the caption. Guidance in full would sharpen it where the network is
# nearly sure already, and where two codes compete it may favour the other one, without that the network knows any better. That is why
# $t$ begins at 0.

# %% [markdown]
# ## 4 · Drawing codes
#
# From the logits a code has to be chosen. The likeliest one each time (*greedy*) gives one image a caption and no other. Drawing at
# random gives many, but the tail of hundreds of codes, each unlikely, is chosen now and then, and a wrong coarse code cannot be
# taken back. Two filters cut the tail before a code is drawn:
#
# * **top-k** keeps the $k$ largest logits;
# * **top-p** (*nucleus*) keeps the fewest codes whose probabilities add up to at least $p$: few where the network is
#   sure, many where it is not.
#
# A code that is not kept gets the logit $-\infty$, so that its probability is exactly 0. First comes top-k, then top-p among
# the probabilities *of those that are left*. (HART's released code draws with top-k alone, 600 of 4,096 codes for the first
# seven scales and 300 for the others; $p = 0.96$ stands in its training only, where codes are drawn for the diffusion. And
# its script `sample.py` takes no single code by default: `more_smooth` mixes the vectors of many, with the weights of a
# Gumbel softmax.)
#
# ### Exercise 4 · `keep_likely` · 3 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of six to nine lines: top-k alone (`top_p` = 1) earns 1 point, top-p 2 points |
# | **Shapes** | `logits` in and out: `(..., codes)` |
# | **Mind** | the code that makes the sum reach $p$ is kept: at least one always is. `top_k` may be more than there are codes. Do not change `logits`; gradients are not asked for |
# | **Read** | Holtzman et al., 2020, section 3.1 |
#
# <details><summary>Hint 1: top-k in one line</summary>
#
# `least = logits.topk(k).values[..., -1:]` is the smallest logit that stays; `masked_fill` those below it.
# </details>
# <details><summary>Hint 2: who is in the nucleus?</summary>
#
# Sort downwards. A code is *out* when the sum of the probabilities **before** it is already $p$ or more.
# </details>
# <details><summary>Hint 3: back to the old order</summary>
#
# `logits.sort(descending=True)` also gives `order`; `out.scatter(-1, order, out_sorted)` undoes it.
# </details>

# %% exercise="keep_likely"
def keep_likely(logits, top_k, top_p):
    """The logits, with −inf for all codes but the `top_k` largest and, of those, the fewest whose
    probabilities add up to `top_p` at least. (..., codes) to the same shape."""
    ### BEGIN SOLUTION
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits = logits.masked_fill(logits < least, -torch.inf)
    ranked, order = logits.sort(dim=-1, descending=True)
    probability = ranked.softmax(dim=-1)
    out = probability.cumsum(dim=-1) - probability >= top_p  # enough before this one
    return logits.masked_fill(out.scatter(-1, order, out), -torch.inf)
    ### END SOLUTION

# %% check="keep_likely"
with Check("keep_likely", read="section 4") as check:
    check.signature(keep_likely, "logits", "top_k", "top_p")
    odds = torch.tensor([[0.1, 0.4, 0.05, 0.3, 0.15], [0.02, 0.03, 0.9, 0.04, 0.01]])
    two, one = [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]  # 1: kept

    def kept(what, top_k, top_p, wanted, mistakes={}, likely=""):
        found = keep_likely(odds.log(), top_k, top_p)
        check.shape(found, (2, 5), "the filtered logits")
        check.values(found.exp(), odds * torch.tensor(wanted), f"{what} (exp of the logits, 0 where a code is not "
                     "kept)", otherwise={text: odds * torch.tensor(m) for text, m in mistakes.items()}, likely=likely)

    kept("the two likeliest", 2, 1.0, [two, [0, 0, 1, 1, 0]], likely="a code that is kept has its own logit, "
         "one that is not has -torch.inf")
    kept("a nucleus of 0.6", 5, 0.6, [two, one], {
        "the code that makes the sum reach top_p is thrown away; only it reaches top_p": [[0, 1, 0, 0, 0], [0] * 5],
        "probabilities are added in the order of the codes, not from the largest down":
            [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]],
        "what is kept is in the wrong order: undo the sorting": [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]})
    kept("the three likeliest, and of those a nucleus of 0.8", 3, 0.8, [two, one], {
        "the nucleus is taken from the probabilities of all codes; after top-k those that are left "
        "add up to 1": [[0, 1, 0, 1, 1], one]})
    check.cases("09", globals())

# %% judge="keep_likely" points=3
parts = {"top-k": 1, "top-p": 2}


def clear_row(rng, codes, top_k, top_p, spread):
    """Logits of one row in which no rounding decides what is kept."""
    while True:
        row = spread * randn(rng, codes)
        ranked = row.double().sort(descending=True).values
        gaps = [float(ranked[top_k - 1] - ranked[top_k])] if top_k < codes else []
        sums = ranked[:top_k].softmax(dim=0).cumsum(dim=0)[:-1].tolist()  # the last, left out, is 1
        if min([*gaps, *(abs(top_p - share) for share in sums), 1]) > 1e-4:
            return row


def ask(rng):
    for title, part, shape, top_k, top_p, spread in (
            ("a few codes", "top-k", (3, 8), 3, 1.0, 1.5), ("one row", "top-k", (11,), 4, 1.0, 1.5),
            ("one code is left", "top-k", (2, 6), 1, 1.0, 1.5), ("three axes", "top-k", (2, 3, 7), 5, 1.0, 1.5),
            ("top_k larger than the codebook", "top-k", (4, 5), 50, 1.0, 1.0),
            ("top-p alone", "top-p", (4, 9), 9, 0.7, 2.0), ("both filters", "top-p", (5, 12), 6, 0.8, 2.0),
            ("a small nucleus", "top-p", (3, 7), 7, 0.05, 2.0), ("top_k is 1", "top-p", (2, 6), 1, 0.9, 2.0),
            ("top_k larger than the codebook", "top-p", (6, 5), 50, 0.5, 2.0),
            ("three axes", "top-p", (2, 3, 10), 7, 0.6, 2.0), ("one row", "top-p", (11,), 8, 0.75, 1.5),
            ("400 codes", "top-p", (20, 400), 200, 0.9, 1.0)):
        rows = [clear_row(rng, shape[-1], top_k, top_p, spread) for _ in range(math.prod(shape[:-1]))]
        yield Case(title, part=part, logits=torch.stack(rows).view(shape), top_k=top_k, top_p=top_p)


def drive(lab, logits, top_k, top_p):
    found = lab.keep_likely(logits, top_k, top_p)
    return {"what is kept": torch.isfinite(found), "the logits": found.clamp(min=-1e3),
            "what is not kept has the logit −inf": bool((found[~torch.isfinite(found)] < 0).all())}

# %% trap="keep_likely" name="one too few"
# Your nucleus leaves out the code that makes the sum reach top_p. It is needed to reach it; and where the
# likeliest code alone is enough, nothing would be left.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits = logits.masked_fill(logits < least, -torch.inf)
    ranked, order = logits.sort(dim=-1, descending=True)
    out = ranked.softmax(dim=-1).cumsum(dim=-1) >= top_p
    return logits.masked_fill(out.scatter(-1, order, out), -torch.inf)

# %% trap="keep_likely" name="the order is not undone"
# Your nucleus is right in the order of size, but the codes are in another order: scatter it back.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    logits = logits.masked_fill(logits < least, -torch.inf)
    probability = logits.sort(dim=-1, descending=True).values.softmax(dim=-1)
    return logits.masked_fill(probability.cumsum(dim=-1) - probability >= top_p, -torch.inf)

# %% trap="keep_likely" name="nucleus of all codes"
# Your nucleus is that of all codes, those that top-k throws away among them. First top-k; then the probabilities of those
# that are left, which add up to 1, and top-p among them.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    ranked, order = logits.sort(dim=-1, descending=True)
    probability = ranked.softmax(dim=-1)
    out = probability.cumsum(dim=-1) - probability >= top_p
    out = out.scatter(-1, order, out) | (logits < least)
    return logits.masked_fill(out, -torch.inf)

# %% trap="keep_likely" name="zero in the place of minus infinity"
# Codes that are not kept have the logit 0 in your answer, which is no small one: they can still be drawn.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    some = logits.masked_fill(logits < least, -torch.inf)
    ranked, order = some.sort(dim=-1, descending=True)
    probability = ranked.softmax(dim=-1)
    out = probability.cumsum(dim=-1) - probability >= top_p
    out = out.scatter(-1, order, out) | (logits < least)
    return logits.masked_fill(out, 0.0)

# %% trap="keep_likely" name="a large negative number"
# Codes that are not kept have a large negative logit in your answer. It should be −inf: then no softmax can bring them back.
def keep_likely(logits, top_k, top_p):
    least = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    some = logits.masked_fill(logits < least, -torch.inf)
    ranked, order = some.sort(dim=-1, descending=True)
    probability = ranked.softmax(dim=-1)
    out = probability.cumsum(dim=-1) - probability >= top_p
    out = out.scatter(-1, order, out) | (logits < least)
    return logits.masked_fill(out, -1e9)

# %% alternative="keep_likely" name="row by row"
def keep_likely(logits, top_k, top_p):
    rows = logits.reshape(-1, logits.shape[-1])
    found = torch.full_like(rows, -torch.inf)
    for row, kept in zip(rows, found):
        best = sorted(range(len(row)), key=lambda i: -row[i].item())[:top_k]
        odds = torch.softmax(row[best], dim=0).tolist()
        total = 0.0
        for i, share in zip(best, odds):
            if total >= top_p:
                break
            kept[i] = row[i]
            total += share
    return found.view(logits.shape)

# %% alternative="keep_likely" name="ranks and argsort twice"
def keep_likely(logits, top_k, top_p):
    order = logits.argsort(dim=-1, descending=True)
    rank = order.argsort(dim=-1)
    few = torch.where(rank < top_k, logits, torch.tensor(-torch.inf, dtype=logits.dtype))
    sorted_odds = few.softmax(dim=-1).gather(-1, order)
    enough = (sorted_odds.cumsum(-1).roll(1, -1) >= top_p)
    enough[..., 0] = False
    return torch.where(enough.gather(-1, rank), torch.full_like(few, -torch.inf), few)

# %% [markdown]
# ## 5 · Nothing is computed twice
#
# To write scale $k$ the network reads the caption and all scales before. Their keys and values do not change when a
# scale is added, because the mask hides it from them (section 1). So every layer keeps them, in a **cache**, and only
# the tokens of the new scale pass through the network. They need three things:
#
# 1. to be turned by *their own* angles: token number 9 of the sequence is at row 9 of the angles, not at row 0, though
#    it is the first of this call;
# 2. keys and values of *all* tokens, those of the cache in front;
# 3. *their own rows* of the mask, with as many columns as there are keys.
#
# Keys are kept as they are after turning. A cache is no approximation: the result must be the same to rounding.
#
# `rotate` turns queries or keys by such angles, pair by pair.

# %% tags=["setup"]
def rotate(x, angles):
    """Turn the pairs of x (batch, heads, tokens, head_dim) by angles (tokens, head_dim / 2). A pair
    is one entry of the first half and its counterpart in the second."""
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)

# %% [markdown]
# ### Exercise 5 · `attend` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of eight to ten lines that uses `cache` (outputs: 3 points) and extends it (1 point) |
# | **Shapes** | `q`, `k`, `v`: `(batch, heads, new, head_dim)`; `angles`: `(tokens, head_dim / 2)` and `mask`: `(tokens, tokens)` of the whole sequence, perhaps longer than what is known by now |
# | **Cache** | a dict, empty at first; then `cache["keys"]`, turned, and `cache["values"]`, both `(batch, heads, held, head_dim)` |
# | **Mind** | the softmax is over $q \cdot k$ without a further factor: queries and keys come with their length set (`scale=1.0`). Gradients are not asked for |
# | **Allowed** | `F.scaled_dot_product_attention`, whose `attn_mask` is `True` where a query may look |
#
# <details><summary>Hint 1: where am I in the sequence?</summary>
#
# `held` tokens are in the cache (0 without one), so the new ones are `held` to `held + new`.
# </details>
# <details><summary>Hint 2: which part of the mask?</summary>
#
# Rows of the new tokens, columns of all known: `mask[held:end, :end]`.
# </details>
# <details><summary>Hint 3: "with a cache another result comes out"</summary>
#
# Turn before you store. What was stored turned must not be turned again.
# </details>

# %% exercise="attend"
def attend(q, k, v, angles, mask, cache):
    """Attention of new tokens to those in the cache and to each other; puts them into the cache.

    q, k, v: of the new tokens, (batch, heads, new, head_dim), not turned yet. angles (tokens,
    head_dim / 2) and mask (tokens, tokens), True = may look, are the whole sequence's. cache: a dict.
    Returns (batch, heads, new, head_dim).
    """
    ### BEGIN SOLUTION
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    q, k = rotate(q, angles[held:end]), rotate(k, angles[held:end])
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)
    ### END SOLUTION

# %% check="attend"
with Check("attend", read="section 5, the three things") as check:
    check.signature(attend, "q", "k", "v", "angles", "mask", "cache")
    # all products are 0, so an output is the mean of the values that a token may look at
    q = k = torch.zeros(1, 1, 5, 2)
    v = torch.tensor([0.0, 2, 4, 6, 3]).view(1, 1, 5, 1).repeat(1, 1, 1, 2)
    block = torch.tensor([0, 0, 1, 2, 2])
    angles, mask = torch.arange(5.0).view(5, 1), block[:, None] >= block[None, :]
    found = attend(q, k, v, angles, mask, {})
    check.shape(found, (1, 1, 5, 2), "attention of five tokens")
    check.values(found[0, 0, :, 0], [1, 1, 2, 3, 3], "attention of five tokens, empty cache", otherwise={
        "the mask is not used": [3] * 5,
        "the mask is token-causal; use the one that is given": [0, 1, 2, 3, 3]})
    memory = {}
    attend(q[:, :, :3], k[:, :, :3], v[:, :, :3], angles, mask, memory)
    check.that({"keys", "values"} <= set(memory), 'the cache does not hold "keys" and "values"',
               "the dict that was handed in must be extended; a new one is lost")
    found = attend(q[:, :, 3:], k[:, :, 3:], v[:, :, 3:], angles, mask, memory)
    check.values(found[0, 0, :, 0], [3, 3], "the last two tokens, with three in the cache", otherwise={
        "the cache is not looked at: new tokens see only each other": [4.5, 4.5]})
    check.cases("09", globals())

# %% judge="attend" points=4
parts = {"outputs": 3, "cache": 1}


def ask(rng):
    for title, sizes, batch, heads, dim, spare, size in (
            ("all at once", [6], 2, 2, 4, 0, 1.3), ("a caption and three scales", [5, 4, 9], 2, 3, 4, 0, 1.3),
            ("token by token", [1, 1, 1, 1], 1, 2, 6, 0, 1.3), ("a sequence that goes on", [3, 4], 2, 1, 8, 5, 1.0),
            ("products in the hundreds", [2, 3, 4], 2, 2, 4, 0, 7.0)):
        n = sum(sizes) + spare
        q, k = size * randn(rng, 2, batch, heads, n, dim)
        yield Case(title, part="outputs", q=q, k=k, v=randn(rng, batch, heads, n, dim), sizes=sizes,
                   angles=2 * randn(rng, n, dim // 2), outputs=True,
                   blocks=torch.from_numpy(np.repeat(np.arange(len(sizes) + 1), [*sizes, spare])))
    for title, part, sizes, blocks in (
            ("a mask that hides within a call", "outputs", [3, 4], [0, 0, 1, 2, 2, 3, 3]),
            ("one call", "cache", [5], [0, 0, 1, 1, 1]), ("two calls", "cache", [2, 3], [0, 0, 1, 1, 1]),
            ("token by token", "cache", [1, 1, 1], [0, 1, 2, 2])):
        n = len(blocks)
        q, k, v = randn(rng, 3, 2, 2, n, 4)
        yield Case(title, part=part, q=q, k=k, v=v, sizes=sizes, angles=randn(rng, n, 2),
                   outputs=part == "outputs", blocks=torch.tensor(blocks))


def drive(lab, q, k, v, sizes, angles, blocks, outputs):
    mask, cache, end, found = blocks[:, None] >= blocks[None, :], {}, 0, []
    for size in sizes:
        new = slice(end, end + size)
        end += size
        found.append(lab.attend(q[:, :, new], k[:, :, new], v[:, :, new], angles, mask, cache))
    if outputs:
        return {"the outputs": torch.cat(found, dim=2)}
    return {'cache["keys"]': cache["keys"], 'cache["values"]': cache["values"]}

# %% trap="attend" name="stale positions"
# Your positions are stale: in every call the new tokens are turned as though they were the first of the sequence.
# They begin behind what the cache holds.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    n = q.shape[2]
    q, k = rotate(q, angles[:n]), rotate(k, angles[:n])
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:held + n, :held + n], scale=1.0)

# %% trap="attend" name="turned at every call"
# Your keys are turned again whenever a scale is added. Store them turned, and leave them.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    q, k = rotate(q, angles[held:end]), rotate(k, angles[:end])
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)

# %% trap="attend" name="the cache is not extended"
# Your cache holds the tokens of the last call only. New keys and values go behind those that are held.
def attend(q, k, v, angles, mask, cache):
    held = cache.get("seen", 0) if cache else 0
    end = held + q.shape[2]
    q, k = rotate(q, angles[held:end]), rotate(k, angles[held:end])
    cache["keys"], cache["values"], cache["seen"] = k, v, end
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, held:end], scale=1.0)

# %% trap="attend" name="divided by the root"
# Your products are divided by √head_dim, the default of scaled_dot_product_attention. Here queries bring their
# length with them: scale=1.0.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    q, k = rotate(q, angles[held:end]), rotate(k, angles[held:end])
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end])

# %% trap="attend" name="no mask"
# Your attention leaves the mask out, so the caption sees the first scale that comes with it in one call; with other
# pieces other values come out.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    q, k = rotate(q, angles[held:end]), rotate(k, angles[held:end])
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)

# %% trap="attend" name="stored before turning"
# Your keys are not turned when they go into the cache. Turn queries and keys first, each once: then no call has to turn
# keys again.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    q, k = rotate(q, angles[held:end]), rotate(k, angles[:end])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)

# %% trap="attend" name="values turned too"
# Your values are turned as well. Only queries and keys are.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    q, k, v = (rotate(x, angles[held:end]) for x in (q, k, v))
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)

# %% trap="attend" name="nothing turned"
# Your keys are not turned when they go into the cache. Turn queries and keys first, each once: then no call has to turn
# keys again.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[held:end, :end], scale=1.0)

# %% trap="attend" name="softmax that overflows"
# Your softmax overflows where products are large. Take it from PyTorch, or subtract the largest product first.
def attend(q, k, v, angles, mask, cache):
    held = cache["keys"].shape[2] if cache else 0
    end = held + q.shape[2]
    q, k = rotate(q, angles[held:end]), rotate(k, angles[held:end])
    if cache:
        k, v = torch.cat([cache["keys"], k], dim=2), torch.cat([cache["values"], v], dim=2)
    cache["keys"], cache["values"] = k, v
    weights = (q @ k.mT).exp() * mask[held:end, :end]
    return weights / weights.sum(dim=-1, keepdim=True) @ v

# %% alternative="attend" name="softmax by hand"
def attend(q, k, v, angles, mask, cache):
    old_k = cache.get("keys", k[:, :, :0])
    held = old_k.size(2)
    here = torch.arange(held, held + k.size(2))
    keys = torch.cat([old_k, rotate(k, angles[here])], 2)
    values = torch.cat([cache.get("values", v[:, :, :0]), v], 2)
    cache.update(keys=keys, values=values)
    logits = torch.einsum("bhqd,bhkd->bhqk", rotate(q, angles[here]), keys)
    hidden = ~mask[here][:, :keys.size(2)]
    weights = (logits + torch.zeros_like(logits).masked_fill(hidden, float("-inf"))).softmax(-1)
    return torch.einsum("bhqk,bhkd->bhqd", weights, values)

# %% alternative="attend" name="query by query"
def attend(q, k, v, angles, mask, cache):
    first = len(cache["keys"][0, 0]) if "keys" in cache else 0
    turns = angles[first:first + q.shape[-2]]
    pieces = {"keys": rotate(k, turns), "values": v}
    for name, piece in pieces.items():
        cache[name] = piece if first == 0 else torch.cat((cache[name], piece), dim=-2)
    q, rows = rotate(q, turns), []
    for i in range(q.shape[-2]):
        seen = mask[first + i, :cache["keys"].shape[-2]].nonzero().flatten()
        weights = (q[..., i:i + 1, :] @ cache["keys"][..., seen, :].mT).softmax(dim=-1)
        rows.append(weights @ cache["values"][..., seen, :])
    return torch.cat(rows, dim=-2)

# %% experiment="cache"
from time import perf_counter

# your attention is in every block from here on
hart = hart.using(mask=next_scale_mask, angles=scale_angles, attend=attend)
text = tokenize(test_captions)
images, seconds = {}, {}
for name in ("cache", "no cache", "cache", "no cache"):  # the first two warm up
    start = perf_counter()
    images[name] = hart.generate(text, residual=False, cache=name == "cache")
    seconds[name] = perf_counter() - start
measured["cache error"] = (images["cache"] - images["no cache"]).abs().max().item()
measured["cache times"] = seconds["no cache"] / seconds["cache"]
print(f"largest difference of a pixel with and without cache: {measured['cache error']:.1e}")
print(f"{1000 * seconds['cache']:.0f} ms with cache, {1000 * seconds['no cache']:.0f} ms without: "
      f"{measured['cache times']:.2f} times as long")

# %% [markdown]
# **What it shows.** The images are the same to rounding. How much less time they take is printed above; for a language model
# a cache saves far more, and question 2 asks why. With HART's 14 scales up to $64 \times 64$, and with long texts in front, a
# cache saves more.

# %% [markdown]
# ## 6 · The loop
#
# Now all of it together. A **painter** holds a trained network with your functions and answers what the loop asks; the
# loop, which decides what goes where, is yours. Let $\hat f$ be the map that the codes add up to so far (lab 08's sum of
# scales), 0 at first. For scale number $k = 0, \dots, K - 1$:
#
# 1. the transformer predicts the scale from its inputs: none for the first, $\hat f$ averaged down to the scale's size for
#    the others;
# 2. a code is chosen for each token, all at once, and gives its vector;
# 3. the vectors become a map of full size, and $\hat f$ grows by it:
#
# $$ \hat f \leftarrow \hat f + \begin{cases} \phi_k\bigl(\text{enlarge}(e_k)\bigr) & k < K - 1 \\
#    e_k + r & k = K - 1 \end{cases} $$
#
# **The last scale is different** in two ways. Its map has full size already and no convolution $\phi$ behind it; and its
# tokens are *hybrid*: the code's vector $e$ plus the residual token $r$ that diffusion draws, given the transformer's
# hidden state and the codes. At the end, the decoder makes the image of $\hat f$.
#
# | the painter's answer | shapes |
# |:--|:--|
# | `painter.scales` | a tuple of sides |
# | `painter.begin(text)` | call it once, first |
# | `painter.predict(new=None)` | inputs of the next scale `(batch, tokens, dim)`, none for the first; gives the network's output |
# | `painter.choose(out, k, guidance)` | codes `(batch, tokens)` |
# | `painter.vectors(codes)` | `(batch, tokens, dim)` |
# | `painter.residual(out, codes, steps, guidance)` | residual tokens of the last scale, `(batch, tokens, dim)` |
# | `painter.spread(k, vectors)` | scale `k`'s vectors enlarged and smoothed: `(batch, dim, side, side)` |
# | `painter.as_map(vectors)` | the last scale's vectors in their places, nothing else done: `(batch, dim, side, side)` |
# | `painter.shrink(total, k)` | a map averaged down to scale `k`: `(batch, tokens, dim)` |
# | `painter.decode(total)` | images `(batch, 3, size, size)` |
#
# ### Exercise 6 · `generate` · 4 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about fifteen lines: images 3 points, what `on_scale` is told 1 point |
# | **Input** | `text` `(batch, words)`; `steps` of the residual diffusion, 0 for none; `guidance`; `on_scale(k, images)`, if there is one, is told after each scale what the image would be by now |
# | **Output** | the images, `(batch, 3, size, size)` |
# | **Mind** | `predict` is called once a scale and only with the inputs of the new one: its cache knows the rest. Gradients are not asked for |
# | **Read** | VAR paper, algorithm 2; HART paper, section 3.3 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# With `steps=0`. `painter.begin(text)`; `total, new = 0, None`; then a loop over `k`.
# </details>
# <details><summary>Hint 2: "the first scales are right, the rest is not"</summary>
#
# The inputs of scale `k + 1` are `painter.shrink(total, k + 1)`: of everything so far, at the size of the *next* scale.
# </details>
# <details><summary>Hint 3: the last scale</summary>
#
# There, add the residual tokens to the vectors if `steps > 0`, and take `as_map` in the place of `spread`, with
# residual or without.
# </details>

# %% exercise="generate"
def generate(painter, text, steps, guidance, on_scale=None):
    """Images (batch, 3, size, size) of captions `text` (batch, words), scale by scale.

    steps: of the residual diffusion, 0 for codes only. on_scale(k, images): called after scale k.
    """
    ### BEGIN SOLUTION
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)
    ### END SOLUTION

# %% check="generate"
with Check("generate", read="section 6, the three steps and the table") as check:
    check.signature(generate, "painter", "text", "steps", "guidance", "on_scale")
    check.cases("09", globals())

# %% judge="generate" points=4
parts = {"images": 3, "on_scale": 1}


def ask(rng):
    for title, part, scales, words, batch, steps, guidance, told in (
            ("codes only", "images", (1, 2, 4), 3, 2, 0, 1.0, False),
            ("with a residual", "images", (1, 2, 4), 3, 2, 8, 1.5, True),
            ("one step, no guidance", "images", (1, 3, 5), 2, 3, 1, 0.0, False),
            ("four scales", "images", (1, 2, 3, 6), 4, 1, 4, 2.0, False),
            ("two scales", "images", (1, 2), 3, 2, 2, 0.5, True),
            ("one scale", "images", (3,), 2, 2, 2, 1.0, False),
            ("one scale, codes only", "images", (2,), 3, 1, 0, 0.5, True),
            ("codes only", "on_scale", (1, 2, 4), 3, 2, 0, 1.0, True),
            ("with a residual", "on_scale", (1, 2, 3), 2, 1, 4, 1.0, True),
            ("one scale", "on_scale", (2,), 3, 2, 3, 0.5, True)):
        yield Case(title, part=part, text=torch.from_numpy(rng.integers(0, 9, (batch, words))), scales=scales,
                   steps=steps, guidance=guidance, told=told, look=part,
                   book=torch.from_numpy(rng.integers(-4, 5, (13, 3))).float())


class Painter:
    """Its maps hold whole numbers until the residual comes, so that no rounding decides a code."""

    def __init__(self, scales, book):
        self.scales, self.book, self.calls, self.total = tuple(scales), book, [], 0

    def begin(self, text):
        self.text, self.memory, self.passes = text.float().mean(dim=1)[:, None, None], 0, 0
        self.calls.append("begin")

    def predict(self, new=None):
        tokens, dim = self.scales[self.passes] ** 2, self.book.shape[1]
        if new is None:
            new = torch.ones(len(self.text), tokens, dim)
        if tuple(new.shape) != (len(self.text), tokens, dim):
            raise ValueError(f"predict was given inputs of the shape {tuple(new.shape)}; the next scale "
                             f"has {tokens} tokens")
        out = torch.sin(1.7 * new.float() + 0.3 * self.text + self.memory)
        self.memory, self.passes = self.memory + out.mean(dim=(1, 2), keepdim=True), self.passes + 1
        self.calls.append(self.passes)
        return out

    def choose(self, out, k, guidance):
        return (9.7 * out.sum(dim=-1) + k + 3 * guidance).abs().long() % len(self.book)

    def vectors(self, codes):
        return self.book[codes]

    def residual(self, out, codes, steps, guidance):
        return 0.3 * torch.sin(out * (steps + 2) + codes[..., None] + guidance)

    def spread(self, k, vectors):
        side = self.scales[-1]
        grid = vectors.mT.unflatten(2, (self.scales[k], self.scales[k]))
        made = (k + 2) * F.interpolate(grid, size=(side, side)) + k + 1
        self.total = self.total + made
        return made

    def as_map(self, vectors):
        made = vectors.mT.unflatten(2, (self.scales[-1], self.scales[-1]))
        self.total = self.total + made
        return made

    def shrink(self, total, k):
        return (8 * F.adaptive_avg_pool2d(total, self.scales[k])).round().flatten(2).mT / 8

    def decode(self, total):
        weights = torch.arange(1.0, 10.0).view(3, 3)  # images have three channels, as maps have
        return 0.1 * torch.einsum("bchw,dc->bdhw", total.float(), weights)


def drive(lab, text, scales, steps, guidance, told, look, book):
    painter, heard = Painter(scales, book), []

    def on_scale(k, images):
        beside = images - painter.decode(painter.total)  # what all scales so far make
        heard.append((int(k), images.clone(), (1000 * beside).round() / 1000))

    images = lab.generate(painter, text, steps, guidance, *[on_scale] * told)
    if look == "images":
        once = painter.calls == ["begin", *range(1, len(scales) + 1)]
        return {"begin is called once, first, and predict once a scale": once, "the images": images}
    return {"the scales that on_scale is called with": [k for k, *_ in heard],
            "what on_scale is told, less what the scales so far make": [beside for *_, beside in heard],
            "on_scale is told the finished images at last":
            bool(heard) and torch.allclose(heard[-1][1].float(), images.float(), 1e-4, 1e-5)}

# %% trap="generate" name="phi at the last scale"
# Your last scale goes through spread. It has full size already and no convolution behind it: as_map.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k == last and steps > 0:
            vectors = vectors + painter.residual(out, codes, steps, guidance)
        total = total + painter.spread(k, vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
        if k < last:
            new = painter.shrink(total, k + 1)
    return painter.decode(total)

# %% trap="generate" name="the newest map alone"
# Your inputs of the next scale are the newest map alone. The transformer was trained on what all scales so far
# add up to.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            part = painter.spread(k, vectors)
            new = painter.shrink(part, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            part = painter.as_map(vectors)
        total = total + part
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="the residual in the place of the codes"
# Your residual takes the place of the codes of the last scale. It is what they leave out: add it to them.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="a residual at every scale"
# Your loop adds a residual at every scale. Coarse codes leave a lot out, but the finer ones say it; only what the last
# leave out is left to diffusion.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if steps > 0:
            vectors = vectors + painter.residual(out, codes, steps, guidance)
        total = total + (painter.spread(k, vectors) if k < last else painter.as_map(vectors))
        new = painter.shrink(total, k + 1) if k < last else None
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="guidance left out"
# Your loop draws without guidance: hand it on to choose and to residual.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, 0.0)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, 0.0)
            total = total + painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="a residual whatever the steps"
# Your loop asks for a residual though steps is 0, which means none.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="no residual"
# Your images have no residual: it is added to the vectors of the last scale where steps is more than 0.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            total = total + painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="the last scale alone"
# Your images are those of the last scale alone. The scales add up.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="residual behind the last call"
# You add the residual when on_scale has been told of the last scale. It belongs to that scale: add it first.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            total = total + painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    if steps > 0:
        total = total + painter.as_map(painter.residual(out, codes, steps, guidance))
    return painter.decode(total)

# %% trap="generate" name="told at the end only"
# You call on_scale once, when all scales are done. It is called after each scale.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
    if on_scale is not None:
        on_scale(last, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="told too early"
# You call on_scale before the scale is added. It is told what the image is when the scale is there.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if on_scale is not None:
            on_scale(k, painter.decode(total if k else 0 * painter.spread(0, vectors)))
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
    return painter.decode(total)

# %% trap="generate" name="the last scale is not told"
# You do not call on_scale for the last scale.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = total + painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = total + painter.as_map(vectors)
        if on_scale is not None and k < last:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% alternative="generate" name="the last scale behind the loop"
def generate(painter, text, steps, guidance, on_scale=None):
    def tell(k):
        images = painter.decode(total)
        if on_scale:
            on_scale(k, images)
        return images

    painter.begin(text)
    *early, _ = range(len(painter.scales))
    out, total = painter.predict(), 0
    for k in early:
        total += painter.spread(k, painter.vectors(painter.choose(out, k, guidance)))
        tell(k)
        out = painter.predict(painter.shrink(total, k + 1))
    k = len(early)
    codes = painter.choose(out, k, guidance)
    total = total + painter.as_map(painter.vectors(codes))
    if steps:
        total = total + painter.as_map(painter.residual(out, codes, steps, guidance))
    return tell(k)

# %% alternative="generate" name="a list of maps"
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    maps = []
    for k, _ in enumerate(painter.scales):
        out = painter.predict(painter.shrink(torch.stack(maps).sum(0), k)) if maps else painter.predict()
        codes = painter.choose(out, k, guidance)
        tokens = painter.vectors(codes)
        at_the_end = k == len(painter.scales) - 1
        if at_the_end and steps != 0:
            tokens = tokens + painter.residual(out, codes, steps, guidance)
        maps.append(painter.as_map(tokens) if at_the_end else painter.spread(k, tokens))
        if on_scale is not None:
            on_scale(k, painter.decode(sum(maps)))
    return painter.decode(sum(maps))

# %% [markdown]
# Six captions through your loop, with your guidance and your filter: one greedy image each, then three drawn at
# random (temperature 1, $k = 200$, $p = 0.9$). Which words of a caption do you expect to vary?

# %% experiment="loop"
greedy = Painter(hart, guide, keep_likely, None)
rows = [generate(greedy, tokenize(test_captions), 0, 1.0)]
for seed in (0, 100, 200):
    lots = Painter(hart, guide, keep_likely, None, seed=seed, temperature=1.0, top_k=200, top_p=0.9)
    rows.append(generate(lots, tokenize(test_captions), 0, 1.0))
hart_views.show_scales(rows, test_captions, ["greedy", "drawn", "drawn", "drawn"],
                       title="Your loop, codes only: held-out captions",
                       alt="Each caption drawn four times by your functions, once with the likeliest codes "
                           "and three times at random.")

# %% [markdown]
# **What it shows.** Place and ground are the same in every column, and what the thing is too, mostly; what varies are shades and edges.
# Stickers of one caption differ little (a shift of a pixel, a few degrees), so there is little to vary. A code drawn
# badly at an early scale shows as a thing that is not quite one.

# %% [markdown]
# ## 7 · Training both halves
#
# What does the transformer learn from, and what the diffusion?
#
# **Codes.** The tokenizer of lab 08 gives the true codes of an image. The transformer reads the true sums of scales
# (teacher forcing) and at every place names the code: cross-entropy. With equal tokens the last scale would have three
# quarters of the weight and the first, on which all depends, one eighty-fifth. Here a scale of side $p$ weighs $p$:
#
# $$ L_{\text{codes}} = \sum_k \frac{p_k}{\sum_j p_j} \cdot \operatorname{mean}(\text{cross-entropy of scale } k) $$
#
# **Residual tokens.** What is left of the latent at a place, minus the code's vector, divided by its
# standard deviation (HART: by 0.6), is $x$, a vector of about unit variance. It cannot be predicted, only drawn: the
# codes and the caption leave it open. So a small network learns to take noise away. At time $t$ of $0, \dots, 999$ a
# share $\bar\alpha_t$ of the variance is signal:
#
# $$ x_t = \sqrt{\bar\alpha_t}\, x + \sqrt{1 - \bar\alpha_t}\, \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, 1) $$
#
# The network sees $x_t$, $t$ and the condition: the last hidden state, plus a linear layer of the token's code in HART, and here
# of the sum of all codes at its place and at those around it (a $3 \times 3$ convolution), so that neighbours agree. What should it answer? HART asks for the
# noise $\varepsilon$. Our network answers the **velocity**,
#
# $$ v = \sqrt{\bar\alpha_t}\, \varepsilon - \sqrt{1 - \bar\alpha_t}\, x $$
#
# which is noise at small $t$ and $-x$ at large $t$. The reason is where drawing begins, at $t = 999$: there $x_t$ is almost pure
# noise, naming the noise says nothing of $x$, and in eight steps there is no time to mend that. The loss is the mean squared error
# of the answer.
#
# Both are trained together, gradients of both through the transformer:
#
# $$ L = L_{\text{codes}} + 0.1 \cdot L_{\text{residual}} $$
#
# ### Exercise 7 · `noise_and_target` · 3 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | two functions: `noise_and_target` (2 points) and `joint_loss` (1 point) |
# | **Shapes** | `x`, `noise`: `(n, dim)`; `left`: `(n,)`, the share $\bar\alpha$ of each row; `wrong`: `(batch, tokens)`, the cross-entropy of every token, scale after scale; `residual`: a tensor of one number, without axes, as the loss is |
# | **Mind** | $\bar\alpha$ is a share of the *variance* |
# | **Read** | HART paper, section 3.3; Salimans and Ho, 2022, section 2 |
#
# <details><summary>Hint 1: "sizes must match"</summary>
#
# `left` belongs to rows: `left[:, None]`.
# </details>
# <details><summary>Hint 2: which tokens belong to a scale?</summary>
#
# `wrong.split([p * p for p in scales], dim=1)`.
# </details>
# <details><summary>Hint 3: how do I check the target?</summary>
#
# `left.sqrt() * noisy - (1 - left).sqrt() * target` must give `x` back.
# </details>

# %% exercise="noise_and_target"
def noise_and_target(x, noise, left):
    """What the denoiser is shown, and the velocity that it should answer, both (n, dim).

    x, noise: (n, dim). left: (n,), the share of x's variance that is left.
    """
    ### BEGIN SOLUTION
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, signal * noise - rest * x
    ### END SOLUTION


def joint_loss(wrong, residual, scales):
    """The loss, a tensor without axes: cross-entropies of all tokens, (batch, tokens), a scale of
    side p weighing p, plus a tenth of the residual's loss."""
    ### BEGIN SOLUTION
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    codes = sum(p * mean for p, mean in zip(scales, means)) / sum(scales)
    return codes + 0.1 * residual
    ### END SOLUTION

# %% check="noise_and_target"
with Check("noise_and_target", read="section 7, the formulas") as check:
    check.signature(noise_and_target, "x", "noise", "left")
    x, noise = torch.tensor([[1.0, 0.0], [2.0, -1.0]]), torch.tensor([[0.0, 1.0], [1.0, 3.0]])
    noisy, target = noise_and_target(x, noise, torch.tensor([0.36, 0.64]))
    check.shape(noisy, (2, 2), "the noisy tokens")
    check.values(noisy, [[0.6, 0.8], [2.2, 1.0]], "the noisy tokens (0.6 and 0.8 are the roots)", otherwise={
        "the shares themselves are used; they are shares of the variance: take roots":
            [[0.36, 0.64], [1.64, 0.44]],
        "signal and noise have each other's factor": [[0.8, 0.6], [2.0, 1.8]],
        "the noise's factor is 1 − √ᾱ; its variance is 1 − ᾱ: √(1 − ᾱ)": [[0.6, 0.4], [1.8, -0.2]]})
    check.values(target, [[-0.8, 0.6], [-0.4, 3.0]], "the velocities", otherwise={
        "this is the noise, which HART asks for; here the velocity is asked for": [[0.0, 1], [1, 3]],
        "the velocity has the opposite sign: +√ᾱ noise − √(1−ᾱ) x": [[0.8, -0.6], [0.4, -3.0]]})
    check.signature(joint_loss, "wrong", "residual", "scales")
    wrong = torch.tensor([[5.0, 1, 2, 3, 2], [4.0, 1, 0, 1, 2]])
    found = joint_loss(wrong, torch.tensor(5.0), (1, 2))
    check.values(found, 3.0, "joint_loss of scales 1 and 2 (means 4.5 and 1.5) and a residual loss of 5", otherwise={
        "all tokens weigh the same, so that the largest scale is all that counts": 2.6,
        "the residual weighs as much as the codes; a tenth is asked for": 7.5,
        "the weights p do not add up to 1: divide by their sum": 8.0})
    check.cases("09", globals())

# %% judge="noise_and_target" points=3
parts = {"noise_and_target": 2, "joint_loss": 1}


def ask(rng):
    for title, n, dim in (("five tokens", 5, 3), ("one token", 1, 4), ("one number a token", 6, 1),
                          ("as many tokens as numbers", 4, 4)):
        yield Case(title, part="noise_and_target", x=randn(rng, n, dim), noise=randn(rng, n, dim),
                   left=torch.from_numpy(rng.uniform(0.02, 0.98, n)))
    yield Case("nothing and everything left", part="noise_and_target", x=randn(rng, 2, 3),
               noise=randn(rng, 2, 3), left=torch.tensor([0.0, 1.0]))
    for title, batch, scales in (("scales 1, 2, 4", 3, (1, 2, 4)), ("one scale", 2, (3,)),
                                 ("a batch of one", 1, (2, 3)), ("scales 1, 3, 5", 2, (1, 3, 5))):
        yield Case(title, part="joint_loss", residual=abs(randn(rng)) + 0.1, scales=scales,
                   wrong=5 * abs(randn(rng, batch, sum(s * s for s in scales))))


def drive(lab, **inputs):
    if "x" in inputs:
        noisy, target = lab.noise_and_target(**inputs)
        return {"the noisy tokens": noisy, "the velocities": target}
    values = inputs["wrong"].requires_grad_(), inputs["residual"].requires_grad_()
    loss = lab.joint_loss(*values, inputs["scales"])
    wrong, residual = torch.autograd.grad(loss, values, allow_unused=True)
    return {"the loss": loss, "the gradient of wrong": wrong, "the gradient of residual": residual}

# %% trap="noise_and_target" name="noise as the target"
# Your target is the noise, as HART has it. Here the network answers the velocity.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, noise


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales) + 0.1 * residual

# %% trap="noise_and_target" name="opposite velocity"
# Your velocity has the opposite sign. It is +√ᾱ · noise − √(1−ᾱ) · x.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, rest * x - signal * noise


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales) + 0.1 * residual

# %% trap="noise_and_target" name="shares without roots"
# Your factors are the shares themselves. A share of the variance means its root as a factor.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None], 1 - left[:, None]
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales) + 0.1 * residual

# %% trap="noise_and_target" name="one less the root"
# The noise's factor is 1 − √ᾱ in your answer. Its share of the variance is 1 − ᾱ, so its factor is √(1 − ᾱ).
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), 1 - left[:, None].sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales) + 0.1 * residual

# %% trap="noise_and_target" name="factors exchanged"
# In your answer signal and noise have each other's factor: ᾱ is the share that is signal.
def noise_and_target(x, noise, left):
    signal, rest = (1 - left[:, None]).sqrt(), left[:, None].sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales) + 0.1 * residual

# %% trap="noise_and_target" name="residual left out"
# Your loss leaves the residual out. Both halves are trained.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales)

# %% trap="noise_and_target" name="residual in full"
# In your loss the residual weighs as much as the codes. It has a tenth of the weight.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) / sum(scales) + residual

# %% trap="noise_and_target" name="tokens weigh the same"
# In your loss all tokens weigh the same, so the largest scale has most of the weight. A scale of side p weighs p.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    return wrong.mean() + 0.1 * residual

# %% trap="noise_and_target" name="scales weigh the same"
# In your loss all scales weigh the same. A scale of side p weighs p.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(means) / len(means) + 0.1 * residual

# %% trap="noise_and_target" name="weights that do not add up"
# The weights of your scales do not add up to 1: divide p by the sum of all sides.
def noise_and_target(x, noise, left):
    signal, rest = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return signal * x + rest * noise, signal * noise - rest * x


def joint_loss(wrong, residual, scales):
    means = [part.mean() for part in wrong.split([p * p for p in scales], dim=1)]
    return sum(p * mean for p, mean in zip(scales, means)) + 0.1 * residual

# %% alternative="noise_and_target" name="an angle"
def noise_and_target(x, noise, left):
    angle = torch.acos(left.sqrt()).unsqueeze(1)
    return torch.cos(angle) * x + torch.sin(angle) * noise, torch.cos(angle) * noise - torch.sin(angle) * x


def joint_loss(wrong, residual, scales):
    total = sum(scales)
    weight = torch.cat([torch.full((p * p,), 1 / (p * total), dtype=wrong.dtype) for p in scales])
    return (wrong.mean(dim=0) * weight).sum() + residual / 10

# %% alternative="noise_and_target" name="row by row"
def noise_and_target(x, noise, left):
    noisy, target = torch.empty_like(x), torch.empty_like(x)
    for i, share in enumerate(left.tolist()):
        a, b = math.sqrt(share), math.sqrt(1 - share)
        noisy[i], target[i] = a * x[i] + b * noise[i], a * noise[i] - b * x[i]
    return noisy, target


def joint_loss(wrong, residual, scales):
    start, loss = 0, residual * 0.1
    for p in scales:
        loss = loss + wrong[:, start:start + p ** 2].mean() * p / sum(scales)
        start += p ** 2
    return loss

# %% [markdown]
# Below is the whole of the training loss, with your two functions and your mask and positions. It also has one aid that
# is not HART's: the transformer guesses the latent itself, and codes near the guess get a larger logit. A plain layer
# to the logits learns far more slowly at this size.
#
# The stored network trained for many thousands of steps. You train for a few dozen, to see that it learns. Which scale's
# cross-entropy will fall first?

# %% experiment="train"
from labsupport.labs.lab09.training import sticker_source, train_generator
from labsupport.models.hart import Hart, HartConfig, drop_captions


class Yours(Hart):
    """HART with the loss of section 7."""

    def loss(self, images, text, generator=None):
        quantizer, net = self.tokenizer.quantizer, self.residual
        with torch.no_grad():
            latent = self.tokenizer.encode(images)
            true = quantizer(latent)
            inputs = quantizer.inputs(true.indices)  # the sums of scales, averaged down
        out = self.transformer(drop_captions(text, generator), inputs)  # one caption in ten is left out
        wrong = F.cross_entropy(out.logits.mT, true.indices, reduction="none")  # (batch, tokens)
        last = quantizer.side ** 2
        condition = self.transformer.condition(out.hidden[:, -last:], true.discrete).flatten(0, 1)
        x = ((latent - true.discrete).flatten(2).mT / net.scale).flatten(0, 1)  # (n, dim)
        time = torch.randint(1000, (len(x),), generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        noisy, target = noise_and_target(x, noise, net.diffusion.signal[time].float())
        residual = F.mse_loss(net.net(noisy, time, condition), target)
        loss = joint_loss(wrong, residual, self.transformer.scales)
        loss = loss + F.mse_loss(out.latents, self.scale_latents(latent))  # the aid
        per_scale = [part.mean().item() for part in wrong.split(quantizer.lengths, dim=1)]
        self.history.append([*per_scale, residual.item()])
        return loss, {}


torch.manual_seed(SEED)
yours = Yours(HartConfig(), tokenizer, mask=next_scale_mask, angles=scale_angles)
yours.history = []
start = perf_counter()
train_generator(yours, sticker_source(tokenizer.size, 16, seed=SEED), lr=2.5e-3, seed=SEED,
                steps=scale(smoke=4, cpu=60, gpu=5000), progress="your HART", save_every=10**9)
history = np.array(yours.history)
group = max(1, len(history) // 12)
points = history[:len(history) // group * group].reshape(-1, group, history.shape[1]).mean(axis=1)
measured["yours"] = points[0], points[-1]
charts.lines((np.arange(len(points)) + 0.5) * group,
             {f"{p} × {p}": points[:, k] for k, p in enumerate(scales) if p in (1, 2, 4, 8)},
             title=f"Cross-entropy of a code while yours trains ({perf_counter() - start:.0f} s)",
             xlabel="step", ylabel="nats a token")
print(f"residual loss: {points[0, -1]:.2f} → {points[-1, -1]:.2f}")

# %% [markdown]
# A network that knows nothing of 512 codes begins at $\ln 512 \approx 6.2$ nats. The coarse scales fall first: there are few grounds
# and few places. Fine codes say what the thing is in detail, and that takes thousands of steps, as the
# record of the stored network shows.

# %% experiment="stored curve"
record = json.loads(data_path("results", "09_hart_generation.json").read_text())
marks = [m * 10**e for e in (1, 2, 3, 4) for m in (1, 2, 5)]  # 50, 100, 200, 500, …
nearest = [min(record["curve"], key=lambda point: abs(point["step"] - mark)) for mark in marks]
curve = list({point["step"]: point for point in nearest}.values())  # each once
charts.lines([point["step"] for point in curve],
             {f"{p} × {p}": [point[f"codes {p}"] for point in curve] for p in (1, 2, 4, 8)},
             title=f"The stored network: {record['settings']['steps']:,} steps", xlabel="step",
             ylabel="nats a token", logx=True)
print(f"residual loss: {record['curve'][0]['residual']:.2f} → {record['curve'][-1]['residual']:.2f}; "
      f"then alone: {record['residual_curve'][-1]['loss']:.2f}")
few = tokenize(test_captions[:4])
hart_views.show_scales([generate(Painter(net, guide, keep_likely, None), few, 0, 1.0)
                        for net in (yours, hart)], test_captions[:4],
                       [f"yours,\n{len(history):,} steps", f"stored,\n{record['settings']['steps']:,} steps"],
                       title="What training gives",
                       alt="The same captions drawn by the network that you trained briefly, and by the "
                           "stored one.")

# %% [markdown]
# **What it shows.** After a few dozen steps most grounds are right, and there is no thing yet. The residual's loss falls little. The stored
# denoiser was trained on alone when the transformer was done, half of the images with codes of the transformer's own, and got to 0.63: little
# more than a third of the velocity's variance can be known, the rest is a matter of chance. That is no failure of training, it is what is left
# when the codes have said all they can.

# %% [markdown]
# ## 8 · Eight steps
#
# To draw a residual token, begin with noise and take it away in few steps. Of the 1,000 times of training use `steps` of
# them, equally far apart, first and last included: for eight, $t = 0, 143, 285, 428, 571, 714, 856, 999$, from the
# last to the first. At time $t$ with $a = \bar\alpha_t$, the network's velocity $v$ gives the clean token that it has in mind,
#
# $$ \hat x = \sqrt{a}\, x_t - \sqrt{1 - a}\, v \quad\text{, cut off at } \pm 4 $$
#
# (a residual is hardly ever four deviations long: what is larger is a mistake of the network). At the last step, $t = 0$, $\hat x$ is the result. Otherwise
# go to the next chosen time $s < t$, with $b = \bar\alpha_s$: the mean of what $x_s$ may be, given $x_t$ and $\hat x$, and fresh noise,
#
# $$ x_s = \frac{\sqrt{b}\,(1 - \tfrac{a}{b})\, \hat x + \sqrt{\tfrac{a}{b}}\,(1 - b)\, x_t}{1 - a}
#    + \sqrt{\frac{(1 - \tfrac{a}{b})(1 - b)}{1 - a}}\; \varepsilon $$
#
# This is DDPM's step, with $a/b$ in the place of one time's $\alpha$, because many times are jumped at once.
#
# Why are eight enough here, where an image from noise needs 30 to 50? Because nearly everything has been said already: the
# codes know what is to be seen and where. What is left is small, and every token's residual is drawn by itself.
#
# ### Exercise 8 · `denoise` · 4 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about twelve lines |
# | **Input** | `network(x, time)` with `time` `(n,)`, `int64`, gives velocities `(n, dim)`; `draw()` gives standard noise `(n, dim)`; `left` `(1000,)` is $\bar\alpha$; `steps` |
# | **Output** | clean tokens `(n, dim)` |
# | **Mind** | times are rounded to the nearest whole number. Call `draw()` for the beginning and for each step but the last, in this order. One step: $t = 999$ alone, and its $\hat x$ |
# | **Read** | Ho et al., 2020, equations 6 and 7; Nichol and Dhariwal, 2021, section 4 |
#
# <details><summary>Hint 1: the times</summary>
#
# `[round(i * 999 / (steps - 1)) for i in range(steps)]`, and `[999]` for one step; then from the back.
# </details>
# <details><summary>Hint 2: "the result is far too large"</summary>
#
# Is the answer read as a velocity? Is $\hat x$ cut off at every step?
# </details>
# <details><summary>Hint 3: which two shares?</summary>
#
# `a = left[times[i]]`, `b = left[times[i - 1]]`: of the chosen times, not of $t$ and $t - 1$.
# </details>

# %% exercise="denoise"
def denoise(network, draw, left, steps):
    """Tokens (n, dim) out of noise, in `steps` steps.

    network(x, time) -> velocities. draw() -> standard noise (n, dim). left: (1000,), the share of the
    variance that is signal at every time.
    """
    ### BEGIN SOLUTION
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()
    ### END SOLUTION

# %% check="denoise"
with Check("denoise", read="section 8, both formulas") as check:
    check.signature(denoise, "network", "draw", "left", "steps")
    left = torch.cos(torch.linspace(0.01, 1.55, 1000)).square()  # a schedule much like the true one
    asked, rows = [], torch.tensor([[0.5, -1.0], [1.5, 0.2], [-0.7, 0.9]])
    generator = torch.Generator().manual_seed(0)

    def perfect(x, time):
        """The velocity of a network that knows: x is `rows`."""
        asked.append(time)
        a = left[time][:, None]
        noise = (x - a.sqrt() * rows) / (1 - a).sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * rows

    found = denoise(perfect, lambda: torch.randn(3, 2, generator=generator), left, 8)
    check.shape(found, (3, 2), "the tokens", "return the clean tokens of the last step")
    check.that(all(t.shape == (3,) for t in asked), "network was not given one time for each row",
               "torch.full((len(x),), t)")
    times = [int(t[0]) for t in asked]
    check.that(times == [999, 856, 714, 571, 428, 285, 143, 0], f"the times of 8 steps are {times}",
               "they fall from 999 to 0, equally far apart and rounded: round(i · 999 / (steps − 1))")
    check.values(found, rows, "what a perfect network leads to", rtol=1e-3, atol=1e-3,
                 likely="x̂ = √a x − √(1−a) v; the last step returns x̂ and adds no noise")
    check.cases("09", globals())

# %% judge="denoise" points=4
# Rounding errors grow from step to step: after 16 steps right answers differ by up to 1e-5. A share of the wrong time shows
# as 1e-3.
tolerance = dict(rtol=1e-4, atol=1e-4)


def ask(rng):
    left = np.cos((np.linspace(0, 1, 1000) * 0.985 + 0.008) * math.pi / 2) ** 2
    # even numbers of steps: no time lies in the middle between two whole numbers
    for title, n, dim, steps, size in (
            ("eight steps", 4, 3, 8, 0.2), ("one step", 3, 2, 1, 0.2), ("two steps", 2, 4, 2, 0.2),
            ("four steps, one token", 1, 3, 4, 0.2), ("sixteen steps", 2, 2, 16, 0.2),
            ("ten steps, one number a token", 5, 1, 10, 0.2), ("large answers of the network", 4, 3, 6, 8.0),
            ("large answers, one step", 4, 3, 1, 8.0)):
        yield Case(title, noise=randn(rng, steps + 1, n, dim), steps=steps, gain=float(rng.uniform(0.3, 0.9)),
                   shift=size * randn(rng, n, dim), left=left)


def drive(lab, noise, steps, gain, shift, left):
    times, lots = [], iter(noise)

    def network(x, time):
        times.append(time.tolist())
        return gain * torch.sin(1.3 * x + 3 * left[time][:, None]) + shift

    def draw():
        lot = next(lots, None)
        if lot is None:
            raise RuntimeError(f"draw() was called more than {len(noise)} times in {steps} steps")
        return lot.clone()

    tokens = lab.denoise(network, draw, left, steps)
    return {"the times that network is asked for": times, "the tokens": tokens}

# %% trap="denoise" name="the answer read as noise"
# You read the network's answer as the noise. It is a velocity: x̂ = √a x − √(1−a) v.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        answer = network(x, torch.full((len(x),), times[i]))
        clean = ((x - (1 - a).sqrt() * answer) / a.sqrt()).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="the answer read as x0"
# You read the network's answer as the clean token. It is a velocity: x̂ = √a x − √(1−a) v.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        clean = network(x, torch.full((len(x),), times[i])).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="one time further"
# Your step goes from t to t − 1, though the next chosen time is much earlier: almost all of the noise stays. Take b at
# the next of the chosen times.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i] - 1]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="times from 0 upwards"
# Your times grow. The way leads from noise, time 999, to data, time 0.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [0]
    x = draw()
    for i in range(steps):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == steps - 1:
            return clean
        x = left[times[i + 1]].sqrt() * clean + (1 - left[times[i + 1]]).sqrt() * draw()

# %% trap="denoise" name="not cut off"
# You do not cut x̂ off at ±4. One wild answer of the network then spoils all steps behind it.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = a.sqrt() * x - (1 - a).sqrt() * velocity
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="plus in the place of minus"
# Your x̂ has a plus: it is √a x − √(1−a) v.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x + (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="no fresh noise"
# Your steps add no fresh noise. Each but the last does.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean

# %% trap="denoise" name="without what the token is now"
# Your step forgets what the token is now: a share of x stays in the mean.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = b.sqrt() * (1 - a / b) * clean / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="times cut off"
# Your times are cut off after the point. Round them to the nearest whole number.
def denoise(network, draw, left, steps):
    times = [int(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% trap="denoise" name="0 never reached"
# Your times do not reach 0. They go from 999 to 0, both included.
def denoise(network, draw, left, steps):
    times = [round((i + 1) * 999 / steps) for i in range(steps)]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        if i == 0:
            return clean
        b = left[times[i - 1]]
        mean = (b.sqrt() * (1 - a / b) * clean + (a / b).sqrt() * (1 - b) * x) / (1 - a)
        x = mean + ((1 - a / b) * (1 - b) / (1 - a)).sqrt() * draw()

# %% alternative="denoise" name="betas"
def denoise(network, draw, left, steps):
    times = torch.linspace(0, 999, steps, dtype=torch.float64).round().long() if steps > 1 else torch.tensor([999])
    share = left[times]
    before = torch.cat([left.new_ones(1), share[:-1]])
    beta = 1 - share / before
    x = draw()
    for step in range(steps - 1, -1, -1):
        v = network(x, times[step].repeat(len(x)))
        x0 = torch.clamp(share[step] ** 0.5 * x - (1 - share[step]) ** 0.5 * v, min=-4.0, max=4.0)
        x = (before[step].sqrt() * beta[step] * x0
             + (1 - beta[step]).sqrt() * (1 - before[step]) * x) / (1 - share[step])
        if step:
            x = x + (beta[step] * (1 - before[step]) / (1 - share[step])).sqrt() * draw()
        else:
            x = x0
    return x

# %% alternative="denoise" name="numbers, not tensors"
def denoise(network, draw, left, steps):
    shares = left.double().tolist()
    chosen = [999] if steps == 1 else [round(i * 999 / (steps - 1)) for i in range(steps)][::-1]
    x = draw()
    for t, s in zip(chosen, [*chosen[1:], None]):
        a = shares[t]
        time = torch.tensor([t] * x.shape[0])
        hat = torch.minimum(torch.maximum(math.sqrt(a) * x - math.sqrt(1 - a) * network(x, time),
                                          torch.tensor(-4.0, dtype=x.dtype)), torch.tensor(4.0, dtype=x.dtype))
        if s is None:
            break
        b = shares[s]
        x = (math.sqrt(b) * (1 - a / b) / (1 - a) * hat + math.sqrt(a / b) * (1 - b) / (1 - a) * x
             + math.sqrt((1 - a / b) * (1 - b) / (1 - a)) * draw())
    return hat

# %% [markdown]
# Everything is there. The same captions and codes, with residual tokens of one to thirty steps; and what the residual
# changes, five times enlarged (grey: nothing). Where do you expect changes: in the ground, in the thing, at edges?

# %% experiment="residual"
painter = Painter(hart, guide, keep_likely, denoise)
text = tokenize(test_captions)
codes_only = generate(painter, text, 0, 1.0)
by_steps = {steps: generate(painter, text, steps, 1.0) for steps in (1, 2, 8, 30)}
change = (0.5 + 5 * (by_steps[8] - codes_only)).clamp(0, 1)
hart_views.show_scales([codes_only, *by_steps.values(), change], test_captions,
                       ["codes only", *(f"{s} step{'s' * (s > 1)}" for s in by_steps), "5 × change by 8"],
                       title="Your residual tokens",
                       alt="Each caption's image from its codes and with residual tokens. The last column, "
                           "grey where nothing changes, shows five times the change by 8 steps, on average "
                           f"{255 * (by_steps[8] - codes_only).abs().mean():.1f} of 255.")
measured["change"] = (by_steps[8] - codes_only).abs().mean().item()
print(f"8 steps change a pixel by {255 * measured['change']:.1f} of 255 on average")

# %% [markdown]
# **What it shows.** The change follows the thing: the ground hardly moves. Look at edges and small parts. The first
# step draws what is likeliest, and is the smoothest; more steps draw texture that one image of this caption *might* have.

# %% [markdown]
# ## 9 · Measured
#
# Four questions: does guidance help, does the residual, does a larger grid work, and how does it all compare
# with other ways to write an image? What an image shows is read by two **judges**: classifiers that know every sticker and were used in
# no training of a generator (they read all of 2,000 real stickers rightly). A caption is *right* when the judge finds
# place, tint, thing and ground in its image. How near images are to real ones is the Fréchet distance of lab 08, in the features of judge a.
#
# HART's authors also report the fit of text and image by the **CLIP score**: a hundred times the cosine of image and caption. Lab 06's CLIP learned
# scenes of two things, and half of the words here are not in its vocabulary; so the same network was trained on stickers, again in no training of a
# generator. Real stickers have a score of 95 with their captions, 53 with captions that are wrong in one word, and 12 with those of others.
#
# ### Guidance
#
# Captions of held-out triples, your functions, eight steps. What do you expect of $w$ from 0 to 8?

# %% experiment="guidance sweep"
from labsupport.models.judges import judge

judges = {name: pretrained(f"judge {name}") for name in ("a", "b")}
asked = stickers(scale(smoke=4, cpu=48, gpu=400), tokenizer.size, split="triple", seed=5, jitter=0.5)
asked_text = tokenize(asked.captions)


def right(images):
    """The share of `asked` whose image shows everything that the caption says, mean of both judges."""
    if images.shape[-1] != tokenizer.size:
        images = F.interpolate(images, size=2 * [tokenizer.size], mode="area")
    return np.mean([(judge(net, normalize(images))[1] == asked.attributes).all(dim=1).float().mean().item()
                    for net in judges.values()])


strengths, sheets = (0.0, 1.0, 3.0, 8.0), {}
for w in strengths:
    sheets[w] = generate(Painter(hart, guide, keep_likely, denoise), asked_text, 8, w)
measured["guidance"] = {w: right(images) for w, images in sheets.items()}
hart_views.show_scales([images[:4] for images in sheets.values()], asked.captions[:4],
                       [f"w = {w:g}" for w in strengths], title="Guidance, from none to w = 8",
                       alt="Each caption with growing guidance. Captions judged right, in the same order: "
                           f"{', '.join(f'{share:.0%}' for share in measured['guidance'].values())}.")
charts.Table(["w", *(f"{w:g}" for w in strengths)],
             [["captions right", *(f"{share:.0%}" for share in measured["guidance"].values())]],
             title=f"{len(asked)} held-out captions (one standard error is about 4 points)")

# %% [markdown]
# **What it shows.** For large models, trained on captions that say little of an image, guidance is what makes them follow the
# text (HART's samples take $w = 4.5$). Here four words say nearly all there is, the network follows them anyway, and guidance
# has little to gain: in our run all four shares lie within four points, a standard error of each. That a mechanism works as
# published does not mean that it is needed.
#
# ### The residual
#
# The stored record has 500 captions for each of three splits: `triple` and `pair` are held out, `train` are captions of
# training. Guidance is 0.75 there, chosen on captions of training. Beside the residual there are two **controls**: the
# residual tokens of *another* image, and noise of the same size. If any texture would do, they would do as well.

# %% experiment="residual record"
def values(split, way, key, **more):
    """All of the record's values of a way to make the images of a split."""
    return [r[key] for r in record["records"] if r["split"] == split and r["way"] == way
            and all(r.get(name) == value for name, value in more.items())]


def cell(split, way, key, form, **more):
    found = values(split, way, key, **more)
    spread = f" ± {np.std(found, ddof=1):{form}}" if len(found) > 1 and form != ".1%" else ""
    return f"{np.mean(found):{form}}{spread}" if found else "–"


ways = [("real (other renders)", "real", {}), ("tokenizer: true codes", "true codes", {}),
        ("tokenizer: true latent", "true latent", {}),
        ("true codes, drawn residual", "true codes, drawn residual", {}),
        ("the same, the last scale's codes its own", "own last scale, drawn residual", {}),
        ("generated, codes only", "codes only", {}),
        *((f"generated, residual of {s} step{'s' * (s > 1)}", "residual", {"steps": s})
          for s in (1, 2, 4, 8, 16, 30)),
        ("generated, 8 steps, residual not guided", "unguided residual", {}),
        ("control: another image's residual", "another image's residual", {}),
        ("control: noise", "noise", {})]
charts.Table(["images", "distance, triple", "distance, pair", "distance, train", "right, triple (a / b)",
              "right, pair (a / b)", "PSNR, triple", "CLIP score, triple"],
             [[title, *(cell(split, way, "distance", ".1f", **more) for split in ("triple", "pair", "train")),
               *(f"{cell(split, way, 'all a', '.1%', **more)} / {cell(split, way, 'all b', '.1%', **more)}"
                 for split in ("triple", "pair")), cell("triple", way, "psnr", ".1f", **more) + " dB",
               cell("triple", way, "clip", ".1f", **more)]
              for title, way, more in ways],
             title="Stored record (8 steps: mean and deviation of three seeds of the noise)")

# %% experiment="steps"
hart_views.show_residual(
    {f"held-out {split}s": [(r["steps"], r["distance"]) for r in record["records"]
                            if r["split"] == split and r["way"] == "residual"]
     for split in ("triple", "pair")},
    {"triples, codes only": np.mean(values("triple", "codes only", "distance")),
     "triples, another's residual": np.mean(values("triple", "another image's residual", "distance")),
     "triples, noise": np.mean(values("triple", "noise", "distance"))},
    ylabel="Fréchet distance (lower is better)", title="How many steps?")
drop = {split: 1 - np.mean(values(split, "residual", "distance", steps=8))
        / np.mean(values(split, "codes only", "distance")) for split in ("triple", "pair", "train")}
measured["drop"] = drop
measured["last right"] = values("triple", "own last scale, drawn residual", "last_right")[0]
measured["by steps"] = {n: np.mean(values("pair", "residual", "distance", steps=n)) for n in (1, 8, 30)}
print("8 steps lower the distance by " + ", ".join(f"{share:.0%} ({s})" for s, share in drop.items()))
seeds = json.loads(data_path("results", "09_hart_seeds.json").read_text())["records"]
again = {(r["split"], r["way"]): r["distance"] for r in seeds}
print("a generator trained with another seed: " + ", ".join(
    f"{again[s, 'codes only']:.1f} → {again[s, 'residual']:.1f} ({s})" for s in drop))
print(f"of the last scale's codes, {measured['last right']:.0%} are chosen rightly when the scales before are true (triples)")

# %% [markdown]
# **What it shows.** The lines below the figure say how far eight steps bring the images nearer to real ones, on captions never seen, and the two controls
# what does not do so; question 1 asks for both. (HART's gain over VAR on ImageNet is 8%. Our codes, 512 of them in four scales, leave far more unsaid than
# its 4,096 in ten.) The share of right captions moves little, because a judge names most things from the codes alone; in the stored record the CLIP score
# makes up a quarter of what it lacks to real images.
#
# **How many steps?** The figure has it for the distance, the table for PSNR, and the two do not agree. Before you answer question 1, think about what a
# network can say of $x$ that is shown nothing but noise: what minimises a squared error there?
#
# The residual is guided like the codes, which doubles the denoiser's work. Without guidance eight steps come to 16.6 and 15.3
# in the stored record.
#
# Read the rows of the tokenizer too. To true codes, the *true* residual takes off seven eighths of the distance. A drawn one takes off
# more than half (21.3 → 9.4 for triples), for part of the residual stays unknown, whatever the caption and the codes say. Let the
# network choose the last scale's codes, the true ones of all scales before given, and the distance is 11.1, nearly what generated images have. It chooses
# 60% of them rightly (some others will do as well). So most of what wrong codes cost is lost in the last scale, where tokens are chosen without knowing of
# each other.
#
# ### A larger grid
#
# The network has only ever written grids of up to $8 \times 8$. Ask it for $12 \times 12$, images of 72 pixels, with scales 1, 3, 6, 12;
# nothing is trained. Once with your positions interpolated ($S = 8$), once with $S = 12$.

# %% experiment="larger"
large = larger_tokenizer(tokenizer, (1, 3, 6, 12))
grown = {name: hart.generate(asked_text, 8, 1.0, tokenizer=large, interpolate=flag)
         for name, flag in (("12 × 12, interpolated", True), ("12 × 12, extrapolated", False))}
measured["larger"] = {"8 × 8, as trained": measured["guidance"][1.0],
                      **{name: right(images) for name, images in grown.items()}}
usual = F.interpolate(sheets[1.0][:5], scale_factor=1.5, mode="nearest-exact")
hart_views.show_scales([usual, *(images[:5] for images in grown.values())], asked.captions[:5],
                       [name.replace(", ", ",\n") for name in measured["larger"]], title="A larger grid than in training",
                       alt="Each caption on the grid of training, on a larger one with positions in "
                           "between, and with positions beyond. Captions judged right: "
                           f"{', '.join(f'{share:.0%}' for share in measured['larger'].values())}.")
charts.Table(["grid", "captions right"], [[name, f"{share:.0%}"] for name, share in measured["larger"].items()],
             title="Judged at 48 pixels")

# %% [markdown]
# **What it shows.** With interpolated positions most captions stay right on a grid with more than twice the tokens; with positions beyond those
# of training, almost none. The mechanism does what HART says of it. But larger is not sharper here: a token now covers less of the image than
# any did in training, and the decoder has learned 6 × 6 pixels of 48, so the images look as though cut from two sizes. HART *trains* on, at 512
# and then 1024 pixels; interpolation is what makes that short, it says. (Nothing is trained on the larger grid here, so that is not measured.)
#
# ### Against other ways
#
# All systems use the same latent, width, depth and captions. **VAR** is HART without its residual (so with this lab's layers,
# rotary positions and caption, where the published VAR has adaptive layer norms, learned positions and a class). **Raster order**
# writes 64 codes of a single scale one by one, as a language model does. **Diffusion** draws the whole latent from noise, all 64
# tokens in every step. **MAR-like** fills the latent in 16 rounds, and draws each token by a small diffusion of 30 steps. First the
# time, of one thread, guidance on, decoder included.

# %% experiment="speed"
speed = json.loads(data_path("results", "09_hart_speed.json").read_text())
charts.Table(["system", "one image, ms", "images a second, batch of 32", "millions of MACs an image"],
             hart_views.ratio_rows(speed["records"]), title="In brackets: how many times worse than HART")

# %% [markdown]
# **What it shows.** Hold the rows of HART, VAR and raster order against each other, in all three columns: they tell what next-scale prediction
# saves, when, and what the residual costs. Question 2 asks for that. Diffusion pays the whole network for each of its steps.
#
# Two things keep the residual from costing more: the part of the denoiser that reads the condition is computed once and not at every step (in MAR's
# MLP a nonlinearity stands in the way of that), and eight steps are few. Half of its 36% more MACs is guidance.
#
# Now quality for the same training time, a record of its own: each system trained for about an hour of one thread, guidance,
# temperature and steps of each chosen on captions of training. Published diffusion models take 20 to 50 steps; how many do
# you expect to be needed here, where four words say nearly all of an image?

# %% experiment="systems"
rivals = json.loads(data_path("results", "09_hart_systems.json").read_text())


def speed_of(found, batch=1):
    """The record of `hart_speed` that belongs to a record of a system."""
    name = {"VAR": "VAR (no residual)", "diffusion": f"diffusion, {found.get('steps')} steps"}
    return next(r for r in speed["records"] if r["batch"] == batch
                and r["system"] == name.get(found["system"], found["system"]))


summary = {}  # a row of the table for every system, and for every number of diffusion's steps
for found in sorted(rivals["records"], key=lambda r: r["steps"] if r["system"] == "diffusion" else 0):
    name = found["system"] + (f", {found['steps']} steps" if found["system"] == "diffusion" else "")
    summary.setdefault(name, []).append(found)
costs = {name: [speed_of(group[0], batch) for batch in (1, 32)] for name, group in summary.items()}
summary = {name: {key: np.mean([r[key] for r in group]) for key in ("distance", "all a", "all b", "clip")}
           for name, group in summary.items()}
measured["systems"] = {name: row["distance"] for name, row in summary.items()}
comparisons.race([(name, 1000 * costs[name][0]["seconds"], row["distance"]) for name, row in summary.items()
                  if not name.endswith((" 10 steps", " 30 steps"))], "HART", title="An hour of training each: how near to real images, and how fast",
                 xlabel="milliseconds an image (batch of one)", ylabel="Fréchet distance", distance=True)
charts.Table(["system", "Fréchet distance", "right (a / b)", "CLIP score", "one image", "images a second (32)",
              "millions of MACs"],
             [[name, f"{row['distance']:.1f}", f"{row['all a']:.1%} / {row['all b']:.1%}", f"{row['clip']:.1f}",
               f"{1000 * costs[name][0]['seconds']:.0f} ms", f"{costs[name][1]['images a second']:.1f}",
               f"{costs[name][0]['macs'] / 1e6:,.0f}"] for name, row in summary.items()]
             + [[f"real images through the codes of {r['system']}", f"{r['distance']:.1f}",
                 f"{r['all a']:.1%} / {r['all b']:.1%}", f"{r['clip']:.1f}", "", "", ""] for r in rivals["true_codes"]],
             title="The same latent, layers, captions and training time; 1,000 held-out captions")

# %% [markdown]
# **What it shows.** At this size **HART does not beat diffusion**. After an hour of training diffusion's images are nearer to real ones, at a distance of
# 4.0 with four steps against 8.3 ± 0.2, and four steps take 36 ms where HART takes 32. More steps do not make it better: 4.8, 5.4, 5.7 and 5.8 with 10,
# 20, 30 and 50. With 20 steps, as many published models take, diffusion takes 4.9 times HART's time, but here nobody would take so many. Three things may
# be behind it, and the first two belong to our small world rather than to HART:
#
# * *Little is left to chance.* A caption fixes a sticker up to small shifts and shades, so what diffusion has to do is close to a regression, which a few
#   steps do. A photograph "of a dog" may be any of millions, and with four steps its parts would not agree.
# * *The grid is small.* A step of diffusion over 64 tokens takes 8 ms, and VAR's four passes 26 together. At $64 \times 64$ HART's fourteen passes are
#   shorter than three of diffusion's twenty.
# * *Codes of the last scale are hard to choose.* The stored network has 60% of them right when the scales before are true, and they are chosen apart from
#   each other: two that are each likely may not fit. With true codes the drawn residual comes to 9.4, with the network's own last
#   scale to 11.1 (triples, in the table of the residual). Diffusion decides all tokens together, a little at every step.
#
# What HART does show is **the residual**: 20.3 → 8.3 for 26% more time, 48% in large batches. It takes images beyond what codes can reach: real images
# that go through its codes have 18.3. **Raster order** stands before the same wall. Real images through its 64 codes of one scale have 51.3,
# and 55.8 is close to that: here the tokenizer decides, not the order of reading. It takes 4.7 times HART's time, and at $64 \times 64$ it would
# be 4,096 passes against 14. **MAR-like** needs no codes, but is further away (19.8) and takes 8.8 times as long: 30 steps of diffusion in each of 16 rounds.
#
# It is one seed of training (of HART, three seeds of the noise) and one size, and nothing was tuned beyond guidance, temperature and steps.

# %% [markdown] question="q_residual" points=1
# ### Question 1 · 1 point
#
# Answer from the residual's table and figure, in four to six sentences, with numbers.
#
# (a) How much does the residual of eight steps lower the distance on held-out triples, and how large is that beside the
# spread over seeds? What do the two controls rule out? By how much, and where, does it change *your* six images of
# section 8?
#
# (b) HART says that eight steps are enough. What do 1, 8 and 30 steps say here, in distance and in PSNR, and what does
# one step from pure noise return?
#
# ### BEGIN SOLUTION
# Model answer. (a) From 23.3 to 11.8 ± 0.5, by 50%: more than twenty deviations of the three seeds. If any added texture helped, noise of the
# same size would help too, and if the typical residual of stickers did, another image's would; at 24.8 and 45.4 both are worse than no residual.
# So what helps is that the tokens fit *these* codes and this caption. In the student's own images a pixel changes by the number that is printed
# (5.3 of 255 in the run shown), at edges and small parts. (b) 15.5, 11.8 and 11.6 for triples, 13.0, 10.6 and 11.0 for pairs: eight are enough:
# 30 change 0.2 and 0.4, where seeds differ by 0.5 and 0.2, in the one case down, in the other up. Even one has most of the gain: what our codes
# leave out is no matter of chance alone, for the network knows how its things look. One step from pure noise returns the mean of all that may
# be, which PSNR rewards: for triples it falls with the steps (25.1, 25.0, 24.8 dB), but stays above that of codes alone (24.6), while the
# distance of features falls from one step to eight, because a sample has the texture that a mean lacks.
#
# Rubric. ½ point: (a) drop with the spread, and the controls' meaning. ½ point: (b) the three numbers, and mean against
# sample.
# ### END SOLUTION

# %% [markdown] question="q_claims" points=1
# ### Question 2 · 1 point
#
# Answer from the tables of speed and of grids, in four to six sentences, with numbers.
#
# (a) "Next-scale prediction is faster because it computes less." What do the rows of HART, VAR and raster order say, at batch 1
# and 32? And what did the cache save in *your* run of section 5, and why not more?
#
# (b) HART's paper reports that the residual costs a few percent of the time. What does it cost here, and what would you change
# about the network to come near the published share?
#
# (c) Why does the extrapolated grid fail, though every distance between neighbours in it was met in training?
#
# ### BEGIN SOLUTION
# Model answer. (a) It computes more: 371 million MACs for VAR, 505 for HART, 312 for raster order, because four scales have 85 tokens and a single one 64.
# At batch 1 raster order takes 153 ms and HART 32, 4.7 times less: 64 passes against 4, and a pass of one token costs nearly as much as one of many. At
# batch 32 passes are full and the gain is gone: 57.0 images a second against 55.0. So the saving is of passes, in latency, and the larger the grid the more
# passes it saves ($S^2$ against a dozen). The cache saves little (the student's own factor, 1.2 in the run shown): there are four passes in all, and three
# quarters of the tokens are in the last. (b) 32.3 ms against 25.6: 26% more (48% in the large batch). The transformer has 128 dimensions and the denoiser
# as many; with a transformer of 700 M parameters beside a denoiser of 37 M the same eight steps are a few percent. At our size one would make the denoiser
# narrower, or leave out its guidance, which is half of its work (distance 16.6 in the place of 11.8). (c) Neighbours are as far apart as in training, but
# the far ends are not: absolute positions up to 11 + text and distances up to 11 never occurred, so the pairs that turn fast stand at angles whose products
# with keys the network has never seen; and coarse tokens lie elsewhere than any did before.
#
# Rubric. ½ point: (a), with passes against MACs. ½ point: (b) and (c), both with a reason.
# ### END SOLUTION

# %% [markdown]
# ## Play: write a caption
#
# Type a caption: a place (big, left, right, top, bottom), perhaps a tint (red, green, blue), a thing and "on" a ground. What does a fox
# look like that is blue? Which scale decides it? What does guidance 6 do? Does another seed change the image with
# codes only?

# %% widget="captions"
def draw(caption, guidance, seed, residual):
    """An image for every scale, (scales, 3, height, width)."""
    steps = []
    generate(Painter(hart, guide, keep_likely, denoise, seed=seed), tokenize([caption]),
             8 if residual else 0, guidance, lambda k, images: steps.append(images[0]))
    return torch.stack(steps)


caption_explorer(draw, "big blue fox on yellow", scales)

# %% [markdown]
# And a sheet of captions that no network of this lab has ever been trained on:

# %% experiment="sheet"
shown = stickers(scale(smoke=5, cpu=20, gpu=40), tokenizer.size, split="pair", seed=SEED + 3).captions
sheet = generate(Painter(hart, guide, keep_likely, denoise), tokenize(shown), 8, 1.0)
figures.show_images(sheet, shown, columns=5, inches=2.2,
                    title="Held-out pairs of thing and ground, eight steps",
                    alt="What the network draws of captions that it has never met:")

# %% [markdown]
# ## 10 · Published and measured

# %%
def shown_value(key, form="{}"):
    """A measured value, or the word that it is still to be measured."""
    return form.format(measured[key]) if key in measured else "not measured yet"


timing = {(r["system"], r["batch"]): r for r in json.loads(
    data_path("results", "09_hart_speed.json").read_text())["records"]}


def against(other, batch=1, key="seconds"):
    """How many times as much `other` takes as HART."""
    return timing[other, batch][key] / timing["HART", batch][key]


def against_diffusion(batch=1, key="seconds"):
    return "4, 20, 50 steps: " + ", ".join(
        f"{against(f'diffusion, {n} steps', batch, key):.1f}" for n in (4, 20, 50)) + " times"


charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["lower latency than diffusion", "3.1–5.9 times", against_diffusion(),
     "published models take 20 steps and more; four are enough for stickers"],
    ["more throughput than diffusion", "4.5–7.7 times", against_diffusion(32), "as above"],
    ["fewer MACs than diffusion", "6.9–13.4 times", against_diffusion(1, "macs"),
     "as above; and few tokens: attention, where diffusion pays most, is a small part of the cost"],
    ["the residual costs little", "4% more time than VAR",
     f"{1 / against('VAR (no residual)') - 1:.0%} more at batch 1, "
     f"{1 / against('VAR (no residual)', 32) - 1:.0%} at batch 32",
     "a transformer of 128 dimensions beside a denoiser of 128; HART's has 1,536 beside 1,024, in 24 layers"],
    ["the residual makes images better", "FID 7.8% lower than VAR's (ImageNet); 7.85 → 5.38 at 1024 px (MJHQ-30K)",
     "Fréchet distance " + ", ".join(f"{-share:.0%} ({s})" for s, share in measured["drop"].items())
     if "drop" in measured else "not measured yet",
     "other features and images; how far codes alone fall short depends on the tokenizer"],
    ["images as good as diffusion's", "comparable or better",
     "distance after an hour of training: "
     + ", ".join(f"{name} {distance:.1f}" for name, distance in measured["systems"].items())
     if "systems" in measured else "not measured yet",
     "a closed world, where a caption leaves little open; codes of the last scale are learned slowly, "
     f"{shown_value('last right', '{:.0%}')} are right"],
    ["cheaper than MAR", "10.7 times fewer MACs, 12.9 times faster",
     f"{against('MAR-like', 1, 'macs'):.1f} times fewer MACs, {against('MAR-like'):.1f} times faster at batch 1",
     "MAR's own default is 100 steps and 64 rounds for 256 tokens; ours 30 and 16 for 64"],
    ["eight steps are enough", "8, where MAR needs 30–50 (MAR's README: 100)",
     "distance of held-out pairs: " + "; ".join(
        f"{n} step{'s' * (n > 1)} {found:.1f}" for n, found in measured["by steps"].items())
     if "by steps" in measured else "not measured yet",
     "most of the gain is the mean, which one step gives: how a thing looks is no matter of chance"],
    ["a cache changes nothing but the time", "exact", "images differ by at most "
     + shown_value("cache error", "{:.0g}") + "; " + shown_value("cache times", "{:.2f} times as long without"), "four passes only, and three quarters of the tokens are in the last"],
    ["works on grids larger than in training", "trained on from 256 to 512 and 1024 px",
     ", ".join(f"{name}: {share:.0%} right" for name, share in measured["larger"].items())
     if "larger" in measured else "not measured yet", "nothing was trained on the large grid here"],
    ["raster order is slower", "not in HART's table",
     f"latency {against('raster order'):.1f} times, throughput {against('raster order', 32):.2f} times, MACs "
     f"{against('raster order', 1, 'macs'):.2f} times HART's",
     "64 tokens in one scale against 85 in four and a residual: fewer MACs, more passes"],
], title="Published · measured here · why they differ")

# %% [markdown]
# **Where we fall short.** The world is closed: 48 things of one drawing each, four words to a caption. "Held out" means put together anew, never a
# new thing; and two judges trained on the same drawings are kinder than an eye. Images are of 48 pixels; at 1024, where HART works,
# codes leave out far more and passes are far more costly, and both of its ideas gain. The networks were trained on one
# thread of a processor, with one seed (HART with two).
#
# ## Where next
#
# **What the full-size system does besides.** HART's transformer has 732 M parameters, its denoiser 37 M more. It reads captions as hidden states of a
# language model (Qwen2, 1.5 B) and writes up to 14 scales of a $64 \times 64$ latent with 4,096 codes. It learned from ImageNet, JourneyDB and the authors'
# own synthetic images in the manner of Midjourney, with captions that another model, VILA1.5-13B, had written for them. In training it drops about four
# fifths of the last scale's tokens, which are nearly half of all, but keeps at least 32 (the stored network here does the like for its first 10,000 steps),
# and gives the diffusion the model's own codes for all images, not the true ones. Its denoiser predicts noise and learns its variance; residuals are cut
# off at 0.6. Its head is a linear layer behind an adaptive layer norm, whose factors come from the caption, pooled by its maximum; the aid of section 7 is
# ours.
#
# **What came of it.** **Infinity** (Han et al., 2025) writes scale by scale too, but the bits of a token instead of one of 4,096 codes, and in
# training some bits are flipped, so that later scales learn to correct what earlier ones got wrong. **InfinityStar** (Liu et al., 2025) draws
# videos with the same transformer as images, scale by scale within a clip and clip after clip in time.
#
# **Where this course goes.** Lab 10's VILA-U writes and reads images with one language model: codes several deep in the place of several scales,
# and no diffusion.
#
# **To try.**
#
# * `PROFILE = "gpu"` trains yours for 5,000 steps. Which captions come out first?
# * Use `noise` for the target, as HART has it, and mend `denoise`. How many steps does it need then?
# * Draw all scales but the last greedily and the last at random, and the other way round. Where does variety come
#   from?
# * Guide the codes and not the residual, and the other way round (`residual_guidance` in `hart.generate`).
#
# ## References
#
# * H. Tang et al., *HART: Efficient Visual Generation with Hybrid Autoregressive Transformer*, ICLR 2025.
# * K. Tian et al., *Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction*, NeurIPS 2024: VAR.
# * T. Li et al., *Autoregressive Image Generation without Vector Quantization*, NeurIPS 2024: MAR, whose denoising MLP HART takes over.
# * J. Su et al., *RoFormer: Enhanced Transformer with Rotary Position Embedding*, 2021.
# * J. Ho, T. Salimans, *Classifier-Free Diffusion Guidance*, 2022.
# * A. Holtzman et al., *The Curious Case of Neural Text Degeneration*, ICLR 2020: the nucleus.
# * J. Ho, A. Jain, P. Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
# * A. Nichol, P. Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, ICML 2021: the cosine schedule and fewer steps.
# * T. Salimans, J. Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*, ICLR 2022: the velocity.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
# * J. Han et al., *Infinity: Scaling Bitwise AutoRegressive Modeling for High-Resolution Image
#   Synthesis*, CVPR 2025. J. Liu et al., *InfinityStar: Unified Spacetime AutoRegressive Modeling
#   for Visual Generation*, 2025.
#
# ## Glossary
#
# * **block**: the tokens that are written at one time: the caption, or one scale.
# * **cache**: keys and values that are kept, so that nothing is computed twice.
# * **cross-attention**: attention from one sequence to another, with projections of its own.
# * **diffusion**: drawing by taking noise away, step by step.
# * **greedy**: taking the likeliest code each time.
# * **guidance**: making the difference larger that the caption makes.
# * **interpolated, extrapolated**: between those of training, or beyond them.
# * **layer**: attention and an MLP with their norms; lab 01's encoder block.
# * **next-scale prediction**: writing all codes of a scale in one pass.
# * **nucleus, top-p**: the fewest codes whose probabilities add up to $p$.
# * **raster order**: token by token, row by row.
# * **residual tokens**: what the codes leave of the latent (lab 08).
# * **rotary positions**: queries and keys turned by angles that grow with the position.
# * **teacher forcing**: training on the true tokens before, whatever the network would have
#   written.
# * **velocity**: the mixture of noise and token that our denoiser predicts.
