# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "10"
#   title: "VILA-U: one model that sees and draws"
#   minutes: 180
#   masks:
#     - models/vilau/alignment.py
#     - models/vilau/depth.py
#     - models/vilau/model.py
#     - models/vilau/painting.py
#     - models/vilau/quantizer.py
#     - models/vilau/sequence.py
#     - models/vilau/tower.py
#     - models/vilau/writing.py
# ---

# %% [markdown]
# # Lab 10 · VILA-U: one model that sees and draws
#
# Most systems that look at images and draw them are two: an image encoder in front of a language model for the one, a
# diffusion model for the other. **VILA-U** (Wu et al., 2024) is one. A language model reads one row of tokens in which
# words and images follow each other, and predicts what comes next: a word, or a piece of an image. Given an image, it
# goes on with a caption; given a caption, with an image. The same weights, the same loss, no diffusion.
#
# Three ideas make that possible, and you build all of them. An image becomes **few places with several codes each**,
# so that codes are exact enough to draw from and the row stays short. The codes are **aligned with text** while they
# are learned, so that they mean something to whoever reads them. And a small **depth transformer** writes the codes
# of a place one after another, inside one step of the language model. Your functions then run inside a trained model,
# which is stored with the lab.
#
# **After this lab you can** quantise vectors with residual codes and say what each depth adds; train such codes, and
# align them with captions; put text and images in one row and say what is learned at which token; predict several codes
# in one step; and write text and images from one model, with guidance.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Finer in value | `residual_codes` | 3 | 15 | easy |
# | 2 What learns | `straight_through` | 3 | 15 | medium |
# | 3 Codes that mean something | `sigmoid_loss` | 4 | 20 | medium |
# | 4 One row for both | `mix_row` | 4 | 25 | medium |
# | 5 D codes in one step | `depth_inputs` | 4 | 25 | medium |
# | 6 One model, two losses | `unified_loss` | 3 | 15 | medium |
# | 7 Reading | `write` | 3 | 20 | medium |
# | 8 Drawing | `paint_codes` | 4 | 25 | hard |
# | 9 Measured | two written questions | 2 | 20 | medium |
#
# **30 points, about three hours.** You need PyTorch, a transformer (lab 01), contrastive learning (lab 06) and vector
# quantisation (lab 08); lab 09 helps with guidance. With all exercises solved the notebook runs in a few minutes on two
# cores; nothing is downloaded.
#
# **How it works.** Write your code where a cell says `YOUR CODE HERE`. The cell below it checks your answer at once and
# tells you what it found; it is not graded, so run it as often as you like. When you hand in, your code is asked about
# fresh inputs that only you get. What every exercise may count on is folded up below. Terms are explained in the glossary at the end.
#
# <!-- contract -->

# %% [markdown]
# ## Set up
#
# Run the next four cells. The second says whether this machine has what the lab needs. In the first, `PROFILE = "cpu"` is meant for a
# laptop or a free Colab machine, `"smoke"` runs everything in seconds with results that mean nothing, and `"gpu"` trains
# longer.

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport.notebook import environment

environment.report(PROFILE);

# %% tags=["setup"]
import math

import einops
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.data import normalize
from labsupport.data.results import read_result
from labsupport.data.stickers import stickers, tokenize
from labsupport.labs.lab10 import figures_captions as caption_views
from labsupport.labs.lab10 import figures_model as model_views
from labsupport.labs.lab10 import figures_row as row_views
from labsupport.labs.lab10 import figures_tower as tower_views
from labsupport.models.vilau.words import (
    END,
    IGNORE,
    IMAGE,
    IMAGE_END,
    IMAGE_START,
    START,
    VOCABULARY,
    drawing,
    reading,
    text_of,
)
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
from labsupport.models import pretrained
from labsupport.models.vilau.painting import paint
from labsupport.models.vilau.words import DESCRIBE
from labsupport.models.vilau.writing import write as shipped_write

vila = pretrained("10_unified")  # trained, in eval mode: vila.tower, .projector, .trunk, .depth
tower = vila.tower
print(f"{count_parameters(tower):,} parameters turn images into codes and back, "
      f"{count_parameters(vila.trunk) + count_parameters(vila.projector):,} are the language model, "
      f"{count_parameters(vila.depth):,} the depth transformer")
print(f"{tower.side} × {tower.side} places of {tower.quantizer.depth} codes each, of one list of "
      f"{len(tower.quantizer.codebook.vectors)}; {tower.size} pixels")

unseen = stickers(6, tower.size, split="triple", seed=1)  # of captions that were never in training
to_draw = stickers(6, tower.size, split="triple", seed=2).captions
said = [text_of(row) for row in shipped_write(vila, normalize(unseen.images), DESCRIBE)[0]]
drawn = paint(vila, tokenize(to_draw).tolist(), guidance=1.5, temperature=0.5, seed=SEED)
caption_views.show_both(unseen.images, said, to_draw, drawn, title="One model, twice")
print(sum(one == other for one, other in zip(said, unseen.captions)), "of", len(said),
      "captions are right in every word")

# %% [markdown]
# This is what you will build. Above, the model was given an image and asked to describe it; below, it was given a
# caption. No training image shows this thing at this place on this ground: the model has to put together what it knows
# from others. Nothing tells it which of the two jobs it has but the row itself, in which either the image comes first or
# the words.
#
# (A caption has four words: place, tint, thing, ground. A thing in its own colours is "plain", which is not said, and
# "on" is no word of its own. In a row of tokens it is always these four.)

# %% [markdown]
# ## 1 · Finer in value
#
# An encoder turns an image of 48 × 48 pixels into a map of 6 × 6 places, each a vector $\mathbf{x}$ of 32 numbers. A
# language model writes entries of a list, so every vector has to become one: the nearest vector of a **codebook**
# $\mathbf{e}_1, \dots, \mathbf{e}_K$. Lab 08 did that with one code a place, and saw what gets lost. A larger
# codebook soon comes to its end: every further bit doubles the list, and of twice as many codes each is trained half
# as often.
#
# HART goes from coarse to fine over *space*: first a code for the whole image, then for its quarters. VILA-U stays where
# it is and goes from coarse to fine in **value**. The first code gives the vector roughly. What is left over gets a code
# of its own, what is then left over another one:
#
# $$ \mathbf{r}_0 = \mathbf{x}, \qquad
#    k_d = \arg\min_k \lVert \mathbf{r}_{d-1} - \mathbf{e}_k \rVert^2, \qquad
#    \mathbf{r}_d = \mathbf{r}_{d-1} - \mathbf{e}_{k_d}, \qquad d = 1, \dots, D $$
#
# This is **residual quantisation** (RQ-VAE, Lee et al., 2022). What stands for $\mathbf{x}$ after $d$ codes is their sum
# so far,
#
# $$ \mathbf{s}_d = \mathbf{e}_{k_1} + \dots + \mathbf{e}_{k_d} = \mathbf{x} - \mathbf{r}_d $$
#
# **Why it is strong.** $D$ codes out of $K$ make up to $K^D$ sums: with $K = 512$ and $D = 4$ that is $2^{36}$, nearly 69
# billion values, told apart by 36 bits, and only 512 vectors have to be learned. (VILA-U at 256 pixels has $K = 16{,}384$
# and $D = 4$ at 16 × 16 places, at 384 pixels $D = 16$ at 27 × 27.)
#
# **Where it is weak.** Each code is the best one *given those before it*; nobody goes back. So the sum need not be the
# best of all sums, and where no code is short enough for what is left, the nearest one even makes it longer. All depths
# share **one** codebook: it has to hold long codes for the first depth and short ones for the last.
#
# **What to expect.** In the example of the check, the third code helps one vector and harms the other.
#
# ### Exercise 1 · `residual_codes` · 3 points · 15 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of five to eight lines |
# | **Shapes** | `x`: `(..., dim)`, any number of axes before the last, or none; `codebook`: `(codes, dim)`; `depth`: $D$; out, a pair: indices `(..., D)`, int64, and sums `(..., D, dim)`, $\mathbf{s}_1$ first |
# | **Mind** | every depth uses the whole codebook, and a code may be chosen twice. Two codes may be nearly equally near, but float32 tells them apart. Gradients are not asked for |
# | **Read** | RQ-VAE paper (Lee et al., 2022), section 3.1, "Residual quantization" |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# With a variable for what is left, `rest = x`, and a loop of `depth` rounds: find the nearest code of `rest`, note its
# index, take the code off `rest`.
# </details>
# <details><summary>Hint 2: the distance of every vector to every code</summary>
#
# `rest[..., None, :] - codebook` has the shape `(..., codes, dim)`. Or save the memory: of $\lVert \mathbf{r} -
# \mathbf{e} \rVert^2$ the part $\lVert \mathbf{r} \rVert^2$ is the same for all codes.
# </details>
# <details><summary>Hint 3: "wrong shape", or sums that do not add up</summary>
#
# `torch.stack` puts the new axis in front unless it is told where. `codebook[indices]` is `(..., D, dim)`; which axis has
# the depths, and which function adds up along it step by step?
# </details>

# %% exercise="residual_codes"
def residual_codes(x, codebook, depth):
    """The codes of vectors, each the nearest to what the codes before it leave over.

    x: (..., dim). codebook: (codes, dim). depth: codes a vector, D. Returns the indices (..., D),
    int64, and the sums of the first 1 to D codes, (..., D, dim).
    """
    # Step 1: a loop that finds a code and takes it off; Step 2: the running sums of the codes
    ### BEGIN SOLUTION
    rest, indices = x, []
    for _ in range(depth):
        distance = codebook.square().sum(dim=-1) - 2 * rest @ codebook.T  # but for |rest|²
        indices.append(distance.argmin(dim=-1))
        rest = rest - codebook[indices[-1]]
    indices = torch.stack(indices, dim=-1)
    return indices, codebook[indices].cumsum(dim=-2)
    ### END SOLUTION

# %% check="residual_codes"
with Check("residual_codes", read="section 1, both formulas") as check:
    check.signature(residual_codes, "x", "codebook", "depth")
    small = torch.tensor([[4.0, 0.0], [0.0, 2.0], [1.0, 1.0], [-0.5, 0.0]])
    vectors = torch.tensor([[4.6, 1.2], [-0.6, 1.9]])
    indices, added = residual_codes(vectors, small, 3)
    check.shape(indices, (2, 3), "the indices of two vectors at depth 3", "depths are the last axis")
    check.shape(added, (2, 3, 2), "their sums", "(..., D, dim): a sum for every depth")
    check.values(indices, [[0, 2, 3], [1, 3, 3]], "the indices", otherwise={
        "every depth finds the code nearest to x itself; take what was found off": [[0, 0, 0], [1, 1, 1]],
        "the code with the largest product is taken, not the nearest": [[0, 1, 1], [1, 1, 3]],
    })
    check.values(added, [[[4.0, 0], [5, 1], [4.5, 1]], [[0, 2], [-0.5, 2], [-1, 2]]], "the sums", otherwise={
        "these are the codes themselves; add up those of a vector, one depth after another":
            [[[4.0, 0], [1, 1], [-0.5, 0]], [[0, 2], [-0.5, 0], [-0.5, 0]]],
        "you add up along the vectors; the depths are the axis before the last": small[indices].cumsum(0),
        "this is what is left over; x minus it are the sums":
            [[[0.6, 1.2], [-0.4, 0.2], [0.1, 0.2]], [[-0.6, -0.1], [-0.1, -0.1], [0.4, -0.1]]],
    })
    check.cases("10", globals())

# %% judge="residual_codes" points=3
def clear(rng, shape, codes, dim, depth, spread, close=1e9):
    """Vectors and a codebook in which no rounding decides which code is the nearest; the second
    nearest of the last depth is `close`."""
    book = spread * randn(rng, codes, dim) * torch.from_numpy(rng.uniform(0.1, 1.5, (codes, 1))).float()
    kept = torch.zeros(0, dim)
    while len(kept) < math.prod(shape):
        x = randn(rng, 500, dim)
        rest, gaps = x, torch.ones(500, depth)
        for d in range(depth):
            near = (rest[:, None] - book).square().sum(dim=-1).sort(dim=1)
            gaps[:, d] = near.values[:, 1] - near.values[:, 0] if codes > 1 else 1.0
            rest = rest - book[near.indices[:, 0]]
        kept = torch.cat([kept, x[(gaps.amin(dim=1) > 5e-5) & (gaps[:, -1] < close)]])
    return kept[:math.prod(shape)].view(*shape, dim), book


def ask(rng):
    for title, shape, codes, dim, depth, spread in (
            ("rows of places", (2, 3), 9, 4, 3, 1.0), ("one vector", (), 7, 5, 2, 1.0),
            ("one depth", (4,), 6, 3, 1, 1.0), ("one number each", (5,), 5, 1, 3, 0.8),
            ("one code only", (2, 2), 1, 3, 2, 0.5), ("maps of places", (2, 1, 3), 8, 2, 2, 1.0),
            ("more depths than codes", (3,), 3, 4, 5, 0.7), ("long codes and short ones", (6,), 12, 3, 4, 1.5)):
        x, book = clear(rng, shape, codes, dim, depth, spread)
        yield Case(title, x=x, codebook=book, depth=depth)
    x, book = clear(rng, (25,), 12, 4, 2, 1.0, close=1e-3)
    yield Case("two codes nearly equally near", x=x, codebook=book, depth=2)


def drive(lab, x, codebook, depth):
    indices, sums = lab.residual_codes(x, codebook, depth)
    return {"indices": indices, "sums": sums}

# %% trap="residual_codes" name="x every time"
# Your indices equal those of the code nearest to x itself at every depth. Take each code off before you
# look for the next: it is for what is left over.
def residual_codes(x, codebook, depth):
    distance = codebook.square().sum(dim=-1) - 2 * x @ codebook.T
    indices = distance.argmin(dim=-1)[..., None].expand(*x.shape[:-1], depth)
    return indices, codebook[indices].cumsum(dim=-2)

# %% trap="residual_codes" name="only the last code taken off"
# Your indices equal those of "x minus the last code". What is left is x minus all codes so far.
def residual_codes(x, codebook, depth):
    rest, indices = x, []
    for _ in range(depth):
        indices.append((rest[..., None, :] - codebook).square().sum(dim=-1).argmin(dim=-1))
        rest = x - codebook[indices[-1]]
    indices = torch.stack(indices, dim=-1)
    return indices, codebook[indices].cumsum(dim=-2)

# %% trap="residual_codes" name="the codes, not their sums"
# Your sums equal the codes of each depth by themselves. Add up all codes up to that depth.
def residual_codes(x, codebook, depth):
    rest, indices = x, []
    for _ in range(depth):
        indices.append((rest[..., None, :] - codebook).square().sum(dim=-1).argmin(dim=-1))
        rest = rest - codebook[indices[-1]]
    indices = torch.stack(indices, dim=-1)
    return indices, codebook[indices]

# %% trap="residual_codes" name="what is left over"
# Your sums equal what is left over after each depth. Asked for is what stands for x: the sum of the codes.
def residual_codes(x, codebook, depth):
    rest, indices, left = x, [], []
    for _ in range(depth):
        indices.append((rest[..., None, :] - codebook).square().sum(dim=-1).argmin(dim=-1))
        rest = rest - codebook[indices[-1]]
        left.append(rest)
    return torch.stack(indices, dim=-1), torch.stack(left, dim=-2)

# %% trap="residual_codes" name="largest product"
# Your indices equal those of the code with the largest product with what is left. The product prefers long
# codes; take the least distance.
def residual_codes(x, codebook, depth):
    rest, indices = x, []
    for _ in range(depth):
        indices.append((rest @ codebook.T).argmax(dim=-1))
        rest = rest - codebook[indices[-1]]
    indices = torch.stack(indices, dim=-1)
    return indices, codebook[indices].cumsum(dim=-2)

# %% trap="residual_codes" name="direction only"
# Your indices equal those of the code in the nearest direction, as by cosine. Length counts too: what is left becomes
# shorter, and so do its codes.
def residual_codes(x, codebook, depth):
    rest, indices = x, []
    for _ in range(depth):
        indices.append((rest @ F.normalize(codebook, dim=-1).T).argmax(dim=-1))
        rest = rest - codebook[indices[-1]]
    indices = torch.stack(indices, dim=-1)
    return indices, codebook[indices].cumsum(dim=-2)

# %% trap="residual_codes" name="no code twice"
# Your indices equal those of a codebook from which every code that was used is gone. All depths have the whole codebook.
def residual_codes(x, codebook, depth):
    flat = x.reshape(-1, x.shape[-1])
    rest, indices = flat, []
    used = torch.zeros(len(flat), len(codebook))
    for _ in range(depth):
        distance = (rest[:, None] - codebook).square().sum(dim=-1) + 1e6 * used
        indices.append(distance.argmin(dim=-1))
        used = used + F.one_hot(indices[-1], len(codebook))
        rest = rest - codebook[indices[-1]]
    indices = torch.stack(indices, dim=-1).view(*x.shape[:-1], depth)
    return indices, codebook[indices].cumsum(dim=-2)

# %% trap="residual_codes" name="depths in front"
# Your depths are the first axis. They belong behind the places: indices (..., D), sums (..., D, dim).
def residual_codes(x, codebook, depth):
    rest, indices = x, []
    for _ in range(depth):
        indices.append((rest[..., None, :] - codebook).square().sum(dim=-1).argmin(dim=-1))
        rest = rest - codebook[indices[-1]]
    indices = torch.stack(indices)
    return indices, codebook[indices].cumsum(dim=0)

# %% alternative="residual_codes" name="vector by vector, numpy"
def residual_codes(x, codebook, depth):
    book, found, totals = codebook.numpy(), [], []
    for vector in x.numpy().reshape(-1, x.shape[-1]):
        so_far = np.zeros_like(vector)
        for _ in range(depth):
            k = int(np.argmin(np.linalg.norm(vector - so_far - book, axis=1)))
            so_far = so_far + book[k]
            found.append(k)
            totals.append(so_far)
    return (torch.tensor(found).view(*x.shape[:-1], depth),
            torch.from_numpy(np.array(totals)).view(*x.shape[:-1], depth, x.shape[-1]))

# %% alternative="residual_codes" name="cdist and what is left"
def residual_codes(x, codebook, depth):
    flat = x.reshape(-1, x.shape[-1])
    left = [flat]
    picked = []
    while len(picked) < depth:
        nearest = torch.cdist(left[-1], codebook).min(dim=1).indices
        picked.append(nearest)
        left.append(left[-1] - codebook.index_select(0, nearest))
    sums = flat.unsqueeze(1) - torch.stack(left[1:], dim=1)
    lead = list(x.shape[:-1])
    return torch.stack(picked, dim=1).reshape(lead + [depth]), sums.reshape(lead + [depth, -1])

# %% alternative="residual_codes" name="depth by depth, by itself"
def residual_codes(x, codebook, depth):
    scores = einops.einsum(x, codebook, "... dim, codes dim -> ... codes")
    k = (scores - codebook.pow(2).sum(1) / 2).argmax(-1, keepdim=True)
    first = codebook[k]  # (..., 1, dim)
    if depth == 1:
        return k, first
    others, sums = residual_codes(x - first.squeeze(-2), codebook, depth - 1)
    return torch.cat([k, others], -1), torch.cat([first, first + sums], -2)

# %% [markdown]
# **In the trained tower.** Its codebook has 512 vectors, and a place has four of them. The next cell quantises held-out
# stickers with your function, and lets the tower's decoder draw them from the sums after one, two, three and four codes.
# Below them, what it draws from vectors that were not quantised at all: that is as good as it can get.

# %% experiment="depths_of_images"
from labsupport.data.transforms import to_unit
from labsupport.metrics.images import psnr

shown = stickers(scale(smoke=4, cpu=64, gpu=64), tower.size, split="triple", seed=SEED + 4)
book = tower.quantizer.codebook.vectors
with torch.no_grad():
    features = tower.encode(normalize(shown.images))  # (images, places, dim)
    codes, sums = residual_codes(features, book, tower.quantizer.depth)
    rebuilt = [to_unit(tower.decode(sums[:, :, d])) for d in range(sums.shape[2])]
    exact = to_unit(tower.decode(features))
quality = {f"{d + 1} code{'s' * (d > 0)}": psnr(made, shown.images) for d, made in enumerate(rebuilt)}
quality["not quantised"] = psnr(exact, shown.images)
rows = {"image": shown.images, **dict(zip(quality, [*rebuilt, exact]))}
tower_views.show_rows({f"{name}\n{quality[name]:.1f} dB" if name in quality else name: images[:6]
                       for name, images in rows.items()}, shown.captions[:6],
                      title="Images from one code a place, two, three, four",
                      alt="Held-out stickers, and what the decoder makes of them with more and more codes.")
print(f"PSNR of {len(shown)} images: " + ", ".join(f"{name} {value:.1f} dB" for name, value in quality.items()))

# %% [markdown]
# **What is left over.** The figure above shows what the eye sees; the next one what the formula says. At every place, how
# long is $\mathbf{r}_d$ compared with $\mathbf{x}$? And which codes take it off? All depths have the same 512 to choose
# from, and nothing told the training which of them should be for which depth.

# %% experiment="what_is_left"
with torch.no_grad():
    left = (features[:, :, None] - sums).norm(dim=-1) / features.norm(dim=-1, keepdim=True)
    lengths = book.norm(dim=-1)
left = torch.cat([torch.ones_like(left[..., :1]), left], dim=-1).flatten(0, 1)  # (places, D + 1)
curves = {name: left.quantile(q, dim=0).tolist()
          for name, q in (("worst tenth", 0.9), ("median", 0.5), ("best tenth", 0.1))}
charts.lines(list(range(1, left.shape[1])), {name: shares[1:] for name, shares in curves.items()}, xlabel="codes",
             ylabel="share of the length that is left", title="What the codes leave over, place by place")
by_depth = codes.flatten(0, 1).T  # (D, places)
tower_views.show_lengths([lengths[column] for column in by_depth],
                         title="One codebook, and how long the codes are that each depth takes from it")
rows = []
for d, column in enumerate(by_depth):
    share = torch.bincount(column, minlength=len(book)) / len(column)
    entropy = -(share[share > 0] * share[share > 0].log2()).sum().item()
    harmed = (left[:, d + 1] > left[:, d]).float().mean().item()
    rows.append([d + 1, int((share > 0).sum()), f"{2 ** entropy:.0f}", f"{share.max():.1%}",
                 f"{lengths[column].mean():.2f}", f"{harmed:.1%}"])
charts.Table(["code", f"of {len(book)} codes used", "as many equally frequent ones", "the most frequent one",
              "mean length", "places that it makes worse"], rows,
             title=f"Which codes {by_depth.shape[1]:,} places take, depth by depth")

# %% experiment="what_is_left_in_words"
print(f"After {tower.quantizer.depth} codes a place in the middle has {curves['median'][-1]:.0%} of its length left; "
      f"the first code alone leaves {curves['median'][1]:.0%}. The codes of the first depth are "
      f"{lengths[by_depth[0]].mean() / lengths[by_depth[-1]].mean():.1f} times as long as those of the last.")
shared = len(set(by_depth[0].tolist()) & set(by_depth[-1].tolist()))
print(f"{shared} codes are used by the first and by the last depth.")

# %% [markdown]
# **How to read it.** Nothing tells a code which depth it is for. Where the panels differ, the shared codebook has divided
# itself: codes move to where they are needed, long ones to the first depth and short ones to those behind it, because
# what is left is short. A panel with two humps shows two kinds of places: of plain ground, where the first code is nearly
# right and little is left to add, and of the thing, where much is. For the same reason a later depth cannot bring as much
# as an earlier one. And a late code by itself says little about the image: what it *means* depends on what it is added
# to. Section 5 comes back to this.
#
# **Depth, or a longer list?** Four codes of 512 take 36 bits a place. One code from a list of $2^{36}$ would take as
# many, but no machine holds such a list and no data set fills it. Both ways can be compared where the list is still short
# enough: two codes of 64 against one of 4,096, 12 bits either way. `labs experiment 10 depths` trained towers of equal
# size for equally many steps, without captions: these two, and depths from 1 to 8 with 512 codes.

# %% experiment="depths"
told = read_result("10_depths")
lists = [r["codes"] for r in told.records]
common = max(set(lists), key=lists.count)  # the list that most towers have
series = {}
for r in told.records:
    name = (f"1 to 8 codes of {common}" if r["codes"] == common
            else f"{r['depth']} code{'s' * (r['depth'] > 1)} of {r['codes']:,}")
    series.setdefault(name, {}).setdefault((r["bits"], r["depth"]), []).append(r)


def mean_of(records, key):
    return float(np.mean([r[key] for r in records]))


tower_views.show_bits({name: {bits: [r["psnr"] for r in runs] for (bits, _), runs in group.items()}
                       for name, group in series.items()}, title="What bits buy, spent on depth or on a longer list")
charts.Table(["codes a place", "of a list of", "bits a place", "runs", "PSNR, dB", "SSIM", "Fréchet distance"], [
    [depth, f"{runs[0]['codes']:,}", f"{bits:g}", len(runs), f"{mean_of(runs, 'psnr'):.2f}", f"{mean_of(runs, 'ssim'):.3f}",
     f"{mean_of(runs, 'distance'):.1f}"]
    for group in series.values() for (bits, depth), runs in sorted(group.items())
], title=f"{told.settings['steps']} steps each, measured on {told.date[:10]} by: {told.command}")

# %% experiment="depths_in_words"
deep = {depth: runs for (_, depth), runs in sorted(series[f"1 to 8 codes of {common}"].items())}
measured["depths"] = {d: (mean_of(runs, "psnr"), mean_of(runs, "distance")) for d, runs in deep.items()}
print(f"With the same list of {common}: " + "; ".join(
    f"{d} code{'s' * (d > 1)} {decibel:.1f} dB, distance {distance:.0f}"
    for d, (decibel, distance) in measured["depths"].items()) + ".")
others = [runs for name, group in series.items() if str(common) not in name for runs in group.values()]
several, single = (next(runs for runs in others if (runs[0]["depth"] > 1) == more) for more in (True, False))
measured["equal bits"] = [(mean_of(runs, "psnr"), mean_of(runs, "distance")) for runs in (several, single)]
(p, d), (q, e) = measured["equal bits"]
print(f"At {several[0]['bits']:g} bits, {several[0]['depth']} codes of {several[0]['codes']} against one of "
      f"{single[0]['codes']:,}: {p:.1f} against {q:.1f} dB, distance {d:.0f} against {e:.0f}; the long list has "
      f"{single[0]['codes'] // several[0]['codes']} times as many vectors to learn.")

# %% [markdown]
# **How to read it.** Where one long list is ahead of two short ones of equal bits, it is because each of its vectors
# can go where it is needed, while the sums of two lists cannot be moved one by one. But a list comes to an end where it
# can no longer be held or trained. Depth goes on: compare the doublings of $D$ with the same 512 vectors.

# %% [markdown]
# ## 2 · What learns
#
# Choosing the nearest code is a step function: move $\mathbf{x}$ a little, and the code stays the same. Its gradient is
# zero, so the decoder's error would never reach the encoder. As in lab 08, the **straight-through estimator** takes the
# value of the codes and the gradient of the vector. With $\operatorname{sg}$ for *stop gradient* (the value, taken as a
# constant):
#
# $$ \mathbf{z} = \mathbf{x} + \operatorname{sg}(\mathbf{s}_D - \mathbf{x}) $$
#
# There is one such step for all $D$ codes together, from the last sum, and not one a depth.
#
# Something also has to keep the encoder near the codes. That is the **commitment**, and here depth matters: it asks not
# only the whole sum to be near $\mathbf{x}$ but every sum on the way,
#
# $$ L_{\text{commit}} = \frac1D \sum_{d=1}^{D} \operatorname{mean} \bigl( \mathbf{x} - \operatorname{sg}(\mathbf{s}_d) \bigr)^2 $$
#
# where the mean goes over all numbers of all vectors. With $\mathbf{s}_D$ alone, vectors could stay far from their
# first code, as long as the others mend it. With every $\mathbf{s}_d$ the encoder is drawn to vectors for which the
# first code is a good one, the second a good correction, and so forth: *coarse to fine* is what this average buys. A
# language model that has the first code right then has most of the image right.
#
# **And the codes?** No gradient reaches them. A code follows the mean of the vectors, or remainders, that chose it,
# as a running average: after every depth of every batch, so $D$ times a batch, it goes a hundredth of the way. (Codes
# that next to nobody chooses start again at a vector of the batch.) So the first term of lab 08's codebook loss,
# which moved the codes, has no counterpart here:
# *every* sum in both formulas is a constant.
#
# **What to expect.** The value of $\mathbf{z}$ is $\mathbf{s}_D$, to rounding; a change of $\mathbf{z}$ that would help
# the decoder arrives at $\mathbf{x}$ unchanged.
#
# ### Exercise 2 · `straight_through` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of three or four lines |
# | **Shapes** | `x`: `(..., dim)`; `sums`: `(..., D, dim)`, as `residual_codes` gives them; out, a pair: $\mathbf{z}$, `(..., dim)`, and the commitment, a tensor `()` |
# | **Mind** | no gradient may reach `sums`, which may come with a graph of its own; from both results a gradient reaches `x` |
# | **Read** | RQ-VAE paper, section 3.1, the loss of the commitment |
#
# <details><summary>Hint 1: how do I stop a gradient?</summary>
#
# `t.detach()` is the value of `t` as a constant. Both results need the sums as constants.
# </details>
# <details><summary>Hint 2: "The size of tensor a must match the size of tensor b"</summary>
#
# `x` lacks the axis of depths. `x[..., None, :]` has it, with size 1, and broadcasting does the rest.
# </details>
# <details><summary>Hint 3: the values are right, a gradient is not</summary>
#
# Read both formulas letter by letter: what stands outside of every $\operatorname{sg}$? In each it is one $\mathbf{x}$
# and nothing else.
# </details>

# %% exercise="straight_through"
def straight_through(x, sums):
    """What the decoder gets, and what keeps the encoder near the codes.

    x: vectors (..., dim). sums: of their first 1 to D codes, (..., D, dim). Returns the last sum with
    the gradient of x, (..., dim), and the commitment, one number: the mean over depths of the mean
    squared distance of x to the sum.
    """
    ### BEGIN SOLUTION
    sums = sums.detach()
    discrete = x + (sums[..., -1, :] - x).detach()
    commitment = (x[..., None, :] - sums).square().mean()
    return discrete, commitment
    ### END SOLUTION

# %% check="straight_through"
with Check("straight_through", read="section 2, the two formulas") as check:
    check.signature(straight_through, "x", "sums")
    two = torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
    levels = torch.tensor([[[2.0, -2.0], [1.0, -1.0]], [[0.5, 0.0], [0.5, 2.0]]], requires_grad=True)
    discrete, commitment = straight_through(two, levels)
    check.shape(discrete, (2, 2), "the first result for two vectors of two numbers")
    check.values(discrete, levels[:, -1], "the value of the first result", otherwise={
        "the value is that of x; it is that of the last sum": two,
        "this is the first sum; the last one has all codes": levels[:, 0],
        "this is the mean of the sums; take the last one": levels.mean(1)})
    check.values(commitment, 12 / 8, "the commitment, of squares 1, 0, 0, 1 and 0, 9, 0, 1", otherwise={
        "squares are summed; take the mean over all numbers": 12.0,
        "only the last sum counts; take the mean over all depths": 2 / 4,
        "depths are added up; take their mean": 12 / 4,
        "only the first sum counts; take the mean over all depths": 10 / 4,
        "these are distances without the square": 6 / 8,
        "x has no axis for the depths: x[..., None, :]": (two - levels).detach().square().mean()})
    check.cases("10", globals())  # gradients, too

# %% judge="straight_through" points=3
def ask(rng):
    for title, shape, depth, dim in (("rows of places", (2, 3), 4, 5), ("one vector", (), 3, 4),
                                     ("one depth", (4,), 1, 3), ("one number each", (3, 2), 2, 1),
                                     ("many depths", (2,), 8, 2)):
        yield Case(title, x=randn(rng, *shape, dim), sums=randn(rng, *shape, depth, dim))


def pulled(value, inputs):
    """Gradients of a weighted sum of `value`; zeros where none arrives."""
    if not value.requires_grad:
        return [torch.zeros_like(one) for one in inputs]
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value) + 1.5
    found = torch.autograd.grad((value * weights).sum(), inputs, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(one) if g is None else g for one, g in zip(inputs, found)]


def drive(lab, x, sums):
    inputs = x.requires_grad_(), sums.requires_grad_()
    discrete, commitment = lab.straight_through(*inputs)
    to_x, to_sums = pulled(discrete, inputs)
    of_commitment, sums_too = pulled(commitment, inputs)
    return {"what the decoder gets": discrete, "the commitment": commitment,
            "gradient of what the decoder gets to x": to_x,
            "gradient of what the decoder gets to the sums": to_sums,
            "gradient of the commitment to x": of_commitment,
            "gradient of the commitment to the sums": sums_too}

# %% trap="straight_through" name="no straight-through"
# Your values are right, but what the decoder gets equals the last sum as it is: no gradient reaches x, and the encoder never
# hears of the decoder's error.
def straight_through(x, sums):
    sums = sums.detach()
    return sums[..., -1, :], (x[..., None, :] - sums).square().mean()

# %% trap="straight_through" name="the sums are pulled too"
# Your values are right, but a gradient reaches the sums. Codes follow by running averages; in both formulas all sums are
# constants.
def straight_through(x, sums):
    discrete = x + sums[..., -1, :] - x.detach()
    return discrete, (x[..., None, :] - sums).square().mean()

# %% trap="straight_through" name="commitment not stopped"
# Your commitment has the right value, but its gradient also reaches the sums. Who moves is the encoder: stop the
# gradient at every sum.
def straight_through(x, sums):
    discrete = x + (sums[..., -1, :] - x).detach()
    return discrete, (x[..., None, :] - sums).square().mean()

# %% trap="straight_through" name="the encoder is not held"
# Your commitment has the right value, but no gradient reaches x: it stands inside of the stop. The term is there to move x.
def straight_through(x, sums):
    sums = sums.detach()
    discrete = x + (sums[..., -1, :] - x).detach()
    return discrete, (x.detach()[..., None, :] - sums).square().mean()

# %% trap="straight_through" name="the last sum only"
# Your commitment equals that of the last sum alone. Then nothing asks the first codes to be good ones: take the mean over all
# depths.
def straight_through(x, sums):
    last = sums[..., -1, :].detach()
    return x + (last - x).detach(), (x - last).square().mean()

# %% trap="straight_through" name="depths added up"
# Your commitment is D times what it should be: depths are added up. Take their mean, so that the weight does not depend on D.
def straight_through(x, sums):
    sums = sums.detach()
    discrete = x + (sums[..., -1, :] - x).detach()
    return discrete, (x[..., None, :] - sums).square().mean() * sums.shape[-2]

# %% trap="straight_through" name="squares summed"
# Your commitment sums the squares of a vector. Take the mean over its numbers too.
def straight_through(x, sums):
    sums = sums.detach()
    discrete = x + (sums[..., -1, :] - x).detach()
    return discrete, (x[..., None, :] - sums).square().sum(dim=-1).mean()

# %% trap="straight_through" name="the first sum"
# What the decoder gets has the value of the first sum. The last one has all codes.
def straight_through(x, sums):
    sums = sums.detach()
    discrete = x + (sums[..., 0, :] - x).detach()
    return discrete, (x[..., None, :] - sums).square().mean()

# %% trap="straight_through" name="a step for every depth"
# What the decoder gets has D times the gradient: there is a straight-through step for every depth. One is enough, from the last sum.
def straight_through(x, sums):
    sums = sums.detach()
    depth = sums.shape[-2]
    discrete = depth * x + (sums[..., -1, :] - depth * x).detach()
    return discrete, (x[..., None, :] - sums).square().mean()

# %% alternative="straight_through" name="an autograd function"
class PassStraight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, last):
        return last.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def straight_through(x, sums):
    constant = sums.detach()
    each = [F.mse_loss(x, level) for level in constant.unbind(dim=-2)]
    return PassStraight.apply(x, constant.select(-2, -1)), torch.stack(each).mean()

# %% alternative="straight_through" name="minus itself"
def straight_through(x, sums):
    depth = sums.shape[-2]
    with torch.no_grad():
        levels = [sums[..., d, :].clone() for d in range(depth)]
    commitment = 0
    for level in levels:
        commitment = commitment + ((level - x) ** 2).sum() / x.numel()
    return levels[-1] + x - x.detach(), commitment / depth

# %% alternative="straight_through" name="a gradient told in the forward pass"
def straight_through(x, sums):
    tall = einops.repeat(x, "... dim -> ... depth dim", depth=sums.shape[-2])
    error = torch.norm(tall - sums.data) ** 2 / sums.numel()
    return torch.lerp(sums.data[..., -1, :], x, 0.0) + (x - x.data), error

# %% [markdown]
# **Does the message arrive?** The decoder rebuilds stickers from your $\mathbf{z}$. At each place the error of the image
# has a gradient: in which direction, and how strongly, the decoder would like that place's vector to change. The maps
# below show its length as the decoder sends it, as it arrives at the encoder's output $\mathbf{x}$ through your function,
# and as it would arrive were the codes handed on as they are.

# %% experiment="does_it_arrive"
few_images = shown.images[:4]


def reaches(through):
    """Length of the gradient of the images' error at every place, as sent by the decoder and as
    received by the encoder, (images, side, side) each."""
    x = tower.encode(normalize(few_images)).detach().requires_grad_()
    _, some = residual_codes(x, book, tower.quantizer.depth)
    z = through(x, some)
    z.retain_grad()
    F.l1_loss(tower.decode(z), normalize(few_images)).backward()
    return [torch.zeros(x.shape[:2]).unflatten(1, (tower.side, -1)) if grad is None
            else 1e5 * grad.norm(dim=-1).unflatten(1, (tower.side, -1)) for grad in (z.grad, x.grad)]


sent, received = reaches(lambda x, some: straight_through(x, some)[0])
_, cut_off = reaches(lambda x, some: some[..., -1, :].detach().requires_grad_())
tower_views.show_maps(few_images, {"sent by the decoder": sent, "received": received,
                                   "received, codes\nas they are": cut_off},
                      label="length of the gradient, × 10⁻⁵", title="What the encoder hears of the decoder's error")
print(f"largest difference between sent and received: {(sent - received).abs().max():.1g}; "
      f"sent on average {sent.mean():.2g}, received with the codes as they are {cut_off.mean():.2g}")

# %% [markdown]
# ## 3 · Codes that mean something
#
# A tower that only rebuilds images learns codes of colours and edges. That is all a decoder needs. Does it help a language
# model that is asked *what is it?* Too little, VILA-U's authors found, and trained their tower for two things at a time:
# the image has to be rebuilt from the codes, and the codes have to **agree with the caption**.
#
# Lab 06 did that with CLIP's loss: within a batch, which caption belongs to this image? A softmax over the batch makes
# all pairs compete. VILA-U's encoder is a **SigLIP** (Zhai et al., 2023), whose loss is simpler. It asks of *every pair*
# by itself: do these two belong together, yes or no? Let an image be a vector $\mathbf{v}_i$, a caption a vector
# $\mathbf{t}_j$; the logit of "yes" is
#
# $$ z_{ij} = e^{a} \cos(\mathbf{v}_i, \mathbf{t}_j) + b $$
#
# with two learned numbers, $a$ (`log_scale`) and $b$ (`bias`). With $y_{ij} = 1$ for pairs that belong together and $-1$
# for all others, the loss is that of so many yes-or-no questions, summed over pairs and divided by the number $n$ of
# *images*:
#
# $$ L_{\text{agree}} = -\frac1n \sum_{i,j} \log \sigma( y_{ij}\, z_{ij} ) $$
#
# **Why a bias?** Of the $n^2$ pairs of a batch only $n$ are right. An untrained model should say "no" to nearly all of
# them; with $b = -10$ at the start it does, and need not spend its first steps on learning that.
#
# **Which pairs belong together?** In a small world two stickers of a batch may well have the *same* caption. To call the
# other's caption wrong would be a lie, so the loss is told: `same[i, j]` is true where caption $j$ is true of image $i$.
#
# The loss of the tower is then a sum of three, with the weights of the papers: VILA-U weighs rebuilding and agreement
# equally, RQ-VAE counts the commitment a quarter. What is wrong with the image is measured here by the mean absolute
# difference of its pixels (the stored tower also counts squared differences and those of edges; the published one how
# alike two images are to a network, and the verdict of a discriminator):
#
# $$ L = \operatorname{mean} \lvert \text{made} - \text{image} \rvert + \tfrac14 L_{\text{commit}} + L_{\text{agree}} $$
#
# Mind **where** agreement is asked for: of the *quantised* vectors $\mathbf{z}$, behind the codes. What is lost in
# quantising is lost to the language model too.
#
# ### Exercise 3 · `sigmoid_loss` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | `sigmoid_loss` (3 points), four or five lines, and `tower_loss` (1 point), one line |
# | **Shapes** | `images`: `(n, dim)`; `texts`: `(m, dim)`; `same`: `(n, m)`, bool; `log_scale` and `bias`: tensors `()`; `made` and the images of `tower_loss`: the same shape, any; `commitment` and `agree`: tensors `()`; out: a tensor `()` each |
# | **Mind** | the vectors in `images` and `texts` need not have the length 1. There may be more captions than images, or fewer. Logits may be as far out as ±120; at −120 $\sigma$ rounds to 0 and its logarithm is $-\infty$: there must be a function for the two in one. Gradients go to images, texts, scale, bias, and to all that `tower_loss` adds up |
# | **Read** | SigLIP paper (Zhai et al., 2023), section 3.2 and algorithm 1; VILA-U paper, section 3.1 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# With all cosines at once: vectors of length 1, then one matrix product, `(n, m)`.
# </details>
# <details><summary>Hint 2: the loss is infinite, or NaN</summary>
#
# `torch.log(torch.sigmoid(z))` is $\log 0$ for $z = -120$. Look at `F.logsigmoid`, or `F.softplus`.
# </details>
# <details><summary>Hint 3: a number that is nearly right</summary>
#
# Three places to look at: `log_scale` is a *logarithm*; signs are 1 and −1, not 1 and 0; and what is the sum divided by,
# of three images and five captions?
# </details>

# %% exercise="sigmoid_loss"
def sigmoid_loss(images, texts, same, log_scale, bias):
    """SigLIP's loss: of every pair of image and caption, do they belong together?

    images: (n, dim), texts: (m, dim), not of length 1. same: (n, m), True where they do. log_scale,
    bias: a and b. Returns one number: the sum over all pairs, divided by n.
    """
    ### BEGIN SOLUTION
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T  # (n, m)
    logits = log_scale.exp() * cosines + bias
    signs = torch.where(same, 1.0, -1.0)
    return -F.logsigmoid(signs * logits).sum() / len(images)
    ### END SOLUTION


def tower_loss(made, images, commitment, agree):
    """The loss of the whole tower: of images `made`, of the commitment, and of `sigmoid_loss`."""
    ### BEGIN SOLUTION
    return (made - images).abs().mean() + commitment / 4 + agree
    ### END SOLUTION

# %% check="sigmoid_loss"
with Check("sigmoid_loss", read="section 3, the formulas") as check:
    check.signature(sigmoid_loss, "images", "texts", "same", "log_scale", "bias")
    check.signature(tower_loss, "made", "images", "commitment", "agree")
    v = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    t = torch.tensor([[2.0, 0.0], [0.0, -1.0], [0.0, 4.0]])  # cosines: 1, 0, 0 and 0, −1, 1
    yes = torch.tensor([[True, False, False], [False, False, True]])
    found = sigmoid_loss(v, t, yes, torch.tensor(2.0).log(), torch.tensor(-1.0))
    check.shape(found, (), "the loss of two images and three captions")

    def asked(right, wrong):  # logits of the pairs that belong together, and of the others
        return sum(math.log1p(math.exp(-z)) for z in right) + sum(math.log1p(math.exp(z)) for z in wrong)

    total = asked([1, 1], [-1, -1, -1, -3])
    check.values(found, total / 2, "the loss (logits 1, −1, −1 and −1, −3, 1)", otherwise={
        "the sum is divided by the number of pairs; divide by the number of images": total / 6,
        "the sum is divided by the number of captions; divide by the number of images": total / 3,
        "the sum is not divided by the number of images": total,
        "vectors keep their lengths; the formula has cosines": asked([11, 3], [-1, -1, -1, -2]) / 2,
        "log_scale is used as it is; the scale is exp(log_scale)":
            asked(2 * [math.log(2) - 1], [-1, -1, -1, -1 - math.log(2)]) / 2,
        "only pairs that belong together are asked about; the others are, too, and their answer is no":
            asked([1, 1], []) / 2,
        "the signs are 1 and 0; a pair that does not belong together has −1":
            (asked([1, 1], []) + 4 * math.log(2)) / 2,
        "the bias is left out": asked([2, 2], [0, 0, 0, -2]) / 2,
        "the cosine is divided by the scale": asked([-0.5, -0.5], [-1, -1, -1, -1.5]) / 2,
    })
    check.values(tower_loss(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0]), torch.tensor(0.8), torch.tensor(5.0)),
                 2.0 + 0.2 + 5.0, "tower_loss of differences 1 and −3, commitment 0.8, agreement 5", otherwise={
        "differences are squared; take their absolute values": 5.0 + 0.2 + 5.0,
        "differences are summed; take their mean": 4.0 + 0.2 + 5.0,
        "the commitment counts in full; it counts a quarter": 2.0 + 0.8 + 5.0,
        "commitment and agreement have changed places": 2.0 + 0.8 + 1.25})
    check.cases("10", globals())

# %% judge="sigmoid_loss" points=4
parts = {"sigmoid_loss": 3, "tower_loss": 1}


def ask(rng):
    for title, n, m, dim, log_scale, bias in (
            ("three images, five captions", 3, 5, 4, 1.0, -2.0), ("more images than captions", 6, 2, 3, 0.5, 1.0),
            ("as at the start", 4, 4, 6, math.log(10), -10.0), ("a large scale", 3, 4, 2, math.log(115), -4.0),
            ("one pair", 1, 1, 5, 1.5, 0.5), ("one number each", 3, 3, 1, 0.3, -0.4),
            ("a scale below 1", 3, 4, 5, -0.8, 0.7)):
        same = torch.from_numpy(rng.random((n, m)) < 0.3)
        same[0, 0] = True
        yield Case(title, part="sigmoid_loss", images=3 * randn(rng, n, dim), texts=0.4 * randn(rng, m, dim), same=same,
                   log_scale=torch.tensor(log_scale), bias=torch.tensor(bias))
    yield Case("no pair belongs together", part="sigmoid_loss", images=randn(rng, 2, 3), texts=randn(rng, 3, 3),
               same=torch.zeros(2, 3, dtype=torch.bool), log_scale=torch.tensor(1.0), bias=torch.tensor(-1.0))
    for title, shape in (("images", (2, 3, 4, 5)), ("one row of pixels", (6,)), ("one pixel", (1,))):
        yield Case(title, part="tower_loss", made=randn(rng, *shape), images=randn(rng, *shape),
                   commitment=torch.tensor(rng.uniform(0.5, 2)), agree=torch.tensor(rng.uniform(0.5, 4)))


def drive(lab, **inputs):
    leaves = {name: t.requires_grad_() for name, t in inputs.items() if t.is_floating_point()}
    loss = (lab.tower_loss if "made" in inputs else lab.sigmoid_loss)(**inputs)
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    gradients = {f"gradient to {name}": torch.zeros_like(leaves[name]) if g is None else g
                 for name, g in zip(leaves, found)}
    return {"the loss": loss, **gradients}

# %% trap="sigmoid_loss" name="no cosines"
# Your loss equals that of vectors as long as they are. The formula has cosines: make the vectors of length 1 first.
def sigmoid_loss(images, texts, same, log_scale, bias):
    logits = log_scale.exp() * images @ texts.T + bias
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="the scale as it is"
# Your loss equals that with log_scale in the place of the scale. What is learned is the logarithm; the cosine is multiplied by
# its exponential.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale * cosines + bias
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="divided by the scale"
# Your loss equals that with the cosine divided by the scale, as by a temperature. It is multiplied.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = cosines / log_scale.exp() + bias
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="only the right pairs"
# Your loss equals that of the pairs that belong together alone. Then one vector for everything would be the best answer: ask about all
# other pairs too.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return (F.softplus(-logits) * same).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="only the diagonal is right"
# Your loss takes caption i to belong to image i and to no other. Which pairs do is told by `same`.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    own = torch.eye(len(images), len(texts), dtype=torch.bool)
    return F.softplus(torch.where(own, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="mean over pairs"
# Your loss is divided by the number of pairs. Divide the sum by the number of images; or the loss shrinks as the batch grows.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return F.softplus(torch.where(same, -logits, logits)).mean()


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="by captions"
# Your loss is divided by the number of captions. Divide by the number of images.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(texts)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="no bias"
# Your loss equals that without a bias. It is added to every logit.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="CLIP's loss"
# Your loss has a softmax over captions, as CLIP's. SigLIP asks of every pair by itself.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return -(logits.log_softmax(dim=1) * same).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="the logarithm of zero"
# Your loss is infinite, or has no gradient, where a logit is far out: a sigmoid rounds to 0 there. Take its logarithm in one step.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return -torch.where(same, logits, -logits).sigmoid().log().sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return (made - images).abs().mean() + commitment / 4 + agree

# %% trap="sigmoid_loss" name="squared errors"
# Your tower_loss equals that of squared differences of pixels. Take absolute ones.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return F.mse_loss(made, images) + commitment / 4 + agree

# %% trap="sigmoid_loss" name="commitment in full"
# Your tower_loss counts the commitment in full. It counts a quarter.
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    logits = log_scale.exp() * cosines + bias
    return F.softplus(torch.where(same, -logits, logits)).sum() / len(images)


def tower_loss(made, images, commitment, agree):
    return F.l1_loss(made, images) + commitment + agree

# %% alternative="sigmoid_loss" name="cross-entropy with logits"
def sigmoid_loss(images, texts, same, log_scale, bias):
    cosines = F.cosine_similarity(images[:, None], texts[None], dim=2)
    logits = torch.add(bias, torch.exp(log_scale) * cosines)
    each = F.binary_cross_entropy_with_logits(logits, same.float(), reduction="none")
    return each.sum(dim=1).mean()


def tower_loss(made, images, commitment, agree):
    return F.l1_loss(made, images) + 0.25 * commitment + agree

# %% alternative="sigmoid_loss" name="pair by pair"
def sigmoid_loss(images, texts, same, log_scale, bias):
    total = torch.zeros(())
    for i, v in enumerate(images):
        for j, t in enumerate(texts):
            cosine = (v * t).sum() / (v.norm() * t.norm())
            z = log_scale.exp() * cosine + bias
            total = total + F.softplus(-z if same[i, j] else z)
    return total / images.shape[0]


def tower_loss(made, images, commitment, agree):
    wrong = torch.where(made > images, made - images, images - made)
    return wrong.sum() / wrong.numel() + commitment * 0.25 + agree

# %% alternative="sigmoid_loss" name="einops and logaddexp"
def sigmoid_loss(images, texts, same, log_scale, bias):
    v = images / images.square().sum(-1, keepdim=True).sqrt()
    t = texts / torch.linalg.vector_norm(texts, dim=-1, keepdim=True)
    z = torch.exp(log_scale) * einops.einsum(v, t, "n d, m d -> n m") + bias
    y = 2 * same.to(z.dtype) - 1
    return einops.reduce(torch.logaddexp(torch.zeros_like(z), -y * z), "n m -> n", "sum").mean()


def tower_loss(made, images, commitment, agree):
    return torch.stack([(images - made).abs().mean(), commitment / 4, agree]).sum()

# %% [markdown]
# **In the trained tower.** A small network, the tower's alignment head, reads the quantised vectors of all places and
# makes one vector of them; a text encoder makes one of a caption. Here are all pairs of held-out stickers and their
# captions, with your codes and your two losses.

# %% experiment="pairs"
words_of = tokenize(shown.captions)
with torch.no_grad():
    quantised, commitment = straight_through(features, sums)
    image_vectors, text_vectors = tower.alignment.image(quantised), tower.alignment.text(words_of)
    a, b = tower.alignment.scale.log_scale, tower.alignment.scale.bias
    same = (words_of[:, None] == words_of[None]).all(dim=-1)
    agree = sigmoid_loss(image_vectors, text_vectors, same, a, b)
    made = tower.decode(quantised)
    total = tower_loss(made, normalize(shown.images), commitment, agree)
cosines = F.normalize(image_vectors, dim=-1) @ F.normalize(text_vectors, dim=-1).T
caption_views.show_pairs(cosines[same], cosines[~same], float(-b / a.exp()),
                       title="Which image, which caption? All pairs of held-out stickers")
parts_of = {"pixels": (made - normalize(shown.images)).abs().mean().item(),
            "commitment / 4": commitment.item() / 4, "agreement": agree.item()}
charts.Table(["part of the loss", "value", "share"],
             [[name, f"{value:.3f}", f"{value / total.item():.0%}"] for name, value in parts_of.items()]
             + [["your tower_loss", f"{total.item():.3f}", "100%"]],
             title=f"The loss of {len(shown)} held-out stickers; scale {a.exp().item():.1f}, bias {b.item():.1f}")

# %% [markdown]
# **How to read it.** The dashed line is the cosine at which the logit is 0, $-b / e^a$: to the right of it the model says
# yes. The bias puts it to the right of the middle: nearly all pairs are wrong, so a yes has to be earned.
#
# **Zero-shot.** With images and captions in one space, a caption *is* a classifier: the nearest image is the one that it
# means. Neither the captions nor the images below were in training. A green frame and ✓ say that all four words are
# true of an image; of the others, how many are?

# %% experiment="zero_shot"
asked_for = list(range(scale(smoke=2, cpu=4, gpu=4)))
nearest = cosines.T[asked_for].topk(min(6, len(shown)), dim=1).indices  # (captions, images)
true_words = (words_of[nearest] == words_of[asked_for][:, None]).sum(dim=-1)
caption_views.show_found([shown.captions[i] for i in asked_for], shown.images[nearest], true_words, words_of.shape[1],
                       title=f"The nearest of {len(shown)} images, by the codes alone")
six = slice(0, min(6, len(shown)))
caption_views.show_scores(cosines.T[six, six], shown.images[six], shown.captions[six],
                        title="Cosines of six captions with six images")
top = (cosines.argmax(dim=1)[:, None] == torch.arange(len(shown))[:, None]) | same.gather(1, cosines.argmax(dim=1)[:, None])
print(f"For {top.float().mean():.0%} of {len(shown)} images their own caption is the nearest; by chance it would be "
      f"{same.float().mean():.1%}.")

# %% [markdown]
# **What alignment gives, and what it costs.** Two towers were trained on the same images in the same order, from the same
# start, one with captions and one without (`labs experiment 10 visual_towers`). Published, at full size: VILA-U's
# aligned tower finds the right one of ImageNet's 1,000 classes for 73.3% of the images without having been trained on
# them, and rebuilds images with an rFID (the Fréchet distance of rebuilt images) of 1.80, where an RQ-VAE without
# alignment has 1.30 (less is better). So alignment has a price. What does it look like here? The same stickers,
# through your codes and either decoder:

# %% experiment="two_towers"
plain = pretrained("10_tower_plain")
seen_twice = shown.images[:scale(smoke=2, cpu=6, gpu=6)]
rows = {"image": seen_twice}
for name, one in (("with captions", tower), ("without", plain)):
    with torch.no_grad():
        _, levels_of = residual_codes(one.encode(normalize(seen_twice)), one.quantizer.codebook.vectors, one.quantizer.depth)
        rows[f"tower trained\n{name}"] = to_unit(one.decode(levels_of[:, :, -1]))
tower_views.show_rows(rows, shown.captions[:len(seen_twice)], title="Rebuilt from four codes a place, by two towers",
                      alt="Held-out stickers, and what either tower makes of them.")

# %% [markdown]
# The table has both sides. *Captions found* is what you have just done, with 500 stickers: the right caption among all
# of theirs. The *probe* is a linear classifier that is trained to name a word from all quantised vectors of an image.

# %% experiment="towers"
towers = read_result("10_visual_towers")
names = {True: "with captions", False: "without"}
rows, deepest = [], {}
for record in towers.records:
    for part in record["splits"]:
        of_depth = {r["depth"]: r for r in part["rebuilt"]}
        best = of_depth[max(of_depth)]
        deepest[record["aligned"], part["split"]] = {**best, "captions": part["captions"], **part["probe"]}
        rows.append([names[record["aligned"]], part["split"], f"{best['psnr']:.2f}", f"{best['ssim']:.3f}",
                     f"{best['distance']:.1f}", "-" if part["captions"] is None else f"{part['captions']:.1%}",
                     *(f"{part['probe'][word]:.1%}" for word in ("place", "tint", "thing", "ground"))])
charts.Table(["tower", "stickers", "PSNR, dB", "SSIM", "Fréchet distance", "captions found", "probe: place", "tint",
              "thing", "ground"], rows, title=f"Two towers, measured on {towers.date[:10]} by: {towers.command}")
comparisons.bars({f"{names[aligned]}, {split}s": [deepest[aligned, split]["distance"]]
                  for split in ("triple", "pair") for aligned in (True, False)},
                 highlight=[f"{names[True]}, {split}s" for split in ("triple", "pair")], percent=False,
                 xlabel="Fréchet distance of rebuilt held-out stickers to the originals, less is better",
                 title="What alignment costs")

# %% experiment="towers_in_words"
measured["towers"] = {split: {key: [deepest[aligned, split][key] for aligned in (True, False)]
                              for key in ("psnr", "distance", "thing")} for split in ("triple", "pair")}
measured["zero-shot"] = {split: deepest[True, split]["captions"] for split in ("triple", "pair")}
for split, values in measured["towers"].items():
    (p, q), (d, e), (s, u) = values["psnr"], values["distance"], values["thing"]
    print(f"Held-out {split}s, with captions against without: rebuilding {p - q:+.2f} dB, Fréchet distance {d:.1f} against "
          f"{e:.1f} ({d / e - 1:+.0%}); the linear probe names {s:.1%} of the things against {u:.1%} "
          f"({100 * (s - u):+.1f} points). Captions found: {measured['zero-shot'][split]:.1%}.")
print(f"Published: rFID 1.80 against 1.30 ({1.80 / 1.30 - 1:+.0%}), and 73.3% of ImageNet's classes found.")
gain = [values["thing"][0] > values["thing"][1] for values in measured["towers"].values()]
print("A linear probe reads the thing better off codes that were aligned "
      + ("on both splits." if all(gain) else "on one split only." if any(gain) else "on neither split."))

# %% [markdown]
# **How to read it.** Codes that have to say what a thing *is* are not free to say how it *looks*: with the same number of
# bits, one is paid for with the other. How dearly depends on the weights. They are equal here, as published; how large the parts themselves
# are was in your table of shares.
#
# What it buys depends on who reads. The alignment head looks over all places at once and has learned what a caption
# asks for. A linear probe has a weight of its own for every place, so it has to learn the fox on the left and the fox
# on the right as two things; it says little about what a *transformer* could make of the codes. (Look at its column
# for the place, too.) That is why one kind of reader should not stand for
# all. The reader that counts is the language model, and section 9 asks it.
#
# **Where to start.** The paper has a warning. Trained for both at once from scratch, its tower *collapses*: it finds the
# right one of ImageNet's 1,000 classes for 5% of the images. So VILA-U starts from the weights of a SigLIP, which agree
# with text already, keeps the text encoder as it is, and learns codes and rebuilding on top. Is it the same in a small
# world? `labs experiment 10 start` trains one tower with everything from its first step. Another first learns to agree
# with captions *without* codes and decoder, and only then everything.

# %% experiment="start"
begun = read_result("10_start")
of_start = {}
for r in sorted(begun.records, key=lambda r: r["step"]):
    of_start.setdefault(r["start"], {}).setdefault(r["step"], []).append(r)
steps = sorted(set.intersection(*(set(found) for found in of_start.values())))
charts.lines(steps, {start: [100 * mean_of(found[s], "captions") for s in steps] for start, found in of_start.items()},
             xlabel="step", ylabel="captions found, percent",
             title=f"From scratch, or agreement first (alone for {begun.settings['alone']} steps)")
charts.Table(["start", "captions found in the middle", "at the end", "PSNR at the end"], [
    [start, f"{mean_of(found[steps[len(steps) // 2]], 'captions'):.1%} (step {steps[len(steps) // 2]})",
     f"{mean_of(found[steps[-1]], 'captions'):.1%} (step {steps[-1]})", f"{mean_of(found[steps[-1]], 'psnr'):.1f} dB"]
    for start, found in of_start.items()
], title=f"Held-out triples, measured on {begun.date[:10]} by: {begun.command}")

# %% experiment="start_in_words"
measured["start"] = {start: (mean_of(found[steps[-1]], "captions"), mean_of(found[steps[-1]], "psnr"))
                     for start, found in of_start.items()}
print("; ".join(f"{start}: {share:.1%} of the captions found and {decibel:.1f} dB after {steps[-1]:,} steps"
                for start, (share, decibel) in measured["start"].items()) + ".")
least, most = sorted(share for share, _ in measured["start"].values())
print("From scratch it collapses, as in the paper." if measured["start"]["scratch"][0] < 0.2 * most else
      "From scratch nothing collapses here, unlike in the paper.")

# %% [markdown]
# ## 4 · One row for both
#
# The language model is a transformer that reads a row of tokens from left to right. Each token sees itself and all before
# it, and the state that leaves a token predicts the **next** one. VILA-U writes everything into such rows. To *read* is a
# row of image, question, answer; to *draw* is a row of caption, image. Here both, with what is to be learned marked by
# `^`:
#
# ```text
# <start> <image start> p1 p2 … p36 <image end> what is it fox <end>
#                                                          ^^^ ^^^^^
# <start> left blue fox on yellow <image start> p1 p2 … p36 <image end> <end>
#                                 ^^^^^^^^^^^^^ ^^^^^^^^^^^ ^^^^^^^^^^^ ^^^^^
# ```
#
# A **label** says what is to be learned. It is attached to the token that has to be predicted, not to the one that
# predicts it, and is that token's own number; where nothing is to be learned it is $-100$ (`IGNORE`), which cross-entropy
# leaves out. Question and caption are given, so they have no label: the model should learn to answer, not to ask.
#
# **Places are no words.** At a place of an image the model is not given a word's vector but that of section 1, the sum of
# the place's $D$ codes, through two linear layers (the *projector*). What is learned there is no word either but $D$
# codes. So in the row a place has the number $-200$ (`IMAGE`: an image's vector comes here) and the label $-100$. A mask
# of its own, `drawn`, says at which places codes are to be learned.
#
# **Which images are drawn?** An image that was given to be read has codes too, but nobody asks for them. An image is to
# be drawn if two things are true: the `<image start>` before it is itself to be learned (its label is not $-100$), and
# the image comes **at the end**, where nothing follows but `<image end>` and `<end>`.
#
# **What to expect.** The lab's helpers `reading` and `drawing` write rows in which *one* `IMAGE` stands for a whole
# image; in yours there are `places` of them. For a caption of one word, number 7, and an image of three places:
#
# ```text
# drawing([7])   words    START   7       IMAGE_START  IMAGE                 IMAGE_END  END
#                labels   IGNORE  IGNORE  IMAGE_START  IMAGE                 IMAGE_END  END
# your row       tokens   START   7       IMAGE_START  IMAGE  IMAGE  IMAGE   IMAGE_END  END
#                labels   IGNORE  IGNORE  IMAGE_START  IGNORE IGNORE IGNORE  IMAGE_END  END
#                drawn    False   False   False        True   True   True    False      False
# ```
#
# The state that leaves `<image start>` predicts the first place, that of the first place the second, and that of the last
# place `<image end>`. So the states from which codes are made lie **one token before** the places. `states_before` picks
# them out.
#
# ### Exercise 4 · `mix_row` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | `mix_row` (3 points), eight to ten lines, and `states_before` (1 point), one line |
# | **Shapes** | `words` and `labels`: lists of as many whole numbers, of one row; `places`: at least 1; out, three tensors `(tokens,)`: tokens and labels, int64, and `drawn`, bool. `states`: `(batch, tokens, dim)`; `drawn`: `(batch, tokens)`, bool; out: `(places drawn in the batch, dim)`, row after row |
# | **Mind** | a row may have no image, one or several; each stands between `<image start>` and `<image end>`. Every row ends with `<end>`. In `labels` an `IMAGE` may have any label; its places have `IGNORE`. The constants `IMAGE`, `IGNORE`, `IMAGE_START` are there. The first token of a row is never drawn; there may be rows in which nothing is. Gradients go to `states` |
# | **Read** | VILA-U paper, section 3.2 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# Three empty lists, and a loop over `enumerate(zip(words, labels))`. A word adds one entry to each list, an image
# `places`.
# </details>
# <details><summary>Hint 2: how do I know that an image comes at the end?</summary>
#
# Count from the end of `words`: `<end>`, `<image end>`, image. So the image is at `len(words) - 3`. And its `<image
# start>` is the word before it, at `i - 1`: look at its *label*.
# </details>
# <details><summary>Hint 3: states_before in one line</summary>
#
# Leave out the last state, since nothing comes after it, and the first mark, since nothing comes before it. Both are then
# equally long, and state $i$ stands beside mark $i + 1$.
# </details>

# %% exercise="mix_row"
def mix_row(words, labels, places):
    """One row of words in which every IMAGE becomes the places of an image.

    words, labels: lists, of equal length. places: of an image. Returns tokens (tokens,), int64, with
    IMAGE at every place; labels (tokens,), int64, with IGNORE at every place; and drawn (tokens,), bool,
    True at places whose codes are to be learned.
    """
    # Step 1: is this image to be drawn? Step 2: one entry for a word, `places` for an image
    ### BEGIN SOLUTION
    tokens, learned, drawn = [], [], []
    for at, (word, label) in enumerate(zip(words, labels)):
        if word != IMAGE:
            tokens.append(word)
            learned.append(label)
            drawn.append(False)
            continue
        last = at == len(words) - 3
        tokens += [IMAGE] * places
        learned += [IGNORE] * places
        drawn += [last and labels[at - 1] != IGNORE] * places
    return torch.tensor(tokens), torch.tensor(learned), torch.tensor(drawn)
    ### END SOLUTION


def states_before(states, drawn):
    """The states one token before the places that are drawn.

    states: (batch, tokens, dim). drawn: (batch, tokens), bool. Returns (places, dim), row after row.
    """
    ### BEGIN SOLUTION
    return states[:, :-1][drawn[:, 1:]]
    ### END SOLUTION

# %% check="mix_row"
with Check("mix_row", read="section 4") as check:
    check.signature(mix_row, "words", "labels", "places")
    check.signature(states_before, "states", "drawn")
    row = [START, 7, IMAGE_START, IMAGE, IMAGE_END, END]
    goal = [IGNORE, IGNORE, IMAGE_START, IMAGE, IMAGE_END, END]  # as `drawing` writes it
    tokens, goals, marks = (torch.as_tensor(part) for part in mix_row(row, goal, 3))
    check.shape(tokens, (8,), "the tokens of a row of six words, one of them an image of three places",
                "the image's one word becomes three")
    check.values(tokens, [START, 7, IMAGE_START, IMAGE, IMAGE, IMAGE, IMAGE_END, END], "the tokens")
    check.values(goals, [IGNORE, IGNORE, IMAGE_START, IGNORE, IGNORE, IGNORE, IMAGE_END, END], "the labels", otherwise={
        "places keep the label of the image; no word is to be learned there":
            [IGNORE, IGNORE, IMAGE_START, IMAGE, IMAGE, IMAGE, IMAGE_END, END],
        "the labels are moved by one; a label stays at its own token":
            [IGNORE, IMAGE_START, IGNORE, IGNORE, IGNORE, IMAGE_END, END, IGNORE]})
    check.values(marks.long(), [0, 0, 0, 1, 1, 1, 0, 0], "drawn", otherwise={
        "the marks are moved by one; they are at the places, and states_before does the moving": [0, 0, 1, 1, 1, 0, 0, 0],
        "nothing is marked, though this image is to be drawn": [0] * 8})
    given = [IGNORE] * 4 + [IMAGE_END, END]
    check.values(torch.as_tensor(mix_row(row, given, 3)[2]).long(), [0] * 8, "drawn of the same row with <image start> given",
                 otherwise={"every image at the end is marked; this one was given: its <image start> has no label":
                            [0, 0, 0, 1, 1, 1, 0, 0]})
    states = torch.arange(16.0).view(1, 8, 2)
    found = states_before(states, torch.tensor([[0, 0, 0, 1, 1, 1, 0, 0]]).bool())
    check.shape(found, (3, 2), "the states before three places")
    check.values(found, states[0, 2:5], "the states before the places 3, 4 and 5", otherwise={
        "these are the states at the places; what leaves a token predicts the next one": states[0, 3:6],
        "these are the states after the places; move the other way": states[0, 4:7]})
    check.cases("10", globals())

# %% judge="mix_row" points=4
parts = {"mix_row": 3, "states_before": 1}


def ask(rng):
    from labsupport.models.vilau.words import END, IGNORE, IMAGE, IMAGE_END, IMAGE_START, START

    def some(n):
        return [int(word) for word in rng.integers(1, 60, n)]

    seen, nothing = [IMAGE_START, IMAGE, IMAGE_END], [IGNORE] * 3
    begun, end = [IMAGE_START, IMAGE, IMAGE_END, END], [IMAGE_START, IGNORE, IMAGE_END, END]
    caption, question, answer = some(4), some(3), some(2)
    for title, words, labels, places in (
            ("a caption and its image", [START, *caption, *begun], [IGNORE] * 5 + begun, 4),
            ("an image, a question, an answer", [START, *seen, *question, *answer, END],
             [IGNORE] * 7 + [*answer, END], 3),
            ("the image's own label is IGNORE", [START, *caption, *begun], [IGNORE] * 5 + end, 2),
            ("an image at the end that was given", [START, *caption, *begun], [IGNORE] * 7 + [IMAGE_END, END], 3),
            ("an image in the middle that is to be written", [START, *caption[:2], *seen, *answer, END],
             [IGNORE] * 3 + seen + [*answer, END], 3),
            ("two images to be read", [START, *seen, *seen, *question, END], [IGNORE] * 10 + [END], 2),
            ("an image to be read, then one to be drawn", [START, *seen, *caption, *begun],
             [IGNORE, *nothing] + [IGNORE] * 4 + begun, 3),
            ("words only", [START, *question, *answer, END], [IGNORE] * 4 + [*answer, END], 5),
            ("an image of one place", [START, *begun], [IGNORE, *begun], 1),
            ("three words follow the image", [START, *seen, *answer[:1], END], [IGNORE, *seen, *answer[:1], END], 2)):
        yield Case(title, part="mix_row", words=words, labels=labels, places=places)
    for title, batch, tokens, dim in (("three rows", 3, 7, 4), ("one row", 1, 9, 2), ("two tokens", 4, 2, 3)):
        drawn = torch.from_numpy(rng.random((batch, tokens)) < 0.5)
        drawn[:, 0] = False
        drawn[0, -1] = True
        yield Case(title, part="states_before", states=randn(rng, batch, tokens, dim), drawn=drawn)
    drawn = torch.zeros(2, 5, dtype=torch.bool)
    yield Case("nothing is drawn", part="states_before", states=randn(rng, 2, 5, 3), drawn=drawn)


def drive(lab, **inputs):
    if "words" in inputs:
        tokens, labels, drawn = (torch.as_tensor(part) for part in lab.mix_row(**inputs))
        return {"tokens": tokens, "labels": labels, "drawn": drawn}
    states = inputs["states"].requires_grad_()
    found = lab.states_before(states, inputs["drawn"])
    gradient = torch.zeros_like(states)
    if found.requires_grad and found.numel():
        weights = torch.linspace(1, 2, found.numel(), dtype=found.dtype).view_as(found)
        (gradient,) = torch.autograd.grad((found * weights).sum(), states)
    return {"the states": found, "gradient to the states": gradient}

# %% trap="mix_row" name="every image is drawn"
# In your answer every image is to be drawn, also those that were given to be read. The <image start> before it has to be learned, and it
# has to be at the end.
def mix_row(words, labels, places):
    many = torch.tensor([places if word == IMAGE else 1 for word in words])
    tokens = torch.tensor(words).repeat_interleave(many)
    drawn = tokens == IMAGE
    return tokens, torch.tensor(labels).repeat_interleave(many).masked_fill(drawn, IGNORE), drawn


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="every image at the end is drawn"
# In your answer every image at the end is to be drawn, also where it was given: then its <image start> has no label.
def mix_row(words, labels, places):
    many = torch.tensor([places if word == IMAGE else 1 for word in words])
    tokens = torch.tensor(words).repeat_interleave(many)
    image = tokens == IMAGE
    last = torch.tensor([at == len(words) - 3 for at in range(len(words))]).repeat_interleave(many)
    return tokens, torch.tensor(labels).repeat_interleave(many).masked_fill(image, IGNORE), image & last


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="drawn in the middle"
# In your answer an image is drawn wherever its <image start> is to be learned, also in the middle of a row. It has to be at the end too.
def mix_row(words, labels, places):
    tokens, learned, drawn = [], [], []
    for at, (word, label) in enumerate(zip(words, labels)):
        many = places if word == IMAGE else 1
        tokens += [word] * many
        learned += [IGNORE if word == IMAGE else label] * many
        drawn += [word == IMAGE and labels[at - 1] != IGNORE] * many
    return torch.tensor(tokens), torch.tensor(learned), torch.tensor(drawn)


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="places have a label"
# In your answer the places of an image keep its label. Cross-entropy of words would take it for a word: places have IGNORE.
def mix_row(words, labels, places):
    tokens, learned, drawn = [], [], []
    for at, (word, label) in enumerate(zip(words, labels)):
        many = places if word == IMAGE else 1
        tokens += [word] * many
        learned += [label] * many
        drawn += [word == IMAGE and at == len(words) - 3 and labels[at - 1] != IGNORE] * many
    return torch.tensor(tokens), torch.tensor(learned), torch.tensor(drawn)


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="what was given is learned"
# In your answer every word is to be learned, question and caption too. The labels say what is: hand them on.
def mix_row(words, labels, places):
    tokens, learned, drawn = [], [], []
    for at, word in enumerate(words):
        many = places if word == IMAGE else 1
        tokens += [word] * many
        learned += [IGNORE if word == IMAGE else word] * many
        drawn += [word == IMAGE and at == len(words) - 3 and labels[at - 1] != IGNORE] * many
    return torch.tensor(tokens), torch.tensor(learned), torch.tensor(drawn)


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="marked one token early"
# Your marks are where the state is that predicts a place, one token early. `drawn` marks the places; states_before does the moving.
def mix_row(words, labels, places):
    tokens, learned, drawn = [], [], []
    for at, (word, label) in enumerate(zip(words, labels)):
        many = places if word == IMAGE else 1
        tokens += [word] * many
        learned += [IGNORE if word == IMAGE else label] * many
        drawn += [word == IMAGE and at == len(words) - 3 and labels[at - 1] != IGNORE] * many
    return torch.tensor(tokens), torch.tensor(learned), torch.tensor(drawn[1:] + [False])


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="labels moved by one"
# Your labels are moved by one, to the token that predicts. A label stays at its own token; the loss does the moving.
def mix_row(words, labels, places):
    tokens, learned, drawn = [], [], []
    for at, (word, label) in enumerate(zip(words, labels)):
        many = places if word == IMAGE else 1
        tokens += [word] * many
        learned += [IGNORE if word == IMAGE else label] * many
        drawn += [word == IMAGE and at == len(words) - 3 and labels[at - 1] != IGNORE] * many
    return torch.tensor(tokens), torch.tensor(learned[1:] + [IGNORE]), torch.tensor(drawn)


def states_before(states, drawn):
    return states[:, :-1][drawn[:, 1:]]

# %% trap="mix_row" name="states at the places"
# Your states_before gives the states at the places. These have seen what they are to predict: take those one token before.
def mix_row(words, labels, places):
    many = torch.tensor([places if word == IMAGE else 1 for word in words])
    tokens = torch.tensor(words).repeat_interleave(many)
    image = tokens == IMAGE
    last = [at == len(words) - 3 and labels[at - 1] != IGNORE for at in range(len(words))]
    drawn = image & torch.tensor(last).repeat_interleave(many)
    return tokens, torch.tensor(labels).repeat_interleave(many).masked_fill(image, IGNORE), drawn


def states_before(states, drawn):
    return states[drawn]

# %% trap="mix_row" name="states after the places"
# Your states_before gives the states one token after the places. What predicts a place is before it.
def mix_row(words, labels, places):
    many = torch.tensor([places if word == IMAGE else 1 for word in words])
    tokens = torch.tensor(words).repeat_interleave(many)
    image = tokens == IMAGE
    last = [at == len(words) - 3 and labels[at - 1] != IGNORE for at in range(len(words))]
    drawn = image & torch.tensor(last).repeat_interleave(many)
    return tokens, torch.tensor(labels).repeat_interleave(many).masked_fill(image, IGNORE), drawn


def states_before(states, drawn):
    return states.roll(-1, dims=1)[drawn]

# %% alternative="mix_row" name="repeated"
def mix_row(words, labels, places):
    words, labels = torch.tensor(words), torch.tensor(labels)
    image = words == IMAGE
    many = torch.where(image, places, 1)
    started = F.pad(labels, (1, 0))[:-1] == IMAGE_START
    at_end = torch.arange(len(words)) == len(words) - 3
    drawn = image & started & at_end
    labels = labels.masked_fill(image, IGNORE)
    return tuple(part.repeat_interleave(many) for part in (words, labels, drawn))


def states_before(states, drawn):
    return states.roll(1, dims=1)[drawn]

# %% alternative="mix_row" name="numpy, from the end"
def mix_row(words, labels, places):
    tokens, learned, marks = [], [], []
    for word, label in zip(words[::-1], labels[::-1]):
        image = word == IMAGE
        tokens.append(np.full(places if image else 1, word))
        learned.append(np.full_like(tokens[-1], IGNORE if image else label))
        marks.append(np.zeros(len(tokens[-1]), dtype=bool))
    drawing_row = len(words) > 3 and words[-3] == IMAGE and labels[-4] == IMAGE_START
    if drawing_row:
        marks[2][:] = True
    return tuple(torch.from_numpy(np.concatenate(parts[::-1])) for parts in (tokens, learned, marks))


def states_before(states, drawn):
    row, token = drawn.nonzero(as_tuple=True)
    return states[row, token - 1]

# %% alternative="mix_row" name="pieces and a loop"
def mix_row(words, labels, places):
    pieces = [[(w, y, False)] if w != IMAGE else [(IMAGE, IGNORE, False)] * places
              for w, y in zip(words, labels)]
    if len(pieces) >= 4 and words[-3:] == [IMAGE, IMAGE_END, END] and labels[-4] == words[-4]:
        pieces[-3] = [(IMAGE, IGNORE, True)] * places
    tokens, learned, drawn = zip(*(entry for piece in pieces for entry in piece))
    return list(tokens), list(learned), list(drawn)


def states_before(states, drawn):
    kept = [states[i, j - 1] for i in range(len(drawn)) for j in range(1, drawn.shape[1]) if drawn[i, j]]
    return torch.stack(kept) if kept else states.new_zeros(0, states.shape[-1])

# %% [markdown]
# **What your rows look like.** For the picture an image has 4 places in the place of 36. The upper strip of each row is
# what the model sees, the middle one what is learned at each token, the lower one what the state that leaves the token is
# for: the middle one, moved by one to the left.

# %%
fox = tokenize(["left blue fox on yellow"])[0].tolist()
row_views.show_mixed({
    "reading: the answer is learned": mix_row(*reading("what is it", fox[2:3]), 4),
    "drawing: the image is learned, and where it begins and ends": mix_row(*drawing(fox), 4),
}, title="Two rows for one model")

# %% [markdown]
# **What it shows.** The two rows have nothing in common but their form, and the model needs no more. Between `<image
# start>` and `<image end>` of the lower row no word is learned at all: there the text's loss is silent, and the image's
# speaks. In the upper row it is the other way round: the image is seen, and only the words behind it are learned.

# %% experiment="where_the_loss_is"
counts = {"words": 0, "places": 0, "neither": 0}
batch = tokenize(stickers(scale(smoke=4, cpu=32, gpu=32), tower.size, seed=SEED).captions).tolist()
for i, caption in enumerate(batch):
    row = drawing(caption) if i % 2 else reading("what is it", caption[2:3])
    tokens, goals, marks = (torch.as_tensor(part) for part in mix_row(*row, tower.tokens))
    counts["words"] += int((goals != IGNORE).sum())
    counts["places"] += int(marks.sum())
    counts["neither"] += int(((goals == IGNORE) & ~marks).sum())
total_tokens = sum(counts.values())
charts.Table(["what is learned at a token", "tokens", "share"],
             [[name, f"{many:,}", f"{many / total_tokens:.0%}"] for name, many in counts.items()],
             title=f"A batch of {len(batch)} rows, half to be read and half to be drawn")
print(f"{counts['places'] * tower.quantizer.depth:,} codes are learned in the batch, "
      f"{counts['places'] * tower.quantizer.depth / counts['words']:.0f} for every word.")

# %% [markdown]
# Words and codes are learned by the same model at the same time. Section 6 has to keep the many from drowning out the
# few.

# %% [markdown]
# ## 5 · D codes in one step
#
# The trunk is a language model: one step, one next token. But the next token of an image is now a *place*, and a
# place has $D = 4$ codes. How do four codes leave one hidden state $h$? There are three ways.
#
# * **Four heads, all at once.** Each code is drawn from $h$, none knows of the others. But the second code mends what
#   the *first* left over. Drawn blindly, it mends what some other first code would have left.
# * **One long row.** Every code is a token of its own. Nothing is lost, but the row has $D \cdot N$ tokens in the
#   place of $N$, and each of them costs a step of the whole trunk.
# * **A small transformer inside the step.** The trunk passes each place once. Its state $h$ is handed to a second,
#   much smaller transformer, which writes the codes of this place one after another. This is the **depth
#   transformer** (RQ-Transformer, Lee et al., 2022):
#
# $$ p(k_1, \dots, k_D \mid h) = \prod_{d=1}^{D} p(k_d \mid h, k_1, \dots, k_{d-1}) $$
#
# The chain rule is the long row's, so nothing is lost; the price of a code is that of a small net looking back at no
# more than $D$ tokens.

# %%
model_views.show_order(depth=4, places=36, title="The order of codes: up the depth, then on to the next place")

# %% [markdown]
# **What the small transformer reads.** Its input at step $d$ is what is known of the place by then. At the first step
# that is $h$ alone. Later it is the **sum** of the codes drawn so far, not the last one:
#
# $$ v_1 = W_h\, h + p_1, \qquad v_d = W_e \sum_{j=1}^{d-1} e(k_j) + p_d \quad (d = 2, \dots, D) $$
#
# $e(k)$ is the code's vector in the codebook, $W_h$ and $W_e$ are linear layers (with biases), and $p_d$ says which
# step this is. Why the sum? A code alone is a correction of something. What there is to correct next is
# $\mathbf{r}_{d-1} = \mathbf{x} - \sum_j e(k_j)$ of section 1: of the codes before, their sum is all that it depends
# on.
#
# **All at once, in training.** When the true codes are known, all $D$ inputs of a place can be made in advance; a
# causal mask keeps each step from looking ahead (*teacher forcing*). Two things follow. The input of step $d$ holds
# the codes *before* $d$: with its own code in it, the net would learn to copy. And the last code is never an input.
# Nor do places see each other here: whatever they have to agree on has gone through $h$. So the places of all images
# are simply the batch.
#
# **What to expect.** For a place with codes $k_1, k_2, k_3$: three inputs, made of $h$, of $e(k_1)$, and of
# $e(k_1) + e(k_2)$.
#
# ### Exercise 5 · `depth_inputs` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about three lines |
# | **Shapes** | `hidden`: `(places, width)`; `codes`: `(places, D)`, `int64`; `codebook`: `(number of codes, code dim)`; `positions`: `(D, dim)`; out: `(places, D, dim)` |
# | **Layers** | `from_hidden` takes `width` numbers to `dim`, `from_codes` takes `code dim` to `dim`; call them as functions on the last axis |
# | **Mind** | $D$ may be 1: then there is $h$ and no sum. Sum the codes' vectors *before* `from_codes`: it has a bias |
# | **Read** | RQ-VAE paper (Lee et al., 2022), section 3.2.2, "Depth Transformer" |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# With the vectors of all codes but the last (why not the last?): `(places, D - 1, code dim)`. A matrix indexed by a
# tensor of numbers gives its rows. Running sums along an axis are one call of PyTorch.
# </details>
# <details><summary>Hint 2: "Tensors must have same number of dimensions"</summary>
#
# `from_hidden(hidden)` is `(places, dim)`. It is the first of $D$ inputs: give it an axis for the depth, `[:, None]`,
# before `torch.cat`.
# </details>
# <details><summary>Hint 3: the shape is right, the second input is not</summary>
#
# Which codes are in it? The input of step 2 holds the first code and no other. And along which axis do you sum? Axis
# 0 are places.
# </details>

# %% exercise="depth_inputs"
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    """The D inputs of the depth transformer at every place, the true codes given: (places, D, dim).

    hidden: (places, width), the trunk's states. codes: (places, D). codebook: (number of codes,
    code dim). from_hidden, from_codes: layers to dim numbers. positions: (D, dim), one a step.
    """
    # Step 1: the sums of the first 1 to D - 1 codes; Step 2: hidden in front; Step 3: positions
    ### BEGIN SOLUTION
    sums = codebook[codes[:, :-1]].cumsum(dim=1)  # (places, D - 1, code dim)
    inputs = torch.cat([from_hidden(hidden)[:, None], from_codes(sums)], dim=1)
    return inputs + positions
    ### END SOLUTION

# %% check="depth_inputs"
with Check("depth_inputs", read="section 5, the formula") as check:
    check.signature(depth_inputs, "hidden", "codes", "codebook", "from_hidden", "from_codes", "positions")
    hidden = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # two places
    codes = torch.tensor([[0, 1, 2], [2, 2, 0]])  # three codes each
    codebook = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    tens, more = (lambda h: 10 * h), (lambda e: e + 100)  # 100 is the bias
    positions = torch.zeros(3, 2)
    found = depth_inputs(hidden, codes, codebook, tens, more, positions)
    check.shape(found, (2, 3, 2), "the inputs of two places with three codes", "the state first, then D − 1 sums")
    wanted = torch.tensor([[[10.0, 20], [101, 100], [101, 101]], [[30.0, 40], [105, 105], [110, 110]]])
    vectors, state = codebook[codes], tens(hidden)[:, None]
    check.values(found, wanted, "the inputs (from_hidden is 10 h, from_codes e + 100)", otherwise={
        "each input is the code before; what is known by then is the sum of all before":
            torch.cat([state, more(vectors[:, :-1])], 1),
        "the input of step d holds code d itself, which is to be predicted":
            torch.cat([state, more(vectors.cumsum(1)[:, 1:])], 1),
        "from_codes of an empty sum, which is its bias, is added to the first input": wanted + torch.tensor(
            [[[100.0], [0], [0]]]),
        "you sum over the places, axis 0; the depth is axis 1":
            torch.cat([state, more(vectors[:, :-1].cumsum(0))], 1),
        "from_codes is applied to each code and then summed, so that its bias is in the sum several times":
            torch.cat([state, more(vectors[:, :-1]).cumsum(1)], 1)})
    moved = depth_inputs(hidden, codes, codebook, tens, more, positions + torch.tensor([[1.0], [2], [3]]))
    check.values(moved - found, torch.tensor([1.0, 2, 3]).view(1, 3, 1).expand(2, 3, 2), "what positions add",
                 likely="positions are added, one to each step")
    check.cases("10", globals())

# %% judge="depth_inputs" points=4
def ask(rng):
    for title, places, depth, width, dim, code_dim in (
            ("four codes", 5, 4, 6, 3, 2), ("one code", 3, 1, 4, 5, 2), ("two codes, one place", 1, 2, 3, 4, 5),
            ("eight codes", 2, 8, 2, 3, 4), ("as many places as codes", 3, 3, 3, 3, 3)):
        yield Case(title, hidden=randn(rng, places, width), codebook=randn(rng, 11, code_dim),
                   codes=torch.from_numpy(rng.integers(0, 11, (places, depth))), positions=randn(rng, depth, dim),
                   weights=[randn(rng, dim, width), randn(rng, dim), randn(rng, dim, code_dim), randn(rng, dim)])


def drive(lab, hidden, codes, codebook, positions, weights):
    wide, wide_bias, fine, fine_bias = weights
    # without values of their own: those would take random numbers from the notebook
    first, later = (nn.utils.skip_init(nn.Linear, *w.shape[::-1]) for w in (wide, fine))
    first.load_state_dict({"weight": wide, "bias": wide_bias})
    later.load_state_dict({"weight": fine, "bias": fine_bias})
    values = {"hidden": hidden, "codebook": codebook, "positions": positions}
    for value in values.values():
        value.requires_grad_()
    inputs = lab.depth_inputs(hidden, codes, codebook, first, later, positions)
    steps = torch.linspace(-1, 1, inputs.numel(), dtype=inputs.dtype).view(inputs.shape)
    learned = {**values, "from_hidden's bias": first.bias, "from_codes' weight": later.weight,
               "from_codes' bias": later.bias}
    found = torch.autograd.grad((inputs * steps).sum(), list(learned.values()), materialize_grads=True)
    return {"the inputs": inputs, **{f"the gradient of {name}": g for name, g in zip(learned, found)}}

# %% trap="depth_inputs" name="the code before"
# Your input of a step is the code before it alone. It is the sum of all codes of the place so far: what is left to say
# depends on the sum.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    before = codebook[codes[:, :-1]]
    return torch.cat([from_hidden(hidden)[:, None], from_codes(before)], dim=1) + positions

# %% trap="depth_inputs" name="its own code"
# Your input of a step holds the code of that very step. It is what the step has to predict: only codes before it go in.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = codebook[codes].cumsum(dim=1)[:, 1:]
    return torch.cat([from_hidden(hidden)[:, None], from_codes(sums)], dim=1) + positions

# %% trap="depth_inputs" name="summed over places"
# You sum along axis 0, over the places. Places do not see each other here; sum along the depth, axis 1.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = codebook[codes[:, :-1]].cumsum(dim=0)
    return torch.cat([from_hidden(hidden)[:, None], from_codes(sums)], dim=1) + positions

# %% trap="depth_inputs" name="summed behind the layer"
# You apply from_codes to every code and sum after that, so that its bias is added once for each code. Sum the vectors first.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = from_codes(codebook[codes[:, :-1]]).cumsum(dim=1)
    return torch.cat([from_hidden(hidden)[:, None], sums], dim=1) + positions

# %% trap="depth_inputs" name="the state at every step"
# You add the hidden state at every step. It is the first input only; later steps see it by attention.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = F.pad(from_codes(codebook[codes[:, :-1]].cumsum(dim=1)), (0, 0, 1, 0))
    return from_hidden(hidden)[:, None] + sums + positions

# %% trap="depth_inputs" name="no positions"
# Your inputs have no positions: without them the net cannot tell the steps apart.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = codebook[codes[:, :-1]].cumsum(dim=1)
    return torch.cat([from_hidden(hidden)[:, None], from_codes(sums)], dim=1)

# %% trap="depth_inputs" name="the mean of the codes"
# You average the codes before a step. They are added: a residual code is a correction, not an opinion.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    vectors = codebook[codes[:, :-1]]
    count = torch.arange(1, codes.shape[1]).view(1, -1, 1)
    sums = vectors.cumsum(dim=1) / count
    return torch.cat([from_hidden(hidden)[:, None], from_codes(sums)], dim=1) + positions

# %% trap="depth_inputs" name="an empty first step"
# Your first input is a sum of no codes, and the hidden state is left out. The first input is the hidden state: without it
# the codes would not know the image.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = F.pad(codebook[codes[:, :-1]].cumsum(dim=1), (0, 0, 1, 0))
    return from_codes(sums) + positions

# %% trap="depth_inputs" name="the state cut off"
# Your first input is right, but no gradient reaches the hidden state: the trunk would learn nothing of images. Leave out detach.
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    sums = codebook[codes[:, :-1]].cumsum(dim=1)
    return torch.cat([from_hidden(hidden.detach())[:, None], from_codes(sums)], dim=1) + positions

# %% alternative="depth_inputs" name="step by step"
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    steps, total = [from_hidden(hidden) + positions[0]], 0
    for d in range(1, codes.size(1)):
        total = total + F.embedding(codes[:, d - 1], codebook)
        steps.append(from_codes(total) + positions[d])
    return torch.stack(steps, dim=1)

# %% alternative="depth_inputs" name="a triangle"
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    places, depth = codes.shape
    before = torch.ones(depth, depth).tril(-1)  # row d: the codes before d
    chosen = F.one_hot(codes, len(codebook)).to(codebook.dtype)
    sums = torch.einsum("dj,pjk,kc->pdc", before, chosen, codebook)
    first = torch.arange(depth).view(1, depth, 1) == 0
    return torch.where(first, from_hidden(hidden).unsqueeze(1), from_codes(sums)) + positions

# %% alternative="depth_inputs" name="place by place"
def depth_inputs(hidden, codes, codebook, from_hidden, from_codes, positions):
    rows = []
    for state, place in zip(hidden, codes):
        parts = [from_hidden(state)]
        parts += [from_codes(codebook[place[:d]].sum(0)) for d in range(1, len(place))]
        rows.append(torch.stack(parts) + positions)
    return torch.stack(rows)

# %% [markdown]
# Your inputs now go into the depth transformer of the trained model. It is asked for the codes of stickers that were
# held out: how sure is it of each code (cross-entropy; a guess among 512 codes has $\ln 512 \approx 6.2$ nats)?
# Beside it a control: the same places, but the sums are those of *another* place. If steps did not listen to the
# codes before them, that would change nothing. What do you expect of the first code, where there is no sum?

# %% experiment="depth"
from labsupport.labs.lab10.student import Lesson, Painter, Reader
from labsupport.models import pretrained

vilau = pretrained("10_unified")  # trained, in eval mode: .tower, .projector, .trunk, .depth
tower, side = vilau.tower, vilau.tower.size
seen = stickers(scale(smoke=4, cpu=60, gpu=200), side, split="triple", seed=7)
seen_text = tokenize(seen.captions)


def wrong_sums(hidden, codes, *parts):
    """Your inputs, with the codes of another place before each code."""
    return depth_inputs(hidden, codes.roll(1, dims=0), *parts)


nats = {}
with torch.no_grad():
    features, codes = vilau.look(normalize(seen.images))
    rows = [drawing(caption.tolist()) for caption in seen_text]
    for name, inputs in (("its own sums", depth_inputs), ("sums of another place", wrong_sums)):
        lesson = Lesson(vilau, mix_row, states_before, inputs)(rows, features, codes)
        wrong = F.cross_entropy(lesson.code_logits.mT, lesson.codes, reduction="none")
        nats[name] = wrong.mean(dim=0).tolist()
charts.lines(range(1, codes.shape[-1] + 1), nats, title="How sure is it of each code?", xlabel="depth",
             ylabel="nats a code")

# %% experiment="depth_in_words"
own, other = nats.values()
measured["listens"] = [b - a for a, b in zip(own, other)]
print(f"With sums of another place the first code loses {measured['listens'][0]:.2f} nats, the others "
      + ", ".join(f"{lost:.2f}" for lost in measured["listens"][1:]) + ". With its own sums the dearest is "
      f"code {np.argmax(own) + 1}, {max(own):.2f} nats, and the cheapest code {np.argmin(own) + 1}, {min(own):.2f}.")

# %% [markdown]
# **What it shows.** Read the first points of both curves, then the others. The first code cannot tell the curves
# apart, for its input is the state alone. The distance between them at the other steps is what knowing the sum is
# worth. And mind which codes are dear. Roughly what a place shows follows from caption and neighbours; its finest
# shades follow from nothing, and nobody can know them in advance.
#
# ### What the order costs
#
# Now the other order, the long row, in which the trunk itself steps through every code. The stored record has both at
# the same sizes, with the trunk, cache and guidance of this lab, the decoder left out. What do you expect at $D = 4$:
# four times the time? Is a step of the depth transformer free?

# %% experiment="order"
order = read_result("10_order")
depths = sorted({r["depth"] for r in order.records})
by_order = {name: [order.one(depth=d, order=name) for d in depths] for name in ("depth transformer", "one row")}
comparisons.growth(depths, {name: [r["seconds"] for r in found] for name, found in by_order.items()},
                   "depth transformer", title="Codes in a small transformer, or all in one row",
                   xlabel="codes a place, D")
charts.Table(["order", "D", "tokens of the trunk", "millions of MACs", "one image", "images a second, batch"],
             [[r["order"], r["depth"], r["tokens"], f"{r['macs'] / 1e6:,.0f}", f"{1000 * r['seconds']:.0f} ms",
               f"{r['images a second']:.1f}"] for found in by_order.values() for r in found],
             title=f"Stored, {order.date[:10]}, by: {order.command}")

# %% experiment="order_in_words"
ratio = {d: (b["seconds"] / a["seconds"], b["macs"] / a["macs"], a["images a second"] / b["images a second"])
         for d, a, b in zip(depths, *by_order.values())}
measured["order"] = ratio
for d, (time, macs, rate) in ratio.items():
    print(f"D = {d}: one row takes {time:.1f} times as long for an image, {macs:.1f} times the MACs, and in a batch "
          f"{rate:.1f} times as long.")

# %% [markdown]
# **How to read it.** The published depth transformer is a small part of the whole: a language model of seven billion
# parameters in front of one of about half a billion, if it has the size that is the default of its code. Here the
# trunk has six blocks and the depth transformer two of the same width, so its steps are dear: a ratio near $D$ is the
# best that could be had, and only where the small steps cost nothing. A pass of the trunk is six blocks, one of the
# depth transformer two: what counts for a single image is all blocks passed one after another. In a batch the long
# row costs more than its MACs say, most likely because every step has to fetch the keys and values of all tokens
# before it, and there are $D$ times as many.

# %% [markdown]
# ## 6 · One model, two losses
#
# One row, one trunk, and behind each of its states one of two readers: a linear layer names the next *word*, the
# depth transformer the $D$ codes of the next *place*. Both predict what comes next, so both are taught by
# cross-entropy, and nothing else is needed. Which state is taught by which?
#
# * **Words.** `labels` (section 4) has a word where one is to be learned and `IGNORE` (−100) elsewhere. The state at
#   token $t$ is for the label at $t + 1$: *logits and labels are shifted against each other by one*. The first label
#   is nobody's to predict, and the last state predicts nothing.
# * **Codes.** The states before the drawn places have gone through the depth transformer already (sections 4 and 5):
#   row $p$ of the code logits belongs to row $p$ of the codes. No further shift.
#
# With $T$ the tokens whose *next* label is a word, and $P$ the places to be drawn,
#
# $$ L = -\frac{1}{|T|} \sum_{t \in T} \log p(w_{t+1} \mid \text{all up to } t)
#      \;-\; \frac{1}{|P|\, D} \sum_{p \in P} \sum_{d=1}^{D} \log p(k_{p,d} \mid h_p, k_{p,1}, \dots, k_{p,d-1}) $$
#
# Two means, added with equal weight, as VILA-U adds them. The two means are kept apart for a reason: an image has 144
# codes here and its caption five tokens (four words and `<end>`); in one mean over everything, words would hardly
# count.
#
# A batch may hold nothing of a kind: only questions, or only images. The mean of nothing is 0/0, *not a number*, and
# one such step would ruin the weights. Where nothing is to be learned, that part is 0.
#
# ### Exercise 6 · `unified_loss` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about six lines |
# | **Shapes** | `word_logits`: `(batch, tokens, words)`; `labels`: `(batch, tokens)`, `int64`, −100 where nothing is learned; `code_logits`: `(places, D, number of codes)`; `codes`: `(places, D)`; out: a tensor of one number, without axes |
# | **Mind** | `places` may be 0, and `labels` −100 everywhere behind the first token, but not both at once |
# | **Read** | VILA-U paper, section 3.2, and RQ-VAE paper, section 3.2.2 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# `F.cross_entropy` takes logits `(n, classes)` and targets `(n,)`, leaves −100 out by itself, and returns the mean
# over the rest. `flatten(0, 1)` makes two axes one.
# </details>
# <details><summary>Hint 2: which slices make the shift?</summary>
#
# All logits but the last token's, all labels but the first.
# </details>
# <details><summary>Hint 3: "the loss is nan"</summary>
#
# Ask before you take the mean: `(labels[:, 1:] != -100).any()`, and `len(codes) > 0`.
# </details>

# %% exercise="unified_loss"
def unified_loss(word_logits, labels, code_logits, codes):
    """The loss of text and images together, a tensor without axes.

    word_logits: (batch, tokens, words). labels: (batch, tokens), −100 where nothing is learned.
    code_logits: (places, D, number of codes). codes: (places, D). places may be 0.
    """
    ### BEGIN SOLUTION
    loss, following = word_logits.new_zeros(()), labels[:, 1:].flatten()
    if (following != -100).any():
        loss = loss + F.cross_entropy(word_logits[:, :-1].flatten(0, 1), following)
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return loss
    ### END SOLUTION

# %% check="unified_loss"
with Check("unified_loss", read="section 6, the formula") as check:
    check.signature(unified_loss, "word_logits", "labels", "code_logits", "codes")
    # one row of three tokens and two words; two places of two codes each
    word_logits = torch.tensor([[[0.0, 0.0], [0.0, 3.0], [5.0, 0.0]]])
    labels = torch.tensor([[1, -100, 1]])
    code_logits = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 4.0], [0.0, 0.0]]])
    codes = torch.tensor([[0, 1], [1, 0]])
    found = unified_loss(word_logits, labels, code_logits, codes)
    check.shape(found, (), "the loss", "one number for the whole batch: a tensor without axes")
    by_word = F.cross_entropy(word_logits[0], labels[0].clamp(min=0), reduction="none")
    each = F.cross_entropy(code_logits.flatten(0, 1), codes.flatten(), reduction="none")
    text = F.cross_entropy(word_logits[0, 1], torch.tensor(1))  # token 1 has the label of token 2
    check.values(found, text + each.mean(), "the loss of one word and four codes", otherwise={
        "logits and labels are not shifted: token t would predict itself":
            F.cross_entropy(word_logits[0], labels[0]) + each.mean(),
        "the shift goes the wrong way: the state at t is for the label at t + 1":
            F.cross_entropy(word_logits[0, 1:], labels[0, :-1]) + each.mean(),
        "codes are summed over the depth; their mean is over places and depth": text + 2 * each.mean(),
        "words and codes are in one mean, so that the many codes outweigh the words": (text + each.sum()) / 5,
        "the words' sum is over the number of tokens; only what is learned counts": text / 2 + each.mean()})
    nothing = code_logits[:0], codes[:0]
    for what, kind, got, expected in (
            ("a place to be drawn", "code", unified_loss(word_logits, labels, *nothing), text),
            ("a word to be learned", "word",
             unified_loss(word_logits, torch.tensor([[1, -100, -100]]), code_logits, codes), each.mean())):
        check.that(not torch.as_tensor(got).isnan().any(), f"the loss without {what} is nan",
                   f"the mean of no {kind}s is 0/0: where none is to be learned, that part is 0")
        check.values(got, expected, f"the loss without {what}", likely="the other part alone is left")
    check.cases("10", globals())

# %% judge="unified_loss" points=3
def ask(rng):
    for title, batch, tokens, words, learned, places, depth, number in (
            ("words and codes", 3, 7, 11, 0.5, 6, 4, 9), ("one row", 1, 5, 4, 0.6, 3, 2, 5),
            ("few words, many codes", 2, 9, 5, 0.2, 12, 8, 4), ("one code a place", 2, 4, 6, 0.9, 5, 1, 7),
            ("one place", 4, 6, 3, 0.5, 1, 3, 6), ("no place to be drawn", 2, 5, 6, 0.6, 0, 4, 9),
            ("no word to be learned", 2, 5, 6, 0.0, 4, 3, 5)):
        labels = rng.integers(0, words, (batch, tokens))
        labels[rng.random((batch, tokens)) >= learned] = -100
        if learned:
            labels[-1, -1] = rng.integers(words)
        labels[:, 0] = rng.integers(words)  # which nothing predicts
        yield Case(title, word_logits=2 * randn(rng, batch, tokens, words), labels=torch.from_numpy(labels),
                   code_logits=2 * randn(rng, places, depth, number),
                   codes=torch.from_numpy(rng.integers(0, number, (places, depth))))


def drive(lab, word_logits, labels, code_logits, codes):
    values = word_logits.requires_grad_(), code_logits.requires_grad_()
    loss = lab.unified_loss(values[0], labels, values[1], codes)
    words, images = torch.autograd.grad(loss, values, materialize_grads=True)
    return {"the loss": loss, "the gradient of word_logits": words, "the gradient of code_logits": images}

# %% trap="unified_loss" name="no shift"
# Your logits and labels are not shifted: the state at a token is asked for that token's own word, which it has just read. It is for the
# label of the next token.
def unified_loss(word_logits, labels, code_logits, codes):
    loss = word_logits.new_zeros(())
    if (labels != -100).any():
        loss = loss + F.cross_entropy(word_logits.flatten(0, 1), labels.flatten())
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return loss

# %% trap="unified_loss" name="shifted the other way"
# Your shift goes the wrong way: the state at t is asked for the label at t − 1, which it has seen. Drop the last logits and the first labels.
def unified_loss(word_logits, labels, code_logits, codes):
    loss, following = word_logits.new_zeros(()), labels[:, :-1].flatten()
    if (following != -100).any():
        loss = loss + F.cross_entropy(word_logits[:, 1:].flatten(0, 1), following)
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return loss

# %% trap="unified_loss" name="summed over the depth"
# Your loss adds up the D codes of a place. It is the mean over places and depth: otherwise images weigh D times as much as text.
def unified_loss(word_logits, labels, code_logits, codes):
    loss, following = word_logits.new_zeros(()), labels[:, 1:].flatten()
    if (following != -100).any():
        loss = loss + F.cross_entropy(word_logits[:, :-1].flatten(0, 1), following)
    if len(codes):
        wrong = F.cross_entropy(code_logits.mT, codes, reduction="none")  # (places, D)
        loss = loss + wrong.sum(dim=1).mean()
    return loss

# %% trap="unified_loss" name="one mean of everything"
# You take one mean over words and codes together. There are far more codes than words, so that text hardly counts; take two means and add them.
def unified_loss(word_logits, labels, code_logits, codes):
    following = labels[:, 1:].flatten()
    words = F.cross_entropy(word_logits[:, :-1].flatten(0, 1), following, reduction="sum")
    images = F.cross_entropy(code_logits.flatten(0, 1), codes.flatten(), reduction="sum")
    return (words + images) / ((following != -100).sum() + codes.numel())

# %% trap="unified_loss" name="over all tokens"
# You divide the words' sum by the number of all tokens. It is the mean over those that are learned.
def unified_loss(word_logits, labels, code_logits, codes):
    wrong = F.cross_entropy(word_logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    loss = wrong.mean()
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return loss

# %% trap="unified_loss" name="the mean of the two"
# Your loss is half of what it should be: the two parts are added, not averaged.
def unified_loss(word_logits, labels, code_logits, codes):
    loss, following = word_logits.new_zeros(()), labels[:, 1:].flatten()
    if (following != -100).any():
        loss = loss + F.cross_entropy(word_logits[:, :-1].flatten(0, 1), following)
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return loss / 2

# %% trap="unified_loss" name="nan of nothing"
# Your loss is not a number where a batch has no words to learn, or no places to draw: the mean of nothing. That part is 0 there.
def unified_loss(word_logits, labels, code_logits, codes):
    text = F.cross_entropy(word_logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    return text + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())

# %% trap="unified_loss" name="softmax twice"
# You hand probabilities to cross_entropy, which takes logits: it makes a softmax of them once more.
def unified_loss(word_logits, labels, code_logits, codes):
    loss, following = word_logits.new_zeros(()), labels[:, 1:].flatten()
    if (following != -100).any():
        loss = loss + F.cross_entropy(word_logits[:, :-1].flatten(0, 1).softmax(-1), following)
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1).softmax(-1), codes.flatten())
    return loss

# %% trap="unified_loss" name="the mean of the rows' means"
# You take a mean for every row and then the mean of these, so that a row with few words counts as much as one with many. The
# mean is over all words that are learned.
def unified_loss(word_logits, labels, code_logits, codes):
    means = [F.cross_entropy(logits[:-1], row[1:]) for logits, row in zip(word_logits, labels)
             if (row[1:] != -100).any()]
    loss = torch.stack(means).mean() if means else word_logits.new_zeros(())
    if len(codes):
        loss = loss + F.cross_entropy(code_logits.flatten(0, 1), codes.flatten())
    return loss

# %% alternative="unified_loss" name="picked by hand"
def unified_loss(word_logits, labels, code_logits, codes):
    row, token = (labels[:, 1:] != -100).nonzero(as_tuple=True)
    words = word_logits[row, token].log_softmax(-1)
    said = words.gather(1, labels[row, token + 1][:, None])
    drawn = code_logits.log_softmax(-1).gather(-1, codes[..., None])
    return -sum(part.mean() for part in (said, drawn) if part.numel())

# %% alternative="unified_loss" name="depth by depth"
def unified_loss(word_logits, labels, code_logits, codes):
    depth = codes.shape[1]
    learned = labels[:, 1:].ne(-100)
    shifted = word_logits[:, :-1].transpose(1, 2)  # (batch, words, tokens - 1)
    text = F.cross_entropy(shifted, labels[:, 1:], reduction="sum", ignore_index=-100)
    text = text / learned.sum().clamp(min=1)
    if codes.shape[0] == 0:
        return text
    return text + sum(F.cross_entropy(code_logits[:, d], codes[:, d]) for d in range(depth)) / depth

# %% alternative="unified_loss" name="log-sum-exp"
def unified_loss(word_logits, labels, code_logits, codes):
    def wrong(logits, targets):
        logits, targets = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
        kept = targets >= 0
        logits, targets = logits[kept], targets[kept]
        chosen = (logits * F.one_hot(targets, logits.shape[-1])).sum(dim=-1)
        return (logits.logsumexp(dim=-1) - chosen).sum() / max(1, len(targets))

    return wrong(word_logits[:, :-1], labels[:, 1:]) + wrong(code_logits, codes)

# %% [markdown]
# **A small one of your own.** Now everything that you wrote works together: your rows (section 4), your depth inputs,
# your loss. A small model learns from scratch on the stored tower's tokens, a trunk of two blocks with 64 numbers a
# token; one half of each batch it reads, the other it draws. Both losses are shown from the same steps.
#
# **What to expect.** A guess among 512 codes costs 6.2 nats, one among all words somewhat less. Which of the two
# falls faster, and which stays high?

# %% experiment="training"
from time import perf_counter

from labsupport.models.vilau.config import DepthConfig, TowerConfig, TrunkConfig, VilaUConfig
from labsupport.models.vilau.model import VilaU
from labsupport.models.vilau.words import DESCRIBE
from labsupport.training import fit

pool = stickers(scale(smoke=64, cpu=2000, gpu=20000), side, seed=SEED + 1, jitter=0.5)
pool_text, batch_size = tokenize(pool.captions), 32
with torch.no_grad():  # the tower stays as it is: every image is looked at once
    looked = [vilau.look(part) for part in normalize(pool.images).split(250)]
pool_features, pool_codes = (torch.cat(parts) for parts in zip(*looked))

torch.manual_seed(SEED)
small = VilaUConfig(TowerConfig(), TrunkConfig(len(VOCABULARY), dim=64, depth=2, heads=4, hidden=176),
                    DepthConfig(hidden=64, code_dim=32, codes=512, steps=4, dim=64, depth=1, heads=4, dropout=0.0))
yours = VilaU(small, tower)
lesson = Lesson(yours, mix_row, states_before, depth_inputs)
history = {"words": [], "codes": []}


def step(number):
    chosen = torch.randint(len(pool), (batch_size,), generator=torch.Generator().manual_seed(number))
    rows = [(reading if i < batch_size // 2 else drawing)(*[DESCRIBE] * (i < batch_size // 2), pool_text[k].tolist())
            for i, k in enumerate(chosen)]
    words, labels, code_logits, wanted = lesson(rows, pool_features[chosen], pool_codes[chosen])
    with torch.no_grad():  # each part alone, to be drawn
        history["words"].append(unified_loss(words, labels, code_logits[:0], wanted[:0]).item())
        history["codes"].append(unified_loss(words, torch.full_like(labels, IGNORE), code_logits, wanted).item())
    return unified_loss(words, labels, code_logits, wanted)


learned = [p for p in yours.parameters() if p.requires_grad]
steps, start = scale(smoke=2, cpu=600, gpu=6000), perf_counter()
fit(step, torch.optim.AdamW(learned, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.03), steps=steps, clip=1.0,
    progress="your VILA-U")
yours.eval()
group = max(1, steps // 12)
points = {name: np.array(losses)[:steps // group * group].reshape(-1, group).mean(axis=1)
          for name, losses in history.items()}
charts.lines((np.arange(len(points["words"])) + 0.5) * group, points,
             title=f"One model, two losses: {sum(p.numel() for p in learned):,} weights, {perf_counter() - start:.0f} s",
             xlabel="step", ylabel="nats a word, nats a code")

# %% experiment="training_in_words"
measured["yours"] = {name: (losses[0], losses[-1]) for name, losses in points.items()}
print("; ".join(f"{name}: {first:.2f} → {last:.2f} nats, {1 - last / first:.0%} less"
                for name, (first, last) in measured["yours"].items()))

# %% [markdown]
# **How to read it.** What a caption says can be seen, and a perfect reader would pay next to nothing for its words. A
# perfect painter would still pay for codes: which of many nearly equal ones stands for a shade is a matter of chance,
# and their cross-entropy cannot fall below what chance leaves open. So compare a loss with its own past, never the
# two with each other.
#
# The stored model has a larger trunk (six blocks, 128 numbers a token), a depth transformer of two blocks, and many
# more steps. Its curves, code by code, from the record of its training:

# %% experiment="stored_curve"
record = read_result("10_unified")
curve = record.more["curve"]
marks = [m * 10**e for e in (2, 3, 4) for m in (2.5, 5, 10)]  # 250, 500, 1000, 2500, …
nearest = [min(curve, key=lambda point: abs(point["step"] - mark)) for mark in marks]
kept = list({point["step"]: point for point in [*nearest, curve[-1]]}.values())
charts.lines([point["step"] for point in kept],
             {"words": [point["text"] for point in kept],
              **{f"code {d + 1}": [point["codes"][d] for point in kept] for d in range(4)}},
             title=f"The stored model: {record.settings['steps']:,} steps", xlabel="step", ylabel="nats", logx=True)

# %% [markdown]
# ## 7 · Reading
#
# A caption is what follows an image in the row. Ask for the next word, put it into the row, ask again: the loop of
# every language model. Here the most probable word is taken each time (*greedy* decoding), since a description is not
# meant to be surprising.
#
# $$ w_{n+1} = \arg\max_w \; p(w \mid \text{image}, \text{question}, w_1, \dots, w_n) $$
#
# **Many images at once.** Rows end when they say `<end>`, and not all at the same time. A row that has ended stays in
# the batch, and stays `<end>`: whatever the model would say after it is no part of the answer. When all have ended,
# or after `length` words, the loop ends, and the model is not asked again.
#
# **An answer as a choice.** "What colour is the ground?" has eight possible answers. Among these the question is not
# *which word comes next*, but *which of the eight*: of the logits keep those of the choices, and make probabilities
# of them alone,
#
# $$ p_i = \frac{e^{z_{c_i}}}{\sum_j e^{z_{c_j}}} $$
#
# so that they add up to 1 however much probability went to words that cannot be an answer.
#
# ### Exercise 7 · `write` · 3 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | two functions: `write` (2 points), about eight lines, and `answer` (1 point), one line |
# | **`write`** | `next_logits(words)`: logits `(batch, vocabulary)` of the word that follows `words` `(batch, n)`; `words`: `(batch, n)`, `int64`, $n \ge 1$, the question, without `<end>`; `end`: the number of `<end>`; `length`: the most words to write, 1 or more. Out: the *new* words, `(batch, m)`, `int64` |
# | **`answer`** | `logits`: `(batch, vocabulary)`; `choices`: `(k,)`, `int64`, word numbers in any order; out: `(batch, k)`, in the order of `choices` |
# | **Mind** | `next_logits` is given everything so far, question and new words of all rows, and is called once for each new word, $m$ times in all. Gradients are not asked for in `write`; in `answer` they are |
# | **Read** | VILA-U paper, section 3.2 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# With a batch that never ends: a loop of `length` turns, `next_logits(words).argmax(dim=-1)`, and `torch.cat` along
# axis 1.
# </details>
# <details><summary>Hint 2: how does a row stay ended?</summary>
#
# Keep a bool for each row, `over`, False at first. `new.masked_fill(over, end)`, and then
# `over = over | (new == end)`.
# </details>
# <details><summary>Hint 3: "expected (2, 4), got (2, 5), (2, 6) or (2, 7)"</summary>
#
# Return the new words only: leave out the first `n` columns. And end the loop when `over.all()`.
# </details>

# %% exercise="write"
def write(next_logits, words, end, length):
    """The likeliest words after `words` (batch, n), one after another: (batch, m), new ones only.

    next_logits(words) -> (batch, vocabulary). A row that has said `end` stays `end`. It ends when
    all rows have, or after `length` words.
    """
    ### BEGIN SOLUTION
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
        if over.all():
            break
    return words[:, asked:]
    ### END SOLUTION


def answer(logits, choices):
    """Probabilities (batch, k) of the words `choices` (k,) among themselves, of logits (batch,
    vocabulary)."""
    ### BEGIN SOLUTION
    return logits[:, choices].softmax(dim=-1)
    ### END SOLUTION

# %% check="write"
with Check("write", read="section 7") as check:
    check.signature(write, "next_logits", "words", "end", "length")
    calls = []

    def story(words):
        """A model that counts up from the last word, and says 7 from then on that it has come to 3."""
        calls.append(words.clone())
        new = torch.where(words[:, -1] >= 3, 7, words[:, -1] + 1)
        return F.one_hot(new, 9).float()

    asked = torch.tensor([[0], [2]])
    found = write(story, asked, 7, 6)
    check.shape(found, (2, 4), "what two rows say",
                "with 5 or 7 words the question is still in front; with 6 or 7 the loop goes on when both rows have ended")
    check.values(found, [[1, 2, 3, 7], [3, 7, 7, 7]], "what two rows say (7 is <end>)")
    check.that(len(calls) == 4, f"next_logits was called {len(calls)} times for 4 words",
               "once a word, and not again when all rows have ended")
    check.that(all(c.shape[1] == 1 + i for i, c in enumerate(calls)), "next_logits was not given all words so far",
               "the question and every new word")
    check.unchanged(asked, torch.tensor([[0], [2]]), "words")

    def restless(words):
        """Says <end>, 5, <end>, 5, …"""
        return F.one_hot(torch.full((len(words),), 7 if words.shape[1] % 2 else 5), 9).float()

    two = write(lambda words: restless(words[:1]).repeat(2, 1) * torch.tensor([[1.0], [0.0]])
                + F.one_hot(torch.tensor([0, 4]), 9) * torch.tensor([[0.0], [1.0]]), torch.tensor([[0], [0]]), 7, 3)
    check.values(two, [[7, 7, 7], [4, 4, 4]], "rows of which one ends at once and one never does",
                 likely="a row that has said <end> stays <end>, whatever the model says next; length ends the others")
    check.signature(answer, "logits", "choices")
    logits = torch.tensor([[0.0, 1.0, 5.0, 3.0]])
    found = answer(logits, torch.tensor([3, 1]))
    check.shape(found, (1, 2), "the probabilities of two choices")
    check.values(found, [[0.8808, 0.1192]], "the probabilities of words 3 and 1", rtol=1e-3, otherwise={
        "these are shares of all words; the choices alone add up to 1": logits.softmax(-1)[:, [3, 1]],
        "your order is that of the vocabulary; that of choices is asked for": [[0.1192, 0.8808]],
        "these are logits, not probabilities": logits[:, [3, 1]]})
    check.cases("10", globals())

# %% judge="write" points=3
parts = {"write": 2, "answer": 1}


def ask(rng):
    for title, batch, asked, vocabulary, end, length, ends in (
            ("rows that end at different times", 4, 3, 9, 4, 12, [2, 5, 3, 7]), ("one row", 1, 2, 7, 6, 8, [4]),
            ("rows that never end", 3, 1, 8, 2, 5, [99, 99, 99]), ("some end, some do not", 3, 4, 9, 5, 6, [1, 99, 3]),
            ("all end at once", 2, 2, 6, 0, 9, [1, 1]), ("one word at most", 2, 3, 9, 8, 1, [99, 4])):
        words = rng.integers(0, vocabulary - 1, (batch, asked))  # a question does not hold <end>
        yield Case(title, part="write", table=randn(rng, batch, asked + length + 1, vocabulary), end=end,
                   words=torch.from_numpy(words + (words >= end)), length=length, ends=torch.tensor(ends))
    for title, batch, vocabulary, choices in (("four choices", 3, 12, [4, 2, 9, 7]), ("one choice", 2, 6, [5]),
                                              ("all words, backwards", 4, 5, [4, 3, 2, 1, 0]),
                                              ("one image", 1, 20, [11, 3, 19])):
        yield Case(title, part="answer", logits=3 * randn(rng, batch, vocabulary), choices=torch.tensor(choices))


def drive(lab, table=None, words=None, end=None, length=None, ends=None, logits=None, choices=None):
    if logits is not None:
        shares = lab.answer(logits.requires_grad_(), choices)
        steps = torch.arange(1, shares.numel() + 1, dtype=shares.dtype).view(shares.shape)
        (gradient,) = torch.autograd.grad((shares * steps).sum(), logits)
        return {"the probabilities": shares, "the gradient of logits": gradient}
    asked, calls = words.shape[1], []

    def next_logits(given):
        if given.dim() != 2 or len(given) != len(table):
            raise ValueError(f"next_logits was given words of the shape {tuple(given.shape)} for {len(table)} rows")
        calls.append(given.shape[1])
        said = given.long()
        # a word depends on all before it; a row says <end> at its time, and something else after it
        mixed = table[:, given.shape[1]] + torch.sin(1.0 + said.sum(1, keepdim=True) * torch.arange(1, table.shape[2] + 1))
        mixed[:, end] = torch.where(ends == given.shape[1] - asked + 1, 99.0, -99.0)
        return mixed

    found = lab.write(next_logits, words, end, length)
    return {"the new words": found, "how many words next_logits was given, call after call": calls}

# %% trap="write" name="goes on after the end"
# Your rows go on when they have said <end>. What a model says after its end is no part of the answer: an ended row stays <end>.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
        if over.all():
            break
    return words[:, asked:]


def answer(logits, choices):
    return logits[:, choices].softmax(dim=-1)

# %% trap="write" name="the first end ends all"
# Your loop ends as soon as one row has ended. The others have more to say: it ends when all have.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1)
        words = torch.cat([words, new[:, None]], dim=1)
        if (new == end).any():
            break
    return words[:, asked:]


def answer(logits, choices):
    return logits[:, choices].softmax(dim=-1)

# %% trap="write" name="always the whole length"
# Your loop asks the model again when every row has ended already. That costs a step of the model for nothing; stop there.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
    return words[:, asked:]


def answer(logits, choices):
    return logits[:, choices].softmax(dim=-1)

# %% trap="write" name="the question too"
# What you return begins with the question. Only the new words are asked for.
def write(next_logits, words, end, length):
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
        if over.all():
            break
    return words


def answer(logits, choices):
    return logits[:, choices].softmax(dim=-1)

# %% trap="write" name="the last word alone"
# You give next_logits the newest word alone. It is given everything so far: question and all new words.
def write(next_logits, words, end, length):
    over, found, given = torch.zeros(len(words), dtype=torch.bool), [], words
    for _ in range(length):
        new = next_logits(given).argmax(dim=-1).masked_fill(over, end)
        found.append(new)
        given, over = new[:, None], over | (new == end)
        if over.all():
            break
    return torch.stack(found, dim=1)


def answer(logits, choices):
    return logits[:, choices].softmax(dim=-1)

# %% trap="write" name="the end is left out"
# Your loop ends before <end> is put into the row. It is a word like others, and part of what is returned.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        over = over | (new == end)
        if over.all():
            break
        words = torch.cat([words, new[:, None]], dim=1)
    return words[:, asked:]


def answer(logits, choices):
    return logits[:, choices].softmax(dim=-1)

# %% trap="write" name="shares of all words"
# Your probabilities are shares of the whole vocabulary. Among the choices they add up to 1: take the softmax of their logits alone.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
        if over.all():
            break
    return words[:, asked:]


def answer(logits, choices):
    return logits.softmax(dim=-1)[:, choices]

# %% trap="write" name="sorted choices"
# Your probabilities are in the order of the vocabulary. The order of choices is asked for.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
        if over.all():
            break
    return words[:, asked:]


def answer(logits, choices):
    kept = torch.zeros(logits.shape[-1], dtype=torch.bool)
    kept[choices] = True
    return logits[:, kept].softmax(dim=-1)

# %% trap="write" name="softmax over the images"
# Your probabilities add up to 1 over the images of the batch. Each image has a distribution of its own: the last axis.
def write(next_logits, words, end, length):
    asked = words.shape[1]
    over = torch.zeros(len(words), dtype=torch.bool)
    for _ in range(length):
        new = next_logits(words).argmax(dim=-1).masked_fill(over, end)
        words = torch.cat([words, new[:, None]], dim=1)
        over = over | (new == end)
        if over.all():
            break
    return words[:, asked:]


def answer(logits, choices):
    return logits[:, choices].softmax(dim=0)

# %% alternative="write" name="lists of words"
def write(next_logits, words, end, length):
    said = [[] for _ in words]
    while len(said[0]) < length and not all(end in row for row in said):
        so_far = torch.cat([words, torch.tensor(said, dtype=torch.int64).reshape(len(words), -1)], dim=1)
        for row, best in zip(said, next_logits(so_far).max(dim=1).indices.tolist()):
            row.append(end if end in row else best)
    return torch.tensor(said)


def answer(logits, choices):
    kept = torch.stack([logits[:, int(c)] for c in choices], dim=1)
    return (kept - kept.logsumexp(dim=1, keepdim=True)).exp()

# %% alternative="write" name="room for all words"
def write(next_logits, words, end, length):
    batch, asked = words.shape
    row = torch.full((batch, asked + length), end)
    row[:, :asked] = words
    alive, n = torch.ones(batch, dtype=torch.bool), asked
    while alive.any() and n < asked + length:
        best = next_logits(row[:, :n]).topk(1).indices.squeeze(1)
        row[alive, n] = best[alive]
        alive = alive & row[:, n].ne(end)
        n += 1
    return row[:, asked:n]


def answer(logits, choices):
    chosen = torch.index_select(logits, 1, choices)
    weights = torch.exp(chosen - chosen.detach().amax(dim=1, keepdim=True))
    return weights / weights.sum(dim=1, keepdim=True)

# %% alternative="write" name="called again for itself"
def write(next_logits, words, end, length):
    def more(row, over, left):
        new = torch.where(over, end, next_logits(row).argmax(1)).unsqueeze(1)
        over = over | new[:, 0].eq(end)
        if left == 1 or bool(over.all()):
            return new
        return torch.cat([new, more(torch.cat([row, new], 1), over, left - 1)], 1)

    return more(words, torch.zeros(words.size(0), dtype=torch.bool), length)


def answer(logits, choices):
    mask = torch.full_like(logits, -math.inf)
    mask[:, choices] = 0
    return F.softmax(logits + mask, dim=1)[:, choices]

# %% [markdown]
# Your loop captions 200 stickers that no training shows, with the trained model: half of them *triples* (thing, place
# and ground are each known, together they are new), half *pairs* (this thing has never been on this ground). Image
# and question go through the trunk once; after that, a word is a step. Which of the four words do you expect to fail
# first?

# %% experiment="captions"
from labsupport.data.stickers import WORDS
from labsupport.models.vilau.words import QUESTIONS, numbers

each = scale(smoke=6, cpu=100, gpu=500)
held_out = {split: stickers(each, side, split=split, seed=11, jitter=0.5) for split in ("triple", "pair")}
said, right_words, right_yours = {}, {}, {}
describe = torch.tensor([numbers(DESCRIBE)])
for split, drawn in held_out.items():
    for net, right_of in ((yours, right_yours), (vilau, right_words)):
        words = write(Reader(net, normalize(drawn.images)), describe.repeat(each, 1), END, 8)
        said[split] = [text_of(row) for row in words]  # the trained model's, which comes last
        words = F.pad(words, (0, 4))[:, :4]  # what is missing is wrong
        right_of[split] = words == tokenize(drawn.captions)
some = slice(0, min(6, each))
model_views.show_captions(
    torch.cat([drawn.images[some] for drawn in held_out.values()]),
    [line for split in said for line in said[split][some]],
    [bool(ok.all()) for split in said for ok in right_words[split][some]],
    title="Your loop, the trained model: held-out triples above, pairs below")
charts.Table(["split", "all four words right", *WORDS],
             [[f"{split}{whose}", f"{ok.all(dim=1).float().mean():.1%}", *(f"{share:.1%}" for share in ok.float().mean(dim=0))]
              for whose, right_of in (("", right_words), (", your small model", right_yours))
              for split, ok in right_of.items()], title=f"{each} held-out stickers of each split")

# %% experiment="captions_in_words"
measured["captions"] = {split: ok.all(dim=1).float().mean().item() for split, ok in right_words.items()}
for split, ok in right_words.items():
    weakest = int(ok.float().mean(dim=0).argmin())
    print(f"{split}s: {measured['captions'][split]:.1%} of the captions are right in every word"
          + ("." if ok.all() else f"; the weakest word is {WORDS[weakest]}, with {ok[:, weakest].float().mean():.1%}."))

# %% [markdown]
# Now your `answer`. Four questions, each with the words that can answer it; of every question the three likeliest
# answers.

# %% experiment="answers"
from labsupport.data.stickers import CHOICES


def answers_about(reader):
    """Of each image of a reader: question -> the three likeliest answers with their probabilities."""
    found = [{} for _ in reader.seen]
    for kind, question in QUESTIONS.items():
        first = 1 + sum(len(words) for words in CHOICES[:WORDS.index(kind)])  # 0 is the empty word
        choices = torch.arange(first, first + len(CHOICES[WORDS.index(kind)]))
        shares, which = answer(reader.ask(numbers(question)), choices).topk(3)
        for about, p, words in zip(found, shares.tolist(), choices[which].tolist()):
            about[question] = [(VOCABULARY[word], share) for word, share in zip(words, p)]
    return found


from labsupport.labs.lab10.strangers import other_style, unknown_thing

odd = torch.stack([held_out["pair"].images[0], other_style(held_out["pair"].captions[0], side),
                   unknown_thing("dog", "blue", side), unknown_thing("guitar", "yellow", side)])
about = answers_about(Reader(vilau, normalize(odd)))
model_views.show_answers(odd, about, title="A held-out pair; the same in another style; a dog and a guitar")

# %% [markdown]
# **What it shows.** The first picture is of the world that the model knows. The second says the same in another
# hand's drawing, and the last two show things for which there is no word at all. Look at how the *shares* change:
# `answer` makes them add up to 1 among the choices, so something is always likeliest. A model that cannot say "none
# of these" will name a dog as what it finds nearest. Where it is and on which ground can still be right: these are
# answered from other features.

# %% [markdown]
# ## 8 · Drawing
#
# The same row, the other way round: caption first, then `<image start>`, then place after place. At each place the
# trunk makes *one* step; its state is handed to the depth transformer, which draws $D$ codes; their sum goes through
# the projector and is the trunk's next input, exactly what a true place would have been in training.
#
# **Guidance**, as in lab 09: the model draws with and without the caption, and is pushed away from what it would draw
# without. So every image has two rows, one with its caption, one with none. VILA-U writes
#
# $$ z = u + c\,(g - u) $$
#
# with $g$ the logits given the caption and $u$ those without it. $c = 1$ is no guidance, $c = 0$ forgets the caption.
# (HART wrote $(1 + t)\,g - t\,u$. That is the same with $c = 1 + t$: VILA-U's usual 3 is HART's 2.) The paper tries
# $c = 1, 2, 3, 5$ and finds an FID of 14.1, 13.0, 12.8 and 13.2 on MJHQ-30K.
#
# Two things are easy to get wrong, and both come from the same thought: *the codes of a place are one decision in $D$
# parts*.
#
# * Guidance is mixed **at every depth**. Guide only the first code, and the corrections behind it are drawn for an
#   image that the caption describes less.
# * Both rows go on with **the same codes**: those drawn from the mixed logits. The row without a caption asks "and
#   what would follow *this*, if nobody had asked for anything?" With codes of its own it would speak of another
#   image.
#
# A **painter** holds the trained model and your `depth_inputs`, and answers what your loop asks. The loop is yours:
#
# | the painter's answer | shapes |
# |:--|:--|
# | `painter.places`, `painter.depth` | $N$ and $D$ |
# | `painter.begin(captions)` | the trunk's first inputs, `(2 · batch, tokens, width)`: rows with their captions first, then as many without; call it once, first |
# | `painter.step(x)` | new inputs `(2 · batch, new, width)` behind all before (there is a cache); gives the last states `(2 · batch, width)` |
# | `painter.logits(states, codes)` | of any rows: states `(rows, width)` and the place's codes so far `(rows, d)`, `int64`, $d$ from 0; gives logits `(rows, number of codes)` of the next |
# | `painter.choose(logits)` | one code an image, by lot: `(batch, number of codes)` to `(batch,)` |
# | `painter.vectors(codes)` | the codes' vectors: any shape `(…)` to `(…, code dim)` |
# | `painter.project(sums)` | `(batch, code dim)` to the trunk's input `(batch, width)` |
#
# **What to expect.** With more guidance captions are followed more closely, and at some point too closely. Will that
# point be below 3?
#
# ### Exercise 8 · `paint_codes` · 4 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about twelve lines: what is drawn without guidance, $c = 1$, 2 points; with guidance 2 points |
# | **Input** | `painter`; `captions` `(batch, words)`, `int64`; `guidance`: the number $c$ |
# | **Output** | codes `(batch, places, D)`, `int64` |
# | **Mind** | `step` is called once a place, not again behind the last one, and always for both rows, also where $c = 1$; `choose` once a code, in the order of drawing. Gradients are not asked for |
# | **Read** | VILA-U paper, section 3.2, and its study of guidance |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# With two loops. The outer one is over the places: `states = painter.step(x)`. The inner one is over the depth, and
# begins with codes of the shape `(batch, 0)`: `torch.zeros(batch, 0, dtype=torch.int64)`.
# </details>
# <details><summary>Hint 2: "choose was given 4 rows for 2 images", or "Sizes of tensors must match"</summary>
#
# `painter.logits` takes as many rows of codes as states, `codes.repeat(2, 1)`, and has the rows with captions first: `given, free = logits.chunk(2)`. Mix them, and choose from the
# mixture.
# </details>
# <details><summary>Hint 3: the first place is right, the rest is not</summary>
#
# What is the next input? `painter.project` of the **sum** of the D vectors, `(batch, width)`: the same for both rows
# (`repeat(2, 1)`), with an axis for the one new token.
# </details>

# %% exercise="paint_codes"
def paint_codes(painter, captions, guidance):
    """Codes (batch, places, D) of images for captions (batch, words), with guidance c."""
    # Step 1: for every place a step of the trunk; Step 2: D codes, one after another, guidance at
    # each; Step 3: what they add up to is the next input of both rows
    ### BEGIN SOLUTION
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)
    ### END SOLUTION

# %% check="paint_codes"
with Check("paint_codes", read="section 8, the table and the two things that are easy to get wrong") as check:
    check.signature(paint_codes, "painter", "captions", "guidance")

    class Toy:
        """One place of two codes. With a caption every code has the logits 3, 2, 0, without one 3, 0, 0."""

        places, depth = 1, 2

        def begin(self, captions):
            return torch.zeros(2 * len(captions), 3, 1)

        def step(self, x):  # the state says whether there is a caption
            return torch.tensor([[1.0], [0.0]]).repeat_interleave(len(x) // 2, dim=0)

        def logits(self, states, codes):
            return torch.tensor([3.0, 0.0, 0.0]) + states * torch.tensor([0.0, 2.0, 0.0])

        def choose(self, logits):
            return logits.argmax(dim=-1)

        def vectors(self, codes):
            return codes[..., None].float()

        def project(self, sums):
            return sums

    captions = torch.tensor([[1, 2]])
    found = paint_codes(Toy(), captions, 1.0)
    check.shape(found, (1, 1, 2), "the codes of one image with one place", "(batch, places, D)")
    check.values(found, [[[0, 0]]], "the codes with c = 1", otherwise={
        "this is (1 + c) g − c u, HART's way to write it; c = 1 is no guidance": [[[1, 1]]]})
    check.values(paint_codes(Toy(), captions, 2.0), [[[1, 1]]], "the codes with c = 2: 3 + 2 · 0, 0 + 2 · 2, 0", otherwise={
        "there is no guidance in them": [[[0, 0]]],
        "the second code has no guidance; it is mixed at every depth": [[[1, 0]]]})
    check.cases("10", globals())

# %% judge="paint_codes" points=4
parts = {"without guidance": 2, "with guidance": 2}


def ask(rng):
    for title, part, batch, words, places, depth, guidance in (
            ("three places of two codes", "without guidance", 2, 3, 3, 2, 1.0),
            ("one image", "without guidance", 1, 2, 4, 3, 1.0), ("one code a place", "without guidance", 3, 2, 4, 1, 1.0),
            ("one place", "without guidance", 2, 4, 1, 4, 1.0), ("guidance 3", "with guidance", 2, 3, 3, 2, 3.0),
            ("guidance 1.5, one image", "with guidance", 1, 2, 4, 4, 1.5), ("guidance 0", "with guidance", 3, 2, 3, 3, 0.0),
            ("guidance 2, one code a place", "with guidance", 2, 2, 5, 1, 2.0),
            ("guidance 2.5, one place", "with guidance", 2, 3, 1, 5, 2.5)):
        number, dim = 13, 3
        yield Case(title, part=part, captions=torch.from_numpy(rng.integers(1, 9, (batch, words))),
                   places=places, depth=depth, guidance=guidance,
                   book=torch.from_numpy(rng.integers(-4, 5, (number, dim))),
                   lots=torch.from_numpy(rng.integers(0, 3, (places * depth + 1, batch, number))),
                   mixing=torch.from_numpy(rng.integers(1, 6, (3, dim, number))))


class Painter:
    """Its numbers are whole, so that no rounding decides a code."""

    def __init__(self, places, depth, book, lots, mixing):
        self.places, self.depth, self.book, self.lots, self.mixing = places, depth, book, lots, mixing
        self.batch, self.steps, self.chosen = 0, 0, 0

    def begin(self, captions):
        self.batch, self.memory = len(captions), torch.zeros(2 * len(captions), 1, self.book.shape[1])
        given = 3 * captions[..., None] + torch.arange(self.book.shape[1])
        return torch.cat([given, torch.ones_like(given)]).float()

    def step(self, x):
        if x.dim() != 3 or len(x) != 2 * self.batch or self.steps and x.shape[1] != 1:
            raise ValueError(f"step was given inputs of the shape {tuple(x.shape)}: (2 · batch, new, width) has "
                             f"{2 * self.batch} rows, and one new token behind the first call")
        if self.steps == self.places:
            raise ValueError(f"step was called more than {self.places} times for {self.places} places")
        self.steps += 1
        for token in x.float().round().unbind(dim=1):
            self.memory = (3 * self.memory + token[:, None] + 1) % 1009
        return self.memory[:, 0].clone()

    def logits(self, states, codes):
        if codes.dim() != 2 or len(codes) != len(states):
            raise ValueError(f"logits was given {len(states)} states and codes of the shape {tuple(codes.shape)}")
        if codes.shape[1] >= self.depth:
            raise ValueError(f"logits was given {codes.shape[1]} codes of a place that has {self.depth}")
        known = self.book[codes.long()]  # (rows, d, dim)
        order = torch.arange(1, known.shape[1] + 1)[:, None]
        so_far = (known * order).sum(dim=1).float() + codes.shape[1]
        first, second, third = self.mixing.float()
        return (states.float().round() @ first + so_far @ second + (states.round() * so_far) @ third) % 11

    def choose(self, logits):
        if len(logits) != self.batch:
            raise ValueError(f"choose was given {len(logits)} rows for {self.batch} images; it takes the mixed logits")
        if self.chosen == len(self.lots) - 1:
            raise ValueError("choose was called more often than there are codes")
        self.chosen += 1
        return (logits.float() + self.lots[self.chosen - 1]).argmax(dim=-1)

    def vectors(self, codes):
        return self.book[codes.long()].float()

    def project(self, sums):
        return 97 * sums.float().roll(1, dims=-1) + 1


def drive(lab, captions, places, depth, guidance, book, lots, mixing):
    painter = Painter(places, depth, book, lots, mixing)
    codes = lab.paint_codes(painter, captions, guidance)
    return {"the codes": codes, "step is called once a place": painter.steps == places}

# %% trap="paint_codes" name="HART's guidance"
# You take the guidance as HART's t, (1 + t) g − t u. VILA-U's c is 1 + t: u + c (g − u).
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose((1 + guidance) * given - guidance * free)
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="guidance at the first depth"
# You mix guidance into the first code of a place alone. The codes of a place are one decision in D parts: mix at every depth.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for d in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free) if d == 0 else given)
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="no guidance"
# You draw from the logits with the caption alone, whatever the guidance is.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            codes = torch.cat([codes, painter.choose(given)[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="the halves swapped"
# Your codes follow the rows without captions, as where the two halves are swapped: the rows with their captions come first.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            free, given = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="codes of its own"
# Your row without a caption goes on with codes of its own, the likeliest ones. Both rows go on with the same codes, or they would speak of two images.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(2 * len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, torch.cat([new, free.argmax(dim=-1)])[:, None]], dim=1)
        places.append(codes[:len(captions)])
        x = painter.project(painter.vectors(codes).sum(dim=1))[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="the last code goes on"
# Your next input is made of the last code of a place. It is made of the sum of all D: the last is only the smallest correction.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes[:, -1])).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="the first code goes on"
# Your next input is made of the first code of a place. It is made of the sum of all D, as in training.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes[:, 0])).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="projected, then summed"
# You project each code and sum after that. The projector is not linear: what it was trained on is the sum.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = sum(painter.project(painter.vectors(c)) for c in codes.unbind(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="codes that do not know each other"
# You draw all codes of a place from what the state says alone. Each has to know the codes before it: hand them to logits.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    nothing = torch.zeros(2 * len(captions), 0, dtype=torch.int64)
    for _ in range(painter.places):
        given, free = painter.logits(painter.step(x), nothing).chunk(2)
        mixed = free + guidance * (given - free)
        codes = torch.stack([painter.choose(mixed) for _ in range(painter.depth)], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="only the code before"
# You hand logits the newest code alone. It takes all codes of the place so far, and adds them up itself.
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes[:, -1:].repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=1)

# %% trap="paint_codes" name="depth before places"
# Your codes are stacked along the last axis. The shape is (batch, places, D).
def paint_codes(painter, captions, guidance):
    x, places = painter.begin(captions), []
    for _ in range(painter.places):
        states = painter.step(x)
        codes = torch.zeros(len(captions), 0, dtype=torch.int64)
        for _ in range(painter.depth):
            given, free = painter.logits(states, codes.repeat(2, 1)).chunk(2)
            new = painter.choose(free + guidance * (given - free))
            codes = torch.cat([codes, new[:, None]], dim=1)
        places.append(codes)
        x = painter.project(painter.vectors(codes).sum(dim=1)).repeat(2, 1)[:, None]
    return torch.stack(places, dim=-1)

# %% alternative="paint_codes" name="into a table"
def paint_codes(painter, captions, guidance):
    batch = captions.shape[0]
    table = torch.full((batch, painter.places, painter.depth), -1)
    states = painter.step(painter.begin(captions))
    for place in range(painter.places):
        if place:
            summed = sum(painter.vectors(table[:, place - 1, d]) for d in range(painter.depth))
            token = painter.project(summed).unsqueeze(1)
            states = painter.step(torch.cat([token, token]))
        for d in range(painter.depth):
            so_far = table[:, place, :d]
            g = painter.logits(states[:batch], so_far)
            u = painter.logits(states[batch:], so_far)
            table[:, place, d] = painter.choose(guidance * g + (1 - guidance) * u)
    return table

# %% alternative="paint_codes" name="lists and a running sum"
def paint_codes(painter, captions, guidance):
    n, found, x = len(captions), [], painter.begin(captions)
    while len(found) < painter.places * painter.depth:
        states, total, place = painter.step(x), 0, []
        while len(place) < painter.depth:
            known = torch.stack(place, 1) if place else torch.empty(n, 0, dtype=torch.long)
            z = painter.logits(states, torch.cat([known, known])).view(2, n, -1)
            t = guidance - 1
            place.append(painter.choose((1 + t) * z[0] - t * z[1]))
            total = total + painter.vectors(place[-1])
        found += place
        x = painter.project(total).expand(2, n, -1).reshape(2 * n, 1, -1)
    return torch.stack(found, 1).unflatten(1, (painter.places, painter.depth))

# %% alternative="paint_codes" name="functions of a place"
def paint_codes(painter, captions, guidance):
    def next_code(states, codes):
        logits = painter.logits(states, torch.vstack([codes, codes]))
        g, u = logits[:len(codes)], logits[len(codes):]
        return painter.choose(torch.lerp(u, g, float(guidance)))

    def place(states):
        codes = captions.new_zeros((captions.size(0), 0))
        while codes.size(1) < painter.depth:
            codes = torch.hstack([codes, next_code(states, codes).view(-1, 1)])
        return codes

    rows = [place(painter.step(painter.begin(captions)))]
    for _ in range(painter.places - 1):
        new = painter.project(painter.vectors(rows[-1]).sum(-2))
        rows.append(place(painter.step(torch.stack([new, new]).flatten(0, 1)[:, None, :])))
    return einops.rearrange(rows, "n b d -> b n d")

# %% [markdown]
# Your loop, your depth inputs, the trained model: held-out captions with $c = 1, 2, 3$ and the same lots, and beside
# them your small model of section 6. What an image shows is read by lab 09's two **judges**, classifiers that were
# used in no training of a generator: it is *right* when a judge finds place, tint, thing and ground in it. The
# **temperature** divides the logits before a code is drawn: below 1, likely codes become likelier. Then the images of
# $c = 1$ *built up*: the same codes, but only the first one, two, three of each place. What will the first code alone
# show?

# %% experiment="guidance"
from labsupport.data.transforms import to_unit
from labsupport.models.judges import judge

judges = {name: pretrained(f"08_judge_{name}") for name in ("a", "b")}
TEMPERATURE, CHOSEN = record.records[0]["temperature"], record.more["chosen"]  # on captions of training
asked = stickers(scale(smoke=3, cpu=40, gpu=400), side, split="triple", seed=5, jitter=0.5)
asked_text, sheets, painted = tokenize(asked.captions), {}, {}
for c in (1.0, 2.0, 3.0):
    painter = Painter(vilau, depth_inputs, temperature=TEMPERATURE)
    painted[c] = paint_codes(painter, asked_text, c)
    sheets[c] = painter.decode(painted[c])


def right(images, net):
    """The share of `asked` whose image shows everything that the caption says, by a judge."""
    return (judge(net, normalize(images))[1] == asked.attributes).all(dim=1).float().mean().item()


by_judges = {c: [right(images, net) for net in judges.values()] for c, images in sheets.items()}
measured["guidance"] = {c: np.mean(shares) for c, shares in by_judges.items()}
few = min(5, len(asked))
small_painter = Painter(yours, depth_inputs, temperature=TEMPERATURE)
by_yours = small_painter.decode(paint_codes(small_painter, asked_text[:few], 2.0))
model_views.show_drawn({f"c = {c:g}": images[:few] for c, images in sheets.items()}
                       | {f"your small model,\nc = 2, {steps:,} steps": by_yours}, asked.captions[:few],
                       title="Your loop: held-out captions with growing guidance",
                       alt="Judged right, in the order of the first columns: "
                           f"{', '.join(f'{share:.0%}' for share in measured['guidance'].values())}.")
charts.Table(["c", *(f"{c:g}" for c in sheets)],
             [[f"right, judge {name}", *(f"{shares[i]:.0%}" for shares in by_judges.values())]
              for i, name in enumerate(judges)],
             title=f"{len(asked)} held-out captions, temperature {TEMPERATURE:g}")

# %% experiment="guidance_in_words"
best = max(measured["guidance"], key=measured["guidance"].get)
error = 100 * math.sqrt(0.25 / len(asked))  # at most, of one share
print(f"Of {len(asked)} captions the judges find most to be right at c = {best:g}: "
      + ", ".join(f"{share:.0%} (c = {c:g})" for c, share in measured["guidance"].items())
      + f". One standard error is up to {error:.0f} points.")

# %% experiment="built_up"
made = {f"{d} code{'s' * (d > 1)}": painter.decode(painted[1.0][:few, :, :d]) for d in range(1, painter.depth + 1)}
model_views.show_drawn(made, asked.captions[:few], title="The same drawn codes, the first one to four of each place",
                       alt="Each caption's image with more and more codes a place.")
measured["built up"] = [np.mean([(judge(net, normalize(painter.decode(painted[1.0][..., :d])))[1]
                                  == asked.attributes).all(dim=1).float().mean().item() for net in judges.values()])
                        for d in range(1, painter.depth + 1)]
print("Judged right with the first 1 to 4 codes: " + ", ".join(f"{share:.0%}" for share in measured["built up"]))

# %% [markdown]
# **How to read it.** Depth is another axis than space. HART's first scales are a blurred *whole*; here every place is
# there from its first code on, and all of them are rough: later codes refine values and add no place. Look along a
# row for the column from which you would name the thing yourself.
#
# Guidance asks for what the caption makes *more likely than usual*. So captions are followed more closely, up to a
# point. Beyond it codes are picked that stand for the caption more than any real place does. And where both rows are
# sure of the same code, on plain ground say, their difference speaks of codes that neither would take, and a large
# $c$ makes much of it: look for patches in another ground's colour. (That is why `choose` keeps only the likeliest
# codes that together have a share of 0.96, as VILA-U does.) Where the turn lies depends on the model and on how much
# its captions leave open; in the published sweep it is at 3.
#
# Below, captions from the other held-out split: this thing was never on this ground in training.

# %% experiment="sheet"
shown = stickers(scale(smoke=4, cpu=18, gpu=36), side, split="pair", seed=SEED + 3).captions
painter = Painter(vilau, depth_inputs, temperature=TEMPERATURE)
sheet = painter.decode(paint_codes(painter, tokenize(shown), CHOSEN))
figures.show_images(sheet, shown, columns=6, inches=2.1, title=f"Held-out pairs of thing and ground, c = {CHOSEN:g}",
                    alt="What the model draws of captions that it has never met:")

# %% [markdown]
# ## 9 · Measured
#
# Three questions are left: does alignment with text help to *understand*, how good is one model at both, and how does
# it stand beside HART?
#
# ### Does alignment help to read?
#
# VILA-U's paper says so, strongly: a tower trained by reconstruction alone has a VQAv2 of 57.7 and an MM-Vet of 15.3,
# with the contrastive loss 68.0 and 20.8. And reconstruction pays for it (rFID 1.80 against 1.30). Section 3 measured
# the price here. For the gain, small readers (a trunk without drawing) learn to caption from frozen tokens of either
# tower, from 250 captioned images up to one for every image of a reader's training. A mean stands with the deviation
# of its seeds where there are several. They are the readers' seeds: there is one tower of each kind, so what a second
# training of the towers would change is not in it. Some readers are trained for longer too: is what alignment gives
# still there, or had the others only not come to their end?
#
# But mind a trap in the comparison. The aligned tower *itself* has learned from captions, as many as it was shown
# images. So there is a third tower, aligned with the same 1,000 captions as its reader. (They are half of each of its
# batches; the other half has no captions and is only rebuilt.) What can it tell that the first two cannot? And what
# do you expect: where does alignment help, with few captions or with many?

# %% experiment="alignment"
alignment = read_result("10_alignment")
brief, longer = sorted({r["steps"] for r in alignment.records})  # steps that a reader is trained
NAMES = {"aligned": "aligned tower", "plain": "reconstruction alone", "aligned on few captions": "aligned on 1,000 captions"}
splits_of = {"pair": "held-out pairs", "style": "another drawing style"}
for split, title in splits_of.items():
    charts.scaling_curves({NAMES[name]: [r for r in alignment.records
                                         if (r["tower"], r["split"], r["steps"]) == (name, split, brief)]
                           for name in NAMES if any(r["tower"] == name for r in alignment.records)},
                          x="captioned", panels={"the whole caption": "caption", "where is it?": "answer place"},
                          title=f"Readers on frozen tokens: {title}", xlabel="images with captions", ylabel="right, percent")

# %% experiment="alignment_table"
def shares_of(tower, split, key, steps=brief):
    """Of each number of captioned images: the share in percent, seed by seed."""
    found = {}
    for r in sorted(alignment.records, key=lambda r: (r["captioned"], r["seed"])):
        if (r["tower"], r["split"], r["steps"]) == (tower, split, steps):
            found.setdefault(r["captioned"], {})[r["seed"]] = 100 * r[key]
    return found


def spread(values, form=".1f"):
    values = list(values)
    return f"{np.mean(values):{form}}" + (f" ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else "")


amounts = sorted({r["captioned"] for r in alignment.records if r["steps"] == brief})
rows, measured["alignment"] = [], {}
for split in ("train", "triple", "pair", "style"):
    for key in ("caption", "said place", "said tint", "said thing", "said ground"):
        with_it, without = (shares_of(name, split, key) for name in ("aligned", "plain"))
        gains = {n: np.array([share - without[n][seed] for seed, share in with_it[n].items() if seed in without[n]])
                 for n in amounts}
        if key == "caption":
            measured["alignment"][split] = {n: (g.mean(), g.std(ddof=1) if len(g) > 1 else None) for n, g in gains.items()}
        rows.append([split, key.removeprefix("said "), *(f"{'+' if g.mean() >= 0 else '−'}{spread(abs(g.mean()) + g - g.mean())}"
                                                          for g in gains.values())])
charts.Table(["split", "right", *(f"{n:,} captioned" for n in amounts)], rows,
             title=f"Aligned minus reconstruction alone, in points, {brief} steps: mean and deviation of the seeds")

# %% experiment="alignment_in_words"
for split, gains in measured["alignment"].items():
    clear = [n for n, (gain, deviation) in gains.items() if deviation is not None and abs(gain) > 2 * deviation]
    said_so = ", ".join(f"{gains[n][0]:+.1f} points with {n:,}" for n in clear) if clear else "none"
    print(f"{split}: differences of more than twice the seeds' deviation: {said_so}.")
third = shares_of("aligned on few captions", "pair", "caption")
if third:
    (few_captions, values), = third.items()
    print(f"A tower that has seen no more than the reader's {few_captions:,} captions: {spread(values.values())}% of held-out "
          f"pairs, against {spread(shares_of('aligned', 'pair', 'caption')[few_captions].values())}% (aligned) and "
          f"{spread(shares_of('plain', 'pair', 'caption')[few_captions].values())}% (reconstruction alone).")
for split in ("train", "pair"):
    by_tower = [shares_of(name, split, "caption", longer) for name in ("aligned", "plain")]
    print(f"{longer} steps in the place of {brief}, {split}: " + "; ".join(
        f"{spread(by_tower[0][n].values())}% against {spread(by_tower[1][n].values())}% with {n:,} captioned images"
        for n in by_tower[0]) + ".")
found_by = {name: {one["split"]: one for one in found} for name, found in alignment.more.get("towers", {}).items()}
for name, found in found_by.items():
    print(f"{NAMES[name]}: PSNR {found['pair']['psnr']:.1f} dB on held-out pairs.")

# %% [markdown]
# ### One model, both ways
#
# The stored record of the one checkpoint, 500 images and 500 captions of each split. Guidance and temperature are
# those with which the judges found most to be right, on captions of training. Then a question that only a model with
# both abilities can be asked: does it
# *recognise what it has drawn*? Your `write` reads your own drawings from section 8, and the judges read them too.

# %% experiment="one_model"
reading_of = {r["split"]: r for r in record.more["reading"]}
drawing_of = {r["split"]: r for r in record.records if r["guidance"] == CHOSEN}
rows = []
for split, r in reading_of.items():
    d = drawing_of[split]
    rows.append([split, f"{r['caption']:.1%}", *(f"{r['answer ' + word]:.1%}" for word in WORDS),
                 f"{d['all a']:.1%} / {d['all b']:.1%}", f"{d['distance']:.1f}"])
measured["one model"] = {split: (reading_of[split]["caption"], (d["all a"] + d["all b"]) / 2, d["distance"])
                         for split, d in drawing_of.items()}
charts.Table(["split", "captions right", *(f"answers: {word}" for word in WORDS), "drawn right (judge a / b)", "Fréchet distance"],
             rows, title=f"One checkpoint reads and draws (guidance {CHOSEN:g}, temperature {TEMPERATURE:g})")

# %% experiment="itself"
rows, measured["itself"] = [], {}
for c, images in sheets.items():
    own = write(Reader(vilau, normalize(images)), describe.repeat(len(asked), 1), END, 8)
    own = F.pad(own, (0, 4))[:, :4] == asked_text
    measured["itself"][c] = own.all(dim=1).float().mean().item()
    rows.append([f"c = {c:g}", f"{measured['itself'][c]:.0%}", *(f"{share:.0%}" for share in by_judges[c])])
charts.Table(["drawn with", "its own caption is the one asked for", "right, judge a", "right, judge b"], rows,
             title=f"The model reads its own {len(asked)} drawings")

# %% [markdown]
# ### HART against VILA-U
#
# The lecture ends on this comparison. Both systems draw the same 500 captions of each held-out split at 48 pixels;
# guidance and temperature of each were chosen on the same captions of training, by the least distance. For VILA-U
# that is another temperature than in the table above, so its numbers differ a little. Time is one thread's, guidance
# on, decoder included.

# %% experiment="comparison"
comparison = read_result("10_comparison")
systems = ("HART", "VILA-U")
held = {(r["system"], r["split"]): r for r in comparison.records}
real = {(r["images"], r["split"]): r for r in comparison.more.get("real", [])}


def both(text, form, split="triple"):
    """A row of the table: what it is, and the value of each system."""
    return [text, *(form(held[name, split]) for name in systems)]


rows = [row for split in ("triple", "pair") for row in (
    both(f"Fréchet distance, {split}s", lambda r: f"{r['distance']:.1f}", split),
    both(f"captions drawn right (judge a / b), {split}s", lambda r: f"{r['judge_a']:.1%} / {r['judge_b']:.1%}", split),
    both(f"CLIP score, {split}s", lambda r: f"{r['clip']:.1f}", split))]
if real:
    rows += [[f"real images through its codes (HART: and true residual), distance, {split}s",
              *(f"{real[f'rebuilt, {name}', split]['distance']:.1f}" for name in systems)] for split in ("triple", "pair")]
rows += [
    both("one image", lambda r: f"{r['milliseconds']:.0f} ms"),
    both("images a second, batch of 64", lambda r: f"{r['images a second']:.1f}"),
    both("millions of MACs an image", lambda r: f"{r['macs'] / 1e6:,.0f}"),
    both("parameters", lambda r: f"{r['parameters']:,}"),
    both("tokens of the large net an image", lambda r: f"{r['tokens']}"),
    both("codes an image", lambda r: f"{r['codes']}"),
    both("steps of the large net", lambda r: f"{r['steps']}"),
    both("steps of the small net", lambda r: f"{r['small steps']}" + (" (diffusion)" if r["diffusion"] else "")),
    both("diffusion", lambda r: "yes" if r["diffusion"] else "no"),
    both("can say what an image shows", lambda r: "no" if r["captions"] is None else f"yes: {r['captions']:.1%} right"),
    both("… of held-out pairs", lambda r: "no" if r["captions"] is None else f"yes: {r['captions']:.1%} right", "pair")]
charts.Table(["measured on the same captions", *systems], rows,
             title=f"HART against VILA-U, stored {comparison.date[:10]}, by: {comparison.command}")

# %% experiment="comparison_chart"
comparisons.bars({f"{name}, {split}s": [held[name, split][judged] for judged in ("judge_a", "judge_b")]
                  for split in ("triple", "pair") for name in systems}, highlight=[f"VILA-U, {s}s" for s in ("triple", "pair")],
                 title="Captions drawn right: a dot for each judge", xlabel="judged right, percent")

# %% experiment="comparison_in_words"
a, b = (held[name, "pair"] for name in systems)
measured["against HART"] = {"distance": (a["distance"], b["distance"]), "time": b["milliseconds"] / a["milliseconds"],
                            "rate": a["images a second"] / b["images a second"], "macs": b["macs"] / a["macs"],
                            "right": 50 * (b["judge_a"] + b["judge_b"] - a["judge_a"] - a["judge_b"])}
against = measured["against HART"]
print(f"On held-out pairs VILA-U's images have a distance of {b['distance']:.1f} to real ones, HART's {a['distance']:.1f}, and "
      f"{abs(against['right']):.1f} points {'fewer' if against['right'] < 0 else 'more'} of its captions are drawn right. It takes {against['time']:.1f} times as long for one image, "
      f"{against['rate']:.1f} times as long in batches of 64, and {against['macs']:.2f} times the MACs. It can say what an image shows, HART cannot.")

# %% [markdown]
# **How to read it.** The two spend their passes differently. HART writes a *scale* in a pass, few passes of many
# tokens; VILA-U writes a *place* in a pass, many passes of one token, and short ones inside each. HART adds a
# diffusion of what codes leave out; VILA-U has more codes a place and nothing behind them, so it can hardly do better
# than what real images become in its own codes (a row of the table). And it carries its reader with it: one set of
# weights, a good third of whose lessons were reading. None of this says which idea is better at full size: both
# systems are tiny here, were trained for about an hour each, and their tokenizers differ.

# %% [markdown] question="q_alignment" points=1
# ### Question 1 · 1 point
#
# Answer from the figures and the table "Aligned minus reconstruction alone", and from section 3, in four to six
# sentences, with numbers.
#
# (a) With how many captioned images, in which split and for which word is the gain of alignment clearest, compared
# with the deviation of its seeds, and is it more than twice that? Name an entry of the table in which nothing is
# gained. Is there one, or another measure, in which alignment harms? (b) The published gain is large (VQAv2 57.7 →
# 68.0). What do the third tower and the readers that were trained for longer say about where such a gain comes from,
# and what would you measure at full size to find out?
#
# ### BEGIN SOLUTION
# Model answer. (a) On held-out pairs, after 300 steps: 7.6 ± 3.4 points with 250 captioned images,
# 12.4 ± 3.5 with 1,000, 16.3 ± 0.7 with 4,000, 14.8 ± 0.5 with 9,600. The largest is at 4,000, more than twenty times
# the deviation of the seeds. The word that carries it is *thing* (19.3 ± 0.3); the ground is read off either tower.
# Place with 4,000 is 1.7 ± 2.1 points worse, within the seeds; in the other style no caption's gain is beyond twice
# the deviation, and one cell is worse by more than that: tint with 1,000, −3.3 ± 0.6 (one of 80 cells, three seeds
# each: it may be chance). And the gain is in good part one of speed: three times as many steps leave 7.5 points with
# 1,000 captioned images (68.7 against 61.2%) and none with 28,800 (79.7 both, one seed). What harms is section 3's
# distance, 44.0 against 17.8. (b) The aligned tower has seen a caption with every image, the third just the reader's
# 1,000, and stands between: 37.6% on held-out pairs, against 43.2 and 30.8. So about half of the gain is the
# objective's, which makes more of the same captions; the rest is mostly in captions that were spent before the reader
# came. (Not all of it need be: the third tower compares 16 captioned images in a batch, the aligned one 32.) At full
# size: the contrastive loss on the very captions that the language model learns from, or a reader's accuracy against
# all captions spent, those of the tower included, and after training to the end.
#
# Rubric. ½ point: (a) a cell with gain and deviation, and one without a gain. ½ point: (b) what the third tower
# separates, and a measurement that counts all captions.
# ### END SOLUTION

# %% [markdown] question="q_one_model" points=1
# ### Question 2 · 1 point
#
# Answer from *your* tables of section 8 ("… held-out captions, temperature …") and section 9 ("The model reads its own
# … drawings"), and from HART against VILA-U, in four to six sentences, with numbers.
#
# (a) For each guidance: how many of your drawings does the model read as what was asked for, and how many do the
# judges? What can a model know about its own mistakes, and what would you need before you let it choose the best of
# four drawings? (b) One image: HART or VILA-U, and by how much? A batch of 64? Which numbers of the table explain the
# difference between the two answers?
#
# ### BEGIN SOLUTION
# Model answer. (a) Gives the three pairs of shares. Where the model's own share is above the judges', it accepts
# drawings that others refuse: it reads and draws with the same trunk and the same codes, so a patch that it takes for
# a fox when drawing it takes for a fox when reading; where it is below, it misreads what is right. Either way
# agreement with oneself is not correctness: what is needed is how often it is right when it says yes and when it says
# no, by a judge that was not in the loop. If its yes is much more often right than its no, choosing the best of four
# by its own reading helps. (b) One image: HART, 46 ms against 324, 7.0 times less. A batch of 64: level, 35.2 images
# a second against 34.7. For one image the passes count, 4 and 8 short ones against 36 and 144. In a batch the work
# counts, and of that VILA-U has less (318 million MACs against 505); that it is not faster all the same shows that
# 180 passes cost something in a batch too.
#
# Rubric. ½ point: (a) numbers of both, and why agreement with oneself is not correctness. ½ point: (b) both ratios,
# with steps for the one and MACs for the other.
# ### END SOLUTION

# %% [markdown]
# ## Play: show it something, tell it something
#
# One checkpoint, both ways. On the left, pick a picture (or another *variant* of it, drawn afresh): what does the
# model say, and how sure is it of each answer? There are things that it has no word for, and a style that it has
# never seen. On the right, type a caption: a place (big, left, right, top, bottom), perhaps a tint (red, green,
# blue), a thing and "on" a ground. Does it know its own drawings? What does guidance 5 do?

# %% widget="both_ways"
from labsupport.data.stickers import GROUNDS, attributes_of, draw_stickers
from labsupport.labs.lab10.strangers import UNKNOWN, any_caption
from labsupport.labs.lab10.widget import unified_explorer


def sticker_of(caption):
    """A function from a variant to the sticker of a caption."""
    return lambda variant: draw_stickers(attributes_of([caption]), side, seed=variant).images[0]


pictures = {f"{caption} ({split})": sticker_of(caption) for split, drawn in held_out.items() for caption in drawn.captions[:3]}
pictures |= {"any sticker": lambda variant: draw_stickers(attributes_of([any_caption(variant)]), side, seed=variant).images[0],
             "a fox in another style": lambda variant: other_style("big fox on blue", side, variant),
             "an owl in another style": lambda variant: other_style("left owl on pink", side, variant),
             **{f"a thing without a word: {name}": lambda variant, name=name: unknown_thing(name, GROUNDS[variant % len(GROUNDS)], side)
                for name in UNKNOWN}}


def say(image):
    """The caption and the four answers for an image (3, size, size) in [0, 1]."""
    reader = Reader(vilau, normalize(image[None]))
    return text_of(write(reader, describe, END, 8)[0]), answers_about(reader)[0]


def draw(caption, guidance, seed):
    """An image (3, size, size) for a caption."""
    painter = Painter(vilau, depth_inputs, seed=seed, temperature=TEMPERATURE)
    return painter.decode(paint_codes(painter, tokenize([caption]), guidance))[0]


unified_explorer(say, draw, pictures, "big blue fox on yellow", CHOSEN)

# %% [markdown]
# ## 10 · Published and measured

# %%
def stored(name):
    """A stored result, or None where it is still to be measured."""
    try:
        return read_result(name)
    except FileNotFoundError:
        return None


def shown_value(make):
    """A sentence made of results, or the words that they are still to be measured."""
    try:
        return make()
    except (KeyError, TypeError, AttributeError, StopIteration, ValueError):
        return "not measured yet"


towers, by_depth, beginnings = stored("10_visual_towers"), stored("10_depths"), stored("10_start")


def whole(name, split, key, depth=4):
    """What a tower's images rebuilt from all codes have."""
    found = next(s for s in towers.one(tower=name)["splits"] if s["split"] == split)["rebuilt"]
    return next(r for r in found if r["depth"] == depth)[key]


def last_of(start):
    """The last record of a beginning."""
    return max((r for r in beginnings.records if r["start"] == start), key=lambda r: r["step"])


charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["depth buys fidelity without a larger codebook", "4 codes of 16,384 a place at 256 px, 16 at 384 px: rFID 1.80, 1.25",
     shown_value(lambda: "PSNR with 1, 2, 4, 8 codes: " + ", ".join(
         f"{by_depth.one(depth=d, codes=512)['psnr']:.1f}" for d in (1, 2, 4, 8)) + " dB"),
     "convolutions of a few minutes' training, 48 pixels, 512 codes"],
    ["D steps of a small net in the place of D · N of the large", "not measured in the paper",
     shown_value(lambda: "one row takes " + ", ".join(f"{r[0]:.1f}" for r in measured["order"].values())
                 + f" times as long at D = {', '.join(map(str, measured['order']))}"),
     "here the small net is a third of the large one; a language model is a dozen times its depth transformer"],
    ["alignment makes tokens readable", "VQAv2 57.7 → 68.0, MM-Vet 15.3 → 20.8",
     shown_value(lambda: "captions of held-out pairs: " + "; ".join(
         f"{gain:+.1f}{'' if d is None else f' ± {d:.1f}'} points with {n:,} captioned"
         for n, (gain, d) in measured["alignment"]["pair"].items())),
     "other tasks; readers here begin from nothing and learn for minutes, published ones begin as language models"],
    ["… and reconstruction pays for it", "rFID 1.80 against 1.30 (RQ-VAE alone)",
     shown_value(lambda: f"PSNR {whole('10_tower', 'pair', 'psnr'):.1f} against {whole('10_tower_plain', 'pair', 'psnr'):.1f} dB, distance "
                 f"{whole('10_tower', 'pair', 'distance'):.1f} against {whole('10_tower_plain', 'pair', 'distance'):.1f} (held-out pairs)"),
     "other features and images; the weights of the two losses were not tuned"],
    ["from scratch both losses together fail; begin with what text has taught", "5% zero-shot from scratch, 73.3% from SigLIP's weights (ImageNet)",
     shown_value(lambda: "captions found: " + "; ".join(f"{start} {last_of(start)['captions']:.0%} at {last_of(start)['psnr']:.1f} dB"
                                                        for start in ("scratch", "contrastive first"))),
     "eight grounds and 48 things are learned from few images; ImageNet's thousand classes are not"],
    ["one model reads and draws", "VQAv2 75.3, MJHQ-30K FID 12.8 (256 px)",
     shown_value(lambda: "; ".join(f"{split}: captions {r:.1%}, drawn right {d:.1%}" for split, (r, d, _) in measured["one model"].items())),
     "other tasks; every word of a caption has to be right here"],
    ["your loops, live", "–",
     shown_value(lambda: "captions " + ", ".join(f"{share:.0%} ({split}s)" for split, share in measured["captions"].items())
                 + "; drawn right " + ", ".join(f"{share:.0%} (c = {c:g})" for c, share in measured["guidance"].items())),
     "fewer images than in the record"],
    ["guidance: more, then too much", "FID at c = 1, 2, 3, 5: 14.1, 13.0, 12.8, 13.2",
     shown_value(lambda: "drawn right, triples: " + ", ".join(
         f"{(r['all a'] + r['all b']) / 2:.0%} (c = {r['guidance']:g})" for r in record.records if r["split"] == "triple")),
     "shares judged right, not FID; a small model, and captions that leave little open"],
    ["HART against VILA-U: images", "MJHQ-30K FID 5.22 at 512 px (HART), 7.69 at 384 px (VILA-U)",
     shown_value(lambda: "distance, held-out pairs: {:.1f} (HART), {:.1f} (VILA-U)".format(*measured["against HART"]["distance"])),
     "HART's residual tokens mend what codes leave out; a good third of VILA-U's lessons is reading"],
    ["HART against VILA-U: time", "no diffusion, but a step a token",
     shown_value(lambda: "one image {time:.1f} times as long, a batch {rate:.1f} times, MACs {macs:.2f} times".format(**measured["against HART"])),
     "36 places here; 256 and 729 in VILA-U, where four passes against hundreds count for more"],
], title="Published · measured here · why they differ")

# %% [markdown]
# **Where we fall short.** The world is closed: 48 things of one drawing each, four words to a caption, and "held out"
# means put together anew. The language model begins from nothing, where VILA-U's begins as Llama 2 and knows the
# world from text. Judges were trained on the same drawings. One seed of training stands behind the stored model.
#
# ## Where next
#
# **What the full-size system does besides.** VILA-U begins its tower from SigLIP's weights and trains it on 700
# million pairs; the language model is Llama 2 with 7 billion parameters, trained on captions, interleaved web pages
# and 15 million pairs for drawing. The same rows hold videos. Sampling keeps the 900 likeliest codes and of these the
# share 0.96.
#
# **What others do.** All of these read and draw with one language model; they part on two questions: one encoder for
# both tasks or two, and next token or flow for the image.
#
# * **Janus-Pro** (Chen et al., 2025) keeps next-token prediction for both and *separates the encoders*: continuous
#   SigLIP features to read, codes of a plain VQ tokenizer, 576 an image and one a place, to draw.
# * **Show-o2** (Xie et al., 2025) *shares* one continuous representation, made of a video autoencoder's latents by a
#   semantic and a low-level path that are fused; words come from a language head by next token, images from a *flow*
#   head by flow matching.
# * **BAGEL** (Deng et al., 2025) *separates* both: a SigLIP-like encoder to read, an autoencoder's latents to draw,
#   each with transformer weights of its own that share self-attention; words by next token, images by rectified
#   *flow*.
# * **TUNA** (Liu et al., 2025) *shares* again, and in a row: an autoencoder's latents go through a pretrained
#   representation encoder, and the same continuous tokens serve for both; words by next token, images by *flow*
#   matching.
#
# VILA-U's two answers are shared tokens and codes. Of these four, two share and two do not, and three have left codes
# for flow.
#
# **To try.**
#
# * Let the model choose: draw four, and keep the one that it reads as the caption. By how much do the judges agree
#   more often?
# * Give `yours` the tower without alignment (`pretrained("10_tower_plain")`), or more questions and fewer drawings.
#   What does each task pay?
# * Draw the first code of every place by lot and the others greedily, and the other way round. Where does variety
#   come from?
# * Put "what is it" behind an image that the model is drawing, when it is half done.
#
# ## References
#
# * Y. Wu et al., *VILA-U: a Unified Foundation Model Integrating Visual Understanding and Generation*, ICLR 2025: the
#   paper of this lab.
# * D. Lee et al., *Autoregressive Image Generation using Residual Quantization*, CVPR 2022: residual codes and the
#   depth transformer.
# * X. Zhai et al., *Sigmoid Loss for Language Image Pre-Training*, ICCV 2023: SigLIP.
# * H. Tang et al., *HART: Efficient Visual Generation with Hybrid Autoregressive Transformer*, ICLR 2025.
# * J. Ho, T. Salimans, *Classifier-Free Diffusion Guidance*, 2022.
# * H. Touvron et al., *Llama 2: Open Foundation and Fine-Tuned Chat Models*, 2023.
# * X. Chen et al., *Janus-Pro: Unified Multimodal Understanding and Generation with Data and Model Scaling*, 2025.
# * J. Xie, Z. Yang, M. Z. Shou, *Show-o2: Improved Native Unified Multimodal Models*, 2025.
# * C. Deng et al., *Emerging Properties in Unified Multimodal Pretraining*, 2025: BAGEL.
# * Z. Liu et al., *TUNA: Taming Unified Visual Representations for Native Unified Multimodal Models*, 2025.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
#
# ## Glossary
#
# * **alignment**: training image tokens so that an image and its caption get similar vectors.
# * **autoregressive**: each piece is predicted from all before it.
# * **codebook**: the list of vectors that a code's number points to.
# * **commitment**: the part of the loss that draws features to their codes.
# * **depth**: how many codes a place has, $D$.
# * **depth transformer**: the small net that writes the $D$ codes of a place one after another.
# * **greedy**: always the most probable next token.
# * **guidance**: how far logits are pushed, $c$, from what would be drawn without a caption.
# * **hidden state**: what the trunk knows at a token, before any reader makes logits of it.
# * **place**: one cell of an image's map; one step of the trunk.
# * **projector**: two layers from the tower's features to the trunk's inputs.
# * **residual quantisation**: every code stands for what the codes before it left over.
# * **teacher forcing**: training on the true earlier pieces in the place of the model's own.
# * **tower**: encoder, quantiser and decoder: images to codes and back.
# * **trunk**: the language model, which words and images share.
