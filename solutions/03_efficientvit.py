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
#     - models/attention.py
#     - models/efficientvit/convolutions.py
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
# | 1 Move the brackets | `relu_linear_attention` | 4 | 25 | medium |
# | 2 Look at neighbourhoods | `aggregation` | 3 | 15 | medium |
# | 3 Attend at several scales | `multi_scale_attention` | 4 | 25 | hard |
# | 4 Mix channels, locally | `mbconv` | 3 | 15 | easy |
# | 5 Context and detail | `efficientvit_module` | 2 | 10 | easy |
# | 6 The backbone | `backbone` | 4 | 25 | hard |
# | 7 A class for every pixel | `segmentation_head` | 3 | 15 | medium |
# | 8 to 9 Does it see? What does it cost? | two written questions | 4 | 30 | medium |
# | 10 Twice the resolution | `super_resolution` | 3 | 20 | medium |
#
# **30 points, about three hours.** You need PyTorch (`nn.Module`, `nn.Conv2d`, matrix products) and
# attention as in lab 01. You need not have met linear attention or MobileNets before. With all
# exercises solved the notebook runs in two to four minutes on two cores; nothing is downloaded.
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

from labsupport.data import data_path, held_out, normalize, scenes
from labsupport.data.rule_scenes import CLASSES, rule_scenes
from labsupport.labs.lab03 import dense_prediction as dense
from labsupport.labs.lab03 import diagrams as blueprints
from labsupport.labs.lab03.resolution_widget import resolution_explorer
from labsupport.models.segformer import SegFormerLike
from labsupport.models.swinir import SwinIRLike
from labsupport.notebook import plot as figures
from labsupport.notebook.check import Check
from labsupport.notebook.plot import charts, maps
from labsupport.notebook.plot import comparison_charts as comparisons
from labsupport.notebook.plot import segmentation as segmaps
from labsupport.notebook.profile import profile
from labsupport.profiling import count_macs, count_parameters, measure_in_turns
from labsupport.training import load_checkpoint, train_classifier

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
# ### Exercise 1 · `relu_linear_attention` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about five lines |
# | **Shapes** | `q`: `(batch, heads, queries, d)`; `k`, `v`: `(batch, heads, keys, d)`; out: like `q` |
# | **Cost** | linear in the number of tokens: never a matrix of queries × keys when there are more tokens than `d` |
# | **Allowed** | everything in PyTorch |
# | **Mind** | `eps`, of whatever size, is added to the denominator of the formula (without 1/√d); a query that is similar to no key gives zeros |
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
    # By hand: after the ReLU the queries are (1, 0) and (1, 1), the keys (3, 0), (1, 2), (0, 2).
    # Similarities of the first query: 3, 1, 0, of the second: 3, 3, 2.
    q = torch.tensor([[[[1.0, -5], [1, 1]]]])
    k = torch.tensor([[[[3.0, -1], [1, 2], [-4, 2]]]])
    v = torch.tensor([[[[8.0, 0], [0, 8], [0, 16]]]])
    check.values(relu_linear_attention(q, k, v)[0, 0], [[6, 2], [3, 7]], "a hand-made example",
                 draw=True, otherwise={
        "the denominator is missing: shares do not sum to one": [[24, 8], [24, 56]],
        "the sum of the denominator runs over the queries; it must run over the keys":
            [[4, 2], [4, 22]],
        "the ReLU is missing": [[-64 / 15, 296 / 15], [16 / 3, -8 / 3]],
        "the ReLU is taken of the scores instead of queries and keys": [[8, 0], [3.2, 4.8]],
        "this is softmax attention": F.scaled_dot_product_attention(q, k, v)[0, 0],
        "the sum is divided by the number of keys instead of the sum of similarities":
            [[8, 8 / 3], [8, 56 / 3]],
    })
    check.values(relu_linear_attention(q, k, -v)[0, 0], [[-6, -2], [-3, -7]],
                 "the example with negative values",
                 likely="the values go through the ReLU too; only queries and keys should")
    check.cases("03", globals())

# %% judge="relu_linear_attention" points=4
parts = {"attention": 2, "linear cost": 2}


def ask(rng):
    def tokens(batch, heads, queries, keys, d):
        q, k, v = randn(rng, batch, heads, queries, d), *randn(rng, 2, batch, heads, keys, d)
        q[..., 0], k[..., 0] = q[..., 0].abs() + 0.5, k[..., 0].abs() + 0.5
        return dict(q=q, k=k, v=v)

    for title, *sizes in (("3 heads, 9 tokens of 5", 2, 3, 9, 9, 5),
                          ("fewer tokens than channels", 1, 2, 4, 4, 7),
                          ("more keys than queries", 2, 1, 3, 12, 4),
                          ("more queries than keys", 1, 2, 8, 3, 2),
                          ("one token", 1, 4, 1, 1, 3)):
        yield Case(title, part="attention", **tokens(*sizes))
    silent = tokens(1, 2, 6, 6, 4)
    silent["q"][0, 1, 3] = -silent["q"][0, 1, 3].abs()
    yield Case("a query that is similar to no key", part="attention", **silent)
    faint = {name: t.abs() * 10.0 ** (-5 * (name != "v"))
             for name, t in tokens(1, 2, 5, 5, 4).items()}
    # the gradients of faint queries and keys are too large for float32
    yield Case("faint queries and keys", part="attention", **faint, follow="v")
    yield Case("another eps", part="attention", **tokens(1, 2, 5, 5, 4), eps=2.0)
    yield Case("1,200 tokens of 8", part="linear cost", long=1200)


def cost_of(attention, *inputs):
    """The FLOPs of its products, how many values it computes on the way, and what it gives."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    class Made(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if not any(r.alias_info for r in function._schema.returns):  # no view, not in place
                self.count += sum(t.numel() for t in (out if isinstance(out, (list, tuple))
                                                      else [out]) if isinstance(t, torch.Tensor))
            return out

    with FlopCounterMode(display=False) as flops, Made() as made:
        output = attention(*inputs)
    return flops.get_total_flops(), made.count, output


def drive(lab, q=None, k=None, v=None, eps=None, follow="qkv", long=0):
    attention = lab.relu_linear_attention
    if long:
        wave = torch.arange(3 * long * 8).sin().reshape(3, 1, 1, long, 8)
        flops, made, output = cost_of(attention, *wave)
        others = [attention(*(t.flip(-1) if i == turned else t for i, t in enumerate(wave)))
                  for turned in range(3)]
        least = long * 8 * 9  # multiplications of each of the two products
        return {"linear in the tokens": flops <= 8 * least and made <= 40 * least,
                "depends on q, k and v": not any(torch.equal(output, o) for o in others)}
    inputs = {name: t.requires_grad_() for name, t in (("q", q), ("k", k), ("v", v))}
    output = attention(q, k, v, **({} if eps is None else {"eps": eps}))
    steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    followed = [inputs[name] for name in follow]
    gradients = torch.autograd.grad((output * steps).sum(), followed, allow_unused=True)
    return {"output": output} | {f"gradient of {n}": g for n, g in zip(follow, gradients)}

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
# **What it shows.** With 16 tokens of 16 channels there is nothing to gain, and at fewer tokens
# the linear order costs *more*. That is why the published code switches silently to the quadratic
# order when there are no more tokens than channels in a head (`if H * W > dim`). It is the same
# arithmetic, so you do not have to; but know that on small images the official networks never run
# linear attention at all.

# %% [markdown]
# ## 2 · Look at neighbourhoods
#
# The ReLU is cheap, and it pays for that. An exponential turns a small lead in the scores into a
# large share, and a network can make its softmax as sharp as it likes: longer queries, larger
# scores. ReLU attention does not hear the length of a query at all, for it cancels in the fraction.
# Take the *same* random queries and keys and see how much of the attention the best few of 64 keys
# get:

# %%
torch.manual_seed(3)
q, k = torch.randn(2, 400, 64, 16)  # 400 examples of 64 tokens


def relu_shares(q, k):
    """The shares of ReLU attention, (examples, queries, keys); only to look at."""
    similar = q.relu() @ k.relu().transpose(-2, -1)
    return similar / similar.sum(-1, keepdim=True).clamp(min=1e-9)


shares_of = {"softmax, queries × 3": (3 * q @ k.transpose(-2, -1) / 4).softmax(-1),
             "softmax": (q @ k.transpose(-2, -1) / 4).softmax(-1),
             "ReLU, any length": relu_shares(q, k)}
best = (1, 2, 4, 8, 16, 32)
charts.lines(best, {name: [shares.topk(n).values.sum(-1).mean().item() for n in best]
                    for name, shares in shares_of.items()},
             title="Softmax can be made to look at one key; ReLU attention spreads out",
             xlabel="how many keys, out of 64", ylabel="share of attention they get", logx=True)

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
# Neither has a bias, and nothing stands between them. For $3 \cdot 64$ channels and heads of 16,
# this takes $192 \cdot 25 + 192 \cdot 16 = 7{,}872$ parameters. A full 5 × 5 convolution would
# take 921,600.
#
# **Why grouped?** The queries, keys and values of each head are to be summed up on their own: a
# head's neighbourhood tokens are made of that head's tokens and of nothing else. Those are
# $3 \cdot \text{heads}$ small convolutions. Run one after another they would keep a GPU waiting;
# as *one* convolution with groups they are a single call. **And why no large kernels?** A
# depthwise kernel of side $k$ costs $k^2$ MACs a channel and pixel, and hardware runs large ones
# badly. To see far is the attention's part; the kernel only has to see what is next to it.
#
# ### Exercise 2 · `aggregation` · 3 points · 15 minutes · medium
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
    # A single bright pixel in one channel must reach 5 x 5 pixels of its own block of 4 channels
    spot = torch.zeros(1, 24, 9, 9)
    spot[0, 5, 4, 4] = 1
    with torch.no_grad():
        for weight in mix.parameters():
            weight.fill_(1)
    check.shape(mix(spot), (1, 24, 9, 9), "the neighbourhoods of a 9 x 9 map",
                likely="the padding does not belong to the kernel")
    reached = mix(spot)[0] != 0
    check.that(reached[4:8, 2:7, 2:7].all(), "a pixel does not reach its 5 x 5 neighbourhood")
    check.that(reached.sum() == 4 * 25, "a pixel reaches more than its own head's 5 x 5 pixels",
               likely="the groups of one of the two convolutions")
    check.cases("03", globals())

# %% judge="aggregation" points=3
def ask(rng):
    yield Case("two heads, a wide map", qkv=randn(rng, 2, 24, 3, 5), heads=2)
    yield Case("one head, a tall map, batch of one", qkv=randn(rng, 1, 12, 6, 3), heads=1)
    yield Case("heads of one channel", qkv=randn(rng, 1, 9, 4, 4), heads=3)
    yield Case("neighbourhoods of 3 pixels", qkv=randn(rng, 2, 18, 4, 5), heads=3, kernel_size=3)
    yield Case("neighbourhoods larger than the map", qkv=randn(rng, 1, 12, 2, 3), heads=2,
               kernel_size=7)
    yield Case("a neighbourhood of one pixel", qkv=randn(rng, 2, 12, 1, 2), heads=2,
               kernel_size=1)


def same(one, other):
    return bool(torch.allclose(one, other, rtol=1e-3, atol=1e-4))


def drive(lab, qkv, heads, kernel_size=None):
    extra = {} if kernel_size is None else {"kernel_size": kernel_size}
    module = fill_parameters(lab.Aggregation(qkv.shape[1] // 3, heads, **extra), seed=1)
    output = module.eval()(qkv.requires_grad_())
    reached = all(not part.training for part in module.modules())
    in_training = module.train()(qkv)
    reached = reached and all(part.training for part in module.modules())
    steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    (in_training * steps).sum().backward()
    named = dict(sorted(module.named_parameters()))
    return {
        "parameters": {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in named.items()},
        "every parameter learns": all(p.requires_grad for p in named.values()),
        "output": output, "the output in training mode is the same": same(in_training, output),
        "train() and eval() reach every layer": reached, "gradient of qkv": qkv.grad,
        "sizes of the parameters' gradients":
            {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in named.items()},
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
# ### Exercise 3 · `multi_scale_attention` · 4 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `MultiScaleAttention(dim, head_dim=16, scales=(5,))`, about fifteen lines |
# | **Shapes** | `(batch, dim, height, width)` to the same; `head_dim` divides `dim`; `scales` may be empty |
# | **Names** | `qkv`: `ConvNormAct` without norm, bias and activation; `aggreg`: `nn.ModuleList`, one `Aggregation` a scale; `proj`: `ConvNormAct` with norm, without activation |
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
# <details><summary>Hint 2: the check says that channels are cut into all queries, all keys, all values</summary>
#
# `qkv.chunk(3, dim=1)` takes the first third of *all* channels for queries; that is the layout of
# ViT. Here, split the channel axis into (heads, 3 * head_dim) *first*
# (`unflatten(1, (-1, 3 * head_dim))`), and cut the axis of `3 * head_dim` into three *then*.
# </details>
# <details><summary>Hint 3: the check says that a transpose is missing</summary>
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
    check.cases("03", globals())

# %% judge="multi_scale_attention" points=4
def ask(rng):
    yield Case("two scales, 3 heads, a wide map", x=randn(rng, 2, 12, 3, 7), head_dim=4,
               scales=(5,))
    yield Case("no second scale", x=randn(rng, 2, 8, 4, 5), head_dim=2, scales=())
    yield Case("one head, a tall map, batch of one", x=randn(rng, 1, 4, 6, 2), head_dim=4)
    yield Case("three scales", x=randn(rng, 1, 6, 4, 3), head_dim=3, scales=(3, 5))
    yield Case("four scales, the largest first", x=randn(rng, 2, 4, 4, 5), head_dim=2,
               scales=(7, 3, 5))
    yield Case("a map of one row", x=randn(rng, 2, 4, 1, 6), head_dim=2)
    yield Case("head_dim and scales not given", x=randn(rng, 1, 32, 3, 4))


class StandInAggregation(nn.Module):
    """In the place of Aggregation: each channel scaled, and moved by some rows and a column."""

    def __init__(self, dim, heads, kernel_size=5):
        super().__init__()
        self.shift = kernel_size // 2
        self.gain = nn.Parameter(torch.zeros(3 * dim, heads))

    def forward(self, qkv):
        return qkv.roll((self.shift, 1), (2, 3)) * self.gain.sum(1)[:, None, None]


def stand_in_attention(q, k, v, eps=1e-15):
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)  # the length of a query cancels here too
    return F.scaled_dot_product_attention(q, k, v, scale=3.0)


def drive(lab, x, head_dim=None, scales=None):
    extra = {} if head_dim is None else {"head_dim": head_dim}
    extra |= {} if scales is None else {"scales": scales}
    with lab.replacing(Aggregation=StandInAggregation, relu_linear_attention=stand_in_attention):
        module = fill_parameters(lab.MultiScaleAttention(x.shape[1], **extra), seed=2)
        in_training = module.train()(x.requires_grad_())  # moves the running statistics
        reached = all(part.training for part in module.modules())
        output = module.eval()(x)
        reached = reached and all(not part.training for part in module.modules())
        steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        (output * steps).sum().backward()
    named = dict(sorted(module.named_parameters()))
    return {
        "parameters": {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in named.items()},
        "every parameter learns": all(p.requires_grad for p in named.values()),
        "output": output, "output in training mode": in_training,
        "train() and eval() reach every layer": reached, "gradient of x": x.grad,
        "sizes of the parameters' gradients":
            {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in named.items()},
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

# %% [markdown]
# ## 4 · Mix channels, locally: MBConv
#
# Attention moves information *between* pixels. In a transformer, an MLP of two layers then works on
# each token by itself. EfficientViT uses the inverted bottleneck of MobileNetV2, **MBConv**, which
# is that MLP with a depthwise 3 × 3 convolution in its middle: 1 × 1 up to four times the channels,
# 3 × 3 on each channel by itself, 1 × 1 down. This is the second remedy for the blur of ReLU
# attention: fine detail goes through here. The last layer has no activation, for what is squeezed
# back into few channels should not lose its negative half.
#
# The block comes in two versions:
#
# | kind | first and second convolution | last convolution |
# |:--|:--|:--|
# | ordinary | no bias, batch norm, Hardswish | no bias, batch norm |
# | `fewer_norm=True` | **bias, no norm**, Hardswish | no bias, batch norm |
#
# The second is used wherever attention is near. And the same block makes the map smaller: with
# `stride=2` in the **depthwise** layer (the 1 × 1 before still sees every pixel).
#
# ### Exercise 4 · `mbconv` · 3 points · 15 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `MBConv(in_channels, out_channels, stride=1, expand=4, fewer_norm=False)`, about eight lines |
# | **Shapes** | `(batch, in_channels, height, width)` to `(batch, out_channels, height / stride, width / stride)`, rounded up |
# | **Names** | `inverted_conv`, `depth_conv`, `point_conv`, each a `ConvNormAct`; the middle has `round(in_channels * expand)` channels |
# | **Mind** | no shortcut in here: whoever wants one writes `Residual(MBConv(...))` |
# | **Read** | MobileNetV2 paper (Sandler et al., 2018), section 3.3 and table 1 |
#
# <details><summary>Hint 1: what goes where?</summary>
#
# `ConvNormAct(in, out, kernel_size=1, stride=1, groups=1, bias=False, norm=True, act=False)`.
# Write the three calls down with their channels: in → middle, middle → middle, middle → out. Only
# one of them has a kernel of 3, a stride and groups. Two have an activation.
# </details>
# <details><summary>Hint 2: "the parameter depth_conv.conv.weight has the wrong shape"</summary>
#
# A depthwise convolution has as many groups as channels, and its weight is (middle, 1, 3, 3). If
# your second number is large, `groups` is missing.
# </details>
# <details><summary>Hint 3: "unknown in parameters: inverted_conv.norm.weight"</summary>
#
# With `fewer_norm=True` the first two have a bias and no norm. Without, they have a norm and no
# bias: a batch norm subtracts the mean, so a bias before it would do nothing. `ConvNormAct` takes
# both as arguments. The last one never changes.
# </details>

# %% exercise="mbconv"
class MBConv(nn.Module):
    """Inverted bottleneck: (batch, in_channels, h, w) -> (batch, out_channels, h / stride, ...).

    Submodules: inverted_conv (1 x 1), depth_conv (depthwise 3 x 3 with the stride), point_conv
    (1 x 1 without activation). fewer_norm: the first two have a bias instead of a norm.
    """

    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        # Step 1: the channels in the middle; Step 2: the three layers
        ### BEGIN SOLUTION
        middle = round(in_channels * expand)
        kind = dict(bias=fewer_norm, norm=not fewer_norm, act=True)
        self.inverted_conv = ConvNormAct(in_channels, middle, **kind)
        self.depth_conv = ConvNormAct(middle, middle, 3, stride, groups=middle, **kind)
        self.point_conv = ConvNormAct(middle, out_channels)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))
        ### END SOLUTION

# %% check="mbconv"
with Check("mbconv", read="section 4, the table of the two versions") as check:
    check.signature(MBConv, "in_channels", "out_channels", "stride", "expand", "fewer_norm")
    block = MBConv(4, 6, stride=2, expand=3).eval()
    convs = {"inverted_conv": (12, 4, 1, 1), "depth_conv": (12, 1, 3, 3), "point_conv": (6, 12, 1, 1)}
    norms = {f"{name}.norm.{kind}": shape[:1] for name, shape in convs.items()
             for kind in ("weight", "bias")}
    check.parameters(block, {f"{name}.conv.weight": s for name, s in convs.items()} | norms)
    check.shape(block(torch.ones(2, 4, 6, 10)), (2, 6, 3, 5), "the output for a 6 x 10 map at stride 2")
    # One pixel whose layers scale by 3, by 2 and by -1: Hardswish(3 * 1) = 3, Hardswish(2 * 3) = 6
    plain = MBConv(1, 1, expand=1, fewer_norm=True).eval()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.fill_(1 if name == "point_conv.norm.weight" else 0)
        plain.inverted_conv.conv.weight.fill_(3)
        plain.depth_conv.conv.weight[0, 0, 1, 1] = 2
        plain.point_conv.conv.weight.fill_(-1)
    check.values(plain(torch.ones(1, 1, 1, 1)), [[[[-6.0]]]], "a block that only scales", rtol=1e-3,
                 otherwise={"there is an activation after the last layer": [[[[0.0]]]],
                            "there is a shortcut in the block": [[[[-5.0]]]]})
    check.cases("03", globals())

# %% judge="mbconv" points=3
parts = {"ordinary": 1.5, "fewer_norm": 1.5}


def ask(rng):
    plain = dict(part="ordinary")
    yield Case("same shape, a wide map", **plain, x=randn(rng, 2, 6, 4, 5), out_channels=6)
    yield Case("stride 2, more channels", **plain, x=randn(rng, 2, 4, 6, 4), out_channels=7,
               stride=2)
    yield Case("stride 2 and odd sides", **plain, x=randn(rng, 2, 3, 5, 3), out_channels=2, stride=2)
    yield Case("3 channels, expand=1.6", **plain, x=randn(rng, 2, 3, 3, 3), out_channels=5,
               expand=1.6)
    yield Case("3 channels, expand=1.4", **plain, x=randn(rng, 2, 3, 3, 2), out_channels=2,
               expand=1.4)
    fewer = dict(part="fewer_norm", fewer_norm=True)
    yield Case("same shape", **fewer, x=randn(rng, 2, 4, 3, 5), out_channels=4)
    yield Case("another expand, batch of one", **fewer, x=randn(rng, 1, 4, 5, 4), out_channels=3,
               expand=6)
    yield Case("stride 2, more channels", **fewer, x=randn(rng, 2, 3, 5, 4), out_channels=5,
               stride=2)


def drive(lab, x, out_channels, **sizes):
    module = fill_parameters(lab.MBConv(x.shape[1], out_channels, **sizes), seed=3)
    in_training = module.train()(x.requires_grad_())
    reached = all(part.training for part in module.modules())
    output = module.eval()(x)
    reached = reached and all(not part.training for part in module.modules())
    steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    (output * steps).sum().backward()
    named = dict(sorted(module.named_parameters()))
    return {
        "parameters": {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in named.items()},
        "every parameter learns": all(p.requires_grad for p in named.values()),
        "output": output, "output in training mode": in_training,
        "train() and eval() reach every layer": reached, "gradient of x": x.grad,
        "sizes of the parameters' gradients":
            {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in named.items()},
    }


tolerance = dict(rtol=1e-3, atol=1e-4)  # batch norm over few values magnifies rounding

# %% trap="mbconv" name="activation at the end"
# Your output equals what you get with an activation after the last 1 x 1 convolution. That layer
# has a norm and nothing else.
class MBConv(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        middle = round(in_channels * expand)
        kind = dict(bias=fewer_norm, norm=not fewer_norm, act=True)
        self.inverted_conv = ConvNormAct(in_channels, middle, **kind)
        self.depth_conv = ConvNormAct(middle, middle, 3, stride, groups=middle, **kind)
        self.point_conv = ConvNormAct(middle, out_channels, act=True)

    def forward(self, x):
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))

# %% trap="mbconv" name="stride in the first layer"
# Your output equals what you get when the first 1 x 1 convolution has the stride: three quarters of
# the pixels are then never looked at. The depthwise layer has the stride.
class MBConv(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        middle = round(in_channels * expand)
        kind = dict(bias=fewer_norm, norm=not fewer_norm, act=True)
        self.inverted_conv = ConvNormAct(in_channels, middle, 1, stride, **kind)
        self.depth_conv = ConvNormAct(middle, middle, 3, groups=middle, **kind)
        self.point_conv = ConvNormAct(middle, out_channels)

    def forward(self, x):
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))

# %% trap="mbconv" name="norm and bias everywhere"
# With fewer_norm the first two layers have a bias and no norm; yours keep their norms. Mind both
# columns of the table in section 4.
class MBConv(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        middle = round(in_channels * expand)
        self.inverted_conv = ConvNormAct(in_channels, middle, act=True)
        self.depth_conv = ConvNormAct(middle, middle, 3, stride, groups=middle, act=True)
        self.point_conv = ConvNormAct(middle, out_channels)

    def forward(self, x):
        return self.point_conv(self.depth_conv(self.inverted_conv(x)))

# %% alternative="mbconv" name="both versions written out"
class MBConv(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        hidden = int(round(expand * in_channels))
        if fewer_norm:
            self.inverted_conv = ConvNormAct(in_channels, hidden, bias=True, norm=False, act=True)
            self.depth_conv = ConvNormAct(hidden, hidden, kernel_size=3, stride=stride,
                                          groups=hidden, bias=True, norm=False, act=True)
        else:
            self.inverted_conv = ConvNormAct(in_channels, hidden, act=True)
            self.depth_conv = ConvNormAct(hidden, hidden, kernel_size=3, stride=stride,
                                          groups=hidden, act=True)
        self.point_conv = ConvNormAct(hidden, out_channels, norm=True, act=False)

    def forward(self, x):
        x = self.inverted_conv(x)
        x = self.depth_conv(x)
        return self.point_conv(x)

# %% alternative="mbconv" name="layers made by hand"
class MBConv(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        middle = round(in_channels * expand)
        shapes = {"inverted_conv": (in_channels, middle, 1, 1, 0, 1),
                  "depth_conv": (middle, middle, 3, stride, 1, middle),
                  "point_conv": (middle, out_channels, 1, 1, 0, 1)}
        for name, (inputs, outputs, kernel, step, padding, groups) in shapes.items():
            bare = fewer_norm and name != "point_conv"
            part = nn.Module()
            part.conv = nn.Conv2d(inputs, outputs, kernel, step, padding, groups=groups, bias=bare)
            part.norm = nn.Identity() if bare else nn.BatchNorm2d(outputs)
            self.add_module(name, part)

    def forward(self, x):
        for part in (self.inverted_conv, self.depth_conv):
            x = part.norm(part.conv(x))
            x = x * (x + 3).clamp(0, 6) / 6
        return self.point_conv.norm(self.point_conv.conv(x))

# %% [markdown]
# ## 5 · Context and detail
#
# The two halves, each with a shortcut, one after the other: first hear from everywhere, then work
# out the detail. This is the whole figure of section 3. There is no layer norm anywhere and no
# position embedding: zeros at the border of the convolutions tell a pixel where it is.
#
# ### Exercise 5 · `efficientvit_module` · 2 points · 10 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `EfficientViTModule(dim, head_dim=16, expand=4)`, about four lines |
# | **Shapes** | `(batch, dim, height, width)` to the same |
# | **Names** | `context_module`: the attention with a shortcut; `local_module`: the MBConv (`fewer_norm=True`) with a shortcut |
# | **Read** | EfficientViT paper, section 3.1, "EfficientViT Module", and figure 2 (left) |
#
# The grader puts other modules in the place of your `MultiScaleAttention` and `MBConv`. Make them
# only by `MultiScaleAttention(dim, head_dim)` and `MBConv(dim, dim, expand=..., fewer_norm=...)`.
#
# <details><summary>Hint 1: where is the shortcut?</summary>
#
# `Residual(main)` from the set-up of section 3 adds its input to `main` of it. Each half has its
# own, so that a module of random weights changes its input only a little.
# </details>
# <details><summary>Hint 2: "missing from parameters: context_module.main.weight"</summary>
#
# The shortcut is written into `forward` instead of into the submodule, or the attention is
# assigned under another name. `self.context_module = Residual(...)` gives the names wanted, which
# are those of the published weights.
# </details>
# <details><summary>Hint 3: the check says that the halves work side by side</summary>
#
# The detail half must get the *result* of the context half. Skeleton: two lines in the
# constructor, one line in `forward`.
# </details>

# %% exercise="efficientvit_module"
class EfficientViTModule(nn.Module):
    """Multi-scale attention, then MBConv, each with a shortcut: (batch, dim, h, w) -> the same.

    Submodules: context_module = Residual(MultiScaleAttention), local_module = Residual(MBConv).
    """

    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        ### BEGIN SOLUTION
        self.context_module = Residual(MultiScaleAttention(dim, head_dim))
        self.local_module = Residual(MBConv(dim, dim, expand=expand, fewer_norm=True))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.local_module(self.context_module(x))
        ### END SOLUTION

# %% check="efficientvit_module"
with Check("efficientvit_module", read="section 5, and the figure of section 3") as check:
    check.signature(EfficientViTModule, "dim", "head_dim", "expand")
    check.cases("03", globals())

# %% judge="efficientvit_module" points=2
parts = {"halves": 1, "forward": 1}


def ask(rng):
    yield Case("head_dim and expand given", part="halves", dim=8, sizes=dict(head_dim=4, expand=6))
    yield Case("only head_dim given", part="halves", dim=6, sizes=dict(head_dim=2))
    yield Case("head_dim and expand not given", part="halves", dim=32, sizes={})
    yield Case("a wide map", part="forward", x=randn(rng, 2, 8, 3, 7), sizes=dict(head_dim=4))
    yield Case("batch of one", part="forward", x=randn(rng, 1, 6, 5, 4), sizes=dict(head_dim=2))


class StandInAttention(nn.Module):
    """In the place of MultiScaleAttention: it keeps what it was made with."""

    def __init__(self, dim, head_dim=16, scales=(5,)):
        super().__init__()
        self.made = {"dim": dim, "head_dim": head_dim, "scales": list(scales)}
        self.weight = nn.Parameter(torch.zeros(dim, 1, 1))

    def forward(self, x):  # each pixel meets the mean of the map
        return torch.tanh(x) * (1 + x.mean((2, 3), keepdim=True))


class StandInMBConv(nn.Module):
    """In the place of MBConv: it keeps what it was made with."""

    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        self.made = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride,
                     "expand": expand, "fewer_norm": int(fewer_norm)}
        self.weight = nn.Parameter(torch.zeros(out_channels, 1, 1))

    def forward(self, x):
        return torch.sin(2 * x)


def drive(lab, sizes, dim=None, x=None):
    with lab.replacing(MultiScaleAttention=StandInAttention, MBConv=StandInMBConv):
        module = lab.EfficientViTModule(dim or x.shape[1], **sizes)
        if x is None:
            made = {type(part).__name__.removeprefix("StandIn"): part.made
                    for part in module.modules() if hasattr(part, "made")}
            named = dict(sorted(module.named_parameters()))
            return {"parameters": {name: torch.zeros(p.shape, dtype=torch.bool)
                                   for name, p in named.items()},
                    "every parameter learns": all(p.requires_grad for p in named.values()),
                    "the attention's arguments": made.get("Attention", {}),
                    "the MBConv's arguments": made.get("MBConv", {})}
        in_training = module.train()(x.requires_grad_())
        reached = all(part.training for part in module.modules())
        output = module.eval()(x)
        reached = reached and all(not part.training for part in module.modules())
        steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        (output * steps).sum().backward()
    return {"output": output, "output in training mode": in_training,
            "train() and eval() reach every layer": reached, "gradient of x": x.grad}

# %% trap="efficientvit_module" name="no shortcuts"
# Your output equals what you get without shortcuts: each half replaces its input instead of adding
# to it. Wrap both in Residual.
class EfficientViTModule(nn.Module):
    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        self.context_module = Residual(MultiScaleAttention(dim, head_dim))
        self.local_module = Residual(MBConv(dim, dim, expand=expand, fewer_norm=True))

    def forward(self, x):
        return self.local_module.main(self.context_module.main(x))

# %% trap="efficientvit_module" name="side by side"
# Your output equals what you get when both halves work on the module's input, side by side. The
# detail half works on what the context half gives.
class EfficientViTModule(nn.Module):
    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        self.context_module = Residual(MultiScaleAttention(dim, head_dim))
        self.local_module = Residual(MBConv(dim, dim, expand=expand, fewer_norm=True))

    def forward(self, x):
        return x + self.context_module.main(x) + self.local_module.main(x)

# %% alternative="efficientvit_module" name="a loop over the halves"
class EfficientViTModule(nn.Module):
    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        halves = {"context_module": MultiScaleAttention(dim, head_dim=head_dim),
                  "local_module": MBConv(in_channels=dim, out_channels=dim, stride=1,
                                         expand=expand, fewer_norm=True)}
        for name, half in halves.items():
            self.add_module(name, Residual(half))

    def forward(self, x):
        for half in self.children():
            x = half(x)
        return x

# %% alternative="efficientvit_module" name="shortcuts in forward"
class EfficientViTModule(nn.Module):
    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        self.local_module = Residual(MBConv(dim, dim, 1, expand, True))
        self.context_module = Residual(MultiScaleAttention(dim, head_dim))

    def forward(self, x):
        seen = torch.add(self.context_module.main(x), x)
        return self.local_module.main(seen) + seen

# %% [markdown]
# ## 6 · The backbone
#
# Now stack it. The map gets smaller and deeper from stage to stage, as in every convolutional
# network, and attention is used only where the map is small already: in the last two stages.
#
# | part | what it is | side of the map |
# |:--|:--|:--|
# | stem | `ConvNormAct` 3 × 3 with stride 2 and activation, then `depths[0]` × `Residual(DSConv)` | 1/2 |
# | a stage without attention | `MBConv` with stride 2, then `depths[i] - 1` × `Residual(MBConv)` | halved |
# | a stage **with** attention (the last two) | `MBConv` with stride 2 and `fewer_norm=True`, then `depths[i]` × `EfficientViTModule` | halved |
#
# Mind the difference in the count: in a stage with attention, the block that halves the map comes
# *on top of* `depths[i]`. It has no shortcut, for its input and output differ in size. Every
# MBConv here has `expand=4`.

# %% tags=["setup"]
VARIANTS = {  # widths and depths of stem and stages, channels of a head (the published code)
    "B0": dict(widths=(8, 16, 32, 64, 128), depths=(1, 2, 2, 2, 2), head_dim=16),
    "B1": dict(widths=(16, 32, 64, 128, 256), depths=(1, 2, 3, 3, 4), head_dim=16),
    "B2": dict(widths=(24, 48, 96, 192, 384), depths=(1, 3, 4, 4, 6), head_dim=32),
    "B3": dict(widths=(32, 64, 128, 256, 512), depths=(1, 4, 6, 6, 9), head_dim=32),
}
SHALLOW = dict(widths=(16, 32, 48, 64), depths=(1, 1, 1, 1), head_dim=16)  # for this lab

# %% [markdown]
# The four official variants halve the image five times: 224 pixels end as 7 × 7. Our images have 96
# pixels and would end as 3 × 3, where there is nothing left to attend to. So the lab trains a
# **shallow** one of the same blocks, with one stage less: attention gets 12 × 12 and 6 × 6 tokens.
#
# ### Exercise 6 · `backbone` · 4 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `Backbone(widths, depths, head_dim=16)`, about fifteen lines, for any number of stages (two or more) |
# | **Shapes** | `(batch, 3, height, width)` to a *list* with the output of every stage, finest first; a side that is halved is rounded up |
# | **Names** | `stem`: `nn.Sequential`; `stages`: `nn.ModuleList` of `nn.Sequential` |
# | **Sizes** | `widths[0]`, `depths[0]` belong to the stem, the others to the stages |
# | **Read** | EfficientViT paper, section 3.2 and table 2 in its appendix |
#
# Again the grader puts other modules in the place of your `MBConv` and `EfficientViTModule`. Make
# them only by `MBConv(in_channels, out_channels, stride, fewer_norm=...)` and
# `EfficientViTModule(dim, head_dim)`, and leave the given layers as they are. Stem and stages are
# judged apart: for the stages, other layers, as many, take the place of those in your `stem`.
#
# <details><summary>Hint 1: how do I know which stage has attention?</summary>
#
# Stages are numbered 1 to `len(widths) - 1`. The last two have attention, however many there are:
# `i >= len(widths) - 2`. Build the list of a stage's blocks first, then `nn.Sequential(*blocks)`.
# </details>
# <details><summary>Hint 2: "missing from parameters: stages.0.1.main..."</summary>
#
# The names count the blocks of a stage: block 0 halves the map and stands alone, block 1 of a stage
# without attention is a `Residual`, hence `.main.`; of a stage with attention it is an
# `EfficientViTModule`. A plain Python list of stages would hide their parameters; use
# `nn.ModuleList`.
# </details>
# <details><summary>Hint 3: my counts differ from the published ones</summary>
#
# Print yours by stage: `[count_parameters(s) for s in Backbone(**VARIANTS["B0"]).stages]` should
# be `[5632, 21888, 165120, 489152]`. Stages 1 and 2 too large: `depths[i]` residual blocks after
# the first instead of `depths[i] - 1`. Stages 3 and 4 too small: one module too few. Off by a
# little: `fewer_norm`.
# </details>

# %% exercise="backbone"
class Backbone(nn.Module):
    """Images (batch, 3, height, width) -> list of the stages' outputs, finest first.

    Submodules: stem (Sequential), stages (ModuleList of Sequential); the last two stages have
    attention. Output i has widths[i + 1] channels and 1 / 2 ** (i + 2) of the image's side.
    """

    def __init__(self, widths, depths, head_dim=16):
        super().__init__()
        # Step 1: the stem
        # Step 2: the stages: one block that halves the map, then residual blocks or modules
        ### BEGIN SOLUTION
        self.stem = nn.Sequential(ConvNormAct(3, widths[0], 3, 2, act=True))
        for _ in range(depths[0]):
            self.stem.append(Residual(DSConv(widths[0])))
        self.stages = nn.ModuleList()
        for i in range(1, len(widths)):
            attention = i >= len(widths) - 2
            stage = nn.Sequential(MBConv(widths[i - 1], widths[i], 2, fewer_norm=attention))
            if attention:
                for _ in range(depths[i]):
                    stage.append(EfficientViTModule(widths[i], head_dim))
            else:
                for _ in range(depths[i] - 1):
                    stage.append(Residual(MBConv(widths[i], widths[i])))
            self.stages.append(stage)
        ### END SOLUTION

    def forward(self, images):
        # Step 3: stem, then stage after stage; keep what each gives
        ### BEGIN SOLUTION
        x = self.stem(images)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs
        ### END SOLUTION

# %% check="backbone"
with Check("backbone", read="section 6, the table of the parts") as check:
    check.signature(Backbone, "widths", "depths", "head_dim")
    check.cases("03", globals())

# %% judge="backbone" points=4
parts = {"stem": 1, "stages": 3}


def ask(rng):
    yield Case("one block in the stem", part="stem", images=randn(rng, 2, 3, 6, 8), only="stem",
               sizes=dict(widths=(4, 4, 4), depths=(1, 1, 1), head_dim=2))
    yield Case("three blocks in the stem, odd sides", part="stem", images=randn(rng, 2, 3, 5, 7),
               only="stem", sizes=dict(widths=(5, 4, 4, 4), depths=(3, 1, 2, 1), head_dim=2))
    yield Case("no block in the stem, batch of one", part="stem", images=randn(rng, 1, 3, 4, 6),
               only="stem", sizes=dict(widths=(6, 4, 4), depths=(0, 1, 1), head_dim=4))
    for title, shape, sizes in (
        ("three stages, wide images", (2, 16, 32),
         dict(widths=(4, 8, 8, 16), depths=(1, 2, 1, 2), head_dim=4)),
        ("two stages, both with attention", (2, 12, 8),
         dict(widths=(4, 6, 8), depths=(2, 2, 1), head_dim=2)),
        ("four stages, two without attention", (1, 32, 32),
         dict(widths=(4, 4, 8, 8, 16), depths=(0, 1, 3, 1, 1), head_dim=8)),
        ("odd sides", (2, 19, 13), dict(widths=(4, 8, 8, 8), depths=(1, 3, 1, 1), head_dim=4)),
        ("head_dim not given", (2, 16, 16), dict(widths=(4, 8, 16, 16), depths=(1, 1, 2, 1))),
    ):
        yield Case(title, part="stages", images=randn(rng, shape[0], 3, *shape[1:]), only="stages",
                   sizes=sizes)


class StandInMBConv(nn.Module):
    """In the place of MBConv: a mean over the stride's window, and every argument shown."""

    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        self.stride, self.gain = stride, expand + 2 * fewer_norm
        self.mix = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        x = F.avg_pool2d(x, self.stride, ceil_mode=True)
        return torch.sin(self.mix(x) * self.gain / 4)


class StandInModule(nn.Module):
    """In the place of EfficientViTModule: each pixel meets the mean of the map."""

    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        self.gain = expand / head_dim
        self.scale = nn.Parameter(torch.zeros(dim, 1, 1))

    def forward(self, x):
        return x + torch.tanh(self.scale * x + self.gain * x.mean((2, 3), keepdim=True))


def with_other_stem(model, width, blocks):
    """The model with a stem in the place of its own, so that its own does not count."""
    layers = [nn.Conv2d(3, width, 3, 2, 1), *(nn.Tanh() for _ in range(blocks))]
    if not isinstance(model.stem, nn.Sequential):
        model.stem = nn.Sequential()
    while len(model.stem):
        del model.stem[0]
    for layer in layers:
        model.stem.append(layer)
    return model


def drive(lab, images, sizes, only):
    with lab.replacing(MBConv=StandInMBConv, EfficientViTModule=StandInModule):
        model = lab.Backbone(**sizes)
        if only == "stages":
            model = with_other_stem(model, sizes["widths"][0], sizes["depths"][0])
        fill_parameters(model, seed=5)
        run = model if only == "stages" else lambda images: [model.stem(images)]
        images.requires_grad_()
        model.train()
        in_training = run(images)
        reached = all(part.training for part in model.modules())
        model.eval()
        outputs = run(images)
        reached = reached and all(not part.training for part in model.modules())
        sum((x * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum()
            for x in outputs).backward()
    named = {name: p for name, p in sorted(model.named_parameters())
             if name.startswith("stem.") == (only == "stem")}
    return {
        "parameters": {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in named.items()},
        "every parameter learns": all(p.requires_grad for p in named.values()),
        "outputs": outputs, "outputs in training mode": in_training,
        "train() and eval() reach every layer": reached,
        "gradient of the images": images.grad.sum(1),  # over the colours
        "sizes of the parameters' gradients":
            {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in named.items()},
    }


tolerance = dict(rtol=1e-3, atol=1e-4)  # batch norm over few values magnifies rounding

# %% trap="backbone" name="the halving block counted as a module"
# A stage with attention has one module too few: the block that halves the map comes on top of
# depths[i] modules there.
class Backbone(nn.Module):
    def __init__(self, widths, depths, head_dim=16):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, widths[0], 3, 2, act=True))
        for _ in range(depths[0]):
            self.stem.append(Residual(DSConv(widths[0])))
        self.stages = nn.ModuleList()
        for i in range(1, len(widths)):
            attention = i >= len(widths) - 2
            stage = nn.Sequential(MBConv(widths[i - 1], widths[i], 2, fewer_norm=attention))
            for _ in range(depths[i] - 1):
                stage.append(EfficientViTModule(widths[i], head_dim) if attention
                             else Residual(MBConv(widths[i], widths[i])))
            self.stages.append(stage)

    def forward(self, images):
        x = self.stem(images)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

# %% trap="backbone" name="no shortcut in the early stages"
# The residual blocks of the stages without attention lack their shortcut: wrap every MBConv but the
# first of a stage in Residual.
class Backbone(nn.Module):
    def __init__(self, widths, depths, head_dim=16):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, widths[0], 3, 2, act=True))
        for _ in range(depths[0]):
            self.stem.append(Residual(DSConv(widths[0])))
        self.stages = nn.ModuleList()
        for i in range(1, len(widths)):
            attention = i >= len(widths) - 2
            stage = nn.Sequential(MBConv(widths[i - 1], widths[i], 2, fewer_norm=attention))
            for _ in range(depths[i] - 1 + attention):
                stage.append(EfficientViTModule(widths[i], head_dim) if attention
                             else MBConv(widths[i], widths[i]))
            self.stages.append(stage)

    def forward(self, images):
        x = self.stem(images)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

# %% trap="backbone" name="attention everywhere"
# Every stage of yours has attention. Only the last two have it: before, the map is large and
# convolutions do.
class Backbone(nn.Module):
    def __init__(self, widths, depths, head_dim=16):
        super().__init__()
        self.stem = nn.Sequential(ConvNormAct(3, widths[0], 3, 2, act=True))
        for _ in range(depths[0]):
            self.stem.append(Residual(DSConv(widths[0])))
        self.stages = nn.ModuleList()
        for i in range(1, len(widths)):
            stage = nn.Sequential(MBConv(widths[i - 1], widths[i], 2, fewer_norm=True))
            for _ in range(depths[i]):
                stage.append(EfficientViTModule(widths[i], head_dim))
            self.stages.append(stage)

    def forward(self, images):
        x = self.stem(images)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

# %% alternative="backbone" name="comprehensions"
class Backbone(nn.Module):
    def __init__(self, widths, depths, head_dim=16):
        super().__init__()
        first, *rest = widths
        stages = []
        for n, (before, dim, depth) in enumerate(zip(widths, rest, depths[1:])):
            if len(rest) - n <= 2:
                blocks = [MBConv(before, dim, stride=2, fewer_norm=True)]
                blocks += [EfficientViTModule(dim, head_dim=head_dim) for _ in range(depth)]
            else:
                blocks = [MBConv(before, dim, stride=2)]
                blocks += [Residual(MBConv(dim, dim)) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.stem = nn.Sequential(ConvNormAct(3, first, kernel_size=3, stride=2, act=True),
                                  *[Residual(DSConv(first)) for _ in range(depths[0])])

    def forward(self, images):
        outputs = [self.stem(images)]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

# %% alternative="backbone" name="one block at a time"
class Backbone(nn.Module):
    def __init__(self, widths, depths, head_dim=16):
        super().__init__()
        blocks = [ConvNormAct(3, widths[0], 3, stride=2, act=True)]
        while len(blocks) < 1 + depths[0]:
            blocks.append(Residual(DSConv(widths[0])))
        self.add_module("stem", nn.Sequential(*blocks))
        self.add_module("stages", nn.ModuleList())
        for i, width in enumerate(widths):
            if i == 0:
                continue
            late = i in (len(widths) - 1, len(widths) - 2)
            stage = nn.Sequential()
            stage.append(MBConv(widths[i - 1], width, 2, 4, late))
            for j in range(depths[i]):
                if late:
                    stage.append(EfficientViTModule(width, head_dim))
                elif j > 0:
                    stage.append(Residual(MBConv(width, width, 1)))
            self.stages.append(stage)

    def forward(self, images):
        x, outputs = self.stem(images), []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            outputs += [x]
        return outputs

# %% [markdown]
# **The proof.** timm's EfficientViT was written by others. If your backbone is right, then with the
# same weights it gives the same maps, to the last digits. Only a few names differ. (Where timm is
# not installed, the reference of this course takes its place, which the course's tests hold equal
# to timm's.) Random weights serve as well as trained ones and need no download; norms and running
# statistics are shaken too, because fresh ones would hide a wrong order.

# %% experiment="parity"
import re
from functools import partial


def public_model(name):
    """timm's EfficientViT and whose it is, or the course's reference."""
    try:
        import timm
        return timm.create_model(f"efficientvit_{name.lower()}").eval(), f"timm {timm.__version__}"
    except ImportError:
        from labsupport.models.efficientvit.backbone import backbone
        return backbone(name).eval(), "the course's reference"


def rename(name):
    """A name in timm's state dict as it is here."""
    for theirs, ours in ((r"^stem\.in_conv", "stem.0"), (r"^stem\.res0", "stem.1"),
                         (r"\.blocks\.0\.main", ".0"), (r"\.blocks", ""),
                         (r"(aggreg\.\d)\.0", r"\1.depthwise"), (r"(aggreg\.\d)\.1", r"\1.grouped")):
        name = re.sub(theirs, ours, name)
    return name


name = scale(smoke="B0", cpu="B1", gpu="B1")
theirs, owner = public_model(name)
with torch.no_grad():
    for key, value in theirs.state_dict().items():
        if "running_var" in key:
            value.mul_(0.5 + torch.rand_like(value))
        elif value.is_floating_point():
            value.add_(0.02 * torch.randn_like(value))
mine = Backbone(**VARIANTS[name]).eval()
mine.load_state_dict({rename(k): v for k, v in theirs.state_dict().items()
                      if not k.startswith("head.")})
images = torch.randn(1, 3, 224, 224)
published_attention = relu_linear_attention
relu_linear_attention = partial(published_attention, eps=1e-5)  # timm's eps; published: 1e-15
with torch.no_grad():
    stages = mine(images)
    reference = theirs.forward_intermediates(images)[1] if owner[:4] == "timm" else theirs(images)
relu_linear_attention = published_attention
gap = max((a - b).abs().max().item() for a, b in zip(stages, reference))
measured["parity"] = f"equal within {gap:.0e}" if gap else "equal to the last bit"
measured["owner"] = owner
charts.Table(["stage", "shape", "largest value", "largest difference"], [
    [str(i + 1), " × ".join(map(str, a.shape[1:])), f"{b.abs().max():.2f}",
     f"{(a - b).abs().max():.1e}"] for i, (a, b) in enumerate(zip(stages, reference))],
    title=f"Your backbone {name} with the weights of {owner}: the same maps")

# %% [markdown]
# Now count. Parameters and MACs of *your* backbones, and with the classifier on top (given: 1 × 1
# convolution, mean, two linear layers) beside the published table. Nothing is computed: the models
# live on PyTorch's `meta` device, which knows shapes only.

# %% experiment="count"
CLASSIFIERS = {"B0": (1024, 1280), "B1": (1536, 1600), "B2": (2304, 2560), "B3": (2304, 2560)}
PUBLISHED = {"B0": ("", ""), "B1": ("9.1 M", "0.52 G"), "B2": ("24 M", "1.6 G"),
             "B3": ("49 M", "4.0 G")}
COUNTED = {"B0": (3_410_008, 100_233_216), "B1": (9_102_024, 519_214_592),
           "B2": (24_330_712, 1_584_937_984), "B3": (48_646_056, 3_953_822_208)}


def classifier_parts(dim, widths, classes=1000):
    """The published classifier: a convolution, and what comes after the mean over the map."""
    return (ConvNormAct(dim, widths[0], act=True),
            nn.Sequential(nn.Linear(widths[0], widths[1], bias=False), nn.LayerNorm(widths[1]),
                          nn.Hardswish(), nn.Linear(widths[1], classes)))


rows = []
for name, sizes in VARIANTS.items():
    with torch.device("meta"):
        body = Backbone(**sizes).eval()
        conv, linear = classifier_parts(sizes["widths"][-1], CLASSIFIERS[name])
        image = torch.empty(1, 3, 224, 224)
    conv.eval()
    whole = nn.ModuleList([body, conv, linear])
    parameters = count_parameters(whole)
    with torch.device("meta"):  # what your functions make anew lives there too
        macs = count_macs(lambda x: linear(conv(body(x)[-1]).mean((2, 3))), image)
    measured[name] = (parameters, macs)
    equal = ("equal" if (parameters, macs) == COUNTED[name] else
             "parameters equal, MACs not" if parameters == COUNTED[name][0] else "NOT EQUAL")
    rows.append([name, f"{count_parameters(body):,}", f"{parameters:,}", PUBLISHED[name][0],
                 f"{macs:,}", PUBLISHED[name][1], equal])
charts.Table(["variant, 224 px", "backbone", "parameters, with classifier", "published",
              "MACs, with classifier", "published", "held against the published code"], rows,
             title="Your networks, counted" + ": every digit is that of the published code" * all(
               row[-1] == "equal" for row in rows))

# %% [markdown]
# **Mind what is counted.** The published tables count MACs and say so. Many vision papers print
# the same count under the name "FLOPs", others twice as many for the same model. Biases, norms
# and activations are not in it, the column of ones of exercise 1 is (who sums the denominator in
# another way counts other MACs). In B0, 80% of the parameters are in the classifier. The large
# variants L0 to L3, made for GPUs, use full convolutions in their first stages; the course's
# reference has them, equally exact (`labsupport/models/efficientvit`, not to be read before you
# are done).

# %% [markdown]
# ## 7 · A class for every pixel
#
# The last map knows most and is smallest; the earlier ones are sharp and know little. The head of
# EfficientViT takes the last three and simply adds them up:
#
# 1. each goes through a 1 × 1 convolution with batch norm to `width` channels;
# 2. the two smaller ones are enlarged to the size of the largest, by **bicubic** interpolation;
# 3. the three are added; `depth` × `Residual(MBConv)` follow, and a 1 × 1 convolution to classes.
#
# It answers at the resolution of the largest of the three maps, here a quarter of the image's
# side. Whoever wants every pixel enlarges the logits once more. (This is the published head for
# the data set ADE20K. The one for Cityscapes has another 1 × 1 convolution, with batch norm and
# activation, to four times the width before the last one.)
#
# ### Exercise 7 · `segmentation_head` · 3 points · 15 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `SegmentationHead(channels, width, num_classes, depth=1)`, about twelve lines |
# | **Shapes** | a list of one or more maps `(batch, channels[i], height, width)`, the largest first, to `(batch, num_classes, height, width)` of the first |
# | **Names** | `inputs`: `nn.ModuleList` of `ConvNormAct` without activation; `middle`: `nn.Sequential`; `output`: `nn.Conv2d` with bias |
# | **Allowed** | `F.interpolate` with `mode="bicubic"`, `align_corners=False`, nothing else set; maps of any size, also odd ones |
# | **Read** | EfficientViT paper, section 3.2, "head" |
#
# The grader puts another module in the place of your `MBConv`; make it only by
# `MBConv(width, width)`. The sum and what follows it are judged apart: the first with blocks that
# do nothing, the second with a single map and nothing in the place of `inputs[0]`.
#
# <details><summary>Hint 1: which of the two first, convolution or enlarging?</summary>
#
# The order of the list above. It is also the cheaper one: a 1 × 1 convolution on the small map.
# </details>
# <details><summary>Hint 2: "RuntimeError: The size of tensor a must match the size of tensor b"</summary>
#
# Give `F.interpolate` the wanted size, `size=maps[0].shape[-2:]`, instead of a factor: 7 × 7 comes
# from 13 × 13 or 14 × 14, and no factor knows which.
# </details>
# <details><summary>Hint 3: the check says that the interpolation is another</summary>
#
# `mode="bicubic"`: `"bilinear"` and the default `"nearest"` give other numbers, and so does
# `align_corners=True`. Skeleton: a loop over `zip(self.inputs, maps)` that adds up → `middle` →
# `output`.
# </details>

# %% exercise="segmentation_head"
class SegmentationHead(nn.Module):
    """Maps of several stages, the largest first -> logits (batch, num_classes, h, w) of its size.

    Submodules: inputs (ModuleList of 1 x 1 ConvNormAct to width), middle (Sequential of depth
    Residual(MBConv)), output (1 x 1 Conv2d with bias).
    """

    def __init__(self, channels, width, num_classes, depth=1):
        super().__init__()
        # Step 1: inputs, middle, output
        ### BEGIN SOLUTION
        self.inputs = nn.ModuleList(ConvNormAct(c, width) for c in channels)
        self.middle = nn.Sequential(*[Residual(MBConv(width, width)) for _ in range(depth)])
        self.output = nn.Conv2d(width, num_classes, 1)
        ### END SOLUTION

    def forward(self, maps):
        # Step 2: add up what the maps become, each enlarged to the first
        # Step 3: middle and output
        ### BEGIN SOLUTION
        size = maps[0].shape[-2:]
        x = self.inputs[0](maps[0])
        for reduce, smaller in zip(self.inputs[1:], maps[1:]):
            x = x + F.interpolate(reduce(smaller), size=size, mode="bicubic", align_corners=False)
        return self.output(self.middle(x))
        ### END SOLUTION

# %% check="segmentation_head"
with Check("segmentation_head", read="section 7, steps 1 to 3") as check:
    check.signature(SegmentationHead, "channels", "width", "num_classes", "depth")
    # One channel, no blocks, layers that change nothing: what is left is the sum of the maps
    bare = SegmentationHead((1, 1), 1, 1, depth=0).eval()
    with torch.no_grad():
        for layer in bare.inputs:
            layer.conv.weight.fill_(1)
        bare.output.weight.fill_(1)
        bare.output.bias.zero_()
    # A row of four ones, and the two pixels 0 and 8, which become four
    large, little = torch.ones(1, 1, 1, 4), torch.tensor([[[[0.0, 8]]]])
    check.values(bare([large, little])[0, 0], [[0.15625, 2.8125, 7.1875, 9.84375]],
                 "the sum of two maps", rtol=1e-3, atol=1e-3, otherwise={
        "the interpolation is bilinear": [[1.0, 3, 7, 9]],
        "the interpolation is nearest-neighbour, the default": [[1.0, 1, 9, 9]],
        "the smaller map does not enter": [[1.0, 1, 1, 1]],
        "the larger map does not enter": [[-0.84375, 1.8125, 6.1875, 8.84375]],
    })
    check.cases("03", globals())

# %% judge="segmentation_head" points=3
parts = {"sum of the maps": 1.5, "blocks and classes": 1.5}


def ask(rng):
    for title, batch, width, *shapes in (
        ("three maps, a wide image", 2, 5, (4, 4, 8), (6, 2, 4), (8, 1, 2)),
        ("three maps of odd sizes", 2, 4, (3, 7, 5), (4, 4, 3), (5, 2, 2)),
        ("two maps, batch of one", 1, 3, (2, 6, 4), (3, 3, 2)),
        ("four maps", 2, 2, (3, 4, 6), (2, 4, 3), (2, 2, 2), (4, 1, 2)),
        ("a single map", 2, 3, (4, 3, 2)),
    ):
        yield Case(title, part="sum of the maps", width=width, num_classes=3,
                   maps=[randn(rng, batch, *shape) for shape in shapes])
    for title, classes, depth in (("two blocks", 3, 2), ("no block", 2, 0),
                                  ("depth not given", 4, None)):
        yield Case(title, part="blocks and classes", features=randn(rng, 2, 5, 3, 4),
                   num_classes=classes, depth=depth)


class Copy(nn.Module):
    """In the place of the first input layer, to look at what comes behind."""

    def forward(self, x):
        return x.clone()


class NoBlock(nn.Module):
    """In the place of MBConv: nothing, so that blocks do not count."""

    def __init__(self, *sizes, **more):
        super().__init__()

    def forward(self, x):
        return torch.zeros_like(x)


class StandInMBConv(nn.Module):
    """In the place of MBConv: a 1 x 1 convolution that shows every argument."""

    def __init__(self, in_channels, out_channels, stride=1, expand=4, fewer_norm=False):
        super().__init__()
        self.gain = expand + 2 * fewer_norm
        self.mix = nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x):
        return torch.sin(self.mix(x) * self.gain / 4)


def drive(lab, num_classes, maps=None, width=None, features=None, depth=None):
    extra = {} if depth is None else {"depth": depth}
    with lab.replacing(MBConv=StandInMBConv if maps is None else NoBlock):
        if maps is None:  # layers and blocks behind the sum
            head = lab.SegmentationHead([5], 5, num_classes, **extra)
            head.inputs[0] = Copy()
            head, maps = fill_parameters(head, seed=6), [features]
        else:
            head = lab.SegmentationHead([m.shape[1] for m in maps], width, num_classes, **extra)
            head = fill_parameters(head, seed=6)
            for i, block in enumerate(head.middle):  # nor does a shortcut that is not there
                head.middle[i] = block if hasattr(block, "main") else nn.Identity()
            with torch.no_grad():  # nor the bias of the output
                for name, parameter in head.output.named_parameters():
                    parameter.mul_(name != "bias")
        for m in maps:
            m.requires_grad_()
        in_training = head.train()(maps)
        reached = all(part.training for part in head.modules())
        logits = head.eval()(maps)
        reached = reached and all(not part.training for part in head.modules())
        steps = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
        (logits * steps).sum().backward()
    named = {name: p for name, p in sorted(head.named_parameters())
             if name.startswith("inputs.") == (features is None)}
    return {
        "parameters": {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in named.items()},
        "every parameter learns": all(p.requires_grad for p in named.values()),
        "logits": logits, "logits in training mode": in_training,
        "train() and eval() reach every layer": reached,
        "gradients of the maps": [m.grad for m in maps],
        "sizes of the parameters' gradients":
            {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in named.items()},
    }


tolerance = dict(rtol=1e-3, atol=1e-4)  # batch norm over few values magnifies rounding

# %% trap="segmentation_head" name="bilinear"
# Your logits equal what you get when the smaller maps are enlarged by bilinear interpolation; it
# should be bicubic.
class SegmentationHead(nn.Module):
    def __init__(self, channels, width, num_classes, depth=1):
        super().__init__()
        self.inputs = nn.ModuleList(ConvNormAct(c, width) for c in channels)
        self.middle = nn.Sequential(*[Residual(MBConv(width, width)) for _ in range(depth)])
        self.output = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps):
        size = maps[0].shape[-2:]
        x = self.inputs[0](maps[0])
        for reduce, smaller in zip(self.inputs[1:], maps[1:]):
            x = x + F.interpolate(reduce(smaller), size=size, mode="bilinear")
        return self.output(self.middle(x))

# %% trap="segmentation_head" name="activation before the sum"
# Your logits equal what you get with an activation after the 1 x 1 convolutions of the inputs. They
# have a norm and no activation, so that what is added may be negative.
class SegmentationHead(nn.Module):
    def __init__(self, channels, width, num_classes, depth=1):
        super().__init__()
        self.inputs = nn.ModuleList(ConvNormAct(c, width, act=True) for c in channels)
        self.middle = nn.Sequential(*[Residual(MBConv(width, width)) for _ in range(depth)])
        self.output = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps):
        size = maps[0].shape[-2:]
        x = self.inputs[0](maps[0])
        for reduce, smaller in zip(self.inputs[1:], maps[1:]):
            x = x + F.interpolate(reduce(smaller), size=size, mode="bicubic")
        return self.output(self.middle(x))

# %% alternative="segmentation_head" name="stack and sum"
class SegmentationHead(nn.Module):
    def __init__(self, channels, width, num_classes, depth=1):
        super().__init__()
        self.output = nn.Conv2d(width, num_classes, kernel_size=1)
        self.middle = nn.Sequential()
        for _ in range(depth):
            self.middle.append(Residual(MBConv(width, width)))
        self.inputs = nn.ModuleList([ConvNormAct(c, width, 1, act=False) for c in channels])

    def forward(self, maps):
        height, width = maps[0].shape[2:]
        resized = [F.interpolate(layer(m), (height, width), mode="bicubic", align_corners=False)
                   for layer, m in zip(self.inputs, maps)]
        return self.output(self.middle(torch.stack(resized).sum(0)))

# %% alternative="segmentation_head" name="a matrix for the classes"
class SegmentationHead(nn.Module):
    def __init__(self, channels, width, num_classes, depth=1):
        super().__init__()
        self.inputs = nn.ModuleList()
        for c in channels:
            self.inputs.append(ConvNormAct(c, width))
        self.middle = nn.Sequential(*(Residual(MBConv(width, width)) for _ in range(depth)))
        self.output = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps):
        total = None
        for layer, m in zip(self.inputs, maps):
            y = layer(m)
            if y.shape[-2:] != maps[0].shape[-2:]:
                y = F.interpolate(y, size=list(maps[0].shape[-2:]), mode="bicubic")
            total = y if total is None else total + y
        total = self.middle(total)
        weight = self.output.weight.flatten(1)
        return torch.einsum("bchw,kc->bkhw", total, weight) + self.output.bias[:, None, None]

# %% [markdown]
# ## 8 · Does it see the far side?
#
# A fair test of *context* is a scene that cannot be understood without it. In each of these, one
# **sign** lies at one side and two things lie at the opposite side. The sign says what the things
# are called:
#
# * a **star**: fruit is to be *taken*, vehicles are to be *left*;
# * a **heart**: the other way round.
#
# A banana is yellow either way. Whether its pixels are "take" or "leave" is written at least 32
# pixels away. A net that does not look there finds the things and can only guess what they are
# called.

# %%
examples = rule_scenes(8, 96, split="test", seed=11)
segmaps.show_segmentations(examples.images, {"what is right": examples.targets}, CLASSES,
                           title="The same fruit is 'take' beside a star and 'leave' beside a heart",
                           alt="Each scene has a star or a heart at one side and two things, fruit or "
                               "vehicles, at the other.")

# %% tags=["setup"]
class Segmenter(nn.Module):
    """Backbone and head: images (batch, 3, height, width) -> logits of the same size."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images):
        logits = self.head(self.backbone(images)[-3:])
        return F.interpolate(logits, size=images.shape[-2:], mode="bicubic", align_corners=False)


def make_efficientvit():
    """The net of this lab: your backbone, shallow, and your head."""
    return Segmenter(Backbone(**SHALLOW), SegmentationHead(SHALLOW["widths"][1:], 32, len(CLASSES)))


def make_segformer(reductions):
    """A SegFormer-like net of as many MACs at 96 px: with or without reduced keys and values."""
    if max(reductions) == 1:
        return SegFormerLike(len(CLASSES), (16, 32, 64), reductions=reductions, width=48)
    return SegFormerLike(len(CLASSES), (32, 48, 64), reductions=reductions, width=54)


def pixel_loss(logits, targets):
    """Cross-entropy of every pixel; background, nine tenths of them, counts a fifth."""
    return F.cross_entropy(logits, targets, weight=logits.new_tensor([0.2, 1, 1, 1]))

# %% [markdown]
# Train yours. This takes about a minute: 200 steps of 16 scenes. Watch the loss: for a
# while the net knows where the things are and guesses their names; then it discovers the sign.

# %% experiment="training"
steps = scale(smoke=2, cpu=200, gpu=300)
lessons = rule_scenes(scale(smoke=32, cpu=1200, gpu=3000), 96, split="train", seed=0)
torch.manual_seed(SEED)
mine = make_efficientvit()
history = train_classifier(mine, normalize(lessons.images), lessons.targets, steps=steps,
                           batch_size=16, lr=3e-3, loss_of=pixel_loss, progress="your net")
exam = rule_scenes(scale(smoke=16, cpu=400, gpu=400), 96, split="test", seed=1_000_000)
measured["own miou"] = dense.mean_iou(mine, normalize(exam.images), exam.targets, len(CLASSES))
smooth = np.convolve(history.loss, np.ones(9) / 9, "valid").tolist() if steps > 20 else history.loss
chart_steps = list(range(1, len(smooth) + 1))[:: max(1, len(smooth) // 12)]
charts.lines(chart_steps, {"your net": [smooth[i - 1] for i in chart_steps]},
             xlabel="step", ylabel="loss, mean of 9 steps",
             title=f"Your net after {steps} steps: mIoU {measured['own miou']:.1%} on new scenes")

# %% [markdown]
# **mIoU**, the mean over classes of intersection over union, is the usual score of segmentation:
# for each class, the pixels on which prediction and truth agree, over the pixels that either of
# them names. Two nets were trained the same way for longer and are shipped; the weights of the
# first go into *your* code.

# %% experiment="held_out"
trained = {"EfficientViT": make_efficientvit(), "SegFormer-like, softmax": make_segformer((1, 1, 1))}
load_checkpoint(trained["EfficientViT"], "03_efficientvit")
load_checkpoint(trained["SegFormer-like, softmax"], "03_segformer")
answers = {}
for name, net in trained.items():
    found = dense.predict(net.eval(), normalize(exam.images)).argmax(1)
    measured[f"miou {name}"] = dense.class_iou(found, exam.targets, len(CLASSES)).mean().item()
    answers[name] = dense.predict(net, normalize(examples.images)).argmax(1)
segmaps.show_segmentations(
    examples.images, {"what is right": examples.targets, "yours, shipped\nweights":
                      answers["EfficientViT"], "SegFormer-like,\nsoftmax":
                      answers["SegFormer-like, softmax"]}, CLASSES,
    title=f"Both see the sign: mIoU {measured['miou EfficientViT']:.1%} and "
          f"{measured['miou SegFormer-like, softmax']:.1%} on {len(exam)} new scenes")

# %% [markdown]
# Which part of the network does it? The next figure comes from a long run,
# `labs experiment 03 segmentation`: six nets, three seeds each, the same 3,000 scenes. The first
# four are the lab's net with one part changed, after 300 steps; the SegFormer-like nets learn
# more slowly and get 500. A net that finds everything and guesses the names with a coin gets
# about 62%.

# %% experiment="ablation"
stored = json.loads(data_path("results", "03_segmentation.json").read_text())
runs_of = {}
for record in stored["records"]:
    runs_of.setdefault(record["net"], []).append(record)
runs_of = {net: runs_of[net] for net in stored["settings"]["nets"] if net in runs_of}
measured["miou by net"] = {label: (np.mean([r["miou"] for r in runs]),
                                   np.std([r["miou"] for r in runs], ddof=1))
                           for label, runs in runs_of.items()}
comparisons.bars({label: [r["miou"] for r in runs] for label, runs in runs_of.items()},
                 highlight=["EfficientViT"], line=(0.62, "finds things, guesses names"),
                 xlabel="mIoU on 400 held-out scenes, percent; dots are seeds",
                 title="Without attention, a net finds the things and guesses their names")
rows = []
for label, runs in runs_of.items():
    about = stored["settings"]["nets"][label]
    iou = np.mean([r["iou"][1:] for r in runs], axis=0)
    rows.append([label, f"{about['parameters']:,}", f"{about['macs']:,}", f"{about['steps']}",
                 "{:.1%} ± {:.1%}".format(*measured["miou by net"][label]),
                 " · ".join(f"{v:.0%}" for v in iou)])
charts.Table(["net", "parameters", "MACs at 96 px", "steps", "mIoU, mean ± std of 3 seeds",
              "IoU of sign · take · leave"], rows,
             title=f"Measured on {stored['date'][:10]} by: {stored['command']}")

# %% [markdown]
# **What the paper has.** On Cityscapes, with its poles and distant pedestrians, it measures 68.1
# with neither attention nor neighbourhood tokens, 72.2 with attention alone, 72.3 with the tokens
# alone and 74.5 with both (its table 1). Hold that against the first, second and fourth bar;
# question 1 does. **What the figure does not show** is a rank of EfficientViT above SegFormer:
# the SegFormer-like nets see the sign as well. They are lower in *every* class and slower
# learners; whether their layer norms, their start values, their head or their learning rate (a
# third of ours: at ours they did not find the sign) are to blame, nothing here tells.
#
# You can *see* the difference without any training data. Take one pixel of a thing and ask which
# pixels of the image its answer depends on: the gradient of its logits with respect to the image.

# %%
def influence(net, image, row, column):
    """How much each pixel of `image` moves the logits at one place, (height, width)."""
    image = normalize(image[None]).requires_grad_()
    logits = net.eval()(image)[0, 2:, row, column]
    (gradient,) = torch.autograd.grad(logits[0] - logits[1], image)
    return gradient[0].abs().sum(0)


class WithoutAttention(nn.Module):
    """A net whose attention says nothing: what is left are its convolutions."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        switched = [m for m in self.net.modules() if isinstance(m, MultiScaleAttention)]
        hooks = [m.register_forward_hook(lambda m, x, out: 0 * out) for m in switched]
        try:
            return self.net(images)
        finally:
            for hook in hooks:
                hook.remove()


view = examples.images[0]
thing = (examples.targets[0] >= 2).nonzero().float().mean(0)  # somewhere between the things
near = ((examples.targets[0] >= 2).nonzero() - thing).square().sum(1).argmin()
row, column = (examples.targets[0] >= 2).nonzero()[near].tolist()
pictures = [figures.pixels(view).mean(-1)]
for net in (trained["EfficientViT"], WithoutAttention(trained["EfficientViT"])):
    pictures.append(influence(net, view, row, column).add(1e-6).log10())
pictures = [(p - p.min()) / (p.max() - p.min()) for p in map(torch.as_tensor, pictures)]
on_sign = [p[examples.targets[0] == 1].mean().item() for p in pictures[1:]]
maps.show_maps(pictures,
               [f"the image; asked: row {row}, column {column}", "yours",
                "the same, attention silenced"], shared=False, ticks=False,
               title="With attention, the answer depends on the sign; without, on its own corner",
               alt="Left a scene, its sign far from the things. Beside it how much each pixel moves the "
                   "answer at the asked place, on a logarithmic scale from 0 to 1: on the sign it is "
                   f"{on_sign[0]:.2f} on average with attention, {on_sign[1]:.2f} without.")

# %% [markdown] question="q_context" points=2
# ### Question 1 · 2 points
#
# Answer from *your* figures and tables of this section, in three to five sentences, with numbers.
#
# (a) How far apart are the nets with and without attention in mIoU, and how large is that
# compared with the spread over seeds? Where between the two does the net stand that *you*
# trained? In which classes does the difference lie, and in which not?
#
# (b) The net without attention is no weaker at finding things. So what exactly is it missing? Use
# the last figure.
#
# (c) What do your measurements say about the multi-scale tokens and about ReLU against softmax,
# and what do they *not* say?
#
# ### BEGIN SOLUTION
# Model answer. (a) Stored run: 88% with attention and 62% without, a gap of 26 points, where
# three seeds differ by less than a point. The student's own net, from the training's figure, is
# near the upper one, so it found the sign (or near the lower one, if it did not). Background and
# sign are as good without (98% and 91%); take and leave fall from 82% and 81% to 24% and 35%,
# which is what guessing gives. (b) It cannot carry the sign to the things: with the attention
# silenced, the answer depends on a neighbourhood of the pixel, and the sign lies at its faint rim
# or beyond; with attention, every pixel of the image has some influence, the sign most. Its take
# and leave are therefore guesses, whereas the sign and the background, which can be told locally,
# are as good. (c) On this task ReLU is 0.6 points ahead of softmax and two scales 0.1 points
# behind one, where seeds differ by 0.1 to 0.3: attention of any kind will do, and no ranking of
# the kinds follows. What the multi-scale tokens are good for is not shown. The things are few,
# large and the message is one bit; a task with fine detail or many relations (Cityscapes, the
# paper's table 1) can show what this cannot.
#
# Rubric. ½ point: (a) numbers and spread. ½ point: (a) the classes take and leave. ½ point: (b)
# information cannot reach the pixel, tied to the influence figure. ½ point: (c) no over-claiming.
# ### END SOLUTION

# %% [markdown]
# ## 9 · What it costs
#
# Now the claim of the paper's title: high resolution. Four nets take turns, so that whatever else
# your machine does meets all of them: medians of the processor's time, one image, one thread.
#
# * **EfficientViT**, yours;
# * **the same with softmax**: only the attention function is exchanged, the cleanest comparison;
# * **SegFormer-like**, as many MACs at 96 pixels (within 2%), with *reduced keys and values* as the
#   real SegFormer has them: queries from every pixel, but keys and values from a map that a strided
#   convolution made 8, 4 and 2 times smaller each way. It is still quadratic, with 1/64 of the
#   slope at the largest map;
# * **SegFormer-like, softmax**: as many MACs at 96 pixels, and nothing reduced.
#
# Before you run it, guess the four times at 512 pixels in multiples of the first.

# %% experiment="latency"
def with_attention(function, net):
    """`net` with another function in the place of your relu_linear_attention, while it runs."""
    def run(images):
        global relu_linear_attention
        yours, relu_linear_attention = relu_linear_attention, function
        try:
            return net(images)
        finally:
            relu_linear_attention = yours
    return run


def softmax_attention(q, k, v):
    """PyTorch's fused attention; on a CPU it is much faster on tensors in order of memory."""
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())


def make_contestants():
    own = make_efficientvit().eval()
    return {"EfficientViT": own, "the same with softmax": with_attention(softmax_attention, own),
            "SegFormer-like": make_segformer((8, 4, 2)).eval(),
            "SegFormer-like, softmax": make_segformer((1, 1, 1)).eval()}


contestants = make_contestants()
idle = with_attention(lambda q, k, v: v, contestants["EfficientViT"])  # attention does nothing
with torch.device("meta"):
    on_paper = make_contestants()  # to count, not to run
wide_range = (64, 96, 128, 192, 256, 384, 512)
sides = scale(smoke=(64, 96), cpu=wide_range, gpu=wide_range)
seconds = {name: [] for name in contestants}
rows, costs = [], {}
for side in sides:
    image = torch.randn(1, 3, side, side)
    times = measure_in_turns(contestants | {"idle": idle}, image,
                             seconds=scale(smoke=0.05, cpu=4, gpu=4), rounds=(3, 60))
    measured["attention share"] = 1 - times.pop("idle") / times["EfficientViT"]
    with torch.no_grad(), torch.device("meta"):
        costs[side] = {name: count_macs(net, image.to("meta")) for name, net in on_paper.items()}
    for name in contestants:
        seconds[name].append(times[name])
    rows.append([f"{side} px"] + [
        f"{costs[side][n] / 1e6:,.0f} M · {1000 * times[n]:.1f} ms · "
        f"{times[n] / times['EfficientViT']:.2f} ×" for n in contestants])
comparisons.growth(sides, seconds, "EfficientViT", xlabel="side of the image, px",
                   title="Time of one image, and how many times that of EfficientViT it is")
measured["ratios"] = {name: [t / s for t, s in zip(seconds[name], seconds["EfficientViT"])]
                      for name in contestants}
measured["sides"] = sides
print(f"Times as long as EfficientViT, from {sides[0]} to {sides[-1]} px: " + "; ".join(
    f"{name} {ratios[0]:.2f} to {ratios[-1]:.2f}" for name, ratios in measured["ratios"].items()
    if name != "EfficientViT") + ".")
charts.Table(["side", *contestants], rows,
             title="MACs · time · how many times that of EfficientViT")

# %% [markdown]
# **What it shows.** *Against softmax* the lead must grow with every step, since the one grows
# with the square of the tokens and the other with their number; the line above the table says
# from what to what on your machine. How little the linear attention itself takes is in the
# closing table: leave its products out, and a few per cent of the time are saved in our run. What
# EfficientViT pays for is its convolutions.
#
# *Against reduced keys and values* there need not be any lead on a CPU at these sizes: in our run
# there is **none**. Question 2 asks for yours, and why. The paper's lead over SegFormer was
# measured on other hardware, with optimised kernels, norms folded into the convolutions, larger
# networks and many more pixels (section 11 measures those networks at that size). So when
# somebody quotes "linear against quadratic", ask: compared with *what*, and *where*?
#
# ### Play with it
#
# Choose a resolution: the same scene in so many pixels, both nets, what they say and how long they
# take. They were trained at 96 pixels only. Where does one of them begin to fail, and which?

# %% widget="resolution"
chosen = scale(smoke=(64, 96), cpu=(64, 96, 128, 192, 256), gpu=(64, 96, 128, 192, 256))
resolution_explorer({"EfficientViT": trained["EfficientViT"],
                     "SegFormer-like, softmax": trained["SegFormer-like, softmax"]},
                    [rule_scenes(1, side, split="test", seed=11) for side in chosen],
                    {name: seconds[name] for name in ("EfficientViT", "SegFormer-like, softmax")},
                    sides, start=256)

# %%
still = [side for side in (64, 96, 192) if side in chosen]
drawn = [rule_scenes(6, side, split="test", seed=12) for side in still]
lines = {}
for side, some in zip(still, drawn):
    for name, label in (("EfficientViT", "yours"), ("SegFormer-like, softmax", "softmax")):
        found = dense.predict(trained[name], normalize(some.images)).argmax(1)
        iou = dense.class_iou(found, some.targets, len(CLASSES)).nanmean()
        small = F.interpolate(found[:, None].float(), size=(96, 96), mode="nearest")[:, 0].long()
        lines[f"{label}, {side} px\nmIoU {iou:.0%}"] = small
segmaps.show_segmentations(
    F.interpolate(drawn[-1].images, size=(96, 96), mode="area"), lines, CLASSES,
    title="Trained at 96 pixels, asked at others: the same six scenes")

# %% [markdown] question="q_cost" points=2
# ### Question 2 · 2 points
#
# Answer from *your* table of this section, in three to five sentences, with numbers.
#
# (a) By what factor do MACs and time of each net grow from 256 to 512 pixels? Which factor would
# you expect from linear, which from quadratic growth in the number of tokens?
#
# (b) The two SegFormer-like nets have about as many MACs as yours at 96 pixels. Compare what the
# MACs say about 512 pixels with what the time says. Where do they disagree, and why might that be?
#
# (c) The paper reports up to 13.9 times less GPU latency than SegFormer, at 1024 × 2048 pixels.
# State the honest version of that claim for your machine and your nets.
#
# ### BEGIN SOLUTION
# Model answer. (a) From 256 to 512 px there are four times as many tokens: linear growth is 4,
# quadratic 16. In the run shown the MACs of EfficientViT grow 4.0 times and its time about as
# much; those of the SegFormer-like softmax net 14 times and its time about 13; with reduced keys
# and values 5.5 and about 4.5. (b) At 512 px the reduced net has 1.5 times the MACs of
# EfficientViT and takes three quarters of the time; the softmax net has 14 times the MACs and
# takes between 4 and 5 times as long. A MAC of EfficientViT takes longer on this CPU: depthwise
# convolutions, norms and activations move many numbers for few MACs, whereas matrix products
# reuse what they load, and fused softmax attention never writes its matrix of pairs to memory;
# EfficientViT also begins at half the image's side where the others begin at a quarter. (c) In
# one and the same net, linear attention instead of softmax saves a factor that grows with
# resolution (2.4 at 512 px in the run shown); against reduced keys and values, which is what
# SegFormer has, my nets gain nothing on one CPU thread up to 512 px. The 13.9 times are of other
# nets (of up to 85 M parameters) on a GPU at eight times our pixels; my measurement neither
# confirms nor refutes them.
#
# Rubric. ½ point: (a) factors from the student's table, with 4 and 16 named. ½ point: (b) a
# disagreement between MACs and time with numbers. ½ point: (b) a reason (memory traffic, depthwise
# convolutions, fused attention). ½ point: (c) a claim no larger than what was measured.
# ### END SOLUTION

# %% [markdown]
# ## 10 · Twice the resolution
#
# The third use of the same module: make images sharper. Super-resolution works at *full*
# resolution from the first layer to the last, for the detail is the whole point, so it is where a
# linear cost matters most. The paper reports results (6.4 times faster than Restormer, with 0.11
# dB more) but neither the paper nor the published code says how its super-resolution network is
# built. **What you build here is this course's own design** from the paper's module:
#
# $$ \text{output} = \operatorname{bicubic}(x) + \operatorname{shuffle}\big(\operatorname{tail}(
#    s + \operatorname{body}(s))\big), \qquad s = \operatorname{shallow}(x) $$
#
# The network predicts only what bicubic interpolation misses. `tail` starts at **zero**, so an
# untrained network *is* bicubic interpolation and training can only go up from there. The **pixel
# shuffle** turns $3 s^2$ channels at one pixel into $3$ channels at $s \times s$ pixels, without
# computing anything.
#
# ### Exercise 8 · `super_resolution` · 3 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the class `SuperResolution(dim=32, depth=2, head_dim=16, scale=2)`, about twelve lines |
# | **Shapes** | `(batch, 3, height, width)` to `(batch, 3, scale * height, scale * width)` |
# | **Names** | `shallow`: 3 × 3 `nn.Conv2d`, 3 to dim; `body`: `nn.Sequential` of `depth` × `EfficientViTModule(dim, head_dim)`; `tail`: 3 × 3 `nn.Conv2d`, dim to 3 · scale² |
# | **Start values** | weight and bias of `tail` are zero |
# | **Allowed** | `F.interpolate` with `mode="bicubic"`, `align_corners=False`, nothing else set; `F.pixel_shuffle` |
# | **Read** | pixel shuffle: Shi et al., 2016, section 3.2 |
#
# The grader puts another module in the place of your `EfficientViTModule`; make it only by
# `EfficientViTModule(dim, head_dim)`.
#
# <details><summary>Hint 1: what has which size?</summary>
#
# Everything but the last step runs at the size of the input. 3 × 3 convolutions with padding 1 keep
# it. Only the shuffled output and the bicubic enlargement are `scale` times larger, and they are
# added there.
# </details>
# <details><summary>Hint 2: the check says that an untrained network is not bicubic interpolation</summary>
#
# `nn.init.zeros_` for both parameters of `tail`, or the enlargement is missing from the sum, or its
# mode is another than `"bicubic"`.
# </details>
# <details><summary>Hint 3: the check says that pixels are scrambled</summary>
#
# `reshape` from `(batch, 12, h, w)` to `(batch, 3, 2 h, 2 w)` has the right shape and the wrong
# order. `F.pixel_shuffle(x, scale)` takes channel $c s^2 + i s + j$ to row offset $i$, column
# offset $j$ of colour $c$.
# </details>

# %% exercise="super_resolution"
class SuperResolution(nn.Module):
    """Images (batch, 3, h, w) -> (batch, 3, scale * h, scale * w): bicubic plus a correction.

    Submodules: shallow (3 x 3 convolution), body (Sequential of EfficientViTModule), tail (3 x 3
    convolution to 3 * scale ** 2 channels, starting at zero).
    """

    def __init__(self, dim=32, depth=2, head_dim=16, scale=2):
        super().__init__()
        # Step 1: the three parts; the last one starts at zero
        ### BEGIN SOLUTION
        self.scale = scale
        self.shallow = nn.Conv2d(3, dim, 3, padding=1)
        self.body = nn.Sequential(*[EfficientViTModule(dim, head_dim) for _ in range(depth)])
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)
        ### END SOLUTION

    def forward(self, images):
        # Step 2: the correction, by a pixel shuffle; Step 3: added to the bicubic enlargement
        ### BEGIN SOLUTION
        x = self.shallow(images)  # (batch, dim, h, w)
        x = x + self.body(x)
        correction = F.pixel_shuffle(self.tail(x), self.scale)  # (batch, 3, scale * h, scale * w)
        base = F.interpolate(images, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return base + correction
        ### END SOLUTION

# %% check="super_resolution"
with Check("super_resolution", read="section 10, the formula") as check:
    check.signature(SuperResolution, "dim", "depth", "head_dim", "scale")
    net = SuperResolution(8, 0, 4, 2).eval()
    check.parameters(net, {"shallow.weight": (8, 3, 3, 3), "shallow.bias": (8,),
                           "tail.weight": (12, 8, 3, 3), "tail.bias": (12,)})
    small = torch.arange(72.0).sin().reshape(1, 3, 4, 6)
    check.values(net(small), F.interpolate(small, scale_factor=2, mode="bicubic"),
                 "an untrained network, held against bicubic interpolation", otherwise={
        "the bicubic enlargement is missing from the sum": torch.zeros(1, 3, 8, 12),
        "the enlargement is bilinear": F.interpolate(small, scale_factor=2, mode="bilinear"),
    }, likely="tail does not start at zero: nn.init.zeros_ for weight and bias")
    with torch.no_grad():
        net.tail.bias.copy_(torch.arange(12.0))
    stripes = torch.arange(12.0).reshape(3, 2, 2)  # what a pixel shuffle makes, again and again
    check.values(net(torch.zeros(1, 3, 4, 6))[0], stripes.repeat(1, 4, 6),
                 "the correction by a tail of numbers", otherwise={
        "pixels are scrambled: a reshape where a pixel shuffle is needed":
            torch.arange(12.0)[:, None].repeat(1, 24).reshape(3, 8, 12),
        "rows and columns of the little squares are exchanged": stripes.mT.repeat(1, 4, 6),
    })
    check.cases("03", globals())

# %% judge="super_resolution" points=3
parts = {"start values": 1, "output": 2}


def ask(rng):
    for title, sizes in (("twice", dict(dim=4, depth=1, head_dim=2, scale=2)),
                         ("three times", dict(dim=6, depth=0, head_dim=3, scale=3))):
        yield Case(title, part="start values", sizes=sizes)
    for title, shape, sizes in (
        ("twice, a wide image", (2, 3, 3, 5), dict(dim=8, depth=2, head_dim=4, scale=2)),
        ("three times, batch of one", (1, 3, 4, 2), dict(dim=4, depth=1, head_dim=2, scale=3)),
        ("no module in the body", (2, 3, 2, 3), dict(dim=6, depth=0, head_dim=3, scale=2)),
        ("four times", (1, 3, 2, 3), dict(dim=4, depth=3, head_dim=4, scale=4)),
        ("one pixel, once", (2, 3, 1, 1), dict(dim=4, depth=1, head_dim=2, scale=1)),
        ("no size given", (1, 3, 3, 2), {}),
    ):
        yield Case(title, part="output", images=randn(rng, *shape), sizes=sizes)


class StandInModule(nn.Module):
    """In the place of EfficientViTModule: each pixel meets the mean of the map."""

    def __init__(self, dim, head_dim=16, expand=4):
        super().__init__()
        self.gain = expand / head_dim
        self.scale = nn.Parameter(torch.zeros(dim, 1, 1))

    def forward(self, x):
        return x + torch.tanh(self.scale * x + self.gain * x.mean((2, 3), keepdim=True))


def same(one, other):
    return bool(torch.allclose(one, other, rtol=1e-3, atol=1e-4))


def drive(lab, sizes, images=None):
    with lab.replacing(EfficientViTModule=StandInModule):
        net = lab.SuperResolution(**sizes)
        named = dict(sorted(net.named_parameters()))
        if images is None:
            start = {n: p for n, p in named.items() if n.startswith("tail.")}
            return {"start values": start, "every parameter learns":
                    all(p.requires_grad for p in named.values()),
                    "the weight of shallow does not start at zero":
                        "shallow.weight" in named and bool(named["shallow.weight"].any())}
        fill_parameters(net, seed=7)
        in_training = net.train()(images.requires_grad_())
        reached = all(part.training for part in net.modules())
        output = net.eval()(images)
        reached = reached and all(not part.training for part in net.modules())
        steps = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        (output * steps).sum().backward()
    return {
        "parameters": {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in named.items()},
        "output": output, "the output in training mode is the same": same(in_training, output),
        "train() and eval() reach every layer": reached, "gradient of the images": images.grad,
        "sizes of the parameters' gradients":
            {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in named.items()},
    }

# %% trap="super_resolution" name="no bicubic skip"
# Your output equals what you get without the bicubic enlargement: the network then has to learn the
# whole picture instead of what interpolation misses.
class SuperResolution(nn.Module):
    def __init__(self, dim=32, depth=2, head_dim=16, scale=2):
        super().__init__()
        self.scale = scale
        self.shallow = nn.Conv2d(3, dim, 3, padding=1)
        self.body = nn.Sequential(*[EfficientViTModule(dim, head_dim) for _ in range(depth)])
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, images):
        x = self.shallow(images)
        return F.pixel_shuffle(self.tail(x + self.body(x)), self.scale)

# %% trap="super_resolution" name="reshape for shuffle"
# Your output equals what you get when a reshape takes the place of the pixel shuffle: the shape is
# right and the pixels are scrambled.
class SuperResolution(nn.Module):
    def __init__(self, dim=32, depth=2, head_dim=16, scale=2):
        super().__init__()
        self.scale = scale
        self.shallow = nn.Conv2d(3, dim, 3, padding=1)
        self.body = nn.Sequential(*[EfficientViTModule(dim, head_dim) for _ in range(depth)])
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, images):
        x = self.shallow(images)
        base = F.interpolate(images, scale_factor=self.scale, mode="bicubic")
        return base + self.tail(x + self.body(x)).reshape(base.shape)

# %% trap="super_resolution" name="no shortcut around the body"
# Your output equals what you get without the shortcut around the body: what the first convolution
# found should reach the last one directly too.
class SuperResolution(nn.Module):
    def __init__(self, dim=32, depth=2, head_dim=16, scale=2):
        super().__init__()
        self.scale = scale
        self.shallow = nn.Conv2d(3, dim, 3, padding=1)
        self.body = nn.Sequential(*[EfficientViTModule(dim, head_dim) for _ in range(depth)])
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, images):
        base = F.interpolate(images, scale_factor=self.scale, mode="bicubic")
        x = self.body(self.shallow(images))
        return base + F.pixel_shuffle(self.tail(x), self.scale)

# %% alternative="super_resolution" name="modules and einops"
class SuperResolution(nn.Module):
    def __init__(self, dim=32, depth=2, head_dim=16, scale=2):
        super().__init__()
        self.tail = nn.Conv2d(dim, 3 * scale * scale, kernel_size=3, padding="same")
        with torch.no_grad():
            for parameter in self.tail.parameters():
                parameter.mul_(0)
        self.shallow = nn.Conv2d(3, dim, kernel_size=3, padding="same")
        self.body = nn.Sequential()
        for _ in range(depth):
            self.body.append(EfficientViTModule(dim, head_dim=head_dim))
        self.factor = scale

    def forward(self, images):
        height, width = images.shape[2:]
        features = self.shallow(images)
        out = self.tail(self.body(features) + features)
        out = einops.rearrange(out, "b (c i j) h w -> b c (h i) (w j)", i=self.factor,
                               j=self.factor)
        size = (self.factor * height, self.factor * width)
        return out + F.interpolate(images, size=size, mode="bicubic", align_corners=False)

# %% alternative="super_resolution" name="shuffle by assignment"
class SuperResolution(nn.Module):
    def __init__(self, dim=32, depth=2, head_dim=16, scale=2):
        super().__init__()
        self.r = scale
        self.shallow = nn.Conv2d(3, dim, 3, 1, 1)
        self.tail = nn.Conv2d(dim, 3 * scale**2, 3, 1, 1)
        nn.init.constant_(self.tail.weight, 0)
        nn.init.constant_(self.tail.bias, 0)
        self.body = nn.Sequential(*(EfficientViTModule(dim, head_dim) for _ in range(depth)))

    def forward(self, images):
        s = self.shallow(images)
        numbers = self.tail(torch.add(s, self.body(s)))
        size = [self.r * side for side in images.shape[-2:]]
        out = F.interpolate(images, size, mode="bicubic").clone()
        for i in range(self.r):
            for j in range(self.r):
                channels = [c * self.r**2 + i * self.r + j for c in range(3)]
                out[:, :, i::self.r, j::self.r] += numbers[:, channels]
        return out

# %% [markdown]
# Train it for half a minute on large drawings, made half as large, and test it on *kinds of things
# it has never seen*. Quality is measured as the papers do: on the brightness channel, without the
# border, as PSNR (decibels; 10 log₁₀ of peak over mean squared error) and SSIM.

# %% experiment="sharpen"
kinds, unseen = held_out(40, 0.25)


def drawings(n, concepts, split, seed):
    return scenes(n, 64, objects=(1, 2), concepts=concepts, split=split, seed=seed,
                  background="plain", scale=(0.45, 0.9)).images


sharp = drawings(scale(smoke=32, cpu=1200, gpu=2000), kinds, "train", 0)
sharp = sharp[:, :, 16:48, 16:48]  # the middle, where something is drawn: a quarter of the work
torch.manual_seed(SEED)
sharpener = SuperResolution(32, 2)
train_classifier(sharpener, dense.downscale(sharp), sharp, steps=scale(smoke=2, cpu=240, gpu=400),
                 batch_size=16, lr=2e-3, weight_decay=0.02, loss_of=F.l1_loss, progress="your net")
shipped = SuperResolution(32, 2)
load_checkpoint(shipped, "03_super_resolution")
fresh = drawings(scale(smoke=16, cpu=200, gpu=200), unseen, "test", 1_000_000)
low = dense.downscale(fresh)
enlarged = {"bicubic": F.interpolate(low, scale_factor=2, mode="bicubic"),
            "yours, trained here": dense.predict(sharpener, low),
            "yours, shipped weights": dense.predict(shipped, low)}
quality = {name: (dense.psnr(x, fresh), dense.ssim(x, fresh)) for name, x in enlarged.items()}
measured["psnr"] = {name: q[0] for name, q in quality.items()}
charts.Table(["enlarged by", "PSNR, dB", "SSIM", "over bicubic, dB"], [
    [name, f"{q[0]:.2f}", f"{q[1]:.4f}", f"{q[0] - quality['bicubic'][0]:+.2f}"]
    for name, q in quality.items()],
    title=f"Twice the resolution, {len(fresh)} drawings of {len(unseen)} kinds never trained on")

# %%
crop = (slice(None), slice(8, 40), slice(16, 48))
pick = [0, 3, 5] if len(fresh) > 5 else [0]
strip, captions = [], []
for i in pick:
    for name, x in {"bicubic": enlarged["bicubic"], "yours": enlarged["yours, shipped weights"],
                    "the original": fresh}.items():
        strip.append(x[i][crop])
        captions.append(name)
figures.show_images(torch.stack(strip).clamp(0, 1), captions, columns=9,
                    title="Sharper edges than bicubic interpolation, on things never seen",
                    alt="Cut-outs of drawings, each enlarged by bicubic interpolation, which is blurred, "
                        "enlarged by your net, and as it was.")

# %% [markdown]
# And against another network? The long run (`labs experiment 03 super_resolution`) trains your
# design and a small SwinIR-like one, of torchvision's own Swin blocks with windows of 8 × 8
# pixels, in the same way: three seeds, 400 steps. (Restormer, with which the paper compares, is
# not built here.)

# %% experiment="sharpen_long"
stored_sr = json.loads(data_path("results", "03_super_resolution.json").read_text())
base = next(r for r in stored_sr["records"] if r["net"] == "bicubic")
gains = {}
for record in stored_sr["records"]:
    if record["net"] != "bicubic":
        gains.setdefault(record["net"], []).append(record["psnr"] - base["psnr"])
measured["sr gain"] = {name: (np.mean(g), np.std(g, ddof=1)) for name, g in gains.items()}
pair = {"EfficientViT": SuperResolution(32, 2).eval(), "SwinIR-like": SwinIRLike(32, 1).eval()}
rows = []
for side in scale(smoke=(32,), cpu=(32, 128), gpu=(32, 128, 256)):
    image = torch.rand(1, 3, side, side)
    sr_times = measure_in_turns(pair, image, seconds=scale(smoke=0.05, cpu=3, gpu=3))
    measured[f"sr ratio {side}"] = sr_times["SwinIR-like"] / sr_times["EfficientViT"]
    for name, net in pair.items():
        runs = [r for r in stored_sr["records"] if r["net"] == name]
        rows.append([f"{side} to {2 * side} px", name, f"{count_parameters(net):,}",
                     f"{count_macs(net, image):,}", f"{1000 * sr_times[name]:.1f} ms",
                     "{:+.2f} ± {:.2f} dB".format(*measured["sr gain"][name]),
                     f"{np.mean([r['ssim'] for r in runs]):.4f} (bicubic {base['ssim']:.4f})"])
charts.Table(["from, to", "net", "parameters", "MACs", "time of one image, one thread",
              "PSNR over bicubic, 3 seeds", "SSIM"], rows,
             title=f"Quality measured on {stored_sr['date'][:10]}, times here and now")

# %% [markdown]
# **What it shows.** Both nets gain over bicubic, by 1.26 and 1.19 dB, far more than three seeds
# differ; between the two lie 0.07 dB, as much as the seeds of one of them spread. A likely reason
# is that what sharpens an edge lies next to it, so the kind of attention decides little. What may
# differ is how they scale. Windows of 8 × 8 make the Swin blocks linear in the pixels too, so the
# ratio of times need not grow; read from your table which is faster on your machine. The paper's
# 6.4 times are against Restormer on a GPU, and nothing here confirms or refutes them.
#
# ## 11 · The race
#
# How does the whole network stand among others? Each point is a public image classifier: upwards
# the accuracy on ImageNet that its authors *published*, to the right the time of one image
# *measured* side by side on the CPU by `labs experiment 03 race`. PVTv2 is the nearest relative of
# SegFormer's encoder, with reduced keys and values.

# %% experiment="race"
stored_race = json.loads(data_path("results", "03_race.json").read_text())
comparisons.race([(r["model"], 1000 * r["seconds"], r["top1"]) for r in stored_race["records"]],
                 "EfficientViT", xlabel="milliseconds of processor time for one image, one thread",
                 ylabel="ImageNet top-1, percent, as published",
                 title="Published accuracy against time on this CPU")
charts.Table(["model", "pixels", "parameters", "MACs", "time", "top-1 published", "where"], [
    [r["model"], f"{r['pixels']}", f"{r['parameters']:,}", f"{r['macs']:,}",
     f"{1000 * r['seconds']:.0f} ms", f"{r['top1']:.1f}%", r["source"]]
    for r in sorted(stored_race["records"], key=lambda r: r["seconds"])],
    title=f"Measured on {stored_race['date'][:10]}, {stored_race['machine']['cpu']}, one thread")

# %% [markdown]
# **What it shows.** On this CPU the three EfficientViTs lie on the upper left edge, with
# EfficientNetV2-B1 and -S: at B2's accuracy ConvNeXt-T takes 1.8 times as long and PVTv2-B2, with
# reduced keys and values, three times. EfficientNetV2-S is a little better than B3, at 384 pixels
# and 1.6 times the time. MACs do not tell the order: ConvNeXt-T has more than B3 and is faster,
# because it spends them in large matrix products. And accuracy belongs to the training as much as
# to the network: each family comes with its own recipe.
#
# The paper's own race is another one: segmentation of streets at 1024 × 2048 pixels, where it
# reports up to 13.9 times less GPU latency than SegFormer. The same command measured that as
# well, at the full size: the networks of the published code, whose counts your backbone equals,
# against SegFormer as the library `transformers` has it. (SegNeXt, and for super-resolution the
# published SwinIR and Restormer, are in none of the public libraries used here: they are not
# built, and nothing is measured of them.) In section 9 you held a small net with reduced keys and
# values against yours, up to 512 × 512. These are eight times as many pixels: guess the ratio
# before you look.

# %% experiment="streets"
comparisons.race([(r["model"], r["seconds"], r["miou"]) for r in stored_race["streets"]],
                 "EfficientViT", xlabel="seconds of processor time for one image, one thread",
                 ylabel="Cityscapes mIoU, percent, as published",
                 title="Streets at 1024 × 2048: published mIoU against time on this CPU")
streets = {r["model"]: r for r in stored_race["streets"]}
measured["streets"] = {size: streets[f"SegFormer-{size}"]["seconds"]
                       / streets[f"EfficientViT-{size}"]["seconds"] for size in ("B0", "B1", "B2")}
charts.Table(["model", "parameters", "MACs", "time", "mIoU published", "where"], [
    [r["model"], f"{r['parameters']:,}", f"{r['macs'] / 1e9:,.1f} G", f"{r['seconds']:.1f} s",
     f"{r['miou']:.1f}%", r["source"]]
    for r in sorted(streets.values(), key=lambda r: r["seconds"])],
    title=f"Measured on {stored_race['date'][:10]}, {stored_race['machine']['cpu']}, one thread")

# %% [markdown]
# **What it shows.** Here the lead is there, on a CPU as well: of equal name, SegFormer takes
# 12.8, 5.3 and 5.9 times as long. EfficientViT's published mIoU is half a point lower in B0 (75.7
# against 76.2) and 2.0 and 1.1 points higher in B1 and B2. Why so much here, and not in section
# 9? Reduced keys are a constant factor, not another order. With $n$ queries of $C$ channels and
# $m$ keys a block spends $2 n m C$ multiply-accumulates, and SegFormer's $m$ is 2,048 in *every*
# stage of this image: $n$ is 131,072, 32,768, 8,192 and 2,048. Work it out for B1 (two blocks a
# stage, 64, 128, 320, 512 channels): 133 G, more than half of all that the network does. At 512 ×
# 512 pixels, an eighth of these, it would be a sixty-fourth of that. The rest is not attention's
# doing: SegFormer's head works at a quarter of the image's side with 256 to 768 channels,
# EfficientViT's at an eighth with fewer. And the counts alone do not give the times: B1 against
# B1 is 10 times the MACs and 5 times the time, for depthwise convolutions move many numbers for
# each of theirs.
#
# ## 12 · Published and measured
#
# Everything you measured, beside what the paper says.

# %%
def shown(key, form="{}"):
    """A measured value, or the word that it is still to be measured."""
    return form.format(measured[key]) if key in measured else "not measured yet"


def ratio_at(name, index):
    """How many times as long as EfficientViT another net takes, at one of the sides."""
    if "ratios" not in measured:
        return "not measured yet"
    return f"{measured['ratios'][name][index]:.1f} × at {measured['sides'][index]} px"


def miou_of(name):
    if "miou by net" not in measured:
        return "not measured yet"
    return "{:.1%} ± {:.1%}".format(*measured["miou by net"][name])


def gain_of(name):
    return "{:+.2f} ± {:.2f} dB".format(*measured["sr gain"][name]) if "sr gain" in measured else "-"


charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["your backbone is the library's", "equal", f"{shown('parity')} to {shown('owner')}",
     "rounding, where they do"],
    ["B1 at 224 px, parameters and MACs", "9.1 M and 0.52 G",
     "{0[0]:,} and {0[1]:,}".format(measured.get("B1", (0, 0))), "the paper rounds"],
    ["B3 at 224 px, parameters and MACs", "49 M and 4.0 G",
     "{0[0]:,} and {0[1]:,}".format(measured.get("B3", (0, 0))), "the paper rounds"],
    ["linear against quadratic order, ReLU attention", "3.3 to 4.5 × against softmax on a phone",
     "{0[1]:.0f} × at {0[0]:,} tokens".format(measured.get("orders", (0, 0))),
     "depends on tokens alone; the phone's images are small"],
    ["time of the same net with softmax", "grows with resolution",
     f"{ratio_at('the same with softmax', 0)}, {ratio_at('the same with softmax', -1)}",
     "they do not"],
    ["time of a softmax net of equal MACs (at 96 px)", "grows with resolution",
     f"{ratio_at('SegFormer-like, softmax', 0)}, {ratio_at('SegFormer-like, softmax', -1)}",
     "they do not"],
    ["share of linear attention in our time", "small",
     f"{shown('attention share', '{:.0%}')} at the largest size", "they do not"],
    ["time of SegFormer (reduced keys) against ours", "up to 13.9 × (GPU, 1024 × 2048)",
     f"{ratio_at('SegFormer-like', 0)}, {ratio_at('SegFormer-like', -1)} (small nets); at 1024 × 2048 "
     + ", ".join(f"{size}: {ratio:.1f} ×" for size, ratio in measured.get("streets", {}).items()),
     "no lead with few pixels, see section 9; one CPU thread instead of a GPU"],
    ["context, mIoU: with and without attention", "74.5 against 72.3 (Cityscapes, table 1)",
     f"{miou_of('EfficientViT')} against {miou_of('without attention')}",
     "our scenes cannot be solved without; Cityscapes nearly can"],
    ["multi-scale, mIoU: with and without", "74.5 against 72.2 (Cityscapes, table 1)",
     f"{miou_of('EfficientViT')} against {miou_of('without multi-scale')}",
     "large things and little detail: our scenes do not need it"],
    ["ReLU for softmax, mIoU", "no loss claimed",
     f"{miou_of('EfficientViT')} against {miou_of('softmax for ReLU')}", "see section 8"],
    ["super-resolution, against bicubic", "none of this size",
     f"{gain_of('EfficientViT')}; SwinIR-like {gain_of('SwinIR-like')}",
     "our own network, our own drawings"],
], title="Published · measured here · why they differ")

# %% [markdown]
# ## Where next
#
# **What the full-size system does besides.** The published classifiers train for 320 epochs on
# ImageNet, by AdamW with a cosine decay of the learning rate, with random resolutions from 128 to
# 224, strong augmentation and an average of the weights; the segmentation networks start from
# these and train on Cityscapes (1024 × 2048 pixels) or ADE20K. On a GPU they run in 16-bit
# floats, where linear attention has a trap: a sum over thousands of keys overflows, so the
# published code computes it in 32 bits.
#
# **What came of it.** DC-AE (Chen et al., 2024), of the same group, is an autoencoder built of
# these modules that makes an image 32, 64 or 128 times smaller along each side, where others stop
# at 8: its down- and upsampling blocks only learn what is to be added to a rearrangement of space
# into channels, the pixel shuffle of section 10 and its inverse. SANA (Xie et al., 2024) draws
# images of up to 4,096 × 4,096 pixels: a diffusion transformer over DC-AE's few tokens, in which
# every self-attention is linear, as yours is, and a 3 × 3 depthwise convolution in the MLP sees
# to the detail.
#
# **Where this course goes.** Lab 04 puts an EfficientViT into Segment Anything, which makes it
# many times faster. Lab 05 keeps the quadratic cost and skips the windows that show nothing.
#
# **To try.**
#
# * `PROFILE = "gpu"` trains your net for the full 300 steps on 3,000 scenes.
# * Train at random sizes from 64 to 128 pixels and repeat the last figure of section 9.
# * Fold the batch norms into the convolutions (`torch.nn.utils.fuse_conv_bn_eval`), as everyone
#   does before deployment. How much time does that save at 512 pixels?
# * Ask for attention in *one* stage only. Is one enough to see the sign?
# * Put `.half()` before your attention and raise the number of tokens. When does it break, and
#   where should the 32 bits be?
#
# ## References
#
# * H. Cai, J. Li, M. Hu, C. Gan, S. Han, *EfficientViT: Multi-Scale Linear Attention for
#   High-Resolution Dense Prediction*, ICCV 2023: the paper of this lab.
# * A. Katharopoulos, A. Vyas, N. Pappas, F. Fleuret, *Transformers are RNNs: Fast Autoregressive
#   Transformers with Linear Attention*, ICML 2020: moving the brackets.
# * M. Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR 2018: MBConv.
# * E. Xie et al., *SegFormer: Simple and Efficient Design for Semantic Segmentation with
#   Transformers*, NeurIPS 2021: reduced keys and values.
# * W. Wang et al., *PVT v2: Improved Baselines with Pyramid Vision Transformer*, 2022.
# * J. Liang et al., *SwinIR: Image Restoration Using Swin Transformer*, ICCVW 2021; S. W. Zamir et
#   al., *Restormer*, CVPR 2022: what super-resolution is compared with.
# * W. Shi et al., *Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
#   Convolutional Neural Network*, CVPR 2016: the pixel shuffle.
# * M. Tan, Q. Le, *EfficientNetV2: Smaller Models and Faster Training*, ICML 2021.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
# * J. Chen et al., *Deep Compression Autoencoder for Efficient High-Resolution Diffusion Models*,
#   ICLR 2025: DC-AE. E. Xie et al., *SANA: Efficient High-Resolution Image Synthesis with Linear
#   Diffusion Transformers*, ICLR 2025.
#
# ## Glossary
#
# * **backbone**: the part of a network that makes maps of an image, for any task on top.
# * **batch norm**: normalisation of each channel over the images of a batch; may be folded into a
#   convolution.
# * **context**: what a pixel cannot know from its neighbourhood.
# * **depthwise convolution**: one kernel a channel: `groups` equals the number of channels.
# * **grouped**: channels in groups that do not see each other.
# * **Hardswish**: the activation $x \cdot \min(\max(x + 3, 0), 6) / 6$.
# * **linear attention**: attention in which keys and values meet first; its cost grows with the
#   number of tokens.
# * **MBConv**: 1 × 1 up, depthwise 3 × 3, 1 × 1 down; the inverted bottleneck of MobileNetV2.
# * **mIoU**: intersection over union of prediction and truth, averaged over the classes.
# * **multi-scale tokens**: tokens of neighbourhoods, beside those of single pixels.
# * **pixel shuffle**: channels of one pixel laid out as a square of pixels.
# * **PSNR**: the mean squared error on a logarithmic scale, in decibels; more is better.
# * **reduced keys and values**: keys and values of a map that a strided convolution made smaller
#   (SegFormer, PVTv2).
# * **stage**: the part of a backbone in which the map keeps its size.
