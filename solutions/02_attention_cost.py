# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "02"
#   title: "What attention costs: windows, sparse windows, linear attention"
#   minutes: 180
#   masks: ["models/attention.py", "models/layers.py", "models/windows.py", "models/swin.py",
#           "models/efficientvit/attention.py"]
# ---

# %% [markdown]
# # Lab 02 · What attention costs
#
# Lab 01 ended with a bill: twice the side of the image, sixteen times the attention. The reason
# is one table, the attention weights, with a row and a column for each of $N$ tokens. (In this
# lab *the table* is always that one.) This lab is about the three ways out that today's fast
# vision transformers take:
#
# * **hear fewer tokens**: attention within windows, which shift from layer to layer (Swin);
# * **skip what is empty**: group only the tokens that hold something (sparse windows, FlatFormer);
# * **never make the table**: change the formula so that the products can be taken in another order
#   (linear attention, EfficientViT).
#
# You build all of them, prove your shifted windows equal to torchvision's, and then measure time
# and memory against the number of tokens. What you bring home is a figure: five kinds of
# attention, five straight lines, and their slopes.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 The bill | `attention_cost` | 3 | 15 | easy |
# | 2 Cut the map | `windows` | 3 | 15 | easy |
# | 3 Attend in a window | `window_attention` | 5 | 30 | medium |
# | 4 Shift the windows | `shifted_windows` | 4 | 30 | hard |
# | 5 Skip what is empty | `sparse_windows` | 4 | 25 | hard |
# | 6 Never make the table | `linear_attention` | 4 | 20 | medium |
# | 7 Measure well | `measurement` | 3 | 20 | medium |
# | 8 to 11 The claim | two written questions | 4 | 30 | medium |
#
# **30 points, about three hours.** You need lab 01's attention and heads, `reshape` and
# `permute`. With all exercises solved the notebook runs in two to three minutes on a laptop, in
# under 2 GB of memory; nothing is downloaded. When you hand in, your code is asked about fresh
# inputs that only you get; what every exercise may count on is folded up below. Terms are
# explained in the glossary at the end.
#
# <!-- contract -->

# %% [markdown]
# ## Set up
#
# Run the next three cells, as in lab 01: `"cpu"` for a laptop or Colab, `"smoke"` for seconds,
# `"gpu"` for the long runs.

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport.notebook import environment

environment.report(PROFILE);

# %% tags=["setup"]
import json
import math
import sys
import time

import einops
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport.data import data_path, scenes
from labsupport.labs.lab02 import cost_figures, footprints
from labsupport.labs.lab02 import cost_study as study
from labsupport.labs.lab02.cost_widget import cost_explorer
from labsupport.notebook import plot as figures
from labsupport.notebook.check import Check
from labsupport.notebook.plot import charts, maps
from labsupport.notebook.profile import profile
from labsupport.profiling import count_macs, memory_events

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %%
# A picture of 28 x 28 tokens, and the tokens of it that hold some of an object
scene = scenes(1, size=224, objects=(3, 3), scale=(0.3, 0.42), seed=4)
picture, drawn = scene.images[0], scene.instance_map[0]
filled = footprints.filled_tokens(drawn, 28)  # (28, 28)

# %% experiment="footprints"
footprints.show_footprints(picture, filled, window=7, token=6 * 28 + 19, captions=[
    "hears all, N² pairs", "hears its window", "across the old rims", "hears its group",
    "hears a summary of all"], title="Five kinds of attention: whom the framed token hears")

# %% [markdown]
# This is the picture to remember. Each panel shows one layer; bright is what the token in the
# frame hears. The first panel is the attention of lab 01. The three in the middle hear
# less; the last hears everything, but not everyone by name. What each of them costs, and how far
# news travels when many layers are stacked, is what you measure below.

# %% [markdown]
# ## 1 · The bill
#
# Take a map of $H \times W = N$ tokens of dimension $D$, and attention with $h$ heads of
# $d = D/h$ channels each. The work is in matrix products, and a product of an $(n, k)$ with a
# $(k, m)$ matrix takes $n k m$ multiply-accumulates (MACs; two floating-point operations, FLOPs,
# each):
#
# | step | shapes | MACs |
# |:--|:--|:--|
# | queries, keys, values, output | four times $(N, D)(D, D)$ | $4ND^2$ |
# | scores $QK^\top$, in each head | $(N, d)(d, N)$ | $h \cdot N^2 d = N^2 D$ |
# | shares times values $AV$, in each head | $(N, N)(N, d)$ | $N^2 D$ |
#
# Between the last two steps stands **the table** $A$: $N^2$ numbers *in each head*, so $4hN^2$
# bytes in float32. It is what fills the memory.
#
# Within windows of $M \times M$ tokens nothing changes but the number of tokens that one token
# hears: $M^2$ instead of $N$. The attention term becomes $2NM^2D$, linear in $N$. Where $M$ does
# not divide the map, it is *padded* with zeros first, and the padding costs as much as tokens do,
# in the projections too.
#
# ### Exercise 1 · `attention_cost` · 3 points · 15 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about eight lines that returns four exact integers |
# | **Shapes** | numbers in, a `dict` with the keys `"projections"`, `"attention"`, `"flops"`, `"table bytes"` out |
# | **Allowed** | everything; batch one, float32 (4 bytes), no biases, no softmax, no norms |
# | **Read** | Swin paper, section 3.2, equations 1 and 2 (which leave padding out) |
#
# <details><summary>Hint 1: two cases or one?</summary>
#
# One. Everything follows from two numbers: how many tokens are computed, and how many each of them
# hears. Without windows both are $N$.
# </details>
# <details><summary>Hint 2: my count is too small when the window does not fit</summary>
#
# A map of 9 × 16 with windows of 7 becomes 14 × 21: round the number of windows *up* along each
# axis, `math.ceil(height / window)` or `-(-height // window)`. All 294 tokens are projected.
# </details>
# <details><summary>Hint 3: a factor of h or of 2 is missing</summary>
#
# MACs do not depend on the number of heads, because $h \cdot d = D$. The table does: each head has
# its own. And `"flops"` is two for every MAC, of projections and attention together.
# </details>

# %% exercise="attention_cost"
def attention_cost(height, width, dim, heads, window=None):
    """What one attention layer costs on a map of height x width tokens (batch 1, float32).

    window: side of the windows, None for a table of all tokens with all tokens. A map that
    windows do not fit is padded below and to the right.
    Returns {"projections": MACs of the four linear layers, "attention": MACs of QKᵀ and AV,
    "flops": two for each of these MACs, "table bytes": size of the attention weights}.
    """
    # Step 1: how many tokens are computed, and how many does each of them hear?
    # Step 2: the four numbers
    ### BEGIN SOLUTION
    if window is None:
        tokens = heard = height * width
    else:
        windows = math.ceil(height / window) * math.ceil(width / window)
        heard = window**2
        tokens = windows * heard
    projections = 4 * tokens * dim**2
    attention = 2 * tokens * heard * dim
    return {
        "projections": projections,
        "attention": attention,
        "flops": 2 * (projections + attention),
        "table bytes": 4 * heads * tokens * heard,
    }
    ### END SOLUTION

# %% check="attention_cost"
with Check("attention_cost", read="section 1, the table of steps") as check:
    check.signature(attention_cost, "height", "width", "dim", "heads", "window")
    got = attention_cost(2, 3, 8, 4)
    wanted = ["projections", "attention", "flops", "table bytes"]
    check.that(isinstance(got, dict) and set(wanted) <= set(got),
               f"attention_cost does not return a dict with the keys {', '.join(wanted)}")
    # By hand: 6 tokens of dimension 8. 4 · 6 · 64, 2 · 36 · 8, twice their sum, 4 · 4 · 36.
    check.values([got[key] for key in wanted[:2]], [1536, 576], "the MACs of 2 x 3 tokens, dim 8",
                 otherwise={
        "QKᵀ or AV is missing: there are two products with N² D each": [1536, 288],
        "there are four linear layers, one of them after attention": [1152, 576],
        "MACs do not depend on heads: h heads of D / h channels": [1536, 576 * 4],
    })
    check.values(got["flops"], 4224, "flops", otherwise={
        "these are MACs; each is two FLOPs": 2112, "the projections count too": 1152})
    check.values(got["table bytes"], 576, "table bytes", likely="every head has a table of its "
                 "own, and a float32 takes four bytes")
    check.cases("02", globals())

# %% judge="attention_cost" points=3
parts = {"MACs and FLOPs": 2, "table bytes": 1}


def ask(rng):
    for part, keys in (("MACs and FLOPs", ["projections", "attention", "flops"]),
                       ("table bytes", ["table bytes"])):
        for title, height, width, window in (
            ("no windows", 3, 11, None),
            ("no windows, one row", 1, 17, None),
            ("no windows, a large map", 500, 301, None),
            ("windows that fit", 12, 20, 4),
            ("windows that fit neither way", 13, 9, 5),
            ("windows that fit one way only", 14, 10, 7),
            ("a window larger than the map", 3, 5, 7),
            ("windows of one token", 4, 6, 1),
            ("one head", 10, 7, 3),
        ):
            heads = 1 if title == "one head" else int(rng.integers(2, 7))
            yield Case(title, part=part, keys=keys, height=height, width=width,
                       dim=heads * int(rng.integers(3, 30)), heads=heads, window=window)


def drive(lab, keys, height, width, dim, heads, window):
    inputs = (height, width, dim, heads) if window is None else (height, width, dim, heads, window)
    bill = lab.attention_cost(*inputs)
    return {key: bill[key] for key in keys if key in bill} if isinstance(bill, dict) else bill

# %% trap="attention_cost" name="padding forgotten"
# Your counts equal what you get when the padding is left out: where windows do not fit, the map is
# padded, and every padded token costs as much as a real one.
def attention_cost(height, width, dim, heads, window=None):
    tokens = height * width
    heard = tokens if window is None else window**2
    projections, attention = 4 * tokens * dim**2, 2 * tokens * heard * dim
    return {"projections": projections, "attention": attention,
            "flops": 2 * (projections + attention), "table bytes": 4 * heads * tokens * heard}

# %% trap="attention_cost" name="projections not padded"
# Your counts equal what you get when only attention works on the padded map. The projections do so
# too: every padded token is projected.
def attention_cost(height, width, dim, heads, window=None):
    if window is None:
        tokens = heard = height * width
    else:
        heard = window**2
        tokens = math.ceil(height / window) * math.ceil(width / window) * heard
    projections, attention = 4 * height * width * dim**2, 2 * tokens * heard * dim
    return {"projections": projections, "attention": attention,
            "flops": 2 * (projections + attention), "table bytes": 4 * heads * tokens * heard}

# %% trap="attention_cost" name="windows rounded down"
# Your counts equal what you get when the number of windows is rounded down along each axis. It is
# rounded up: what is left over fills a window with padding.
def attention_cost(height, width, dim, heads, window=None):
    if window is None:
        tokens = heard = height * width
    else:
        heard = window**2
        tokens = (height // window) * (width // window) * heard
    projections, attention = 4 * tokens * dim**2, 2 * tokens * heard * dim
    return {"projections": projections, "attention": attention,
            "flops": 2 * (projections + attention), "table bytes": 4 * heads * tokens * heard}

# %% trap="attention_cost" name="window not used"
# Your counts equal what you get when `window` is not used: with windows, a token hears the tokens
# of its window only.
def attention_cost(height, width, dim, heads, window=None):
    tokens = height * width
    projections, attention = 4 * tokens * dim**2, 2 * tokens * tokens * dim
    return {"projections": projections, "attention": attention,
            "flops": 2 * (projections + attention), "table bytes": 4 * heads * tokens**2}

# %% trap="attention_cost" name="one table for all heads"
# Your counts equal what you get when all heads share one table: every head has its own, of 4 bytes
# a number.
def attention_cost(height, width, dim, heads, window=None):
    if window is None:
        tokens = heard = height * width
    else:
        heard = window**2
        tokens = math.ceil(height / window) * math.ceil(width / window) * heard
    projections, attention = 4 * tokens * dim**2, 2 * tokens * heard * dim
    return {"projections": projections, "attention": attention,
            "flops": 2 * (projections + attention), "table bytes": 4 * tokens * heard}

# %% trap="attention_cost" name="MACs called FLOPs"
# Your flops equal the number of MACs: a multiply-accumulate is two floating-point operations.
def attention_cost(height, width, dim, heads, window=None):
    if window is None:
        tokens = heard = height * width
    else:
        heard = window**2
        tokens = math.ceil(height / window) * math.ceil(width / window) * heard
    projections, attention = 4 * tokens * dim**2, 2 * tokens * heard * dim
    return {"projections": projections, "attention": attention,
            "flops": projections + attention, "table bytes": 4 * heads * tokens * heard}

# %% alternative="attention_cost" name="window by window"
def attention_cost(height, width, dim, heads, window=None):
    bill = {"projections": 0, "attention": 0, "flops": 0, "table bytes": 0}
    tall, wide = (window, window) if window else (height, width)
    for top in range(0, height, tall):
        for left in range(0, width, wide):
            n = tall * wide
            bill["projections"] += sum(n * dim * dim for _ in "qkvo")
            bill["attention"] += sum(2 * n * n * (dim // heads) for _ in range(heads))
            bill["table bytes"] += heads * n * n * 4
    bill["flops"] = 2 * bill["projections"] + 2 * bill["attention"]
    return bill

# %% alternative="attention_cost" name="counted without computing"
def attention_cost(height, width, dim, heads, window=None):
    if window is not None:
        height, width = height + -height % window, width + -width % window
    n = height * width if window is None else window * window
    x = torch.empty(height * width // n, n, dim, device="meta")
    q = x.unflatten(2, (heads, -1)).transpose(1, 2)
    layer = nn.Linear(dim, dim, device="meta")
    projections = 4 * count_macs(layer, x)
    attention = count_macs(lambda: (q @ q.transpose(2, 3)) @ q)
    return {"projections": projections, "attention": attention,
            "flops": 2 * projections + 2 * attention,
            "table bytes": (q @ q.transpose(2, 3)).numel() * 4}

# %% [markdown]
# A formula is worth what it agrees with. The next cell holds yours against an attention layer that
# runs: its MACs are counted product by product, and the largest piece of memory that PyTorch asks
# for while it runs must be the table, to the byte. The layer is given; its heart, the `core`, is
# any function of queries, keys and values, so that you can put your own into it later.

# %% tags=["setup"]
def softmax_core(q, k, v):
    """Lab 01's attention, written out: (batch, heads, tokens, d) each, to the same shape."""
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


class AttentionLayer(nn.Module):
    """Projections around a `core` of queries, keys, values: (batch, tokens, dim) to the same."""

    def __init__(self, dim, heads, core):
        super().__init__()
        self.heads, self.core = heads, core
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        return self.proj(einops.rearrange(self.core(q, k, v), "b h n d -> b n (h d)"))

# %%
DIM, HEADS, WINDOW = 64, 2, 7  # of every layer that is measured below
rows = []
for side in (14, 21, 28):
    layer, x = AttentionLayer(DIM, HEADS, softmax_core), torch.randn(1, side * side, DIM)
    bill = attention_cost(side, side, DIM, HEADS)
    with torch.no_grad():
        counted, largest = count_macs(layer, x), max(memory_events(layer, x))
    agree = bill["flops"] == 2 * counted and bill["table bytes"] == largest
    rows.append([f"{side} × {side}", f"{bill['flops']:,}", f"{2 * counted:,}",
                 f"{bill['table bytes']:,}", f"{largest:,}", "yes" if agree else "no"])
measured["formula"] = "equal" if all(row[-1] == "yes" for row in rows) else "not equal"
charts.Table(["tokens", "FLOPs, your formula", "FLOPs, counted", "table bytes, your formula",
              "largest allocation", "equal"], rows,
             title="The formula is exact, to the operation and to the byte")

# %% [markdown]
# ## 2 · Cut the map into windows
#
# Windows are patches of tokens: lab 01's first exercise again, one level up, and with the channel
# *last*, as all of Swin's maps are. A map `(batch, height, width, channels)` becomes a batch of
# short sentences `(batch · windows, M², channels)`, each of which any attention layer can read.
#
# The order matters, because the mask of section 4 has to know which window is which: **image by
# image, then window row by window row, and inside a window token row by token row.**

# %%
figures.show_patches(picture, 56, title="Sixteen windows: sixteen short sentences instead of one",
                     alt="A drawing of a slice of pizza, a panda and a house.")

# %% [markdown]
# ### Exercise 2 · `windows` · 3 points · 15 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | `window_partition` and its inverse `window_reverse`, about three lines each |
# | **Shapes** | `(batch, height, width, channels)` to `(batch * windows, window * window, channels)`, and back |
# | **Inputs** | `window` divides height and width; a map may be a transpose, not in order in memory |
# | **Allowed** | everything in PyTorch and einops |
# | **Read** | Swin paper, section 3.2, figure 2 |
#
# <details><summary>Hint 1: I do not know where to begin</summary>
#
# As in lab 01: split, reorder, merge. Give height two axes (window row, row inside) and width two
# axes. The channel is last already and stays there.
# </details>
# <details><summary>Hint 2: "RuntimeError: view size is not compatible with input tensor's size and stride"</summary>
#
# After `permute` the numbers are no longer in order in memory, so `view` refuses; `reshape` copies.
# A map that is a transpose is not in order to begin with.
# </details>
# <details><summary>Hint 3: window_reverse gives back a scrambled map</summary>
#
# The number of images is not given, but `-1` finds it: split the first axis into `(-1, height //
# window, width // window)` and the second into `(window, window)`. Then the same two axes trade
# places as on the way there.
# </details>

# %% exercise="windows"
def window_partition(x, window):
    """Cut a map into windows.

    x: (batch, height, width, channels); window divides height and width.
    Returns (batch * windows, window * window, channels): image by image, windows row by row,
    tokens in a window row by row.
    """
    # Step 1: give height and width two axes each; Step 2: reorder; Step 3: merge
    ### BEGIN SOLUTION
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    x = x.permute(0, 1, 3, 2, 4, 5)  # (batch, window rows, window columns, M, M, channels)
    return x.reshape(-1, window * window, channels)
    ### END SOLUTION


def window_reverse(windows, window, height, width):
    """Put the windows of `window_partition` back together.

    windows: (batch * windows, window * window, channels).
    Returns (batch, height, width, channels).
    """
    # The steps of window_partition, last one first
    ### BEGIN SOLUTION
    channels = windows.shape[2]
    x = windows.reshape(-1, height // window, width // window, window, window, channels)
    x = x.permute(0, 1, 3, 2, 4, 5)  # (batch, window rows, M, window columns, M, channels)
    return x.reshape(-1, height, width, channels)
    ### END SOLUTION

# %% check="windows"
with Check("windows", read="section 2, the order") as check:
    check.signature(window_partition, "x", "window")
    check.signature(window_reverse, "windows", "window", "height", "width")

    # Two maps of 4 x 6 tokens; the number 123 is map 1, row 2, column 3.
    places = torch.tensor([[[[100.0 * b + 10 * y + x] for x in range(6)] for y in range(4)]
                           for b in range(2)])
    got = window_partition(places.clone(), 2)
    check.shape(got, (12, 4, 1), "two maps of 4 x 6 in windows of 2")
    corner = torch.tensor([0, 2, 4, 20, 22, 24, 100, 102, 104, 120, 122, 124])  # top left tokens
    by_column = torch.tensor([0, 20, 2, 22, 4, 24, 100, 120, 102, 122, 104, 124])
    inside = torch.tensor([0, 1, 10, 11])
    check.values(got[..., 0], corner[:, None] + inside, "the windows", draw=True, otherwise={
        "your windows are numbered column by column": by_column[:, None] + inside,
        "your windows take turns between the images: all first windows, then all second":
            corner.view(2, 6).T.reshape(12)[:, None] + inside,
        "tokens run down the columns of a window": corner[:, None] + inside[[0, 2, 1, 3]],
        "a reshape without permute: your windows are stretches of memory": places.view(12, 4),
    })
    check.cases("02", globals())

# %% judge="windows" points=3
parts = {"window_partition": 1.5, "window_reverse": 1.5}


def ask(rng):
    # sizes of one case are all different, or an exchange of two axes would not show
    for title, batch, height, width, channels, window in (
        ("two maps, wider than tall", 2, 9, 15, 4, 3),
        ("three maps, taller than wide", 3, 20, 8, 7, 4),
        ("one map, one window", 1, 5, 5, 4, 5),
        ("a column of windows, one channel", 1, 21, 7, 1, 7),
        ("windows of one token", 2, 2, 3, 2, 1),
    ):
        x = randn(rng, batch, height, width, channels)
        yield Case(title, part="window_partition", x=x, window=window)
        yield Case(title, part="window_reverse", height=height, width=width, window=window,
                   windows=randn(rng, x[..., 0].numel() // window**2, window**2, channels))
    yield Case("a map that is a transpose", part="window_partition", x=randn(rng, 2, 4, 6, 3),
               window=2, transposed=True)


def drive(lab, window, x=None, transposed=False, windows=None, height=0, width=0):
    given = windows if x is None else x
    given.requires_grad_()
    if x is None:
        name, out = "map", lab.window_reverse(windows, window, height, width)
    else:
        if transposed:
            x = x.transpose(1, 2).contiguous().transpose(1, 2)  # not in order in memory
        name, out = "windows", lab.window_partition(x, window)
    steps = torch.arange(out.numel(), dtype=out.dtype).view(out.shape)
    (gradient,) = torch.autograd.grad((out * steps).sum(), given)
    return {name: out, "gradient": gradient}

# %% trap="windows" name="column-major"
# Your windows equal what you get when they are numbered column by column. Windows run like reading:
# along the first row of windows, then the second.
def window_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (b w h) (p q) c", p=window, q=window)


def window_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b h w) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)

# %% trap="windows" name="images take turns"
# Your windows equal what you get when the images take turns, window by window. Windows come image
# by image: all of the first map, then all of the second.
def window_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (h w b) (p q) c", p=window, q=window)


def window_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b h w) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)

# %% trap="windows" name="tokens run down"
# Your windows equal what you get when the tokens of a window run down its columns. They run along
# its rows, like reading.
def window_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (b h w) (q p) c", p=window, q=window)


def window_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b h w) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)

# %% trap="windows" name="no permute"
# Your windows equal a reshape without a permute: they are stretches of memory, parts of rows of the
# map, and no squares.
def window_partition(x, window):
    return x.reshape(-1, window**2, x.shape[3])


def window_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b h w) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)

# %% trap="windows" name="reverse scrambles"
# Your window_reverse equals a reshape without a permute: the map then holds the rows of one window
# after the other instead of windows side by side.
def window_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (b h w) (p q) c", p=window, q=window)


def window_reverse(windows, window, height, width):
    return windows.reshape(-1, height, width, windows.shape[2])

# %% trap="windows" name="reverse by columns"
# Your map equals what you get when windows are put back column by column. They are numbered like
# reading: along the first row of windows, then the second.
def window_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (b h w) (p q) c", p=window, q=window)


def window_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b w h) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)

# %% alternative="windows" name="einops"
def window_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (b h w) (p q) c", p=window, q=window)


def window_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b h w) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)

# %% alternative="windows" name="loops"
def window_partition(x, window):
    found = []
    for image in x:
        for top in range(0, x.shape[1], window):
            for left in range(0, x.shape[2], window):
                found.append(image[top:top + window, left:left + window].flatten(0, 1))
    return torch.stack(found)


def window_reverse(windows, window, height, width):
    across = width // window
    each = height // window * across
    images = []
    for first in range(0, len(windows), each):
        bands = []
        for row in range(first, first + each, across):
            squares = [w.reshape(window, window, -1) for w in windows[row:row + across]]
            bands.append(torch.cat(squares, dim=1))
        images.append(torch.cat(bands, dim=0))
    return torch.stack(images)

# %% alternative="windows" name="split and stack"
def window_partition(x, window):
    bands = torch.stack(x.split(window, dim=1), dim=1)  # (batch, window rows, M, width, channels)
    squares = torch.stack(bands.split(window, dim=3), dim=2)
    return squares.flatten(3, 4).flatten(0, 2)


def window_reverse(windows, window, height, width):
    squares = windows.unflatten(1, (window, window))
    squares = squares.unflatten(0, (-1, height // window, width // window))
    return squares.transpose(2, 3).flatten(3, 4).flatten(1, 2)

# %% [markdown]
# ## 3 · Attention within a window
#
# Inside a window attention is what it was in lab 01, with one addition. A window is so small that
# it pays to learn how much *each relative position* matters: Swin adds a bias $B$ to the scores,
#
# $$ \operatorname{attention}(Q, K, V) =
#    \operatorname{softmax}\!\left(\frac{QK^\top}{\sqrt d} + B\right) V , $$
#
# *after* the scaling and *before* the softmax. $B$ has $M^2 \times M^2$ entries in every head,
# but an entry depends only on how query and key lie to each other: on the difference of their
# rows, from $-(M-1)$ to $M-1$, and of their columns. That makes $(2M-1)^2$ learned biases a head,
# kept in one parameter with a row for each relative position and a column for each head. For
# query $i$ at $(r_i, c_i)$ and key $j$ at $(r_j, c_j)$ it is row
#
# $$ (r_i - r_j + M - 1)\,(2M - 1) + (c_i - c_j + M - 1) . $$

# %% [markdown]
# ### Exercise 3 · `window_attention` · 5 points · 30 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | `relative_position_index`, about five lines, and the class `WindowAttention`, about fifteen |
# | **Shapes** | index: `(M², M²)` integers, query first; layer: `(batch * windows, M², dim)` to the same shape |
# | **Names** | `qkv` (layout 3, heads, d) · `proj` · `relative_position_bias_table` `((2M-1)², heads)`, zeros at the start |
# | **Mask** | `None`, or `(windows, M², M²)` to be added to the scores of each image's windows, in all heads |
# | **Allowed** | everything in PyTorch, `F.scaled_dot_product_attention` with `attn_mask` included |
# | **Read** | Swin paper, section 3.2, equation 4 |
#
# <details><summary>Hint 1: how do I get the index without four loops?</summary>
#
# Write down row and column of all $M^2$ tokens (lab 01, positions). A difference of every token
# with every token is broadcasting: `row[:, None] - row[None, :]`, queries down, keys across. For
# $M = 2$ the first line is 4, 3, 1, 0.
# </details>
# <details><summary>Hint 2: "The size of tensor a (4) must match the size of tensor b (...)" when adding bias or mask</summary>
#
# Scores are `(batch * windows, heads, M², M²)`. Indexing `relative_position_bias_table` with the
# index gives `(M², M², heads)`: move heads to the front. The mask has no axis for heads:
# `mask[:, None]`. And it is given once for the windows of *one* image.
# </details>
# <details><summary>Hint 3: right without a mask, wrong with one and several images</summary>
#
# Windows come image by image, so the mask must be repeated as a whole, 0 1 2 0 1 2 (`repeat`), not
# 0 0 1 1 2 2 (`repeat_interleave`). Or split the first axis of the scores into `(batch, windows)`,
# add `mask[None, :, None]`, and merge again.
# </details>

# %% exercise="window_attention"
def relative_position_index(window):
    """Row of the bias table for every pair of tokens in a window: int64 (window², window²).

    Entry (i, j) is for query i and key j; tokens run row by row.
    """
    # Step 1: row and column of every token
    # Step 2: their differences, query minus key, moved up to start at 0
    # Step 3: one number for each pair
    ### BEGIN SOLUTION
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1  # (window², window²), 0 to 2 * window - 2
    across = column[:, None] - column[None, :] + window - 1
    return down * (2 * window - 1) + across
    ### END SOLUTION


class WindowAttention(nn.Module):
    """Multi-head attention in windows with relative position bias.

    Parameters: qkv.weight (3 * dim, dim), qkv.bias; proj.weight (dim, dim), proj.bias;
    relative_position_bias_table ((2 * window - 1)², heads), zeros at the start.
    """

    def __init__(self, dim, window, heads):
        super().__init__()
        # Step 1: keep what forward needs; make the two linear layers and the table
        ### BEGIN SOLUTION
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("index", relative_position_index(window), persistent=False)
        ### END SOLUTION

    def forward(self, x, mask=None):
        """x: (batch * windows, window², dim); mask: None or (windows, window², window²)."""
        # Step 2: queries, keys, values, each (batch * windows, heads, window², d)
        # Step 3: scaled scores, plus bias, plus mask
        # Step 4: softmax, values, heads joined, output projection
        ### BEGIN SOLUTION
        count, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(count, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch * windows, heads, window², d)
        bias = self.relative_position_bias_table[self.index]  # (window², window², heads)
        scores = q @ k.transpose(-2, -1) / math.sqrt(dim // self.heads) + bias.permute(2, 0, 1)
        if mask is not None:
            scores = scores + mask.repeat(count // len(mask), 1, 1)[:, None]
        x = scores.softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).flatten(2))
        ### END SOLUTION

# %% check="window_attention"
with Check("window_attention", read="section 3, the formula for B and its row") as check:
    check.signature(relative_position_index, "window")
    check.signature(WindowAttention, "dim", "window", "heads")
    index = torch.tensor([[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]])
    got = relative_position_index(2)
    check.shape(got, (4, 4), "relative_position_index(2)")
    check.values(got, index, "relative_position_index(2)", draw=True, otherwise={
        "key minus query instead of query minus key: the index is transposed": index.T,
        "the difference of columns counts 2M - 1 and that of rows 1: exchange them":
            torch.tensor([[4, 1, 3, 0], [7, 4, 6, 3], [5, 2, 4, 1], [8, 5, 7, 4]]),
        "without + M - 1, negative differences give negative rows": index - 4,
    })

    layer = WindowAttention(12, 2, 3)
    check.parameters(layer, {"qkv.weight": (36, 12), "qkv.bias": (36,), "proj.weight": (12, 12),
                             "proj.bias": (12,), "relative_position_bias_table": (9, 3)})
    x = torch.linspace(-1, 1, 288).view(6, 4, 12)  # two images of three windows
    check.shape(layer(x), (6, 4, 12), "WindowAttention(12, 2, 3) of (6, 4, 12)")
    check.cases("02", globals())

# %% judge="window_attention" points=5
parts = {"relative_position_index": 2, "WindowAttention": 3}
# the gradient of the keys' bias is 0, a sum that cancels; scores near −100 leave more of it
tolerance = dict(rtol=1e-4, atol=1e-4)


def index_of(window):
    place = torch.arange(window**2)
    row, column = place // window + window - 1, place % window + window - 1
    return (row[:, None] - place // window) * (2 * window - 1) + column[:, None] - place % window


def ask(rng):
    for window in (2, 1, 3, 7):
        plural = "s" * (window > 1)
        yield Case(f"a window of {window**2} token{plural}", part="relative_position_index",
                   window=window)
    for title, batch, windows, window, dim, heads, masked in (
        ("no mask, one head", 1, 3, 2, 5, 1, False),
        ("no mask, two images, three heads", 2, 2, 3, 12, 3, False),
        ("two images with a mask, three heads", 2, 3, 2, 12, 3, True),
        ("three images of one window with a mask", 3, 1, 3, 8, 2, True),
        ("one image with a mask, four heads of one channel", 1, 4, 3, 4, 4, True),
        ("windows of one token", 2, 2, 1, 6, 2, True),
        ("a mask of −100 in whole lines", 2, 3, 2, 8, 2, True),
    ):
        mask = randn(rng, windows, window**2, window**2) if masked else None
        if title.startswith("a mask of"):
            mask = torch.where(mask > 0, 0.0, -100.0)
            mask[1:, 1] = -100.0
        yield Case(title, part="WindowAttention", x=randn(rng, batch * windows, window**2, dim),
                   window=window, heads=heads, mask=mask, index=index_of(window))


def drive(lab, window, x=None, heads=1, mask=None, index=None):
    if x is None:
        return {"index": lab.relative_position_index(window)}
    right = window

    def given(window):
        if window != right:
            raise ValueError(f"relative_position_index of {window} for windows of {right}")
        return index.clone()

    with lab.replacing(relative_position_index=given):
        layer = lab.WindowAttention(x.shape[-1], window, heads)
        table = layer.relative_position_bias_table
        start = table.detach().clone()
        fill_parameters(layer, seed=5)
        with torch.no_grad():
            table.mul_(3)  # a bias that matters
        x.requires_grad_()
        output = layer.eval()(x) if mask is None else layer.eval()(x, mask)
        kept = not any(part.training for part in layer.modules())
        in_training = layer.train()(x, mask)
        kept = kept and all(part.training for part in layer.modules())
    steps = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (in_training * steps).sum().backward()
    return {
        "parameters": {name: list(p.shape) for name, p in sorted(layer.named_parameters())},
        "parameters that learn": sorted(n for n, p in layer.named_parameters() if p.requires_grad),
        "table at the start": start, "output": output, "output in training mode": in_training,
        "gradients": {"x": x.grad} | {name: p.grad for name, p in layer.named_parameters()},
        "the layer stays in the mode, training or not, that it was put in": kept,
    }

# %% trap="window_attention" name="index transposed"
# Your index takes key minus query instead of query minus key: it is transposed, and every token
# takes what lies to its left for what lies to its right.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[None, :] - row[:, None] + window - 1
    across = column[None, :] - column[:, None] + window - 1
    return down * (2 * window - 1) + across


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.index = heads, relative_position_index(window)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        added = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            added = added + mask.repeat(len(x) // len(mask), 1, 1)[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=added)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% trap="window_attention" name="rows and columns exchanged"
# In your index the difference of columns counts 2M - 1 and that of rows 1. It is the other way
# round.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1
    return (column[:, None] - column[None, :] + window - 1) * (2 * window - 1) + down


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.index = heads, relative_position_index(window)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        added = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            added = added + mask.repeat(len(x) // len(mask), 1, 1)[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=added)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% trap="window_attention" name="bias before the scaling"
# Your answer equals what you get when the bias is divided by √d together with the scores. It is
# added after the scaling.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1
    return down * (2 * window - 1) + column[:, None] - column[None, :] + window - 1


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.index = heads, relative_position_index(window)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        scores = (q @ k.transpose(-2, -1) + bias) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores + mask.repeat(len(x) // len(mask), 1, 1)[:, None]
        return self.proj(einops.rearrange(scores.softmax(-1) @ v, "b h n d -> b n (h d)"))

# %% trap="window_attention" name="bias not used"
# Your answer equals what you get without the bias: the table never reaches the scores.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1
    return down * (2 * window - 1) + column[:, None] - column[None, :] + window - 1


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        if mask is not None:
            mask = mask.repeat(len(x) // len(mask), 1, 1)[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% trap="window_attention" name="bias by a reshape"
# Your answer equals what you get when the heads of the bias come out of a reshape: that mixes heads
# and pairs. Move the axis of the heads to the front instead.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1
    return down * (2 * window - 1) + column[:, None] - column[None, :] + window - 1


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.index = heads, relative_position_index(window)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        bias = self.relative_position_bias_table[self.index]
        added = bias.reshape(1, self.heads, *self.index.shape)
        if mask is not None:
            added = added + mask.repeat(len(x) // len(mask), 1, 1)[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=added)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% trap="window_attention" name="mask not used"
# Your answer equals what you get when the mask is not used.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1
    return down * (2 * window - 1) + column[:, None] - column[None, :] + window - 1


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.index = heads, relative_position_index(window)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% trap="window_attention" name="mask in the wrong order"
# Your answer equals what you get when the mask is repeated window by window (0 0 1 1 2 2). Windows
# come image by image, so it must be repeated as a whole: 0 1 2 0 1 2.
def relative_position_index(window):
    place = torch.arange(window**2)
    row, column = place // window, place % window
    down = row[:, None] - row[None, :] + window - 1
    return down * (2 * window - 1) + column[:, None] - column[None, :] + window - 1


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.heads, self.index = heads, relative_position_index(window)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.heads)
        added = self.relative_position_bias_table[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            added = added + mask.repeat_interleave(len(x) // len(mask), dim=0)[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=added)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% alternative="window_attention" name="fused attention"
def relative_position_index(window):
    offsets = torch.arange(window)
    gap = offsets[:, None] - offsets[None, :] + window - 1
    pairs = gap[:, None, :, None] * (2 * window - 1) + gap[None, :, None, :]
    return pairs.reshape(window**2, window**2)


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.window, self.n = window, heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)

    def forward(self, x, mask=None):
        q, k, v = einops.rearrange(self.qkv(x), "b n (t h d) -> t b h n d", t=3, h=self.n)
        index = relative_position_index(self.window)
        added = einops.rearrange(self.relative_position_bias_table[index], "i j h -> 1 h i j")
        if mask is not None:
            added = added + einops.repeat(mask, "w i j -> (b w) 1 i j", b=len(x) // len(mask))
        out = F.scaled_dot_product_attention(q, k, v, added)
        return self.proj(einops.rearrange(out, "b h n d -> b n (h d)"))

# %% alternative="window_attention" name="one head and one pair at a time"
def relative_position_index(window):
    places = [(r, c) for r in range(window) for c in range(window)]
    span = 2 * window - 1
    return torch.tensor([[(r - s + window - 1) * span + c - d + window - 1 for s, d in places]
                         for r, c in places])


class WindowAttention(nn.Module):
    def __init__(self, dim, window, heads):
        super().__init__()
        self.index, self.head_dim = relative_position_index(window), dim // heads
        self.proj, self.qkv = nn.Linear(dim, dim), nn.Linear(dim, 3 * dim)
        table = torch.zeros(((2 * window - 1) ** 2, heads))
        self.register_parameter("relative_position_bias_table", nn.Parameter(table))

    def forward(self, x, mask=None):
        q, k, v = self.qkv(x).chunk(3, dim=2)
        joined = []
        for head in range(x.shape[2] // self.head_dim):
            part = slice(head * self.head_dim, (head + 1) * self.head_dim)
            scores = torch.einsum("bid,bjd->bij", q[..., part] * self.head_dim**-0.5, k[..., part])
            scores = scores + self.relative_position_bias_table[:, head][self.index]
            if mask is not None:
                images = scores.unflatten(0, (-1, len(mask)))
                scores = (images + mask).flatten(0, 1)
            joined.append(scores.softmax(2) @ v[..., part])
        return self.proj(torch.cat(joined, 2))

# %%
where = relative_position_index(7)  # (49, 49)
offset = torch.stack(torch.meshgrid(torch.arange(-6, 7), torch.arange(-6, 7), indexing="ij"))
nearness = (-0.08 * offset.square().sum(0)).exp().flatten()  # (169,): biases made by hand
maps.show_maps([where, where[24].reshape(7, 7), where[0].reshape(7, 7),
                nearness[where][24].reshape(7, 7)],
               ["which row, 49 × 49", "of the middle token", "of the corner token",
                '"near is better"'], shared=False,
               title="169 biases serve all 49 × 49 pairs of a window",
               alt="Which row of the biases a pair of tokens reads; what the middle and a corner token "
                   "read; and with larger biases for near tokens, a spot around the middle.")

# %% [markdown]
# **What it shows.** Left, which row of the biases each of the $49 \times 49$ pairs reads. The two
# maps in the middle are the same for one query, laid out as the window is: neighbours in the
# window have neighbouring rows. Right, biases set by hand so that near keys get a larger one. A
# trained Swin has learned its own.

# %% [markdown]
# ## 4 · Shift the windows
#
# In windows, no token ever hears anything from the window next door, however many layers are
# stacked. Swin's remedy: every other layer **shifts the windows** by half a window, $s = \lfloor
# M/2 \rfloor$ rows down and columns to the right, so that the new windows lie across the old rims.
#
# Shifted windows leave strips and corners at the rim of the map (the picture in the middle): 25
# windows instead of 16, of nine different shapes. The trick that keeps all windows equal is a
# **cyclic shift**: roll the map by $(-s, -s)$, so that what leaves at the top comes in again at
# the bottom, cut it into the *old* windows (right), attend, and roll back.

# %%
footprints.show_shift(picture, side=28, window=7,
                      title="Rolled instead of shifted: as many windows as before, all of one size")

# %% [markdown]
# But now the last windows of every row and column hold tokens that were never neighbours: thick
# lines mark where top meets bottom and left meets right. They must not hear each other, and this
# is what the **mask** is for: $-100$ added to the score of a forbidden pair, $0$ to any other. Two
# tokens of a window were neighbours before the roll if *both or neither* came round the rim, along
# the rows and along the columns.
#
# Why $-100$ and not $-\infty$? $e^{-100} \approx 4 \cdot 10^{-44}$ is as good as nothing, and it
# is a number: a line of the table that is all $-\infty$ gives NaN, one of all $-100$ does not.
#
# One rule more. Where a single window covers the map (Swin's last stage, 7 × 7 tokens), there is
# nothing to connect, so it is **not shifted**. The same along one axis only: a map of 7 × 21 is
# shifted along its columns and not along its rows. (That is torchvision's rule, and the one
# graded here. Microsoft's own code shifts along *neither* axis as soon as the map is no longer
# than the window along one of them; the two differ on such maps only.)
#
# ### Exercise 4 · `shifted_windows` · 4 points · 30 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | `shift_mask`, about eight lines, and `shifted_window_attention`, about eight |
# | **Shapes** | mask: `(windows, M², M²)`, float32, 0 or −100; map: `(batch, height, width, channels)` to the same |
# | **Given** | `attend(windows, mask)`: any window attention, `(batch * windows, M², channels)` to the same; its mask may be `None` where nothing is shifted |
# | **Allowed** | everything; `torch.roll` takes several axes at once; `window` divides height and width |
# | **Read** | Swin paper, section 3.2, "Efficient batch computation", figure 4 |
#
# The grader puts right functions in the place of `window_partition` and `window_reverse`, and of
# `shift_mask` when it asks for the second function. Call them as they are defined here, or do
# without.
#
# <details><summary>Hint 1: which tokens came round the rim?</summary>
#
# After a roll by $-s$, the rows $s, \dots, H-1$ come first and the rows $0, \dots, s-1$ last. So
# in the rolled map the last $s$ rows came round, and the last $s$ columns. Give each token a
# label: which of the two it did. Equal labels may hear each other.
# </details>
# <details><summary>Hint 2: how do labels become a mask for each window?</summary>
#
# A map of labels is a map: partition it, as `(1, height, width, 1)`, into `(windows, M²)`. Then
# compare each label with each: `label[:, :, None] != label[:, None, :]`.
# </details>
# <details><summary>Hint 3: everything is right but for maps that one window covers</summary>
#
# Work out the shift for each axis: 0 where the size is (at most) the window, `window // 2`
# elsewhere. Use the same two numbers for the mask, for the roll, and for the roll back, which has
# the other sign. Beware of `label[-0:]`, which is everything.
# </details>

# %% exercise="shifted_windows"
def shift_mask(height, width, window):
    """What shifted windows add to the scores: float32 (windows, window², window²), 0 or -100.

    The map is rolled by half a window, window // 2, along each axis that is longer than one
    window. -100 where query and key were no neighbours before the roll.
    """
    # Step 1: how far is each axis shifted?
    # Step 2: label the tokens of the rolled map: did they come round, along rows, along columns?
    # Step 3: cut the labels into windows and compare all pairs
    ### BEGIN SOLUTION
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    came_round_rows = torch.arange(height) >= height - down
    came_round_columns = torch.arange(width) >= width - across
    label = 2 * came_round_rows[:, None] + came_round_columns  # (height, width)
    label = window_partition(label[None, :, :, None], window)[:, :, 0]  # (windows, window²)
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)
    ### END SOLUTION


def shifted_window_attention(x, attend, window):
    """Attention in shifted windows: (batch, height, width, channels) to the same shape.

    attend(windows, mask) works on (batch * windows, window², channels); mask comes from
    shift_mask. An axis that one window covers is not shifted.
    """
    # Step 1: roll; Step 2: partition, attend, reverse; Step 3: roll back
    ### BEGIN SOLUTION
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window).to(x))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))
    ### END SOLUTION

# %% check="shifted_windows"
with Check("shifted_windows", read="section 4, the cyclic shift and its mask") as check:
    check.signature(shift_mask, "height", "width", "window")
    check.signature(shifted_window_attention, "x", "attend", "window")
    check.cases("02", globals())

# %% judge="shifted_windows" points=4
parts = {"shift_mask": 2, "shifted_window_attention": 2}


def ask(rng):
    for title, batch, height, width, channels, window in (
        ("wider than tall", 2, 6, 12, 3, 3),
        ("taller than wide, windows of 4", 1, 12, 8, 2, 4),
        ("windows of 7, as in Swin", 1, 14, 21, 2, 7),
        ("one window covers the map", 2, 5, 5, 3, 5),
        ("a column of windows", 2, 9, 3, 2, 3),
        ("a row of windows", 1, 4, 12, 3, 4),
        ("windows of one token", 1, 2, 3, 2, 1),
    ):
        yield Case(title, part="shift_mask", size=[height, width], window=window)
        images = f"{batch} maps, " if batch > 1 else ""
        yield Case(images + title, part="shifted_window_attention", window=window,
                   x=randn(rng, batch, height, width, channels),
                   masks=[[*size, mask_of(*size, window)] for size in sizes_of(height, width, window)])


def sizes_of(height, width, window):
    """Of the map, and of one column and one row of windows: a mask is the lesser of the two."""
    return (height, width), (height, window), (window, width)


def mask_of(height, width, window):
    s = window // 2
    gone = [torch.arange(n) >= n - (s if n > window else 0) for n in (height, width)]
    side = (2 * gone[0][:, None] + gone[1])[None, :, :, None]
    side = stand_in_partition(side, window)[..., 0]
    return -100.0 * (side[:, :, None] != side[:, None, :])


def stand_in_partition(x, window):
    return einops.rearrange(x, "b (h p) (w q) c -> (b h w) (p q) c", p=window, q=window)


def stand_in_reverse(windows, window, height, width):
    return einops.rearrange(windows, "(b h w) (p q) c -> b (h p) (w q) c", p=window, q=window,
                            h=height // window, w=width // window)


def attend(windows, mask):
    """In the place of a window attention; a token's place in its window matters too."""
    place = torch.linspace(0, 1, windows.shape[1])
    scores = windows @ windows.transpose(1, 2) + place[:, None] * place[None, :]
    if mask is not None:
        scores = scores + mask.to(scores).repeat(len(windows) // len(mask), 1, 1)
    return torch.tanh(scores.softmax(-1) @ windows) + place[:, None]


def drive(lab, window, size=None, x=None, masks=()):
    with lab.replacing(window_partition=stand_in_partition, window_reverse=stand_in_reverse):
        if x is None:
            return {"mask": lab.shift_mask(*size, window)}
        wanted = (*x.shape[1:3], window)

        def given(height, width, window):
            for rows, columns, mask in masks:
                if (height, width, window) == (rows, columns, wanted[2]):
                    return mask.clone()
            said = "shift_mask({}, {}, {})"
            raise ValueError(f"{said.format(height, width, window)} is asked for, on a map "
                             f"that needs {said.format(*wanted)}")

        with lab.replacing(shift_mask=given):
            output = lab.shifted_window_attention(x.requires_grad_(), attend, window)
    steps = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (gradient,) = torch.autograd.grad((output * steps).sum(), x)
    return {"output": output, "gradient": gradient}

# %% trap="shifted_windows" name="mask of the map before the roll"
# Your mask marks the first rows and columns as those that came round the rim. After a roll by -s it
# is the last s rows and columns.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) < down)[:, None] + 1 * (torch.arange(width) < across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% trap="shifted_windows" name="minus infinity"
# Your mask holds -∞. It should hold -100, which is as good as nothing after the softmax and never
# gives NaN.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -math.inf)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% trap="shifted_windows" name="allowed and forbidden exchanged"
# In your mask allowed and forbidden pairs are exchanged: -100 belongs to the pairs that were no
# neighbours.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], -100.0, 0.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% trap="shifted_windows" name="mask of rows or columns only"
# Your mask takes two tokens for neighbours if they agree along one axis. They must agree along both:
# both or neither came round, along the rows and along the columns.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    row = (torch.arange(height) >= height - down)[:, None].expand(height, width)
    column = (torch.arange(width) >= width - across)[None, :].expand(height, width)
    row, column = (window_partition(side[None, :, :, None], window)[:, :, 0]
                   for side in (row, column))
    near = (row[:, :, None] == row[:, None, :]) | (column[:, :, None] == column[:, None, :])
    return torch.where(near, 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% trap="shifted_windows" name="mask although one window covers an axis"
# Your mask is that of a map shifted along both axes. An axis that one window covers is not shifted,
# and nothing comes round along it.
def shift_mask(height, width, window):
    down = window // 2
    across = window // 2
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% trap="shifted_windows" name="mask missing"
# Your output equals what you get without the mask: tokens from opposite rims of the map hear each
# other.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), None)
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% trap="shifted_windows" name="rolled the wrong way"
# Your output equals what you get when the map is rolled by +s and back by -s. Roll by -s first: the
# mask is for tokens that leave at the top and come in at the bottom.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (down, across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (-down, -across), dims=(1, 2))

# %% trap="shifted_windows" name="not rolled back"
# Your output equals what you get when the map is not rolled back: every token is half a window from
# its place.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return x

# %% trap="shifted_windows" name="rolled on instead of back"
# Your output equals what you get when the map is rolled by -s a second time instead of back by +s.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (-down, -across), dims=(1, 2))

# %% trap="shifted_windows" name="not rolled at all"
# Your output equals what you get when the map is not rolled: these are the old windows, with the
# mask of shifted ones.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    return window_reverse(windows, window, height, width)

# %% trap="shifted_windows" name="rolled although one window covers an axis"
# Your output equals what you get when the map is rolled along both axes, whatever its size. An axis
# that one window covers is not shifted: there is nothing to connect.
def shift_mask(height, width, window):
    down = window // 2 if height > window else 0
    across = window // 2 if width > window else 0
    label = 2 * (torch.arange(height) >= height - down)[:, None] + 1 * (
        torch.arange(width) >= width - across)[None, :]
    label = window_partition(label[None, :, :, None], window)[:, :, 0]
    return torch.where(label[:, :, None] == label[:, None, :], 0.0, -100.0)


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    down = window // 2
    across = window // 2
    x = torch.roll(x, (-down, -across), dims=(1, 2))
    windows = attend(window_partition(x, window), shift_mask(height, width, window))
    x = window_reverse(windows, window, height, width)
    return torch.roll(x, (down, across), dims=(1, 2))

# %% alternative="shifted_windows" name="nine regions, as in the paper's code"
def shift_of(size, window):
    return 0 if size <= window else window // 2


def shift_mask(height, width, window):
    def parts(size):
        s = shift_of(size, window)
        if not s:
            return [slice(None)]
        return [slice(0, -window), slice(-window, -s), slice(-s, None)]

    regions = torch.zeros(1, height, width, 1)
    for i, rows in enumerate(parts(height)):
        for j, columns in enumerate(parts(width)):
            regions[:, rows, columns] = 3 * i + j
    ids = window_partition(regions, window).squeeze(-1)
    gap = ids.unsqueeze(1) - ids.unsqueeze(2)
    return torch.zeros_like(gap).masked_fill(gap != 0, -100.0)


def shifted_window_attention(x, attend, window):
    down, across = shift_of(x.shape[1], window), shift_of(x.shape[2], window)
    windows = window_partition(x.roll(-down, 1).roll(-across, 2), window)
    mask = shift_mask(*x.shape[1:3], window).to(x) if down or across else None
    out = window_reverse(attend(windows, mask), window, *x.shape[1:3])
    return out.roll(down, 1).roll(across, 2)

# %% alternative="shifted_windows" name="neighbours before the roll"
def shift_mask(height, width, window):
    s = window // 2
    s_row, s_column = s * (height > window), s * (width > window)
    masks = []
    for top in range(0, height, window):
        for left in range(0, width, window):
            rows = [(top + i + s_row) % height for i in range(window)]  # where they came from
            columns = [(left + i + s_column) % width for i in range(window)]
            near = torch.tensor([[abs(r - q) < window and abs(c - d) < window
                                  for q in rows for d in columns] for r in rows for c in columns])
            masks.append((~near).float() * -100)
    return torch.stack(masks) + 0.0


def shifted_window_attention(x, attend, window):
    height, width = x.shape[1:3]
    s = window // 2
    rows = (torch.arange(height) + s * (height > window)) % height
    columns = (torch.arange(width) + s * (width > window)) % width
    moved = x[:, rows][:, :, columns]
    mask = shift_mask(height, width, window).to(x.dtype)
    out = window_reverse(attend(window_partition(moved, window), mask), window, height, width)
    return out[:, rows.argsort()][:, :, columns.argsort()]

# %%
mask = shift_mask(14, 14, 7)
maps.show_maps(list(mask), ["inner window", "last column", "last row", "last corner"],
               title="The mask of 2 × 2 windows: only what was together may hear each other",
               alt="0 where a pair may hear each other, −100 where not. The inner window is all one "
                   "value; the last column is a fine chequerboard, the last row four blocks, the last "
                   "corner both at once.",
               xlabel="key", ylabel="query")

# %% [markdown]
# **The proof.** torchvision's Swin was written by others. With the same weights, your window
# attention, shift and mask must give the same numbers: on a map of windows, on one that is longer
# along one axis only, and on one that a single window covers. Gradients too.

# %% experiment="parity"
from torchvision.models.swin_transformer import ShiftedWindowAttention

rows, worst = [], 0.0
for height, width in ((14, 21), (7, 21), (7, 7)):
    for shift in (0, 3):
        theirs = ShiftedWindowAttention(96, [7, 7], [shift, shift], 3)
        nn.init.normal_(theirs.relative_position_bias_table, std=0.5)
        mine = WindowAttention(96, 7, 3)
        mine.load_state_dict({name: value for name, value in theirs.state_dict().items()
                              if "index" not in name})
        x = torch.randn(2, height, width, 96, requires_grad=True)
        if shift:
            out = shifted_window_attention(x, mine, 7)
        else:
            out = window_reverse(mine(window_partition(x, 7)), 7, height, width)
        gaps = [(out - theirs(x)).abs().max().item(),
                (torch.autograd.grad(out.square().sum(), x)[0]
                 - torch.autograd.grad(theirs(x).square().sum(), x)[0]).abs().max().item()]
        worst = max(worst, gaps[0])
        rows.append([f"{height} × {width}", shift, f"{gaps[0]:.1e}", f"{gaps[1]:.1e}"])
measured["parity"] = f"equal within {worst:.0e}"
charts.Table(["map", "shift asked for", "largest difference", "of the gradients"], rows,
             title="Your shifted windows with torchvision's weights")

# %% [markdown]
# Differences around 10⁻⁷ are rounding: **you have written the attention of Swin.** A Swin is this
# layer and an MLP, in blocks that shift in turn, with $2 \times 2$ tokens merged into one after
# each stage.

# %% [markdown]
# ## 5 · Skip what is empty
#
# Windows cost the same whether anything is in them. In a drawing on an empty page, and far more so
# in the point cloud of a car's laser scanner (where a few per cent of the map are filled), most
# tokens are empty. **Sparse window attention** computes only the others. But a window with 3
# tokens and one with 40 do not fit into one batch, unless all are padded to the fullest, and then
# little is saved.
#
# FlatFormer (Liu et al., 2023) turns this around: not windows of equal *shape* but groups of equal
# *size*. **Sort** the non-empty tokens by window (and inside a window in reading order), then
# **cut** the sorted list into groups of exactly $G$ tokens. A group is mostly one window, sometimes
# the end of one and the beginning of the next. Nothing is padded, except in the last group.
#
# And the last group? It takes the **last $G$ tokens** of the list, so it repeats some tokens of
# the group before. These keep what the group before gave them.

# %% [markdown]
# ### Exercise 5 · `sparse_windows` · 4 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | `sparse_groups`, about eight lines; `sparse_window_attention`, about six; `slots`, about four |
# | **Shapes** | `coords` `(tokens, 2)`: row and column; groups `(groups, size)`: indices; `x` `(tokens, channels)` to the same |
# | **Given** | `attend(groups)`: `(groups, size, channels)` to the same shape |
# | **Order** | windows row by row, however many there are, inside a window row by row; with fewer tokens than `size`, one group of them all |
# | **Read** | FlatFormer paper, on flattened window attention (its code runs through the windows in serpentines) |
#
# When the grader asks for the other two, a right function stands in the place of `sparse_groups`.
#
# <details><summary>Hint 1: how do I sort by four things at once?</summary>
#
# Make one number of them, like hours, minutes and seconds: window row, window column, row inside,
# column inside. Each must count for more than all that follow can add up to. Then `argsort`.
# Or sort four times, the least important first, with `stable=True`.
# </details>
# <details><summary>Hint 2: how do I cut the list when size does not divide it?</summary>
#
# Group $g$ starts at $g \cdot G$, and the last one at $n - G$ if that is earlier: `clamp(max=n -
# size)`. Then starts `(groups, 1)` plus `arange(size)` are positions in the sorted list.
# </details>
# <details><summary>Hint 3: the values are right but at the wrong tokens</summary>
#
# `x[groups]` collects, `(groups, size, channels)`. Results must go back to where they were
# collected from: `out[groups] = result` for all groups, in an order in which the group before the
# last has the last word. An assignment to a fresh `torch.empty_like(x)` lets gradients through.
# </details>

# %% exercise="sparse_windows"
def sparse_groups(coords, window, size):
    """Sort non-empty tokens by window and cut them into groups of equal size.

    coords: int64 (tokens, 2), row and column of each token, in any order, at least one.
    Returns int64 (groups, size), indices of tokens. The last group holds the last `size` tokens of
    the sorted list; fewer than `size` tokens make one group of all.
    """
    # Step 1: one number that sorts by window row, window column, row, column
    # Step 2: sort; Step 3: starts of the groups; Step 4: groups
    ### BEGIN SOLUTION
    row, column = coords[:, 0], coords[:, 1]
    across = column.max() // window + 1  # windows in a row
    which = row // window * across + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    tokens = len(order)
    size = min(size, tokens)
    starts = torch.arange(0, tokens, size).clamp(max=tokens - size)
    return order[starts[:, None] + torch.arange(size)]
    ### END SOLUTION


def sparse_window_attention(x, coords, attend, window, size):
    """Attention within the groups of `sparse_groups`: x (tokens, channels) to the same shape.

    attend works on (groups, size, channels). A token in two groups keeps the result of the first.
    """
    # Step 1: collect; Step 2: attend; Step 3: put every result back at its token
    ### BEGIN SOLUTION
    groups = sparse_groups(coords, window, size)
    result = attend(x[groups])  # (groups, size, channels)
    last = torch.zeros_like(x).index_copy(0, groups[-1], result[-1])
    return last.index_copy(0, groups[:-1].flatten(), result[:-1].flatten(0, 1))
    ### END SOLUTION


def slots(coords, window, size):
    """How many places for tokens are computed: (in padded windows, in groups of equal size).

    Padded windows: window² places in every window that is not empty.
    """
    ### BEGIN SOLUTION
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()
    ### END SOLUTION

# %% check="sparse_windows"
with Check("sparse_windows", read="section 5, sort and cut") as check:
    check.signature(sparse_groups, "coords", "window", "size")
    check.signature(sparse_window_attention, "x", "coords", "attend", "window", "size")
    check.signature(slots, "coords", "window", "size")

    # Seven tokens on a map of 4 x 12, windows of 2, in no order. Sorted by window:
    # window (0, 0): tokens 1, 4; (0, 1): 6, 2; (0, 5): 0; (1, 0): 3; (1, 1): 5.
    coords = torch.tensor([[1, 11], [0, 0], [0, 3], [2, 0], [1, 1], [3, 3], [0, 2]])
    got = sparse_groups(coords.clone(), 2, 3)
    check.shape(got, (3, 3), "seven tokens in groups of three")
    check.values(got, [[1, 4, 6], [2, 0, 3], [0, 3, 5]], "the groups", draw=True, otherwise={
        "tokens are sorted row by row over the whole map, not window by window":
            [[1, 6, 2], [4, 0, 3], [0, 3, 5]],
        "windows are sorted column by column": [[1, 4, 3], [6, 2, 5], [2, 5, 0]],
        "the last group repeats its own token instead of ending with the last three":
            [[1, 4, 6], [2, 0, 3], [5, 5, 5]],
        "the last group begins again with the first tokens": [[1, 4, 6], [2, 0, 3], [5, 1, 4]],
        "these are places in the sorted list, not tokens": [[0, 1, 2], [3, 4, 5], [4, 5, 6]],
    })
    check.values(list(slots(coords.clone(), 2, 3)), [20, 9], "slots", otherwise={
        "every window of the map is counted, empty ones too": [48, 9],
        "tokens are counted, not places": [20, 7]})
    check.cases("02", globals())

# %% judge="sparse_windows" points=4
parts = {"sparse_groups": 2, "sparse_window_attention": 1, "slots": 1}


def groups_of(coords, window, size):
    row, column = coords[:, 0].numpy(), coords[:, 1].numpy()
    order = torch.from_numpy(np.lexsort((column, row, column // window, row // window)))
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def ask(rng):
    for title, height, width, tokens, window, size in (
        ("wider than tall", 6, 15, 20, 3, 6),
        ("taller than wide", 16, 4, 23, 4, 5),
        ("size divides the tokens", 8, 8, 24, 2, 8),
        ("fewer tokens than size", 9, 9, 5, 3, 8),
        ("as many tokens as size", 10, 10, 8, 5, 8),
        ("one token", 7, 7, 1, 7, 4),
        ("groups of one", 5, 9, 11, 2, 1),
        ("a full map that windows do not fit", 7, 9, 63, 4, 16),
        ("a full map, windows of 3", 6, 9, 54, 3, 4),
        ("more than ten windows a side", 30, 46, 80, 2, 9),
        ("windows of 13 tokens a side", 39, 52, 70, 13, 9),
        ("hundreds of windows a side", 400, 700, 90, 2, 7),
        ("one token near, the others far out", 6000, 8000, 31, 3, 7),
    ):
        chosen = torch.from_numpy(rng.permutation(height * width)[:tokens].copy())
        if title.startswith("one token near"):
            chosen = torch.from_numpy(rng.permutation(64)[:tokens].copy())
            coords = torch.stack([chosen // 8 + height - 8, chosen % 8 + width - 8], dim=1)
            coords[10] = 0
        else:
            coords = torch.stack([chosen // width, chosen % width], dim=1)
        asked = dict(coords=coords, window=window, size=size)
        yield Case(title, part="sparse_groups", **asked)
        groups = groups_of(**asked)
        if height < 30:
            yield Case(title, part="sparse_window_attention", **asked, groups=groups,
                       x=randn(rng, tokens, 3))
        if height < 30 or height > 100:
            yield Case(title, part="slots", **asked, groups=groups)


def attend(groups):
    """In the place of an attention; some of what it gives is exactly 0."""
    place = torch.linspace(1, 0, groups.shape[1])[:, None]
    weights = (groups @ groups.transpose(1, 2) + place).softmax(-1)
    return torch.relu(torch.tanh(weights @ groups) + place - 0.4)


def drive(lab, coords, window, size, groups=None, x=None):
    if groups is None:
        return {"groups": lab.sparse_groups(coords, window, size)}
    places, wanted = coords.tolist(), (window, size)

    def given(coords, window, size):
        # how many groups there are does not depend on where the tokens lie
        same = coords.tolist() == places if x is not None else coords.shape == (len(places), 2)
        if (window, size) != wanted or not same:
            raise ValueError("sparse_groups is asked with other arguments than those that came")
        return groups.clone()

    with lab.replacing(sparse_groups=given):
        if x is None:
            in_windows, in_groups = lab.slots(coords, window, size)
            return {"places in padded windows": in_windows, "places in groups": in_groups}
        output = lab.sparse_window_attention(x.requires_grad_(), coords, attend, window, size)
    steps = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (gradient,) = torch.autograd.grad((output * steps).sum(), x)
    return {"output": output, "gradient": gradient}

# %% trap="sparse_windows" name="sorted over the whole map"
# Your groups equal what you get when tokens are sorted row by row over the whole map. Sort by
# window first, so that a group's tokens lie near each other.
def sparse_groups(coords, window, size):
    order = torch.argsort(coords[:, 0] * (coords[:, 1].max() + 1) + coords[:, 1])
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[-1]] = result[-1]
    out[groups[:-1]] = result[:-1]
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="digits of a decimal number"
# Your groups equal what you get when the four numbers are the digits of a decimal number. There may
# be more than ten windows a side, and more than ten tokens: each must count for more than all that
# follow can add up to.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    order = torch.argsort(1000 * (row // window) + 100 * (column // window)
                          + 10 * (row % window) + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[-1]] = result[-1]
    out[groups[:-1]] = result[:-1]
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="places in the sorted list"
# Your groups hold places in the sorted list, 0, 1, 2 and so on. They should hold the tokens that lie
# there.
def sparse_groups(coords, window, size):
    size = min(size, len(coords))
    starts = torch.arange(0, len(coords), size).clamp(max=len(coords) - size)
    return starts[:, None] + torch.arange(size)


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[-1]] = result[-1]
    out[groups[:-1]] = result[:-1]
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="left in sorted order"
# Your output equals what you get when results are left in sorted order. Every result belongs back
# at the token that it came from.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    which = row // window * (column.max() // window + 1) + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result = attend(x[groups])
    fresh = len(x) - (len(groups) - 1) * groups.shape[1]
    return torch.cat([result[:-1].flatten(0, 1), result[-1, groups.shape[1] - fresh:]])


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="the last group has the last word"
# Your output equals what you get when a token in two groups keeps the result of the last group. It
# should keep that of the group before.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    which = row // window * (column.max() // window + 1) + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[:-1]] = result[:-1]
    out[groups[-1]] = result[-1]
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="a result of 0 taken for none"
# Your output equals what you get when a token whose first result is 0 takes that of the last group:
# 0 is a result too.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    which = row // window * (column.max() // window + 1) + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups, out = sparse_groups(coords, window, size), torch.zeros_like(x)
    for group, result in zip(groups, attend(x[groups])):
        out = out.index_copy(0, group, torch.where(out[group] == 0, result, out[group]))
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="empty windows counted"
# Your slots count every window of the map, empty ones too. Only windows that hold a token are
# computed.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    which = row // window * (column.max() // window + 1) + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[-1]] = result[-1]
    out[groups[:-1]] = result[:-1]
    return out


def slots(coords, window, size):
    down, across = (coords.amax(0) // window + 1).tolist()
    return down * across * window**2, sparse_groups(coords, window, size).numel()

# %% trap="sparse_windows" name="tokens counted"
# Your second number counts tokens. The last group repeats some, and those places are computed too.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    which = row // window * (column.max() // window + 1) + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[-1]] = result[-1]
    out[groups[:-1]] = result[:-1]
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, len(coords)

# %% trap="sparse_windows" name="one group always full"
# Your second number takes every group for full. Fewer tokens than `size` make one group of just them.
def sparse_groups(coords, window, size):
    row, column = coords[:, 0], coords[:, 1]
    which = row // window * (column.max() // window + 1) + column // window
    order = torch.argsort(which * window**2 + row % window * window + column % window)
    size = min(size, len(order))
    starts = torch.arange(0, len(order), size).clamp(max=len(order) - size)
    return order[starts[:, None] + torch.arange(size)]


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result, out = attend(x[groups]), torch.empty_like(x)
    out[groups[-1]] = result[-1]
    out[groups[:-1]] = result[:-1]
    return out


def slots(coords, window, size):
    windows = len(torch.unique(coords // window, dim=0))
    return windows * window**2, -(-len(coords) // size) * size

# %% alternative="sparse_windows" name="plain Python"
def sparse_groups(coords, window, size):
    places = coords.tolist()
    order = sorted(range(len(places)), key=lambda i: (
        places[i][0] // window, places[i][1] // window, places[i][0], places[i][1]))
    if len(order) <= size:
        return torch.tensor([order])
    groups = [order[i:i + size] for i in range(0, len(order) - size + 1, size)]
    if len(order) % size:
        groups.append(order[-size:])
    return torch.tensor(groups)


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result = attend(torch.stack([x[group] for group in groups]))
    found = {}
    for group, rows in zip(groups.tolist(), result):
        for token, row in zip(group, rows):
            found.setdefault(token, row)
    return torch.stack([found[token] for token in range(len(x))])


def slots(coords, window, size):
    windows = {(row // window, column // window) for row, column in coords.tolist()}
    tokens = len(coords)
    in_groups = tokens if tokens < size else math.ceil(tokens / size) * size
    return len(windows) * window * window, in_groups

# %% alternative="sparse_windows" name="stable sorts and a scatter"
def sparse_groups(coords, window, size):
    order = torch.arange(len(coords))
    for key in (coords[:, 1], coords[:, 0], coords[:, 1] // window, coords[:, 0] // window):
        order = order[torch.argsort(key[order], stable=True)]
    size = min(size, len(order))
    groups = list(order.split(size))
    groups[-1] = order[len(order) - size:]
    return torch.stack(groups)


def sparse_window_attention(x, coords, attend, window, size):
    groups = sparse_groups(coords, window, size)
    result = attend(x[groups]).flatten(0, 1)
    flat = groups.flatten()
    first = [flat.tolist().index(token) for token in range(len(x))]
    return result.index_select(0, torch.tensor(first))


def slots(coords, window, size):
    groups = sparse_groups(coords, window, size)
    ids = coords[:, 0] // window * 10**6 + coords[:, 1] // window
    return ids.unique().numel() * window**2, groups.shape[0] * groups.shape[1]

# %% [markdown]
# How much is saved depends on how empty the map is. Left, the groups of our picture, a colour
# each; every group has 49 tokens. Right, the places for tokens that are computed, per token that
# is there: 1 means no waste.

# %%
places = filled.nonzero()  # (tokens, 2)
owner = torch.full((28, 28), float("nan"))
grouping = sparse_groups(places, WINDOW, WINDOW**2)
for number in reversed(range(len(grouping))):
    row, column = places[grouping[number]].T
    owner[row, column] = number

shares, waste = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8), {"padded windows": [], "groups of equal size": []}
order = torch.randperm(112 * 112, generator=torch.Generator().manual_seed(0))
for share in shares:
    chosen = order[:round(share * 112 * 112)]
    random_places = torch.stack([chosen // 112, chosen % 112], dim=1)
    for name, count in zip(waste, slots(random_places, WINDOW, WINDOW**2)):
        waste[name].append(count / len(chosen))

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1, 1.5),
                                  layout="constrained")
left.imshow(figures.pixels(picture), extent=(0, 28, 28, 0), alpha=0.35)
colours = plt.matplotlib.colors.ListedColormap(figures.PALETTE)
left.imshow(owner, extent=(0, 28, 28, 0), alpha=0.8, cmap=colours, vmin=0, vmax=5)
left.set(xticks=range(0, 29, 7), yticks=range(0, 29, 7),
         title=f"{len(places)} of 784 tokens, {len(grouping)} groups of 49")
left.grid(color="black", linewidth=1)
for number, group in enumerate(grouping):  # told by its number too
    row, column = places[group].float().mean(0).tolist()
    left.text(column, row, number + 1, weight="bold", ha="center", bbox={"facecolor": "white"})
for i, (name, values) in enumerate(waste.items()):
    right.plot(shares, values, label=name, **figures.line_of(i))
    right.annotate(f"{values[0]:.1f}", (shares[0], values[0]), xytext=(6, 6),
                   textcoords="offset points")
right.set(xscale="log", yscale="log", xlabel="share of the map that is not empty",
          ylabel="places computed / tokens", title="random tokens on a map of 112 × 112")
right.set_xticks(shares, [f"{share:.0%}" for share in shares])
right.set_yticks((1, 2, 5, 10, 20), ("1", "2", "5", "10", "20"))
right.minorticks_off()
right.legend()
figures.finish(fig, "Groups of equal size waste nothing, however empty the map", alt=(
    f"Left, the {len(places)} tokens of the drawing's things in {len(grouping)} numbered groups. Right, "
    f"places computed per token against the share of the map that is not empty, {shares[0]:.0%} to "
    f"{shares[-1]:.0%}: " + "; ".join(f"{name} from {values[0]:.1f} to {values[-1]:.1f}"
                                      for name, values in waste.items()) + "."))

in_windows, in_groups = slots(places, WINDOW, WINDOW**2)
measured["padding"] = (f"{waste['padded windows'][0]:.1f} in padded windows, "
                       f"{waste['groups of equal size'][0]:.2f} in groups")
dense = attention_cost(28, 28, DIM, HEADS, WINDOW)["flops"] // 2
charts.Table(["computed in", "places for tokens", "MACs of the layer"], [
    ["all windows (dense)", "784", f"{dense:,}"],
    ["windows that are not empty, padded", f"{in_windows}",
     f"{4 * in_windows * DIM**2 + 2 * in_windows * 49 * DIM:,}"],
    ["groups of equal size", f"{in_groups}",
     f"{4 * in_groups * DIM**2 + 2 * in_groups * 49 * DIM:,}"],
], title=f"Our picture: {len(places)} tokens are not empty")

# %% [markdown]
# **What it shows.** Random tokens are the worst case for windows: with one token in fifty filled,
# 63% of the windows of 49 hold at least one, and nearly all of what padded windows compute is
# padding. Real objects cluster, as in our picture, and waste less. Two things the picture does
# not show: sorting costs time too (you will see it on the clock), and a group may hold the end of
# one window and the beginning of the next, so who hears whom is less regular than in Swin.

# %% [markdown]
# ## 6 · Never make the table
#
# All of the above made the table smaller. Linear attention does without. The softmax is what
# forces us to compute $QK^\top$ first: it needs a whole line of the table at once. Replace the
# share $\exp(\mathbf q_i \cdot \mathbf k_j / \sqrt d)$ by a plain product of non-negative vectors,
# here $\operatorname{ReLU}(\mathbf q_i) \cdot \operatorname{ReLU}(\mathbf k_j)$, still divided by
# the sum over the keys so that the shares add up to one:
#
# $$ \mathbf o_i = \frac{\sum_j \big(\phi(\mathbf q_i) \cdot \phi(\mathbf k_j)\big)\, \mathbf v_j}
#                       {\sum_j \phi(\mathbf q_i) \cdot \phi(\mathbf k_j) + \epsilon}
#    = \frac{\phi(\mathbf q_i)^\top \Big(\sum_j \phi(\mathbf k_j)\, \mathbf v_j^\top\Big)}
#           {\phi(\mathbf q_i) \cdot \Big(\sum_j \phi(\mathbf k_j)\Big) + \epsilon},
#    \qquad \phi = \operatorname{ReLU} . $$
#
# The two sides are equal because products of matrices are associative:
# $(QK^\top)V = Q(K^\top V)$. But they do not cost the same. Left, $N^2$ shares. Right, two sums
# over the keys, which are the *same for every query*: a $d \times d$ matrix and a vector. That is
# $2Nd^2$ MACs a head instead of $2N^2d$.
#
# And $\epsilon$? A query without a single positive entry has shares that are all zero, and $0/0$
# is NaN. With $\epsilon = 10^{-6}$ such a token gets zeros.
#
# ### Exercise 6 · `linear_attention` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | `relu_attention_quadratic` and `relu_attention_linear`, about four lines each |
# | **Shapes** | `q` `(batch, heads, queries, d)`, `k`, `v` `(batch, heads, keys, d)`; out like `q` |
# | **Cost** | `relu_attention_linear` must not make anything of size queries × keys |
# | **Allowed** | everything in PyTorch; no $1/\sqrt d$, no softmax |
# | **Read** | EfficientViT paper, section 3.1, equations 2 and 3; Katharopoulos et al., equations 4 to 6 |
#
# <details><summary>Hint 1: which sum is the normaliser?</summary>
#
# In the quadratic order: the sum of each *line* of the table, one number a query, as the softmax
# has it. In the linear order the same number is the product of the query with the sum of all keys.
# </details>
# <details><summary>Hint 2: "The size of tensor a must match the size of tensor b" when dividing</summary>
#
# The normaliser is `(batch, heads, queries)`, the output `(batch, heads, queries, d)`:
# `keepdim=True`, or `[..., None]`. In the linear order the sum of the keys is a vector in each head;
# as a matrix of one column it can be multiplied from the left.
# </details>
# <details><summary>Hint 3: "not true: nothing of size queries x keys is made"</summary>
#
# A chain of products goes from left to right; only brackets change that. With one `einsum` over
# three tensors, PyTorch decides the order; write two.
# </details>

# %% exercise="linear_attention"
def relu_attention_quadratic(q, k, v, eps=1e-6):
    """ReLU attention by way of the table, (QKᵀ)V.

    q: (batch, heads, queries, d); k, v: (batch, heads, keys, d). Returns the shape of q. The
    table's lines are divided by their sum + eps.
    """
    ### BEGIN SOLUTION
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)  # (batch, heads, queries, keys)
    shares = shares / (shares.sum(dim=-1, keepdim=True) + eps)
    return shares @ v
    ### END SOLUTION


def relu_attention_linear(q, k, v, eps=1e-6):
    """The same without the table, Q(KᵀV): nothing of size queries x keys is made."""
    ### BEGIN SOLUTION
    q, k = F.relu(q), F.relu(k)
    summary = k.transpose(-2, -1) @ v  # (batch, heads, d, d)
    total = q @ k.sum(dim=-2).unsqueeze(-1)  # (batch, heads, queries, 1)
    return q @ summary / (total + eps)
    ### END SOLUTION

# %% check="linear_attention"
with Check("linear_attention", read="section 6, both sides of the formula") as check:
    check.signature(relu_attention_quadratic, "q", "k", "v", "eps")
    check.signature(relu_attention_linear, "q", "k", "v", "eps")
    # By hand: the shares of query (1, 2) for keys (1, 0), (1, 1), (-5, 0) are 1, 3, 0 of 4.
    q = torch.tensor([[1.0, 2], [-1, -2]])[None, None]
    k = torch.tensor([[1.0, 0], [1, 1], [-5, 0]])[None, None]
    v = torch.tensor([[4.0, -8], [8, 0], [100, 100]])[None, None]
    for function in (relu_attention_quadratic, relu_attention_linear):
        what = f"the output of {function.__name__}"
        out = function(q.clone(), k.clone(), v.clone())
        check.shape(out, (1, 1, 2, 2), what + " for 2 queries and 3 keys")
        check.that(out.isfinite().all(), f"{function.__name__} gives NaN for a query without a "
                   "positive entry", likely="0 / 0: eps belongs to the sum that you divide by")
        check.values(out[0, 0, 0], [7, -2], what + " for the first query", otherwise={
            "nothing is divided: the normaliser is missing": [28, -8],
            "the sum runs over the queries instead of the keys": [12, -8],
            "a ReLU on the values too; they may be negative": [7, 0],
            "the ReLU of the keys is missing": [(4 + 24 - 500) / -1, (-8 - 500) / -1],
            "divided by the number of keys instead of the sum of the shares": [28 / 3, -8 / 3],
        })
    check.cases("02", globals())

# %% judge="linear_attention" points=4
parts = {"relu_attention_quadratic": 2, "relu_attention_linear": 2}
# gradients are sums over all keys and queries that cancel in part
tolerance = dict(rtol=3e-4, atol=1e-4)


def ask(rng):
    for order in ("quadratic", "linear"):
        asked = dict(part=f"relu_attention_{order}", order=order)
        for title, batch, heads, queries, keys, d in (
            ("two images, three heads, 40 tokens", 2, 3, 40, 40, 4),
            ("one image, one head, fewer keys than queries", 1, 1, 37, 23, 3),
            ("more keys than queries", 2, 2, 35, 45, 5),
            ("one query", 1, 2, 1, 9, 4),
            ("one channel a head", 2, 3, 6, 7, 1),
        ):
            q = randn(rng, batch, heads, queries, d)
            q = q + 0.3 * q.sign()  # by a sum of shares near 0 no gradient is divided
            k, v = randn(rng, batch, heads, keys, d), randn(rng, batch, heads, keys, d)
            yield Case(title, **asked, q=q, k=k, v=v)
        q, k, v = (randn(rng, 1, 2, 24, 3) for _ in "qkv")
        q[:, :, 5] = -q[:, :, 5].abs()
        yield Case("a query without a positive entry", **asked, q=q, k=k, v=v)
        q, k, v = (randn(rng, 1, 2, 24, 3) for _ in "qkv")
        yield Case("small queries and keys", **asked, q=0.002 * q, k=0.002 * k, v=v, small=0.002)
        q, k, v = (randn(rng, 2, 1, 24, 3) for _ in "qkv")
        yield Case("another eps", **asked, q=q, k=k, v=v, eps=0.5)


from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


class Largest(TorchDispatchMode):
    """The size of the largest tensor that is made, and the operations that go on."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor):
                self.size = max(self.size, value.numel())
        return result


def drive(lab, order, q, k, v, eps=None, small=1.0):
    extra = {} if eps is None else {"eps": eps}
    function = getattr(lab, f"relu_attention_{order}")
    inputs = [x.requires_grad_() for x in (q, k, v)]
    out = function(*inputs, **extra)
    steps = torch.linspace(-1, 1, out.numel()).view(out.shape)
    gradients = torch.autograd.grad((out * steps).sum(), inputs)
    # by a small q or k divided, a gradient is large: times its size it is not
    answer = {"output": out, "gradients": {
        name: g * scale for name, g, scale in zip("qkv", gradients, (small, small, 1.0))}}
    queries, keys, d = q.shape[2], k.shape[2], q.shape[3]
    if order == "linear" and min(queries, keys) > 5 * d:  # only then does the order show
        with Largest() as largest:
            function(q, k, v, **extra)
        counter = FlopCounterMode(display=False)
        with counter:
            function(q, k, v, **extra)
        heads = q.shape[0] * q.shape[1]
        answer["nothing of size queries x keys is made"] = largest.size < heads * queries * keys
        answer["it takes fewer MACs than a table would"] = (
            counter.get_total_flops() < 2 * heads * queries * keys * d)
    return answer

# %% trap="linear_attention" name="normaliser missing"
# Your output equals what you get when nothing is divided: the shares of a query must be divided by
# their sum (plus eps).
def relu_attention_quadratic(q, k, v, eps=1e-6):
    return F.relu(q) @ F.relu(k).transpose(-2, -1) @ v


def relu_attention_linear(q, k, v, eps=1e-6):
    return F.relu(q) @ (F.relu(k).transpose(-2, -1) @ v)

# %% trap="linear_attention" name="sum over the queries"
# Your output equals what you get when the shares are divided by their sum over the queries. The
# shares of one query, a line of the table, must add up to one.
def relu_attention_quadratic(q, k, v, eps=1e-6):
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)
    return (shares / (shares.sum(dim=-2, keepdim=True) + eps)) @ v


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k = F.relu(q), F.relu(k)
    total = k @ q.sum(dim=-2).unsqueeze(-1)
    return q @ ((k / (total + eps)).transpose(-2, -1) @ v)

# %% trap="linear_attention" name="no epsilon"
# Your output equals what you get without eps: a query without a positive entry gives 0 / 0, which
# is NaN.
def relu_attention_quadratic(q, k, v, eps=1e-6):
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)
    return (shares / shares.sum(dim=-1, keepdim=True)) @ v


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k = F.relu(q), F.relu(k)
    return q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(dim=-2).unsqueeze(-1))

# %% trap="linear_attention" name="eps written out"
# Your output equals what you get when eps is always 1e-6: the argument `eps` is not used.
def relu_attention_quadratic(q, k, v, eps=1e-6):
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)
    return (shares / (shares.sum(dim=-1, keepdim=True) + 1e-6)) @ v


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k = F.relu(q), F.relu(k)
    return q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(dim=-2).unsqueeze(-1) + 1e-6)

# %% trap="linear_attention" name="values cut off"
# Your output equals what you get with a ReLU on the values too. Only queries and keys have one;
# values may be negative.
def relu_attention_quadratic(q, k, v, eps=1e-6):
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)
    return (shares / (shares.sum(dim=-1, keepdim=True) + eps)) @ F.relu(v)


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k, v = F.relu(q), F.relu(k), F.relu(v)
    return q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(dim=-2).unsqueeze(-1) + eps)

# %% trap="linear_attention" name="linear in name only"
# Your relu_attention_linear gives the right values but makes the table of queries x keys. Multiply
# Kᵀ V first.
def relu_attention_quadratic(q, k, v, eps=1e-6):
    shares = F.relu(q) @ F.relu(k).transpose(-2, -1)
    return (shares / (shares.sum(dim=-1, keepdim=True) + eps)) @ v


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k = F.relu(q), F.relu(k)
    total = q @ k.sum(dim=-2).unsqueeze(-1)
    return q @ k.transpose(-2, -1) @ v / (total + eps)

# %% alternative="linear_attention" name="padded with ones, as in EfficientViT"
def relu_attention_quadratic(q, k, v, eps=1e-6):
    v = F.pad(v, (0, 1), value=1.0)
    out = (q.relu() @ k.relu().mT) @ v
    return out[..., :-1] / (out[..., -1:] + eps)


def relu_attention_linear(q, k, v, eps=1e-6):
    v = F.pad(v, (0, 1), value=1.0)
    out = q.relu() @ (k.relu().mT @ v)
    return out[..., :-1] / (out[..., -1:] + eps)

# %% alternative="linear_attention" name="einsum"
def relu_attention_quadratic(q, k, v, eps=1e-6):
    table = torch.einsum("bhid,bhjd->bhij", q.clamp(min=0), k.clamp(min=0))
    return torch.einsum("bhij,bhjd->bhid", table, v) / (table.sum(3)[..., None] + eps)


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k = q.clamp(min=0), k.clamp(min=0)
    summary = torch.einsum("bhjd,bhje->bhde", k, v)
    total = torch.einsum("bhid,bhd->bhi", q, k.sum(2))
    return torch.einsum("bhid,bhde->bhie", q, summary) / (total + eps)[..., None]

# %% alternative="linear_attention" name="key by key"
def relu_attention_quadratic(q, k, v, eps=1e-6):
    rows = []
    for i in range(q.shape[2]):
        share = (F.relu(q[:, :, i:i + 1]) * F.relu(k)).sum(-1, keepdim=True)
        rows.append((share * v).sum(2) / (share.sum(2) + eps))
    return torch.stack(rows, dim=2)


def relu_attention_linear(q, k, v, eps=1e-6):
    q, k = F.relu(q), F.relu(k)
    summary, total = 0, 0
    for j in range(k.shape[2]):
        summary = summary + k[:, :, j, :, None] * v[:, :, j, None, :]
        total = total + k[:, :, j, :, None]
    return (q @ summary) / (q @ total + eps)

# %% [markdown]
# Both orders give the same numbers, so linear attention is not an approximation of itself. It
# *is* something else than softmax attention, and the next cell shows what that costs: the table
# of the same queries and keys, made in two ways.

# %%
generator = torch.Generator().manual_seed(SEED)
q, k = (2 * torch.randn(1, 1, 196, 32, generator=generator, dtype=torch.float64) for _ in "qk")
identity = torch.eye(196, dtype=torch.float64)[None, None]  # as values, it returns the table
tables = {"softmax": softmax_core(q, k, identity)[0, 0],
          "ReLU": relu_attention_quadratic(q, k, identity)[0, 0]}
rows = [[name, f"{table.amax(1).mean():.1%}", int(torch.linalg.matrix_rank(table)),
         "196 × 196" if name == "softmax" else "none needed: 32 × 32 and 32"]
        for name, table in tables.items()]
measured["rank"] = rows[1][2]
charts.Table(["attention", "share of the best of 196 keys, on average", "rank of the table",
              "numbers between the products"], rows,
             title="What linear attention gives up: it cannot look sharply")

# %% [markdown]
# **What it shows.** The table of ReLU attention is a product of a $196 \times 32$ and a
# $32 \times 196$ matrix, so its rank is at most $d = 32$, and its shares are flat. What a network
# cannot do with such a table is part of question 2; EfficientViT (lab 03) mends it with
# convolutions, which are sharp and local.
#
# ## 7 · Measure well
#
# The counts so far are exact. Seconds are not: they depend on the machine, on what else it does,
# and on how you ask. Three rules keep a measurement honest.
#
# * **Warm up.** The first calls pay for memory, caches and the choice of a kernel. Do not time
#   them.
# * **Repeat, and take the median.** Noise only ever adds time. One interruption spoils a mean; the
#   median does not notice.
# * **Fit where the law holds.** For small $N$ the clock sees the fixed cost of starting an
#   operation, which does not grow at all. If time follows $c \cdot N^p$ for large $N$, then $\log
#   t = \log c + p \log N$ is a line there, and $p$ is its slope.
#
# Memory needs no clock. PyTorch can tell every piece that it takes (+) and gives back (−) while a
# function runs; what a function *needs* is the most that it holds at any one time.
#
# ### Exercise 7 · `measurement` · 3 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | `median_seconds`, `peak_bytes` and `fit_exponent`, three to six lines each |
# | **Graded** | on given clocks and timings; how fast your machine is does not matter |
# | **Allowed** | Python, NumPy, PyTorch; no ready-made benchmark or fit of power laws |
# | **Read** | PyTorch's "Benchmark" recipe, on warm-up and medians |
#
# <details><summary>Hint 1: what exactly is timed?</summary>
#
# Each call on its own: read the clock, call, read the clock. `clock` is a function that returns
# seconds; use the one you are given. First `warmup` calls without a clock, then `repeats` timed
# ones.
# </details>
# <details><summary>Hint 2: my peak is too large</summary>
#
# Do not add up what is taken. Keep a running total, as of a bank account, and remember its highest
# value. It starts at 0: with nothing taken, the peak is 0.
# </details>
# <details><summary>Hint 3: the exponent is not a whole number for exact data</summary>
#
# Take logarithms of *both* axes, and drop the lengths below `smallest` first (pairs, in any order).
# The slope of the least-squares line is the exponent, e to the power of its intercept is the
# factor: `np.polyfit(x, y, 1)` gives both.
# </details>

# %% exercise="measurement"
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    """Median time of one call fn(), in seconds, after `warmup` calls that are not timed.

    `repeats` (an odd number) calls are timed, each on its own; clock() returns seconds.
    """
    ### BEGIN SOLUTION
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return sorted(found)[repeats // 2]
    ### END SOLUTION


def peak_bytes(events):
    """The most that is held at one time, 0 where nothing is taken.

    events: bytes taken (+) and given back (-), in order.
    """
    ### BEGIN SOLUTION
    held = peak = 0
    for event in events:
        held += event
        peak = max(peak, held)
    return peak
    ### END SOLUTION


def fit_exponent(n, values, smallest=0):
    """Fit values = factor * n ** exponent by least squares on logarithmic axes.

    n, values: equally many positive numbers, in any order; pairs with n below `smallest` are left
    out. Returns (exponent, factor).
    """
    ### BEGIN SOLUTION
    pairs = [(math.log(x), math.log(y)) for x, y in zip(n, values) if x >= smallest]
    exponent, intercept = np.polyfit(*zip(*pairs), 1)
    return float(exponent), math.exp(intercept)
    ### END SOLUTION

# %% check="measurement"
with Check("measurement", read="section 7, three rules") as check:
    check.signature(median_seconds, "fn", "warmup", "repeats", "clock")
    check.signature(peak_bytes, "events")
    check.signature(fit_exponent, "n", "values", "smallest")

    # A machine made of numbers: its calls take 9, 5, 2, 1, 40, 1, 3 seconds
    takes, calls, now = [9.0, 5, 2, 1, 40, 1, 3], [], [100.0]

    def work():
        now[0] += takes[len(calls) % len(takes)]
        calls.append(1)

    got = median_seconds(work, warmup=2, repeats=5, clock=lambda: now[0])
    check.values(got, 2, "the median of 2, 1, 40, 1, 3 seconds, after two calls of warm-up",
                 otherwise={
        "this is the mean; one interruption (40 s) spoils it": 47 / 5,
        "the warm-up is timed too": 3, "the warm-up is timed too, and this is a mean": 61 / 7,
        "this is the smallest time; the median is asked for": 1,
        "the median is taken without sorting": 40,
    }, likely="the clock you are given is not used, or calls are not timed one by one")
    check.values(peak_bytes([400, 300, -400, 200, -300, -200]), 700, "the peak of "
                 "+400 +300 -400 +200 -300 -200", otherwise={
        "this is all that was ever taken; given back is missing": 900,
        "this is the largest single piece": 400, "this is what is left at the end": 0})
    check.values(list(fit_exponent([100, 10, 1000, 1], [3e3, 3 * 10**1.5, 3 * 1000**1.5, 3])),
                 [1.5, 3.0], "the fit of 3 · n^1.5", otherwise={
        "exponent and factor are exchanged": [3.0, 1.5],
        "the factor is e to the power of the intercept": [1.5, math.log(3)]}, rtol=1e-3)
    check.cases("02", globals())

# %% judge="measurement" points=3
parts = {"median_seconds": 1, "peak_bytes": 1, "fit_exponent": 1}


def ask(rng):
    def times(count):
        return [float(t) for t in rng.uniform(1, 9, count)]

    for title, takes, warmup, repeats in (
        ("two calls of warm-up, five timed", [50.0, 20.0] + times(5), 2, 5),
        ("no warm-up, one timed", [7.0], 0, 1),
        ("one interruption", [9.0, 1.25, 1.5, 70.0], 1, 3),
        ("three calls of warm-up, seven timed", times(10), 3, 7),
        ("warmup and repeats left out", [30.0, 20.0] + times(5), None, None),
    ):
        yield Case(title, part="median_seconds", takes=takes, warmup=warmup, repeats=repeats)

    some = int(rng.integers(1, 9))
    for title, events in (
        ("taken, given back, taken again", [300, 200, -300, 400, -400, -200]),
        ("the peak at the beginning", [100 * some, -100 * some, 90, -90]),
        ("never given back", [5, 6, some]),
        ("nothing taken", []),
        ("twenty events", [int(e) for e in rng.integers(-500, 900, 20)]),
    ):
        yield Case(title, part="peak_bytes", events=events)

    for title, n, exponent, smallest in (
        ("quadratic, from 64 on", [64, 16, 256, 1024], 2, 64),
        ("two lengths, smallest left out", [7, 3], 1, None),
        ("in no order, from 50 on", [200, 100, 50, 25, 400], 1.5, 50),
        ("values that fall", [10, 20, 40, 80], -1, 10),
        ("smallest between two lengths", [8, 2, 32, 4, 16], 0.5, 3),
    ):
        values = [float(2.5 * x**exponent * rng.uniform(0.8, 1.2)) for x in n]
        yield Case(title, part="fit_exponent", n=n, values=values, smallest=smallest)


def drive(lab, takes=None, warmup=None, repeats=None, events=None, n=None, values=None,
          smallest=None):
    if events is not None:
        return {"peak": lab.peak_bytes(events)}
    if n is not None:
        least = {} if smallest is None else {"smallest": smallest}
        exponent, factor = lab.fit_exponent(n, values, **least)
        return {"exponent": exponent, "factor": factor}
    state = {"now": 0.3, "calls": 0}

    def work():
        state["now"] += takes[state["calls"] % len(takes)]
        state["calls"] += 1

    options = {} if warmup is None else {"warmup": warmup, "repeats": repeats}
    median = lab.median_seconds(work, clock=lambda: state["now"], **options)
    return {"number of calls": state["calls"], "median": median}

# %% trap="measurement" name="timing without warm-up"
# Your median equals what you get when the warm-up is timed as well. The first calls pay for memory
# and caches and must not count.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    found = []
    for _ in range(warmup + repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="mean instead of median"
# Your time equals the mean of the timed calls. One interruption spoils a mean; take the median.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return sum(found) / len(found)


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="median without sorting"
# Your time is that of the call in the middle of the run. The median is the middle of the times in
# order: sort them first.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return found[repeats // 2]


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="fastest call"
# Your time equals that of the fastest call; the median is asked for.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return min(found)


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="all that was ever taken"
# Your peak equals all the memory that was ever taken. What is given back can be taken again: keep a
# running total and remember its highest value.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return sum(event for event in events if event > 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="what is left at the end"
# Your peak equals what is held at the end. Remember the highest value of the running total.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return sum(events)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="largest piece"
# Your peak equals the largest single piece. Several pieces are held at one time: keep a running
# total and remember its highest value.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return max([0, *events])


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="small lengths fitted too"
# Your exponent equals what you get when all lengths are fitted. Those below `smallest` follow no
# law and must be left out.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    slope, shift = np.polyfit(np.log(n), np.log(values), 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="smallest itself left out"
# Your fit equals what you get when the length `smallest` itself is left out. Only pairs below it are.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) > smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, np.exp(shift)

# %% trap="measurement" name="factor on a logarithmic axis"
# Your factor equals the intercept of the line, which is the logarithm of the factor: take e to the
# power of it.
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    for _ in range(warmup):
        fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return float(np.median(found))


def peak_bytes(events):
    return max(0, *np.cumsum(events).tolist(), 0)


def fit_exponent(n, values, smallest=0):
    keep = np.array(n) >= smallest
    slope, shift = np.polyfit(np.log(n)[keep], np.log(values)[keep], 1)
    return slope, shift

# %% alternative="measurement" name="numpy"
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    [fn() for _ in range(warmup)]
    readings = [clock()]
    for _ in range(repeats):
        fn()
        readings.append(clock())
    return np.median(np.diff(readings))


def peak_bytes(events):
    return int(np.max(np.cumsum([0, *events])))


def fit_exponent(n, values, smallest=0):
    n, values = np.asarray(n, dtype=float), np.asarray(values)
    x, y = np.log(n[n >= smallest]), np.log(values[n >= smallest])
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return slope, np.exp(y.mean() - slope * x.mean())

# %% alternative="measurement" name="the standard library"
def median_seconds(fn, warmup=2, repeats=5, clock=time.perf_counter):
    import statistics

    found = []
    for call in range(warmup + repeats):
        before = clock()
        fn()
        after = clock()
        if call >= warmup:
            found.append(after - before)
    return statistics.median(found)


def peak_bytes(events):
    import itertools

    return max(itertools.accumulate(events, initial=0))


def fit_exponent(n, values, smallest=0):
    import statistics

    pairs = sorted((x, y) for x, y in zip(n, values) if x >= smallest)
    line = statistics.linear_regression([math.log(x) for x, _ in pairs],
                                        [math.log(y) for _, y in pairs])
    return line.slope, math.e**line.intercept

# %% [markdown]
# ## 8 · Five kinds of attention, five slopes
#
# Now everything you built is measured in one run: the same projections, dimension 64, two heads,
# windows of 7 × 7; in sparse windows a quarter of the map is filled. A sixth line is PyTorch's own
# *fused* softmax attention: the same $N^2$ products, but computed in tiles, so that the table
# never exists as a whole.
#
# Before you run it, guess: six exponents for memory, six for time. Which of the six lines has one
# 2 and one 1?
#
# Your `median_seconds` gets `time.process_time` as its clock, which runs only while the processor
# works for you: with one thread and other programs running, it is the fairer clock. And the
# variants take turns, several rounds of all, of which the fastest counts.

# %% experiment="costs"
softmax = AttentionLayer(DIM, HEADS, softmax_core)
fused = AttentionLayer(DIM, HEADS, F.scaled_dot_product_attention)
linear = AttentionLayer(DIM, HEADS, relu_attention_linear)
windowed = WindowAttention(DIM, WINDOW, HEADS)


def in_windows(x):
    return window_reverse(windowed(window_partition(x, WINDOW)), WINDOW, *x.shape[1:3])


def in_groups(tokens, coords):
    return sparse_window_attention(tokens, coords, softmax, WINDOW, WINDOW**2)


def on_map(layer):
    """From the side of a map to a call of `layer` on its tokens, as one sentence."""
    def make(side):
        x = study.map_of_tokens(side, DIM)[0].flatten(1, 2)
        return lambda: layer(x)
    return make


def on_windows(function):
    def make(side):
        x = study.map_of_tokens(side, DIM)[0]
        return lambda: function(x)
    return make


def on_filled(side):
    _, tokens, coords = study.map_of_tokens(side, DIM)
    return lambda: in_groups(tokens, coords)


makers = {
    "softmax": on_map(softmax), "window": on_windows(in_windows),
    "shifted window": on_windows(lambda x: shifted_window_attention(x, windowed, WINDOW)),
    "sparse window": on_filled, "linear": on_map(linear), "softmax, fused": on_map(fused),
}
few = scale(smoke=(14, 28), cpu=(14, 28, 42, 56, 70, 84), gpu=(14, 28, 42, 56, 70, 84))
many = scale(smoke=(14, 28), cpu=few + (98, 112, 126, 140), gpu=few + (98, 112, 126, 140))
sides = {name: few if "softmax" in name else many for name in makers}
LARGE = scale(smoke=0, cpu=56**2, gpu=56**2)  # from here on time is fitted

clock = time.perf_counter if sys.platform == "win32" else time.process_time
records = study.cost_sweep(
    makers, sides, rounds=scale(smoke=1, cpu=7, gpu=10), peak=peak_bytes,
    seconds=lambda fn: median_seconds(fn, warmup=1, repeats=3, clock=clock))
for record in records:  # attention alone: projections are the same for all, 4 N D² MACs
    computed = record["tokens"] // (study.FILLED if record["variant"] == "sparse window" else 1)
    record["attention"] = record["macs"] - 4 * computed * DIM**2

fits = {name: {key: fit_exponent(*study.series(records, name, key),
                                 smallest=0 if key == "attention" else LARGE)
               for key in ("attention", "bytes", "seconds")} for name in makers}
cost_figures.show_costs(records, fits, LARGE, title="Slope 2 or slope 1: what the table costs")

# %% experiment="exponents"
# The long run: the reference code, more sizes and rounds, `labs experiment 02 attention_cost`
long_run = json.loads(data_path("results", "02_attention_cost.json").read_text())
measured["long run"] = long_run["exponents"]
rows = []
for name, fit in fits.items():
    (top,) = (r for r in records if r["variant"] == name and r["side"] == few[-1])
    rows.append([name, f"{fit['attention'][0]:.2f}", f"{fit['bytes'][0]:.2f}",
                 f"{fit['seconds'][0]:.2f}", f"{long_run['exponents'][name]['seconds']:.2f}",
                 f"{top['bytes'] / 2**20:,.1f} MiB", f"{1000 * top['seconds']:,.1f} ms"])
    measured[name] = fit
charts.Table(["attention", "MACs", "memory", "time, yours", "time, long run",
              f"memory at {few[-1]} × {few[-1]}", "time"], rows,
             title="Fitted exponents of N (MACs without projections), and what it costs in the end")

# %% [markdown]
# **What it shows.** MACs have the exponents of the formulas to the last digit, because they are
# counted. Memory follows: two copies of the table are held at once (scores and shares), and
# nothing else matters. Time follows, within the noise of a machine: in the long run 2.00 for
# softmax, and 1.08 to 1.19 where 1 is expected. A likely reason for the excess is that the larger
# maps no longer fit in the caches, so each token costs a little more. One line has a 2 and a 1.
# What that means is question 1.
#
# Small maps (shaded) tell little. On the smallest, all six took between 0.19 and 0.33 ms in the
# long run, for MACs that differ sevenfold: much of what the clock sees there is the starting of
# operations. And from $42^2$ to $56^2$ tokens, tables of 24 and 75 MiB, the written-out softmax
# took 6.5 times as long in the long run for 3.1 times the MACs. A likely reason is that pieces of
# this size fit in no cache, and that the system hands out fresh memory for them every time.
# Beyond, the law holds again, so this is where the fit begins.

# %% [markdown]
# ## 9 · The fourth power, and where the lines cross
#
# Tokens grow with the square of the resolution, so an exponent of 2 in $N$ is 4 in the side of the
# image. And a cheaper slope does not mean cheaper: below some length, softmax attention wins.
# By MACs, $2N^2D = ND(2d + 1)$ gives $N = d + \frac12$: linear attention pays as soon as there are
# more tokens than a head has channels. By the clock? Measure it.

# %% experiment="crossover"
pixels = [16 * side for side in few]  # patches of 16
by_side = {key: [r[key] for r in sorted(records, key=lambda r: r["side"])
                 if r["variant"] == "softmax"] for key in ("attention", "seconds")}
measured["resolution, MACs"] = fit_exponent(pixels, by_side["attention"])[0]
measured["resolution, time"] = fit_exponent(pixels, by_side["seconds"], 16 * LARGE**0.5)[0]

lengths = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
layers = {"softmax": softmax, "linear": linear, "softmax, fused": fused}
short = {name: [float("inf")] * len(lengths) for name in layers}
macs = {name: [] for name in layers}
inputs = [torch.randn(1, n, DIM) for n in lengths]
threads = torch.get_num_threads()
torch.set_num_threads(1)
try:
    with torch.no_grad():
        for name, layer in layers.items():
            macs[name] = [count_macs(layer, x) - 4 * x.shape[1] * DIM**2 for x in inputs]
        for _ in range(scale(smoke=1, cpu=8, gpu=8)):
            for i, x in enumerate(inputs):
                for name, layer in layers.items():
                    took = median_seconds(lambda: layer(x), repeats=scale(smoke=3, cpu=21, gpu=21))
                    short[name][i] = min(short[name][i], took)
finally:  # where you interrupt it, too
    torch.set_num_threads(threads)


def crossing(n, falling_behind, catching_up):
    """Where `catching_up` becomes cheaper for good, between two of the lengths `n` (on log axes).

    None where it does not, or is cheaper from the first length on.
    """
    lead = np.log(falling_behind) - np.log(catching_up)  # positive: catching_up is cheaper
    behind = np.nonzero(lead <= 0)[0]
    if len(behind) == 0 or behind[-1] == len(n) - 1:
        return None
    i = behind[-1]
    part = -lead[i] / (lead[i + 1] - lead[i])
    return float(n[i] * (n[i + 1] / n[i]) ** part)


crossings = {
    "MACs": crossing(lengths, macs["softmax"], macs["linear"]),
    "seconds": crossing(lengths, short["softmax"], short["linear"]),
    "seconds, fused softmax": crossing(lengths, short["softmax, fused"], short["linear"]),
}
measured["crossings"] = crossings
cost_figures.show_crossover(lengths, macs, short, crossings,
                     title="Linear attention pays from here on: by MACs, and by the clock")
charts.Table(["softmax attention, exponent of the side", "expected", "measured"], [
    ["MACs", "4", f"{measured['resolution, MACs']:.2f}"],
    ["time, from 896 px on", "4", f"{measured['resolution, time']:.2f}"],
], title="Twice the resolution, sixteen times the attention")

# %% [markdown]
# **What it shows.** By MACs linear attention wins from $d$ tokens on. Your clock sees it win
# elsewhere, and elsewhere again against the fused kernel; question 1 asks where, and why. The
# MACs are right about the slope and silent about the constant. Whoever compares networks by MACs
# alone should remember this figure; lab 03 compares them by time.

# %% [markdown]
# ## 10 · How far news travels
#
# Softmax and linear attention let every token hear every other in one layer. Windows do not: what
# is outside has to come through shifted windows, layer by layer. How many layers does it take until
# every token has heard from every other? You need not track windows on paper: **if token $j$ has
# any influence on the output at $i$, the gradient of that output with respect to the input at $j$
# is not zero.** The next cells stack your layers (with shortcuts, windows and shifted windows in
# turn, random weights) and look.

# %% experiment="news"
def make_layer(number, shifting=True):
    """Layer `number` of a stack: x + attention in windows, shifted in every other layer."""
    torch.manual_seed(number)
    attend = WindowAttention(8, WINDOW, 1).double()
    if shifting and number % 2:
        return lambda x: x + shifted_window_attention(x, attend, WINDOW)
    return lambda x: x + window_reverse(attend(window_partition(x, WINDOW)), WINDOW, *x.shape[1:3])


x = torch.randn(1, 28, 28, 8, dtype=torch.float64)
stack = [make_layer(number) for number in range(scale(smoke=3, cpu=7, gpu=7))]
shown = [depth for depth in (1, 2, 3, 5, 7) if depth <= len(stack)]
heard = [study.heard_after(stack[:depth], x, 0) for depth in shown]
cost_figures.show_news(picture, heard, [f"{depth} layer{'s' * (depth > 1)}" for depth in shown], WINDOW,
                title="What the top left token has heard from, in windows that shift")

rows = []
for side in scale(smoke=(14,), cpu=(14, 21, 28, 42, 56), gpu=(14, 21, 28, 42, 56)):
    rim = [0, side - 1, side * side - side, side * side - 1]  # the corners have the longest way
    tokens = range(side * side) if side == 14 else rim
    depth = study.layers_until_all_hear(make_layer, side, tokens, 8, most=20)
    rows.append([f"{side} × {side}", side // WINDOW, depth, 2 * (side // WINDOW) - 1,
                 "all tokens" if side == 14 else "the corners"])
    measured[f"news {side}"] = depth
alone = study.layers_until_all_hear(lambda i: make_layer(i, shifting=False), 14, [0], 8, most=6)
rows.append(["14 × 14, never shifted", 2, "never" if alone is None else alone, "never", "a corner"])
charts.Table(["map", "windows a side", "layers until all have heard all", "2 · windows − 1",
              "looked at"], rows, title="News travels by one window in two layers")

# %% [markdown]
# **What it shows.** Every pair of layers, one shifted and one not, carries news one window (7
# tokens) further, so a map of $n$ windows a side needs $2n - 1$ layers. Swin-T's first stage has 56
# × 56 tokens and two layers: by itself it stays local. Swin gets its global view elsewhere, from
# merging $2 \times 2$ tokens after each stage, until a single window covers the map.
#
# "Has heard from" is a low bar: it says that influence is possible, not that it is large. Each layer
# hands on about a share of 1/49.

# %% [markdown]
# ## 11 · Play with the price
#
# Choose a kind of attention, how many tokens a side the map has, and the window; move the token.
# Left, whom it hears in one layer; right, what the layer costs (your formula, on logarithmic axes).
# Look for these: at which resolution do windows of 14 cost as much as softmax attention? Where is a
# larger window more expensive, and where not? What happens to sparse windows when the token lies on
# the background?

# %%
def bills(side, window):
    """MACs of the layer, and bytes between its two products, of every kind of attention."""
    all_to_all = attention_cost(side, side, DIM, HEADS)
    windows = attention_cost(side, side, DIM, HEADS, window)
    places = footprints.filled_tokens(drawn, side).nonzero()
    computed = slots(places, window, window**2)[1]
    heard = min(window**2, len(places))
    d = DIM // HEADS
    return {
        "softmax": (all_to_all["flops"] / 2, all_to_all["table bytes"]),
        "window": (windows["flops"] / 2, windows["table bytes"]),
        "shifted window": (windows["flops"] / 2, windows["table bytes"]),
        "sparse window": (4 * computed * DIM**2 + 2 * computed * heard * DIM,
                          4 * HEADS * computed * heard),
        "linear": (4 * side**2 * DIM**2 + side**2 * DIM * (2 * d + 1), 4 * HEADS * d * (d + 1)),
    }

# %% widget="costs"
cost_explorer(picture, drawn, bills, sides=(14, 28, 42, 56), windows=(2, 7, 14),
              variant="shifted window", start=(28, 7), token=(0.24, 0.7))

# %% experiment="bills"
# Where widgets do not run: the same, for two resolutions
for side in (14, 56):
    token = int(0.24 * side) * side + int(0.7 * side)
    captions = [f"{macs / 1e6:,.1f} M MACs\n{between / 2**20:,.2f} MiB between"
                for macs, between in bills(side, WINDOW).values()]
    footprints.show_footprints(
        picture, footprints.filled_tokens(drawn, side), WINDOW, token, captions,
        title=f"{side} × {side} tokens: whom one token hears, and what it costs")

# %% [markdown] question="q_cost" points=2
# ### Question 1 · 2 points
#
# Answer from *your* tables and figures of sections 8 and 9, in three to five sentences, with
# numbers.
#
# **(a)** Give the exponents of time and of memory of *softmax* and of *softmax, fused*. Which of
# the two problems of attention does the fused kernel solve on your machine, and which not? How
# many times as long as linear attention does it take on your largest map?
#
# **(b)** From which number of tokens on is linear attention cheaper by MACs, and from which by
# your clock, against each of the two softmaxes? Name a reason for the difference.
#
# **(c)** A detector has 128 × 128 tokens in two heads. How many bytes does the table of one layer
# take in float32?
# ### BEGIN SOLUTION
# Model answer. (a) The student's own four numbers, near 2 and 2 (softmax), 2 and 1 (fused, time
# and memory). The fused kernel solves memory: it computes the table in tiles and never holds it.
# It does not solve time: the number of products is the same, and on the largest map it takes the
# student's own factor longer than linear attention (38 times in the long run). So memory alone is
# no longer a reason against softmax attention; time is. (b) By MACs from d = 32 (32.5) tokens on,
# by the clock from the student's own number, around a hundred. Reasons: linear attention starts
# more and smaller operations (eight instead of four), whose fixed cost does not shrink with N,
# and the fused kernel starts fewest; products with a 32 x 32 matrix use the processor less well
# than large ones. (c) N = 16,384; 4 · 2 · N² = 2,147,483,648 bytes, 2 GiB.
#
# Rubric. ½ point: (a) four exponents of the student's own run. ½ point: memory solved, time not.
# ½ point: (b) both lengths and a reason that fits. ½ point: (c) 2.1 GB (2 GiB).
# ### END SOLUTION

# %% [markdown] question="q_choice" points=2
# ### Question 2 · 2 points
#
# Answer from *your* tables of sections 5, 8 and 10, in three to five sentences, with numbers.
#
# **(a)** You may spend four layers on a map of 56 × 56 tokens. Which of the five kinds of attention
# let the top left token hear from the bottom right one? How many layers of shifted windows would
# it take?
#
# **(b)** In a laser scan 2% of a map of 112 × 112 are filled, at random places. How many places for
# tokens do padded windows compute, per token, and how many groups of equal size?
#
# **(c)** Linear attention hears everything at an exponent of 1. Why is it not the answer to
# everything? Name the measurement of section 6 that says so.
# ### BEGIN SOLUTION
# Model answer. (a) Softmax and linear attention, in a single layer. Windows never, shifted windows
# after 15 layers (2 · 8 − 1, measured), so not in four; sparse windows only if both tokens fall into
# one group, which here they do not. (b) About 30 places a token in padded windows (the student's own
# figure), against 1.2 in groups. (c) Its table has at most rank d = 32, and its shares are flat: the
# best of 196 keys gets about 1%, against about half with softmax. It cannot pick one token out of many.
#
# Rubric. ½ point: (a) softmax and linear. ½ point: 15 layers. ½ point: (b) both ratios. ½ point: (c)
# rank or share of the best key, with the number.
# ### END SOLUTION

# %% [markdown]
# ## 12 · Published and measured

# %%
def shown(key, form="{}"):
    """A measured value, or the word that it is still to be measured."""
    return form.format(measured[key]) if key in measured else "not measured yet"


def exponents(name, key, form=".2f"):
    return f"{measured[name][key][0]:{form}}" if name in measured else "not measured yet"


def tokens_at(key):
    found = measured.get("crossings", {}).get(key)
    return f"{found:,.0f} tokens" if found else "no crossing in range"


kinds = list(footprints.VARIANTS)
noise = "the clock sees caches, memory and start-up cost; MACs do not"
charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["cost of softmax attention", "4ND² + 2N²D MACs (Swin paper, eq. 1)", shown("formula"),
     "they do not: counted, to the operation and to the byte"],
    ["exponents of MACs: " + ", ".join(kinds), "2, 1, 1, 1, 1 (theory)",
     ", ".join(exponents(name, "attention") for name in kinds), "they do not: counted"],
    ["exponents of memory", "2, 1, 1, 1, 1 (theory)",
     ", ".join(exponents(name, "bytes") for name in kinds),
     "parts of lower order, the projections among them"],
    ["exponents of time, long sentences", "2, 1, 1, 1, 1 (theory)",
     ", ".join(exponents(name, "seconds") for name in kinds), noise],
    ["the same, long run", "2, 1, 1, 1, 1 (theory)",
     ", ".join(f"{measured['long run'][name]['seconds']:.2f}" for name in kinds)
     if "long run" in measured else "not measured yet", noise],
    ["softmax without the table (fused), memory and time", "1 and 2 (FlashAttention paper)",
     f"{exponents('softmax, fused', 'bytes')} and {exponents('softmax, fused', 'seconds')}", noise],
    ["softmax attention against the side of the image", "4 (lecture)",
     f"{shown('resolution, MACs', '{:.2f}')} by MACs, {shown('resolution, time', '{:.2f}')} by time",
     noise],
    ["linear attention is cheaper from", "N > d = 32 (theory)",
     f"{tokens_at('MACs')} by MACs, {tokens_at('seconds')} by the clock, "
     f"{tokens_at('seconds, fused softmax')} against the fused kernel",
     "starting an operation has a price that no MAC shows"],
    ["your shifted windows are torchvision's", "equal", shown("parity"), "rounding"],
    ["layers until all of 28 × 28 tokens have heard all", "2 · 4 − 1 = 7 (windows of 7)",
     shown("news 28"), "they do not"],
    ["places computed for each token of a map 2% full", "1 in groups (FlatFormer's claim)",
     shown("padding"),
     "the last group repeats a few tokens; real scans cluster, so windows waste less there"],
], title="Published · measured here · why they differ")

# %% [markdown]
# ## Where next
#
# **What the full-size systems do besides.** Swin merges $2 \times 2$ tokens after each stage, so
# that its last window covers the picture; it reaches 81.3% on ImageNet with Swin-T, 1.1 points
# more than without the shift (Swin paper, table 4). This lab measured no accuracy: at this scale
# the kinds of attention can be told apart by their cost, hardly by their quality. FlatFormer sorts
# along rows and along columns in turn, with and without a shift, so that groups differ from layer
# to layer. Fused kernels (FlashAttention) changed the bill: they took the memory away and left the
# time.
#
# **What this course does with it.** Lab 03 makes a network of linear attention and mends its lack
# of sharpness. Lab 04 puts it into Segment Anything. Lab 05 takes your windows, finds out which of
# them matter, and computes only those.
#
# **To try.**
#
# * `labs experiment 02 attention_cost` makes the long run again, on your machine.
# * Set `HEADS = 8` in section 1 and run all again. Which lines move? Predict it first.
# * Give `AttentionLayer` the core `relu_attention_quadratic`. Is it faster or slower than softmax?
# * Put a cluster of tokens in the place of the random ones in section 5. What do padded windows
#   waste now?
# * Shift by 1 instead of by half a window. How many layers until all have heard all?

# %% [markdown]
# ## References
#
# * Z. Liu, Y. Lin, Y. Cao et al., *Swin Transformer: Hierarchical Vision Transformer using Shifted
#   Windows*, ICCV 2021: windows, their shift, relative position bias.
# * Z. Liu, X. Yang, H. Tang, S. Yang, S. Han, *FlatFormer: Flattened Window Attention for Efficient
#   Point Cloud Transformer*, CVPR 2023: groups of equal size.
# * A. Katharopoulos, A. Vyas, N. Pappas, F. Fleuret, *Transformers are RNNs: Fast Autoregressive
#   Transformers with Linear Attention*, ICML 2020: the other order.
# * H. Cai, J. Li, M. Hu, C. Gan, S. Han, *EfficientViT: Multi-Scale Linear Attention for
#   High-Resolution Dense Prediction*, ICCV 2023: ReLU linear attention in vision.
# * T. Dao, D. Fu, S. Ermon, A. Rudra, C. Ré, *FlashAttention: Fast and Memory-Efficient Exact
#   Attention with IO-Awareness*, NeurIPS 2022: softmax attention without the table.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
#
# ## Glossary
#
# * **attention weights, the table**: for each query, its shares of all keys: $N \times N$ numbers
#   in every head.
# * **core**: what attention does with queries, keys and values, without the projections around
#   it.
# * **cyclic shift**: rolling a map, so that what leaves at one rim comes in at the opposite one.
# * **exponent**: the $p$ in a cost that grows as $N^p$; the slope of a line on logarithmic axes.
# * **FLOPs**: floating-point operations; here two for every MAC.
# * **fused**: softmax attention computed in tiles, so that the table never exists as a whole.
# * **group**: here, as many tokens as every other group, cut from a sorted list (sparse windows).
# * **linear attention**: attention in which keys and values meet first; its cost grows as $N$.
# * **MACs**: multiply-accumulates.
# * **mask**: what is added to scores so that a pair of tokens cannot hear each other.
# * **padding**: places that are computed though no token is there.
# * **relative position bias**: a learned number for every way in which query and key can lie to
#   each other.
# * **window**: a square of $M \times M$ tokens that attend to each other only.
