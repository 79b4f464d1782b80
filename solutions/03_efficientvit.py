# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "03"
#   title: "EfficientViT: multi-scale linear attention"
#   minutes: 180
#   masks:
#     - models/efficientvit/layers.py
#     - models/efficientvit/attention.py
#     - models/efficientvit/backbone.py
#     - models/efficientvit/heads.py
#     - models/efficientvit/timm_weights.py
# ---

# %% [markdown]
# # Lab 03 · EfficientViT: multi-scale linear attention
#
# Some tasks need every pixel. To outline a road, a tumour or a cable, a network must answer at high
# resolution, and it must see the whole image while it does so. Softmax attention sees everything,
# but its cost grows with the *fourth* power of the image's side (labs 01 and 02). EfficientViT (Cai
# et al., ICCV 2023) keeps the view and drops the power: it puts a ReLU in the place of the softmax,
# so that the brackets in $(QK^\top)V$ can be moved, and then repairs with cheap convolutions what
# the ReLU spoils.
#
# In this lab you build that network from its attention to its heads, load a library's weights into
# it to prove that nothing is missing, and measure three claims: that its lead over softmax **grows
# with resolution**, that it segments scenes which **no local network can**, and that the same
# module **sharpens images**.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Move the brackets | `relu_linear_attention` | 4 | 25 | ●●○ |
# | 2 Look at neighbourhoods | `aggregation` | 3 | 15 | ●●○ |
# | 3 Attend at several scales | `multi_scale_attention` | 4 | 25 | ●●● |
# | 4 Mix channels, locally | `mbconv` | 3 | 15 | ●○○ |
# | 5 Context and detail | `efficientvit_module` | 2 | 10 | ●○○ |
# | 6 The backbone | `backbone` | 4 | 25 | ●●● |
# | 7 A class for every pixel | `segmentation_head` | 3 | 15 | ●●○ |
# | 8 to 9 Does it see? What does it cost? | two written questions | 4 | 30 | ●●○ |
# | 10 Twice the resolution | `super_resolution` | 3 | 20 | ●●○ |
#
# **30 points, about three hours.** You need PyTorch (`nn.Module`, `nn.Conv2d`, matrix products) and
# attention as in lab 01. You need not have met linear attention or MobileNets before. With all
# exercises solved the notebook runs in MINUTES_CPU on two cores; nothing is downloaded.
#
# **How it works.** Write your code where a cell says `YOUR CODE HERE`. The cell below it checks
# your answer at once and tells you what it found; it is not graded, so run it as often as you
# like. When you hand in, your code is asked about fresh inputs that only you get.

# %% [markdown]
# ## Set up
#
# Run the next three cells. The first says whether this machine has what the lab needs.
# `PROFILE = "cpu"` is meant for a laptop or a free Colab machine, `"smoke"` runs everything in
# seconds with results that mean nothing, and `"gpu"` takes the long runs.

# %% tags=["parameters"]
PROFILE = "cpu"
SEED = 0

# %%
from labsupport import environment

environment.report(PROFILE);

# %% tags=["setup"]
import json
import math

import einops
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from labsupport import blueprints, charts, comparisons, dense, figures, maps, segmaps
from labsupport.checks import Check
from labsupport.data import data_path, held_out, scenes
from labsupport.data.rules import CLASSES, rule_scenes
from labsupport.models.segformer import SegFormerLike
from labsupport.models.swinir import SwinIRLike
from labsupport.profiles import profile
from labsupport.profiling import count_macs, count_parameters
from labsupport.resolutions import resolution_explorer
from labsupport.training import load_checkpoint, normalize, train_classifier
from labsupport.turns import measure_in_turns

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %%
# A feature map of 64 x 64 pixels, heads of 16 channels: the shapes are drawn to scale.
blueprints.show_orders(64 * 64, 16, title="Same product, other brackets: 256 times less work")

# %% [markdown]
# This is the picture to remember. A product of three matrices can be computed in two orders. On the
# left, attention as you know it: first a score for *every pair* of the 4,096 pixels. On the right,
# keys and values meet first, in a matrix so small that you can hardly see it, and the queries read
# from that. The result is the same. What stands in the way is the softmax, which wants to see all
# scores of a query at once. So the softmax has to go.

# %% [markdown]
# ## 1 · Move the brackets
#
# Attention gives query $i$ an average of the values, with shares that come from a similarity of
# query and key:
#
# $$ \mathbf{o}_i = \frac{\sum_j \operatorname{sim}(\mathbf{q}_i, \mathbf{k}_j)\, \mathbf{v}_j}
#                    {\sum_j \operatorname{sim}(\mathbf{q}_i, \mathbf{k}_j)} $$
#
# Softmax attention takes $\operatorname{sim} = \exp(\mathbf{q} \cdot \mathbf{k} / \sqrt d)$. Take
# instead $\operatorname{sim} = \operatorname{ReLU}(\mathbf{q}) \cdot \operatorname{ReLU}(\mathbf{k})$.
# It is never negative, as shares must be, and it is a *product* of a part that knows only $i$ and
# a part that knows only $j$. So the query can be pulled out of both sums:
#
# $$ \mathbf{o}_i = \frac{\operatorname{ReLU}(\mathbf{q}_i)
#       \Big[ \sum_j \operatorname{ReLU}(\mathbf{k}_j)^\top \mathbf{v}_j \Big]}
#      {\operatorname{ReLU}(\mathbf{q}_i) \cdot \Big[ \sum_j \operatorname{ReLU}(\mathbf{k}_j) \Big]} $$
#
# What is in the brackets is the same for all queries and computed once: $d \times d$ numbers above,
# $d$ below. The cost falls from $2 N^2 d$ to $2 N d^2$ MACs.
#
# **One product for both.** Numerator and denominator differ only in what is summed: the values, or
# ones. So put a column of ones beside the values, $V' = [\,V \mid \mathbf{1}\,]$, of width $d + 1$.
# Then the last column of $\operatorname{ReLU}(Q)\,[\operatorname{ReLU}(K)^\top V']$ *is* the
# denominator. The published code does it this way, and the MACs of its table count that column.
#
# **Two things to mind.** A query without a positive entry has similarity 0 with everything, and
# 0 / 0 is NaN. A tiny $\varepsilon = 10^{-15}$ added to the denominator makes it 0. And $1/\sqrt d$
# is not needed: it would cancel. (Convince yourself.)
#
# ### Exercise 1 · `relu_linear_attention` · 4 points · 25 minutes · ●●○
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about five lines |
# | **Shapes** | `q`: `(batch, heads, queries, d)`; `k`, `v`: `(batch, heads, keys, d)`; out: like `q` |
# | **Cost** | linear in the number of tokens: never a matrix of queries × keys when there are more tokens than `d` |
# | **Allowed** | everything in PyTorch; the inputs must not be changed |
# | **Read** | EfficientViT paper, section 3.1, equations 1 to 3 |
#
# <details><summary>Hint 1: which product first?</summary>
#
# Keys and values meet over the *tokens*: each of the `d` features of the key with each of the
# columns of the value, summed over all tokens. Which axis of `k` must be moved so that `@` sums
# over tokens? The result knows nothing of any single token.
# </details>
# <details><summary>Hint 2: how do I put a column of ones beside v?</summary>
#
# `F.pad(v, (0, 1), value=1.0)` appends one column to the last axis; so does `torch.cat` with
# `torch.ones_like(v[..., :1])`. After the second product split the last axis again: all but the
# last column is the numerator, the last one the denominator. Keep its axis (`[..., -1:]`) so that
# it broadcasts.
# </details>
# <details><summary>Hint 3: the check says NaN, or that the input changed</summary>
#
# NaN: `eps` must be added to the denominator before you divide. The input changed:
# `F.relu(q, inplace=True)`, `q.relu_()` and `q.clamp_(0)` write into the tensor that you were
# given; `q.relu()` does not. Skeleton: ReLU of both → ones beside the values → keys with values →
# queries with that → divide.
# </details>

# %% exercise="relu_linear_attention"
def relu_linear_attention(q, k, v, eps=1e-15):
    """Attention with similarity relu(q) . relu(k), in time linear in the tokens.

    q: (batch, heads, queries, d); k, v: (batch, heads, keys, d).
    Returns (batch, heads, queries, d); zeros for a query that is similar to no key.
    """
    # Step 1: ReLU of queries and keys; a column of ones beside the values
    # Step 2: keys with values first, then queries with the result
    # Step 3: divide by the last column (plus eps)
    ### BEGIN SOLUTION
    q, k = q.relu(), k.relu()
    v = F.pad(v, (0, 1), value=1.0)  # (batch, heads, keys, d + 1)
    summary = k.transpose(-2, -1) @ v  # (batch, heads, d, d + 1)
    out = q @ summary  # (batch, heads, queries, d + 1)
    return out[..., :-1] / (out[..., -1:] + eps)
    ### END SOLUTION

# %% check="relu_linear_attention"
with Check("relu_linear_attention", read="section 1, the formula with brackets") as check:
    check.signature(relu_linear_attention, "q", "k", "v", "eps")
    q, k, v = (torch.randn(2, 3, n, 4) for n in (5, 9, 9))
    before = [t.clone() for t in (q, k, v)]
    check.shape(relu_linear_attention(q, k, v), (2, 3, 5, 4), "the output for 5 queries and 9 keys")
    for name, now, then in zip("qkv", (q, k, v), before):
        check.unchanged(now, then, name)

    # By hand: after the ReLU the queries are (1, 0) and (1, 1), the keys (3, 0), (1, 2), (0, 2).
    # Similarities of the first query: 3, 1, 0, of the second: 3, 3, 2.
    hand_q = torch.tensor([[1.0, -5], [1, 1]])[None, None]
    hand_k = torch.tensor([[3.0, -1], [1, 2], [-4, 2]])[None, None]
    hand_v = torch.tensor([[8.0, 0], [0, 8], [0, 16]])[None, None]
    shares = torch.tensor([[3.0, 1, 0], [3, 3, 2]])
    plain = (hand_q @ hand_k.transpose(-2, -1))[0, 0]
    check.values(relu_linear_attention(hand_q, hand_k, hand_v)[0, 0],
                 [[6.0, 2.0], [3.0, 7.0]], "a hand-made example", draw=True, otherwise={
        "the denominator is missing: shares do not sum to one": shares @ hand_v[0, 0],
        "the sum of the denominator runs over the queries; it must run over the keys":
            shares / shares.sum(0) @ hand_v[0, 0],
        "the ReLU is missing": plain / plain.sum(-1, keepdim=True) @ hand_v[0, 0],
        "the ReLU is taken of the scores instead of queries and keys":
            plain.relu() / plain.relu().sum(-1, keepdim=True) @ hand_v[0, 0],
        "the values go through the ReLU as well as through an average of the wrong tokens":
            torch.zeros(2, 2),
        "this is softmax attention": F.scaled_dot_product_attention(hand_q, hand_k, hand_v)[0, 0],
        "the sum is divided by the number of keys instead of the sum of similarities":
            shares @ hand_v[0, 0] / 3,
    })
    signed = relu_linear_attention(hand_q, hand_k, -hand_v)[0, 0]
    check.values(signed, [[-6.0, -2.0], [-3.0, -7.0]], "the example with negative values",
                 likely="the values go through the ReLU too; only queries and keys should")
    dead = hand_q.clone()
    dead[0, 0, 0] = -1
    check.values(relu_linear_attention(dead, hand_k, hand_v)[0, 0], [[0.0, 0.0], [3.0, 7.0]],
                 "the output for a query without a positive entry",
                 likely="eps is not added to the denominator, or it is too large")
    check.values(relu_linear_attention(1e-4 * hand_q, 1e-4 * hand_k, hand_v)[0, 0],
                 [[6.0, 2.0], [3.0, 7.0]], "the output for faint queries and keys",
                 likely="eps is too large: use the argument eps, 1e-15 unless told otherwise")
    long = torch.randn(1, 1, 500, 8)
    check.cost(count_macs(relu_linear_attention, long, long, long), 2 * 500 * 8 * 9,
               "attention over 500 tokens of 8", likely="queries and keys are multiplied first; "
               "move the brackets: keys with values, then queries with the result")
    inputs = {"q": q.requires_grad_(), "k": k.requires_grad_(), "v": v.requires_grad_()}
    check.gradient(relu_linear_attention(q, k, v), inputs)

# %% judge="relu_linear_attention" points=4
def ask(rng):
    for title, batch, heads, queries, keys, d in (
        ("3 heads, 40 tokens of 8", 2, 3, 40, 40, 8),
        ("fewer tokens than channels", 1, 2, 5, 5, 12),
        ("more keys than queries", 2, 1, 6, 30, 4),
        ("one token", 1, 4, 1, 1, 3),
    ):
        q, k, v = randn(rng, batch, heads, queries, d), *randn(rng, 2, batch, heads, keys, d)
        q[..., 0], k[..., 0] = q[..., 0].abs() + 0.1, k[..., 0].abs() + 0.1
        yield Case(title, q=q, k=k, v=v)
    q, k, v = randn(rng, 3, 1, 2, 20, 4)
    q[0, 1, 3] = -q[0, 1, 3].abs()
    yield Case("a query that is similar to no key", q=q, k=k, v=v)
    q, k, v = randn(rng, 3, 1, 2, 9, 4).abs().double()
    yield Case("faint queries and keys", q=1e-5 * q, k=1e-5 * k, v=v)
    yield Case("another eps", q=q, k=k, v=v, eps=2.0)
    yield Case("double precision", q=randn(rng, 1, 2, 12, 5).double(),
               k=randn(rng, 1, 2, 12, 5).double(), v=randn(rng, 1, 2, 12, 5).double())
    yield Case("the number of multiplications for 600 tokens", q=randn(rng, 1, 1, 600, 8),
               k=randn(rng, 1, 1, 600, 8), v=randn(rng, 1, 1, 600, 8), count=True)


def drive(lab, q, k, v, eps=None, count=False):
    extra = {} if eps is None else {"eps": eps}
    if count:
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter:
            output = lab.relu_linear_attention(q, k, v)
        tokens, d = q.shape[-2:]
        return {"output": output,
                "linear in the tokens": counter.get_total_flops() <= 8 * tokens * d * (d + 1)}
    for t in (q, k, v):
        t.requires_grad_()
    output = lab.relu_linear_attention(q, k, v, **extra)
    steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    result = {"output": output}
    if q.dtype == torch.float64 and q.abs().max() > 1e-3:  # faint ones have huge gradients
        result["gradients"] = list(torch.autograd.grad((output * steps).sum(), (q, k, v)))
    else:
        (result["gradient of v"],) = torch.autograd.grad((output * steps).sum(), v)
    return result

# %% trap="relu_linear_attention" name="no normaliser"
# Your output equals what you get without the denominator: the shares of a query then do not sum to
# one. The last column of the product is their sum; divide by it.
def relu_linear_attention(q, k, v, eps=1e-15):
    return q.relu() @ (k.relu().transpose(-2, -1) @ v)

# %% trap="relu_linear_attention" name="normaliser over the queries"
# Your output equals what you get when the denominator sums over the queries. Every query has its
# own denominator: the sum of its similarities with all keys.
def relu_linear_attention(q, k, v, eps=1e-15):
    q, k = q.relu(), k.relu()
    norm = (q.sum(-2, keepdim=True) @ k.transpose(-2, -1)).transpose(-2, -1)
    return q @ (k.transpose(-2, -1) @ (v / (norm + eps)))

# %% trap="relu_linear_attention" name="no epsilon"
# Your output equals what you get without eps: a query that is similar to no key then divides zero
# by zero. Add eps to the denominator.
def relu_linear_attention(q, k, v, eps=1e-15):
    q, k = q.relu(), k.relu()
    out = q @ (k.transpose(-2, -1) @ F.pad(v, (0, 1), value=1.0))
    return out[..., :-1] / out[..., -1:]

# %% trap="relu_linear_attention" name="quadratic order"
# The values are right, but queries and keys are multiplied first, which makes a matrix of tokens by
# tokens: the cost is quadratic. Multiply keys with values first.
def relu_linear_attention(q, k, v, eps=1e-15):
    shares = q.relu() @ k.relu().transpose(-2, -1)
    return shares @ v / (shares.sum(-1, keepdim=True) + eps)

# %% alternative="relu_linear_attention" name="two sums"
def relu_linear_attention(q, k, v, eps=1e-15):
    q, k = F.relu(q), F.relu(k)
    numerator = torch.einsum("bhnd,bhde->bhne", q, torch.einsum("bhnd,bhne->bhde", k, v))
    denominator = (q * k.sum(dim=2, keepdim=True)).sum(dim=-1, keepdim=True)
    return numerator / (denominator + eps)

# %% alternative="relu_linear_attention" name="whichever order is cheaper"
def relu_linear_attention(q, k, v, eps=1e-15):
    q, k = q.clamp(min=0), k.clamp(min=0)
    ones = torch.ones_like(v[..., :1])
    padded = torch.cat([v, ones], dim=-1)
    if k.shape[-2] > k.shape[-1]:
        out = torch.matmul(q, torch.matmul(k.mT, padded))
    else:
        out = torch.matmul(torch.matmul(q, k.mT), padded)
    top, bottom = out.split([v.shape[-1], 1], dim=-1)
    return top / (bottom + eps)

# %% alternative="relu_linear_attention" name="a loop over the heads, channels first"
def relu_linear_attention(q, k, v, eps=1e-15):
    outputs = []
    for head in range(q.shape[1]):
        a, b, c = (torch.relu(q[:, head]).transpose(1, 2), torch.relu(k[:, head]),
                   v[:, head].transpose(1, 2))
        summary = torch.bmm(F.pad(c, (0, 0, 0, 1), value=1.0), b)  # (batch, d + 1, d)
        out = torch.bmm(summary, a)
        outputs.append((out[:, :-1] / (out[:, -1:] + eps)).transpose(1, 2))
    return torch.stack(outputs, dim=1)

# %% [markdown]
# Now see what you saved. Both sides compute the same numbers; the left one builds the matrix of
# all pairs first. Medians of repeated calls that take turns, one thread.

# %% experiment="orders"
def quadratic_order(q, k, v):
    """The same attention with the brackets where softmax needs them."""
    shares = q.relu() @ k.relu().transpose(-2, -1)
    return shares @ v / (shares.sum(-1, keepdim=True) + 1e-15)


rows = []
for side in scale(smoke=(4, 8, 16), cpu=(4, 8, 16, 32, 64), gpu=(4, 8, 16, 32, 64)):
    tokens = side * side
    q, k, v = torch.randn(3, 1, 4, tokens, 16)
    times = measure_in_turns({"quadratic": quadratic_order, "linear": relu_linear_attention},
                             q, k, v, seconds=scale(smoke=0.02, cpu=0.8, gpu=0.8))
    gap = (quadratic_order(q, k, v) - relu_linear_attention(q, k, v)).abs().max().item()
    macs = [count_macs(f, q, k, v) for f in (quadratic_order, relu_linear_attention)]
    rows.append([f"{side} × {side}", f"{tokens:,}", f"{macs[0]:,}", f"{macs[1]:,}",
                 f"{1000 * times['quadratic']:.2f} ms", f"{1000 * times['linear']:.2f} ms",
                 f"{times['quadratic'] / times['linear']:.1f} ×", f"{gap:.0e}"])
    measured["orders"] = (tokens, times["quadratic"] / times["linear"])
charts.Table(["pixels", "tokens", "(QKᵀ)V, MACs", "Q(KᵀV), MACs", "(QKᵀ)V, time",
              "Q(KᵀV), time", "gain", "largest difference"], rows,
             title="4 heads of 16 channels: the gain in MACs is about tokens / 17")

# %% [markdown]
# **What it shows.** With 16 tokens of 16 channels there is nothing to gain, and at fewer tokens the
# linear order is the *dearer* one. That is why the published code switches silently to the quadratic
# order when there are no more tokens than channels in a head (`if H * W > dim`). It is the same
# arithmetic, so you do not have to; but know that on small images the official networks never run
# linear attention at all.

# %% [markdown]
# ## 2 · Look at neighbourhoods
#
# The ReLU is cheap, and it pays for that. An exponential turns a small lead in the scores into a
# large share; a ReLU does not. Take the *same* random queries and keys and compare the shares that
# one query gives to 64 keys:

# %%
torch.manual_seed(3)
q, k = torch.randn(2, 400, 64, 16)  # 400 examples of 64 tokens
one_hot = torch.eye(64).expand(400, 64, 64)
soft = (2 * q @ k.transpose(-2, -1) / 4).softmax(-1)  # scores of a trained net: larger than random
relu = q.relu() @ k.relu().transpose(-2, -1)
relu = relu / relu.sum(-1, keepdim=True)
ordered = {name: shares.sort(-1, descending=True).values.mean((0, 1))[:32].tolist()
           for name, shares in (("softmax", soft), ("ReLU", relu))}
charts.lines(range(1, 33), ordered, title="Softmax can pick one key; ReLU attention spreads out",
             xlabel="keys, the most attended first", ylabel="share of attention")
measured["keys"] = [(-(s.clamp(min=1e-9).log() * s).sum(-1)).exp().mean().item()
                    for s in (soft, relu)]

# %% [markdown]
# Softmax can look *at* something. ReLU attention takes in the whole scene, but blurred: good for
# "what kind of place is this?", poor for "where is the edge?". EfficientViT has two remedies. The
# first acts on queries, keys and values before they meet: next to the tokens of single pixels it
# makes tokens of *neighbourhoods*, and attends with both. A neighbourhood token is a weighted sum
# over 5 × 5 pixels, and it costs almost nothing if the sum is taken in two small steps:
#
# * a **depthwise** convolution, 5 × 5: each channel by itself, `groups` = number of channels;
# * a **grouped 1 × 1** convolution: the $d$ channels of *one head's* queries mix among themselves,
#   likewise its keys, likewise its values. So there are three groups a head.
#
# Neither has a bias, and nothing stands between them. For $3 \cdot 64$ channels and heads of 16, this
# takes $192 \cdot 25 + 192 \cdot 16 = 7{,}872$ parameters. A full 5 × 5 convolution would take
# 921,600.
#
# ### Exercise 2 · `aggregation` · 3 points · 15 minutes · ●●○
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `Aggregation(dim, heads, kernel_size=5)`, about six lines |
# | **Shapes** | `(batch, 3 * dim, height, width)` to the same |
# | **Names** | `depthwise` and `grouped`, both `nn.Conv2d` without bias |
# | **Mind** | odd kernel sizes only; the map keeps its size, with zeros beyond the border |
# | **Read** | EfficientViT paper, section 3.1, "Multi-Scale Linear Attention", and figure 2 |
#
# <details><summary>Hint 1: what do groups do?</summary>
#
# `groups=g` cuts the input channels into `g` consecutive blocks and the output channels likewise;
# block $i$ of the output sees block $i$ of the input and nothing else. With as many groups as
# channels, every channel is on its own. How many channels should see one another here, and how
# many such blocks are there among `3 * dim` channels?
# </details>
# <details><summary>Hint 2: the check says that the size of the map changed</summary>
#
# A kernel of 5 needs 2 pixels of padding at each side, one of 3 needs 1: `kernel_size // 2`.
# `padding="same"` does it too.
# </details>
# <details><summary>Hint 3: "the parameter grouped.weight has the wrong shape"</summary>
#
# The shape of a convolution's weight is (outputs, inputs / groups, kernel, kernel). Each output
# should see `dim // heads` inputs, so inputs / groups = `dim // heads`; solve for `groups`. If you
# have `dim // heads * 3` there, queries, keys and values of a head mix; if you have 1, nothing
# mixes at all.
# </details>

# %% exercise="aggregation"
class Aggregation(nn.Module):
    """Queries, keys and values of neighbourhoods: (batch, 3 * dim, height, width), same shape.

    Parameters: depthwise.weight (3 * dim, 1, kernel_size, kernel_size) and
    grouped.weight (3 * dim, dim / heads, 1, 1). Every block of dim / heads channels is one head's
    queries, keys or values, and mixes within itself only.
    """

    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        # Step 1: the depthwise convolution; Step 2: the grouped one
        ### BEGIN SOLUTION
        self.depthwise = nn.Conv2d(3 * dim, 3 * dim, kernel_size, padding=kernel_size // 2,
                                   groups=3 * dim, bias=False)
        self.grouped = nn.Conv2d(3 * dim, 3 * dim, 1, groups=3 * heads, bias=False)
        ### END SOLUTION

    def forward(self, qkv):
        # Step 3: one after the other
        ### BEGIN SOLUTION
        return self.grouped(self.depthwise(qkv))
        ### END SOLUTION

# %% check="aggregation"
with Check("aggregation", read="section 2, the two small steps") as check:
    check.signature(Aggregation, "dim", "heads", "kernel_size")
    mix = Aggregation(8, 2)
    check.parameters(mix, {"depthwise.weight": (24, 1, 5, 5), "grouped.weight": (24, 4, 1, 1)})
    qkv = torch.randn(2, 24, 6, 9)
    check.shape(mix(qkv), (2, 24, 6, 9), "the neighbourhoods of a 6 x 9 map",
                likely="the padding does not belong to the kernel: kernel_size // 2")
    check.shape(Aggregation(8, 2, 3)(qkv), (2, 24, 6, 9), "the same with kernel_size=3")

    # Nothing but the middle of each kernel, and the identity behind it: the input comes back
    with torch.no_grad():
        mix.depthwise.weight.zero_()
        mix.depthwise.weight[:, 0, 2, 2] = 1
        mix.grouped.weight.copy_(torch.eye(4).repeat(6, 1)[:, :, None, None])
    check.values(mix(qkv), qkv, "the output with an identity for a kernel",
                 likely="something stands between or behind the two convolutions")
    # A single bright pixel in one channel must reach 5 x 5 pixels of its own block of 4 channels
    spot = torch.zeros(1, 24, 9, 9)
    spot[0, 5, 4, 4] = 1
    with torch.no_grad():
        for weight in mix.parameters():
            weight.fill_(1)
    reached = mix(spot)[0] != 0
    check.that(reached[4:8, 2:7, 2:7].all(), "a pixel does not reach its 5 x 5 neighbourhood")
    check.that(reached.sum() == 4 * 25, "a pixel reaches more than its own head's 5 x 5 pixels",
               likely="groups=3 * heads for the 1 x 1 convolution, groups=3 * dim for the 5 x 5")
    qkv.requires_grad_()
    check.gradient(Aggregation(8, 2)(qkv), {"qkv": qkv})

# %% judge="aggregation" points=3
def ask(rng):
    yield Case("two heads, a wide map", qkv=randn(rng, 2, 24, 5, 9), heads=2)
    yield Case("one head, a tall map, batch of one", qkv=randn(rng, 1, 12, 8, 3), heads=1)
    yield Case("heads of one channel", qkv=randn(rng, 1, 9, 6, 6), heads=3)
    yield Case("neighbourhoods of 3 pixels", qkv=randn(rng, 2, 36, 4, 7), heads=3, kernel_size=3)
    yield Case("neighbourhoods larger than the map", qkv=randn(rng, 1, 12, 2, 3), heads=2,
               kernel_size=7)
    yield Case("double precision", qkv=randn(rng, 2, 24, 4, 4).double(), heads=4)


def modes(module):
    return sorted({part.training for part in module.modules()})


def drive(lab, qkv, heads, kernel_size=None):
    extra = {} if kernel_size is None else {"kernel_size": kernel_size}
    module = lab.Aggregation(qkv.shape[1] // 3, heads, **extra).to(qkv.dtype)
    fill_parameters(module, seed=1)
    qkv.requires_grad_()
    output = module.eval()(qkv)
    mode_after = [modes(module)]
    in_training = module.train()(qkv)
    mode_after.append(modes(module))
    steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    (in_training * steps).sum().backward()
    gradients = {"qkv": qkv.grad}
    if qkv.dtype == torch.float64:
        gradients |= {name: p.grad for name, p in module.named_parameters()}
    return {
        "parameters": {name: list(p.shape) for name, p in sorted(module.named_parameters())},
        "parameters that learn": sorted(n for n, p in module.named_parameters()
                                        if p.requires_grad),
        "output": output, "output in training mode": in_training, "gradients": gradients,
        "mode after evaluation and training": mode_after,
    }

# %% trap="aggregation" name="queries, keys and values mixed"
# The 1 x 1 convolution has one group a head, so that queries, keys and values of a head mix. It
# needs three groups a head: groups=3 * heads.
class Aggregation(nn.Module):
    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        self.depthwise = nn.Conv2d(3 * dim, 3 * dim, kernel_size, padding=kernel_size // 2,
                                   groups=3 * dim, bias=False)
        self.grouped = nn.Conv2d(3 * dim, 3 * dim, 1, groups=heads, bias=False)

    def forward(self, qkv):
        return self.grouped(self.depthwise(qkv))

# %% trap="aggregation" name="activation between"
# Your output equals what you get with an activation between the two convolutions. Nothing stands
# between them: together they are one linear map.
class Aggregation(nn.Module):
    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        self.depthwise = nn.Conv2d(3 * dim, 3 * dim, kernel_size, padding=kernel_size // 2,
                                   groups=3 * dim, bias=False)
        self.grouped = nn.Conv2d(3 * dim, 3 * dim, 1, groups=3 * heads, bias=False)

    def forward(self, qkv):
        return self.grouped(self.depthwise(qkv).relu())

# %% alternative="aggregation" name="einsum for the grouped convolution"
class Aggregation(nn.Module):
    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        self.heads = heads
        self.depthwise = nn.Conv2d(dim * 3, dim * 3, kernel_size, padding="same", groups=dim * 3,
                                   bias=False)
        self.grouped = nn.Conv2d(dim * 3, dim * 3, 1, groups=heads * 3, bias=False)

    def forward(self, qkv):
        x = self.depthwise(qkv).unflatten(1, (3 * self.heads, -1))
        weight = self.grouped.weight[..., 0, 0].unflatten(0, (3 * self.heads, -1))
        return torch.einsum("bgchw,gdc->bgdhw", x, weight).flatten(1, 2)

# %% alternative="aggregation" name="shifted copies and a loop over the blocks"
class Aggregation(nn.Module):
    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        inner, pad = 3 * dim, (kernel_size - 1) // 2
        self.depthwise = nn.Conv2d(inner, inner, (kernel_size, kernel_size), 1, pad, 1, inner, False)
        self.grouped = nn.Conv2d(inner, inner, 1, bias=False, groups=inner * heads // dim)

    def forward(self, qkv):
        height, width = qkv.shape[-2:]
        kernel = self.depthwise.weight[:, 0]
        pad = kernel.shape[-1] // 2
        padded = F.pad(qkv, (pad, pad, pad, pad))
        x = 0
        for i in range(kernel.shape[1]):
            for j in range(kernel.shape[2]):
                window = padded[:, :, i:i + height, j:j + width]
                x = x + window * kernel[:, i, j][:, None, None]
        size = self.grouped.weight.shape[1]
        blocks = []
        for block, weight in zip(x.split(size, dim=1), self.grouped.weight.split(size)):
            blocks.append(F.conv2d(block, weight))
        return torch.cat(blocks, dim=1)

# %% [markdown]
# ## 3 · Attend at several scales
#
# Now put both together. Three layers are given, because every part of this network uses them: a
# convolution with batch norm and activation, the shortcut around a module, and the small block of
# the stem.

# %% tags=["setup"]
class ConvNormAct(nn.Module):
    """Convolution with padding kernel_size // 2, then batch norm and Hardswish where asked for."""

    def __init__(self, in_channels, out_channels, kernel_size=1, stride=1, groups=1, bias=False,
                 norm=True, act=False):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2,
                              groups=groups, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.act = nn.Hardswish() if act else nn.Identity()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    """x + main(x)."""

    def __init__(self, main):
        super().__init__()
        self.main = main

    def forward(self, x):
        return x + self.main(x)


class DSConv(nn.Module):
    """Depthwise 3 x 3 with norm and activation, then 1 x 1 with norm: same shape."""

    def __init__(self, dim):
        super().__init__()
        self.depth_conv = ConvNormAct(dim, dim, 3, groups=dim, act=True)
        self.point_conv = ConvNormAct(dim, dim)

    def forward(self, x):
        return self.point_conv(self.depth_conv(x))

# %% [markdown]
# **The layout.** A 1 × 1 convolution makes $3D$ channels of queries, keys and values from the $D$
# channels of the map. In ViT the first $D$ were the queries of all heads. Here they are laid out
# **head by head**: the queries, keys and values of head 0, then those of head 1, and so on. So that
# is how they have to be cut: $(\text{heads},\; 3,\; d)$.
#
# **The scales.** The aggregation of exercise 2 makes another $3D$ channels, in the same layout. Put
# behind the first ones, they are simply *more heads*: $2 D / d$ heads with one neighbourhood, all
# fed to the same attention. The output has $2D$ channels, and a last 1 × 1 convolution with batch
# norm brings them back to $D$.

# %%
blueprints.show_module(title="An EfficientViT module: this section builds the left half")

# %% [markdown]
# ### Exercise 3 · `multi_scale_attention` · 4 points · 25 minutes · ●●●
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `MultiScaleAttention(dim, head_dim=16, scales=(5,))`, about fifteen lines |
# | **Shapes** | `(batch, dim, height, width)` to the same; `head_dim` divides `dim` |
# | **Names** | `qkv`: `ConvNormAct` without norm; `aggreg`: `nn.ModuleList`, one `Aggregation` a scale; `proj`: `ConvNormAct` with norm, without activation |
# | **Layout** | channels of `qkv`: (heads, query / key / value, head_dim); tokens run row by row |
# | **Read** | EfficientViT paper, section 3.1 and figure 2 (right) |
#
# The grader puts other modules in the place of your `Aggregation` and `relu_linear_attention`, so
# that an earlier mistake does not count twice. Make the one only by `Aggregation(dim, heads,
# kernel_size)`, and use both only by calling them.
#
# <details><summary>Hint 1: from a map to heads</summary>
#
# All scales side by side are `(batch, (1 + scales) * 3 * dim, height, width)`. The channel axis
# holds three axes in one: which head (of all scales), which of q, k, v, which of the `head_dim`
# channels. The last two axes become one: the tokens. `relu_linear_attention` wants three tensors
# `(batch, heads, tokens, head_dim)`.
# </details>
# <details><summary>Hint 2: the check says that the layout of the channels is another</summary>
#
# `qkv.chunk(3, dim=1)` takes the first third of *all* channels for queries; that is the layout of
# ViT. Here, split the channel axis into (heads, 3 * head_dim) *first*
# (`unflatten(1, (-1, 3 * head_dim))`), and cut the axis of `3 * head_dim` into three *then*.
# </details>
# <details><summary>Hint 3: the check says that tokens and channels are exchanged</summary>
#
# After `flatten(2)` the tokens are the last axis and channels come before; attention wants the
# channels last. Transpose before you cut, and transpose back before you merge heads and channels
# into one axis and split the tokens into rows and columns. Skeleton: `qkv` → `torch.cat` with all
# scales → tokens → heads → transpose → three parts → attention → transpose → merge → map → `proj`.
# </details>

# %% exercise="multi_scale_attention"
class MultiScaleAttention(nn.Module):
    """Multi-scale linear attention: (batch, dim, height, width) -> the same shape.

    Submodules: qkv (1 x 1, dim to 3 * dim, no norm), aggreg (an Aggregation for every scale),
    proj (1 x 1 with norm, dim * (1 + scales) to dim).
    """

    def __init__(self, dim, head_dim=16, scales=(5,)):
        super().__init__()
        # Step 1: the three parts
        ### BEGIN SOLUTION
        self.head_dim = head_dim
        self.qkv = ConvNormAct(dim, 3 * dim, norm=False)
        self.aggreg = nn.ModuleList(Aggregation(dim, dim // head_dim, s) for s in scales)
        self.proj = ConvNormAct(dim * (1 + len(scales)), dim)
        ### END SOLUTION

    def forward(self, x):
        # Step 2: queries, keys and values of all scales, side by side
        # Step 3: cut into heads, and every head into q, k, v: (batch, heads, tokens, head_dim)
        # Step 4: attention; back to a map; projection
        ### BEGIN SOLUTION
        height, width = x.shape[-2:]
        qkv = self.qkv(x)  # (batch, 3 * dim, height, width)
        qkv = torch.cat([qkv] + [mix(qkv) for mix in self.aggreg], dim=1)
        heads = qkv.flatten(2).unflatten(1, (-1, 3 * self.head_dim))
        q, k, v = heads.transpose(-2, -1).chunk(3, dim=-1)  # (batch, heads, tokens, head_dim)
        out = relu_linear_attention(q, k, v).transpose(-2, -1)  # (batch, heads, head_dim, tokens)
        out = out.flatten(1, 2).unflatten(2, (height, width))  # (batch, heads * head_dim, h, w)
        return self.proj(out)
        ### END SOLUTION

# %% check="multi_scale_attention"
with Check("multi_scale_attention", read="section 3, the layout and the scales") as check:
    check.signature(MultiScaleAttention, "dim", "head_dim", "scales")
    module = MultiScaleAttention(12, 4).eval()
    inner = {f"aggreg.0.{name}": tuple(p.shape) for name, p in Aggregation(12, 3).named_parameters()}
    check.parameters(module, {"qkv.conv.weight": (36, 12, 1, 1), **inner,
                              "proj.conv.weight": (12, 24, 1, 1), "proj.norm.weight": (12,),
                              "proj.norm.bias": (12,)})
    x = torch.randn(2, 12, 3, 5)
    check.shape(module(x), (2, 12, 3, 5), "the output for a 3 x 5 map")
    count = {name: count_parameters(MultiScaleAttention(dim, head_dim))
             for name, dim, head_dim in (("(32, 16)", 32, 16), ("(96, 32)", 96, 32))}
    check.values(list(count.values()), [9120, 62688], "the parameters of MultiScaleAttention(32, 16) "
                 "and (96, 32), which the published code has", rtol=0, atol=0.5)

    # One scale, two heads: the same by hand, from your own weights
    single = MultiScaleAttention(8, 4, ()).eval()

    def by_hand(cut):
        q, k, v = cut(single.qkv.conv(x[:, :8]).flatten(2).transpose(1, 2))  # (b, tokens, 24)
        out = relu_linear_attention(q, k, v)  # (batch, heads, tokens, 4)
        return single.proj(out.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, (3, 5)))

    def head_by_head(t):
        return t.unflatten(2, (2, 3, 4)).permute(3, 0, 2, 1, 4)

    def all_queries_first(t):
        return t.unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)

    def memory_order(t):
        return t.transpose(1, 2).reshape(2, 2, 3, 15, 4).permute(2, 0, 1, 3, 4)

    check.values(single(x[:, :8]), by_hand(head_by_head), "the output with scales=()", draw=False,
                 otherwise={
        "the layout of the channels is another: all queries first, then all keys, then all values":
            by_hand(all_queries_first),
        "tokens and channels are exchanged: a reshape where a transpose is needed":
            by_hand(memory_order),
    }, likely="the cut into heads, or the way back to a map, takes channels in another order")
    # Two scales whose kernels are the identity: every head of the second scale repeats the first
    doubled = MultiScaleAttention(8, 4, (3,)).eval()
    with torch.no_grad():
        doubled.qkv.conv.weight.copy_(single.qkv.conv.weight)
        kernel = doubled.aggreg[0]
        kernel.depthwise.weight.zero_()
        kernel.depthwise.weight[:, 0, 1, 1] = 1
        kernel.grouped.weight.copy_(torch.eye(4).repeat(6, 1)[:, :, None, None])
        doubled.proj.conv.weight.copy_(torch.cat(2 * [single.proj.conv.weight / 2], dim=1))
    check.values(doubled(x[:, :8]), single(x[:, :8]), "the output when the second scale repeats the "
                 "first", likely="the heads of the second scale do not come behind those of the "
                 "first, or it attends with something else")
    x.requires_grad_()
    check.gradient(module(x), {"x": x, **dict(module.named_parameters())})

# %% judge="multi_scale_attention" points=4
def ask(rng):
    yield Case("three heads, a wide map", x=randn(rng, 2, 12, 3, 7), head_dim=4)
    yield Case("one head, a tall map, batch of one", x=randn(rng, 1, 4, 6, 2), head_dim=4)
    yield Case("no second scale", x=randn(rng, 2, 8, 4, 5), head_dim=2, scales=())
    yield Case("three scales", x=randn(rng, 1, 6, 4, 3), head_dim=3, scales=(3, 5))
    yield Case("heads of 16, said by nobody", x=randn(rng, 1, 32, 3, 4))
    yield Case("double precision", x=randn(rng, 2, 8, 3, 4).double(), head_dim=4)


def modes(module):
    return sorted({part.training for part in module.modules()})


class StandInAggregation(nn.Module):
    """In the place of Aggregation: each channel scaled, and moved by one row and one column."""

    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        self.shift = kernel_size // 2
        self.gain = nn.Parameter(torch.zeros(3 * dim, heads))

    def forward(self, qkv):
        return qkv.roll((self.shift, 1), (2, 3)) * self.gain.sum(1)[:, None, None]


def stand_in_attention(q, k, v, eps=1e-15):
    return F.scaled_dot_product_attention(torch.tanh(q), k, v)


def drive(lab, x, head_dim=None, scales=None):
    extra = {} if head_dim is None else {"head_dim": head_dim}
    extra |= {} if scales is None else {"scales": scales}
    with lab.replacing(Aggregation=StandInAggregation, relu_linear_attention=stand_in_attention):
        module = lab.MultiScaleAttention(x.shape[1], **extra).to(x.dtype)
        fill_parameters(module, seed=2)
        x.requires_grad_()
        in_training = module.train()(x)  # moves the running statistics
        mode_after = [modes(module)]
        output = module.eval()(x)
        mode_after.append(modes(module))
        steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        (output * steps).sum().backward()
    gradients = {"x": x.grad}
    if x.dtype == torch.float64:
        gradients |= {name: p.grad for name, p in module.named_parameters()}
    return {
        "parameters": {name: list(p.shape) for name, p in sorted(module.named_parameters())},
        "parameters that learn": sorted(n for n, p in module.named_parameters()
                                        if p.requires_grad),
        "output": output, "output in training mode": in_training, "gradients": gradients,
        "mode after training and evaluation": mode_after,
    }


tolerance = dict(rtol=1e-3, atol=1e-4)  # batch norm over few values magnifies rounding

# %% trap="multi_scale_attention" name="all queries first"
# Your output equals what you get when the channels are cut into all queries, all keys, all values.
# Here they are laid out head by head: the queries, keys and values of head 0, then of head 1.
class MultiScaleAttention(nn.Module):
    def __init__(self, dim, head_dim=16, scales=(5,)):
        super().__init__()
        self.head_dim = head_dim
        self.qkv = ConvNormAct(dim, 3 * dim, norm=False)
        self.aggreg = nn.ModuleList(Aggregation(dim, dim // head_dim, s) for s in scales)
        self.proj = ConvNormAct(dim * (1 + len(scales)), dim)

    def forward(self, x):
        qkv = self.qkv(x)
        qkv = torch.cat([qkv] + [mix(qkv) for mix in self.aggreg], dim=1)
        q, k, v = einops.rearrange(qkv, "b (t n d) h w -> t b n (h w) d", t=3, d=self.head_dim)
        out = relu_linear_attention(q, k, v)
        return self.proj(einops.rearrange(out, "b n (h w) d -> b (n d) h w", h=x.shape[2]))

# %% trap="multi_scale_attention" name="tokens and channels exchanged"
# Your output equals what you get when the map is reshaped into tokens without a transpose: a token
# then holds several pixels of one channel instead of all channels of one pixel.
class MultiScaleAttention(nn.Module):
    def __init__(self, dim, head_dim=16, scales=(5,)):
        super().__init__()
        self.head_dim = head_dim
        self.qkv = ConvNormAct(dim, 3 * dim, norm=False)
        self.aggreg = nn.ModuleList(Aggregation(dim, dim // head_dim, s) for s in scales)
        self.proj = ConvNormAct(dim * (1 + len(scales)), dim)

    def forward(self, x):
        batch, _, height, width = x.shape
        qkv = self.qkv(x)
        qkv = torch.cat([qkv] + [mix(qkv) for mix in self.aggreg], dim=1)
        heads = qkv.reshape(batch, -1, 3, height * width, self.head_dim)
        out = relu_linear_attention(*heads.unbind(2))
        return self.proj(out.reshape(batch, -1, height, width))

# %% alternative="multi_scale_attention" name="einops"
class MultiScaleAttention(nn.Module):
    def __init__(self, dim, head_dim=16, scales=(5,)):
        super().__init__()
        self.d = head_dim
        self.proj = ConvNormAct(dim + dim * len(scales), dim)
        self.qkv = ConvNormAct(dim, dim * 3, norm=False)
        self.aggreg = nn.ModuleList([Aggregation(dim, heads=dim // head_dim, kernel_size=scale)
                                     for scale in scales])

    def forward(self, x):
        first = self.qkv(x)
        maps = torch.stack([first, *(mix(first) for mix in self.aggreg)])
        q, k, v = einops.rearrange(maps, "s b (n t d) h w -> t b (s n) (h w) d", t=3, d=self.d)
        out = relu_linear_attention(q, k, v)
        return self.proj(einops.rearrange(out, "b n (h w) d -> b (n d) h w", w=x.shape[-1]))

# %% alternative="multi_scale_attention" name="one head at a time"
class MultiScaleAttention(nn.Module):
    def __init__(self, dim, head_dim=16, scales=(5,)):
        super().__init__()
        self.head_dim, self.scales = head_dim, len(scales)
        self.qkv = ConvNormAct(dim, 3 * dim, 1, norm=False, act=False)
        self.aggreg = nn.ModuleList()
        for scale in scales:
            self.aggreg.append(Aggregation(dim, dim // head_dim, scale))
        self.proj = ConvNormAct((self.scales + 1) * dim, dim, 1)

    def forward(self, x):
        base = self.qkv(x)
        outputs = []
        for source in [base] + [self.aggreg[i](base) for i in range(self.scales)]:
            for head in source.split(3 * self.head_dim, dim=1):
                q, k, v = (part.flatten(2).mT[:, None] for part in head.split(self.head_dim, dim=1))
                out = relu_linear_attention(q, k, v)[:, 0]  # (batch, tokens, head_dim)
                outputs.append(out.mT.reshape(len(x), self.head_dim, *x.shape[2:]))
        return self.proj(torch.cat(outputs, dim=1))
