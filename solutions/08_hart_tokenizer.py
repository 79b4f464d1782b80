# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# lab:
#   number: "08"
#   title: "HART I: a tokenizer that is discrete and continuous"
#   minutes: 180
#   masks:
#     - models/hart/quantizer.py
#     - models/hart/tokenizer.py
#     - metrics/frechet.py
# ---

# %% [markdown]
# # Lab 08 · HART I: a tokenizer that is discrete and continuous
#
# A language model writes one token after another, and each is one of a fixed list. To *draw* with
# the same machine, an image has to become such tokens first, and become an image again. That is
# the work of a **tokenizer**, and it sets a ceiling: what the tokens cannot say, no generator can
# draw. Tokens from a list lose eyes, stripes and edges. Continuous tokens, which are vectors of any
# values, lose far less, but there is no list to choose them from.
#
# **HART** (Tang et al., 2024) takes both. Its tokenizer writes an image as **discrete tokens**, coarse
# to fine, which say what the picture is, and as **residual tokens**, continuous vectors that say what
# the discrete ones left out. In this lab you build it: the codebook, the
# scales, the residual, and the training that teaches *one* decoder to read both. Lab 09 then learns
# to write such tokens from a caption.
#
# | part | exercise | points | minutes | difficulty |
# |:--|:--|--:|--:|:--|
# | 1 Vectors from a list | `nearest_codes` | 2 | 10 | easy |
# | 2 A step without a slope | `straight_through` | 4 | 25 | medium |
# | 3 Reading a stack of scales | `partial_sums` | 4 | 25 | medium |
# | 4 Writing it | `residual_quantize` | 5 | 25 | hard |
# | 5 Codes nobody uses | `codebook_use` | 4 | 20 | medium |
# | 6 What is left | `hybrid_latent` | 2 | 10 | easy |
# | 7 One decoder, two kinds of latents | `train_step` | 4 | 25 | medium |
# | 8 How far from the original? | `frechet_distance`, a written question | 5 | 35 | medium |
#
# **30 points, about three hours.** You need PyTorch, autoencoders, and cross-correlation (`nn.Conv2d`).
# With all exercises solved the notebook runs in about three minutes on two cores; nothing is
# downloaded.
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
# Run the next three cells. The second says whether this machine has what the lab needs.
# `PROFILE = "cpu"` is meant for a laptop or a free Colab machine, `"smoke"` runs everything in
# seconds with results that mean nothing, and `"gpu"` trains longer. (In code,
# `scale(smoke=…, cpu=…)` picks a number for your profile; in the text of this lab a *scale* is
# always a map of codes, named by its side.)

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
from labsupport.data.stickers import attributes_of, draw_stickers, stickers
from labsupport.labs.lab08 import image_quality, scale_figures
from labsupport.labs.lab08 import tokenizers as tokens
from labsupport.labs.lab08.scale_widget import scale_explorer
from labsupport.notebook import plot as figures
from labsupport.notebook.check import Check
from labsupport.notebook.plot import charts
from labsupport.notebook.plot import comparison_charts as comparisons
from labsupport.notebook.profile import profile
from labsupport.profiling import count_parameters
from labsupport.training import load_checkpoint

scale = profile(PROFILE)  # scale(smoke=2, cpu=300, gpu=3000) picks the number for your profile
torch.manual_seed(SEED)
figures.use_style()
measured = {}  # what you measure goes in here; the table at the end prints it

# %% experiment="showcase"
SHOWN = ("big fox on green", "left red star on white", "big butterfly on yellow",
         "right robot on blue")
reference = tokens.shipped()
gallery = draw_stickers(attributes_of(SHOWN), reference.size, seed=5)
with torch.no_grad():
    latent = reference.encode(normalize(gallery.images))
    sums = reference.quantizer.partial_sums(reference.quantizer(latent).indices)
    drawn = [image_quality.to_unit(reference.decode(step)) for step in (*sums, latent)]
by_image = torch.stack([*drawn, gallery.images], dim=1)  # (images, stages, 3, height, width)
names = [f"{s} × {s}" for s in reference.quantizer.scales] + ["+ residual", "original"]
scale_figures.show_rows(dict(zip(SHOWN, by_image)), names,
                        title="An image, coarse to fine: codes of every scale, then the residual",
                        alt="From left to right a patch of colour becomes a blurred spot, a coarse thing "
                            "and a sharp one, close to the original.")

# %% [markdown]
# This is the picture to remember. The first image of a row is drawn from **one** code, the next from
# one and four more, and so on; each scale adds what the ones before it left. The last step adds no
# codes but vectors, the residual tokens. (The stored tokenizer of the lab drew these; you will load
# its weights into your own code.)

# %% [markdown]
# ## 1 · Vectors from a list
#
# An encoder turns an image into a **latent**: a small map of vectors, here 8 × 8 of them. A vector
# can have any values. To make *tokens* of it, keep a list of $V$ vectors, the **codebook**, and write
# down for each vector $\mathbf{z}$ the **index** of the nearest code:
#
# $$ k(\mathbf{z}) = \arg\min_{v} \lVert \mathbf{z} - \mathbf{e}_v \rVert^2
#    = \arg\min_v \left( \lVert \mathbf{e}_v \rVert^2 - 2\, \mathbf{z} \cdot \mathbf{e}_v \right) $$
#
# That is **vector quantisation**. The second form holds because $\lVert\mathbf{z}\rVert^2$ is the
# same for every code; it needs one matrix product and no array of all differences. A token costs
# $\log_2 V$ bits, however long the vector.
#
# ### Exercise 1 · `nearest_codes` · 2 points · 10 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of one or two lines |
# | **Shapes** | `vectors`: `(..., dim)`, with any number of axes before the last, or none; `codebook`: `(V, dim)`; out: `(...)`, `int64` |
# | **Mind** | codes differ in length: the largest product is not the least distance |
# | **Read** | VQ-VAE paper (van den Oord et al., 2017), equation 1 |
#
# <details><summary>Hint 1: where do I begin?</summary>
#
# `vectors @ codebook.T` gives all products, `(..., V)`. What must be added, and for which axis?
# </details>
# <details><summary>Hint 2: which function gives the index and not the distance?</summary>
#
# `argmin(dim=-1)`.
# </details>
# <details><summary>Hint 3: "the code with the largest product is taken"</summary>
#
# Subtract twice the product from the squared length of each code: `codebook.square().sum(dim=1)` has
# the shape `(V,)` and is added along the last axis.
# </details>

# %% exercise="nearest_codes"
def nearest_codes(vectors, codebook):
    """The number of the code at the least squared distance from each vector.

    vectors: (..., dim). codebook: (V, dim). Returns (...), int64.
    """
    ### BEGIN SOLUTION
    gaps = codebook.square().sum(dim=1) - 2 * vectors @ codebook.T  # (..., V)
    return gaps.argmin(dim=-1)
    ### END SOLUTION

# %% check="nearest_codes"
with Check("nearest_codes", read="section 1, the formula") as check:
    check.signature(nearest_codes, "vectors", "codebook")
    codes = torch.tensor([[1.0, 1], [4, 4], [-2, 1], [0, -1]])
    points = torch.tensor([[[1.2, 0.7], [2.2, 2.2], [3, 3]], [[-1, 0.2], [0.2, -0.4], [-9, 1]]])
    found = nearest_codes(points, codes)
    check.shape(found, (2, 3), "the numbers of 2 × 3 vectors", "the search runs over the codes: "
                "over the last axis")
    check.values(found, torch.tensor([[0, 0, 1], [2, 3, 2]]), "the numbers of six vectors",
                 otherwise={
        "the code with the largest product is taken; codes differ in length":
            torch.tensor([[1, 1, 1], [2, 3, 2]]),
        "the code in the nearest direction is taken; lengths count":
            torch.tensor([[0, 0, 0], [2, 3, 2]]),
        "the farthest code is taken": torch.tensor([[1, 2, 2], [1, 1, 1]]),
        "a factor is missing: |e|² - 2 z·e": torch.tensor([[0, 0, 0], [3, 3, 2]]),
    })
    check.cases("08", globals())

# %% judge="nearest_codes" points=2
def ask(rng):
    for title, shape, codes, dim, away in (("a map of vectors", (2, 3, 4), 9, 5, 0),
                                           ("a row", (7,), 4, 3, 0),
                                           ("one vector, no other axis", (), 6, 2, 0),
                                           ("one vector, two other axes", (1, 1), 8, 3, 0),
                                           ("numbers, not vectors", (30,), 5, 1, 0),
                                           ("100 codes", (40,), 100, 8, 0),
                                           ("far from 0", (40,), 60, 4, 6)):
        lengths = torch.from_numpy(rng.uniform(0.2, 3, (codes, 1)))
        codebook = away + randn(rng, codes, dim) * lengths
        yield Case(title, vectors=clear(rng, codebook, math.prod(shape), away).view(*shape, dim),
                   codebook=codebook)


def clear(rng, codebook, number, away):
    """Vectors that are not about as near to two codes, where rounding would decide."""
    pool = away + 1.5 * randn(rng, 8 * number + 20, codebook.shape[1]).double()
    near = torch.cdist(pool, codebook).square().topk(2, largest=False).values
    return pool[near[:, 1] - near[:, 0] > 1e-3][:number]

# %% trap="nearest_codes" name="largest product"
# Your indices equal what you get from the largest product. Codes differ in length, and a long one
# has large products with vectors far from it: compare distances.
def nearest_codes(vectors, codebook):
    return (vectors @ codebook.T).argmax(dim=-1)

# %% trap="nearest_codes" name="nearest direction"
# Your indices equal what you get from the largest cosine. The distance is asked for, and it depends
# on lengths too.
def nearest_codes(vectors, codebook):
    return (vectors @ F.normalize(codebook, dim=1).T).argmax(dim=-1)

# %% trap="nearest_codes" name="the factor 2"
# Your indices equal what you get without the factor 2 in |e|² - 2 z·e.
def nearest_codes(vectors, codebook):
    return (codebook.square().sum(dim=1) - vectors @ codebook.T).argmin(dim=-1)

# %% alternative="nearest_codes" name="all differences"
def nearest_codes(vectors, codebook):
    gaps = vectors.unsqueeze(-2) - codebook
    return (gaps ** 2).sum(-1).min(dim=-1).indices

# %% alternative="nearest_codes" name="cdist, a row at a time"
def nearest_codes(vectors, codebook):
    flat = vectors.reshape(-1, vectors.shape[-1])
    found = [int(torch.cdist(row[None], codebook)[0].argmin()) for row in flat]
    return torch.tensor(found, dtype=torch.int64).reshape(vectors.shape[:-1])

# %% [markdown]
# To *see* a codebook at work, let every pixel be a vector of three numbers and the codebook be a
# palette. What do you expect of 4, 16, 64 and 256 colours, drawn at random from other images?

# %%
crowd = stickers(64, 48, seed=SEED).images
pixels = crowd.transpose(0, 1).flatten(1).T  # (pixels, 3)
order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(SEED))
sheet = draw_stickers(attributes_of(["big fox on green", "left red star on white",
                                     "big butterfly on yellow", "right robot on blue",
                                     "big blue owl on pink", "top pizza on purple"]), 48, seed=5)
rows = {}
for colours in (4, 16, 64, 256):
    palette = pixels[order[:colours]]
    chosen = nearest_codes(sheet.images.movedim(1, -1), palette)  # (n, 48, 48)
    rows[f"{colours} colours,\n{math.log2(colours):.0f} bits a pixel"] = palette[chosen].movedim(-1, 1)
scale_figures.show_rows({**rows, "original,\n24 bits a pixel": sheet.images},
                        title="A palette is a codebook of pixels: few codes, hard steps",
                        alt="Six drawings, fox, star, butterfly, robot, owl and pizza. With 4 colours some "
                            "things vanish; with each more of them shades come back, up to the original.")

# %% [markdown]
# **What it shows.** Flat areas stay flat, in a wrong colour where the list has no better one, and gradual
# changes become steps: every vector is moved to the nearest code, and how far it was moved is lost for
# good. More codes make it better
# slowly: each bit more doubles the list. That is the first reason for what follows: to say more,
# do not lengthen the list but say *several* codes for one place, each correcting the ones before.

# %% [markdown]
# ## 2 · A step without a slope
#
# In a tokenizer the vectors come from an encoder, the codes go to a decoder, and all of it should
# learn. But "take the nearest code" is a staircase: move $\mathbf{z}$ a little and the code stays
# the same. Its gradient is zero almost everywhere, so the decoder's error tells the encoder nothing.
#
# **The straight-through estimator** (Bengio et al., 2013) pretends in the backward pass that nothing
# has happened. With $\operatorname{sg}$ for *stop gradient* (the value, taken as a constant):
#
# $$ \mathbf{z}_q = \mathbf{z} + \operatorname{sg}(\mathbf{e} - \mathbf{z}) $$
#
# Its *value* is the code $\mathbf{e}$; its *gradient* goes to $\mathbf{z}$, unchanged, and none to
# $\mathbf{e}$. So the codes need a loss of their own, and so does the encoder, lest it wander away
# from the codes. VQ-VAE's **codebook loss** has a term for each:
#
# $$ L = \lVert \mathbf{e} - \operatorname{sg}(\mathbf{z}) \rVert^2
#      + \beta\, \lVert \mathbf{z} - \operatorname{sg}(\mathbf{e}) \rVert^2, \qquad \beta = 0.25 $$
#
# The first pulls codes to the vectors that chose them, the second holds the vectors near their codes,
# four times more gently: the encoder has the image to think of as well. Both terms have the same
# *value*; they differ in **who moves**.
#
# ### Exercise 2 · `straight_through` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the functions `straight_through(latent, discrete)` and `codebook_loss(latent, discrete, beta)`, two points and one or two lines each |
# | **Shapes** | `latent` and `discrete`: any shape, the same for both; out: the same shape, and one number, a tensor `()` with a gradient |
# | **Mind** | $\lVert\cdot\rVert^2$ is the mean over all numbers here, as in VAR's code; `discrete` may come with a graph of its own |
# | **Read** | VQ-VAE paper, section 3.2 and equation 3 |
#
# <details><summary>Hint 1: how do I stop a gradient?</summary>
#
# `x.detach()` is the value of `x` as a constant.
# </details>
# <details><summary>Hint 2: a loss of two equal values?</summary>
#
# Yes: `F.mse_loss(a, b.detach())` and `F.mse_loss(a.detach(), b)` are the same number and have
# different gradients.
# </details>
# <details><summary>Hint 3: "the codes get a gradient" or "the latent gets none"</summary>
#
# Of the three letters in the first formula, which stand inside of $\operatorname{sg}$? Only what is outside
# of it gets a gradient.
# </details>

# %% exercise="straight_through"
def straight_through(latent, discrete):
    """The values of `discrete`; gradients go to `latent` as though nothing had happened.

    latent, discrete: any shape, the same for both. Returns that shape.
    """
    ### BEGIN SOLUTION
    return latent + (discrete - latent).detach()
    ### END SOLUTION


def codebook_loss(latent, discrete, beta=0.25):
    """Mean squared distance, once to move the codes and `beta` times to move the encoder.

    latent, discrete: any shape, the same for both. Returns one number.
    """
    ### BEGIN SOLUTION
    codes = F.mse_loss(discrete, latent.detach())
    encoder = F.mse_loss(latent, discrete.detach())
    return codes + beta * encoder
    ### END SOLUTION

# %% check="straight_through"
with Check("straight_through", read="section 2, the two formulas") as check:
    check.signature(straight_through, "latent", "discrete")
    check.signature(codebook_loss, "latent", "discrete", "beta")
    z = torch.tensor([1.0, -2.0, 0.5, 3.0], requires_grad=True)
    e = torch.tensor([2.0, -1.0, 0.5, 1.0], requires_grad=True)
    check.values(straight_through(z, e), e, "the value of straight_through", otherwise={
        "the value is that of the latent; it is that of the codes": z})
    check.values(codebook_loss(z, e, 0.25), 1.25 * 1.5, "the codebook loss of four numbers",
                 otherwise={
        "the squares are summed; take the mean over all numbers": 1.25 * 6.0,
        "there is one term only; codes and encoder have one each": 1.5,
        "beta is missing: the encoder's term counts a quarter": 3.0,
    })
    check.values(codebook_loss(z, e), 1.25 * 1.5, "the codebook loss without a beta given",
                 likely="beta is 0.25 unless told otherwise")
    check.cases("08", globals())  # gradients, too

# %% judge="straight_through" points=4
parts = {"straight_through": 2, "codebook_loss": 2}


def ask(rng):
    for title, shape in (("maps", (2, 3, 4, 5)), ("a row", (6,)), ("vectors", (1, 3, 2)),
                         ("one number", (1,))):
        z, e = randn(rng, 2, *shape)
        yield Case(title, part="straight_through", latent=z, discrete=e)
        yield Case(title, part="codebook_loss", latent=z, discrete=e, beta=float(rng.uniform(0.1, 2)))
    z, e = randn(rng, 2, 3, 4)
    yield Case("no beta given", part="codebook_loss", latent=z, discrete=e, beta=None)
    yield Case("beta is 0", part="codebook_loss", latent=z, discrete=e, beta=0.0)


def pulled(value, inputs):
    """Gradients of a weighted sum of `value`; zeros where none arrives."""
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value)
    if not value.requires_grad:
        return [torch.zeros_like(one) for one in inputs]
    found = torch.autograd.grad((value * weights).sum(), inputs, allow_unused=True)
    return [torch.zeros_like(one) if g is None else g for one, g in zip(inputs, found)]


def drive(lab, latent, discrete, **beta):
    inputs = latent.requires_grad_(), discrete.requires_grad_()
    if not beta:
        value = lab.straight_through(*inputs)
    else:
        value = lab.codebook_loss(*inputs, **({} if beta["beta"] is None else beta))
    to_latent, to_discrete = pulled(value, inputs)
    return {"value": value, "gradient to latent": to_latent, "gradient to discrete": to_discrete}

# %% trap="straight_through" name="no straight-through"
# Your values are right, but they equal the codes as they are: no gradient reaches the latent, and
# the decoder's error never teaches the encoder. Let the gradient pass straight through.
def straight_through(latent, discrete):
    return discrete


def codebook_loss(latent, discrete, beta=0.25):
    return F.mse_loss(discrete, latent.detach()) + beta * F.mse_loss(latent, discrete.detach())

# %% trap="straight_through" name="the codes are pulled too"
# Your gradient reaches the codes as well as the latent. In the straight-through estimator the
# codes are constants; they learn from the codebook loss.
def straight_through(latent, discrete):
    return latent + discrete - latent.detach()


def codebook_loss(latent, discrete, beta=0.25):
    return F.mse_loss(discrete, latent.detach()) + beta * F.mse_loss(latent, discrete.detach())

# %% trap="straight_through" name="beta on the codes"
# Your loss equals what you get with beta on the term that moves the codes. It belongs to the
# other: the encoder is held gently, the codes follow at full weight.
def straight_through(latent, discrete):
    return latent + (discrete - latent).detach()


def codebook_loss(latent, discrete, beta=0.25):
    return beta * F.mse_loss(discrete, latent.detach()) + F.mse_loss(latent, discrete.detach())

# %% trap="straight_through" name="gradients not stopped"
# Your loss has the right value, but no gradient is stopped: each term then moves both codes and
# encoder, and beta no longer says who moves how much.
def straight_through(latent, discrete):
    return latent + (discrete - latent).detach()


def codebook_loss(latent, discrete, beta=0.25):
    return F.mse_loss(discrete, latent) + beta * F.mse_loss(latent, discrete)

# %% trap="straight_through" name="sum in the place of the mean"
# Your loss equals what you get from sums of squares. Take the mean over all numbers, so that the
# weight of the loss does not depend on the size of the map.
def straight_through(latent, discrete):
    return latent + (discrete - latent).detach()


def codebook_loss(latent, discrete, beta=0.25):
    return ((discrete - latent.detach()) ** 2).sum() + beta * (
        (latent - discrete.detach()) ** 2).sum()

# %% alternative="straight_through" name="an autograd function"
class PassThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, latent, discrete):
        return discrete.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def straight_through(latent, discrete):
    return PassThrough.apply(latent, discrete)


def codebook_loss(latent, discrete, beta=0.25):
    still_z, still_e = latent.detach(), discrete.detach()
    return ((discrete - still_z) ** 2 + beta * (latent - still_e) ** 2).mean()

# %% alternative="straight_through" name="minus itself"
def straight_through(latent, discrete):
    return discrete.detach() + latent - latent.detach()


def codebook_loss(latent, discrete, beta=0.25):
    with torch.no_grad():
        z, e = latent.clone(), discrete.clone()
    first = (discrete - z).pow(2).sum() / latent.numel()
    second = (latent - e).pow(2).sum() / latent.numel()
    return torch.add(first, second, alpha=beta)

# %% [markdown]
# Does it matter? A tiny autoencoder of 16-pixel images, four tokens of four numbers each and 32
# codes, trained three times from the same start: without quantisation; with codes and your
# `straight_through`; and with the codes as they are, so that the decoder's error stops at them and
# the encoder hears of the codebook loss only.

# %% experiment="straight through"
def toy(kind, steps, dim=4, tokens_each=4, codes=32):
    """Squared error of the images at every step."""
    torch.manual_seed(SEED)
    encode = nn.Sequential(nn.Linear(768, 128), nn.ReLU(), nn.Linear(128, dim * tokens_each))
    decode = nn.Sequential(nn.Linear(dim * tokens_each, 128), nn.ReLU(), nn.Linear(128, 768))
    codebook = nn.Parameter(0.5 * torch.randn(codes, dim))
    optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters(), codebook], 2e-3)
    errors = []
    for batch in torch.randint(len(flat), (steps, 128)):
        latent = encode(flat[batch]).unflatten(1, (tokens_each, dim))
        discrete = codebook[nearest_codes(latent, codebook)]
        seen = {"no quantisation": latent, "no straight-through": discrete,
                "straight-through": straight_through(latent, discrete)}[kind]
        error = F.mse_loss(decode(seen.flatten(1)), flat[batch])
        loss = error if kind == "no quantisation" else error + codebook_loss(latent, discrete)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(error.item())
    return errors


flat = normalize(stickers(scale(smoke=200, cpu=3000, gpu=3000), 16, seed=SEED).images).flatten(1)
curves = {kind: toy(kind, scale(smoke=5, cpu=600, gpu=2000)) for kind in (
    "no straight-through", "straight-through", "no quantisation")}
scale_figures.show_losses(curves, smooth=20, ylabel="squared error of the image",
                          title="Without a gradient through the codes the encoder learns little")
charts.Table(["training", "squared error of the image, mean of the last 50 steps"], [
    [kind, f"{np.mean(values[-50:]):.4f}"] for kind, values in curves.items()])

# %% [markdown]
# **What it shows.** With the codes as they are the error stays high: vectors and codes draw near each
# other, but nobody tells the encoder what the decoder needs. With the straight-through estimator the
# same network ends in our run at less than half of that error. As a gradient it is wrong, and still it
# teaches: what would be better for $\mathbf{z}$ is mostly better for the code next to it as well. The
# gap to the lowest curve is the price of the codes: four of 32 are 20 bits an image, in the place of
# sixteen numbers of any value.

# %% [markdown]
# ## 3 · Reading a stack of scales
#
# VAR (Tian et al., 2024) writes an image not row by row but **scale by scale**: a map of 1 × 1 codes
# that says the most general, then 2 × 2, 3 × 3, up to the full side of the latent. All scales use the
# *same* codebook, and every scale **corrects the sum of those before it**. To read such a stack:
# take the codes of a scale, enlarge their map to the full side, and add it to what is there.
#
# $$ \hat{\mathbf{f}}_k = \hat{\mathbf{f}}_{k-1} +
#    \phi_k\bigl(\operatorname{up}(\mathbf{e}_{\text{codes of scale } k})\bigr), \qquad
#    \hat{\mathbf{f}}_0 = 0 $$
#
# `up` is bicubic interpolation. It smears a code over its neighbours, and $\phi_k$, a small
# convolution of the scale's own, learns to mend that: `Phi` below is half the map and half its 3 × 3
# convolution, as in VAR's code. **At the last scale nothing is resized and nothing is smoothed.**
# Section 6 says why. (So it is in HART where the transformer learns and draws. The code that trains
# HART's *tokenizer* does apply $\phi$ at the last scale.)
#
# The tokens of all scales form one row of *indices* of codes: `indices[:, 0]` is that of the 1 × 1 map, the
# next four are those of the 2 × 2 map, row by row, and so on.

# %% tags=["setup"]
class Phi(nn.Conv2d):
    """Half the map, half its 3 x 3 convolution: (batch, dim, side, side) to the same shape."""

    def __init__(self, dim):
        super().__init__(dim, dim, 3, padding=1)

    def forward(self, x):
        return 0.5 * x + 0.5 * super().forward(x)

# %% [markdown]
# ### Exercise 3 · `partial_sums` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the functions `spread(codes, side, phi)` and `partial_sums(indices, codebook, scales, phis)`, two points each, about four and eight lines |
# | **Shapes** | `codes`: `(batch, scale², dim)`, vectors of one scale, row by row, to `(batch, dim, side, side)`; `indices`: `(batch, tokens)` to a *list* with one map `(batch, dim, side, side)` a scale |
# | **Given** | `phis`: as many modules as `scales`; `scales` ends with the side of the latent |
# | **Mind** | where `scale == side`, `spread` neither resizes nor calls `phi`; gradients reach codebook and `phis` |
# | **Allowed** | `F.interpolate(..., mode="bicubic")`, with `align_corners` left alone |
# | **Read** | VAR paper, section 3.2 and algorithm 2 |
#
# <details><summary>Hint 1: from a row of vectors to a map</summary>
#
# The vectors are the last axis and must become the second: `codes.transpose(1, 2)` is
# `(batch, dim, scale²)`, and `.unflatten(2, (scale, scale))` cuts the last axis into rows.
# `math.isqrt` gives the scale from the number of vectors.
# </details>
# <details><summary>Hint 2: which tokens belong to which scale?</summary>
#
# Keep a place `start`. A scale takes `indices[:, start:start + scale**2]`, and moves `start` on by as
# many. `codebook[found]` looks the vectors up by their indices.
# </details>
# <details><summary>Hint 3: "every map but the last is smooth, and the last is wrong"</summary>
#
# At the last scale `spread` returns the grid as it is, without `phi`. And the list holds *sums*:
# each entry is the entry before it plus one part.
# </details>

# %% exercise="partial_sums"
def spread(codes, side, phi):
    """Vectors of one scale as a full map: enlarged (bicubic) and smoothed by `phi`.

    codes: (batch, scale², dim), row by row. Returns (batch, dim, side, side). Where scale equals
    side nothing is enlarged or smoothed.
    """
    # Step 1: a map (batch, dim, scale, scale); Step 2: unless it has the full side, enlarge, phi
    ### BEGIN SOLUTION
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))  # (batch, dim, scale, scale)
    if scale == side:
        return grid
    return phi(F.interpolate(grid, size=(side, side), mode="bicubic"))  # (batch, dim, side, side)
    ### END SOLUTION


def partial_sums(indices, codebook, scales, phis):
    """What the codes add up to after each scale, coarse to fine.

    indices: (batch, tokens), the scales one after another. codebook: (V, dim). Returns a list
    with a map (batch, dim, side, side) for each of `scales`, whose last is the side.
    """
    # For each scale: its numbers, their vectors, their map; add it to the sum so far
    ### BEGIN SOLUTION
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        numbers = indices[:, start:start + scale**2]  # (batch, scale²)
        total = total + spread(codebook[numbers], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums
    ### END SOLUTION

# %% check="partial_sums"
with Check("partial_sums", read="section 3, the formula and the last scale") as check:
    check.signature(spread, "codes", "side", "phi")
    check.signature(partial_sums, "indices", "codebook", "scales", "phis")
    codes = torch.tensor([[[1.0, 10], [2, 20], [3, 30], [4, 40]]])  # 2 × 2 vectors of two numbers
    check.values(spread(codes, 2, nn.Identity()), [[[[1, 2], [3, 4]], [[10, 20], [30, 40]]]],
                 "spread at the last scale", otherwise={
        "rows and channels are mixed: transpose before you cut into rows":
            codes.reshape(1, 2, 2, 2),
        "the map is transposed: vectors come row by row":
            [[[[1, 3], [2, 4]], [[10, 30], [20, 40]]]],
    })
    check.cases("08", globals())

# %% judge="partial_sums" points=4
parts = {"spread": 2, "partial_sums": 2}


def ask(rng):
    for title, batch, scale, side, dim in (("a 2 × 2 map to side 5", 2, 2, 5, 3),
                                           ("a 3 × 3 map to side 7", 2, 3, 7, 5),
                                           ("the last scale", 2, 3, 3, 4),
                                           ("one code, batch of one", 1, 1, 4, 2),
                                           ("the last scale, one number a vector", 3, 4, 4, 1)):
        yield Case(title, part="spread", codes=randn(rng, batch, scale**2, dim), side=side)
    for title, batch, codes, dim, scales in (("three scales", 2, 7, 3, (1, 2, 5)),
                                             ("two scales, batch of one", 1, 4, 2, (2, 4)),
                                             ("one scale", 3, 5, 3, (3,)),
                                             ("four scales", 2, 9, 4, (1, 2, 3, 4))):
        count = sum(scale**2 for scale in scales)
        yield Case(title, part="partial_sums", codebook=randn(rng, codes, dim),
                   indices=torch.from_numpy(rng.integers(0, codes, (batch, count))), scales=scales)


def stand_in_spread(codes, side, phi):
    scale = round(codes.shape[1] ** 0.5)
    grid = einops.rearrange(codes, "b (h w) d -> b d h w", h=scale)
    return grid if scale == side else phi(F.interpolate(grid, size=side, mode="bicubic"))


def smoothers(number, dim):
    return [fill_parameters(nn.Conv2d(dim, dim, 3, padding=1), seed=k) for k in range(number)]


def drive(lab, codes=None, side=None, codebook=None, indices=None, scales=None):
    if codes is not None:
        (phi,) = phis = smoothers(1, codes.shape[2])
        source = codes.requires_grad_()
        maps = [lab.spread(codes, side, phi)]
    else:
        phis, source = smoothers(len(scales), codebook.shape[1]), codebook
        with lab.replacing(spread=stand_in_spread):
            maps = lab.partial_sums(indices, codebook.requires_grad_(), tuple(scales), phis)
        maps = list(maps)
    total = sum((one * torch.linspace(-1, 2, one.numel(), dtype=one.dtype).view_as(one)).sum()
                for one in maps)
    learn = [source, *(p for phi in phis for p in phi.parameters())]
    found = torch.autograd.grad(total, learn, allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(learn, found)]
    return {"map" if codes is not None else "maps": maps[0] if codes is not None else maps,
            f"gradient to {'codes' if codes is not None else 'codebook'}": gradients[0],
            "gradients to the weights of phi": gradients[1:]}


tolerance = dict(rtol=1e-4, atol=1e-4)  # gradients are sums over whole maps, in float32

# %% trap="partial_sums" name="phi at the last scale"
# Your map equals what you get when phi is applied at the last scale too. Nothing is resized or
# smoothed there, so that what remains is the latent minus the code.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    return phi(F.interpolate(grid, size=(side, side), mode="bicubic") if scale < side else grid)


def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="enlarged by repeating"
# Your map equals what you get when codes are repeated over the larger map. Enlarge with bicubic
# interpolation.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    return phi(F.interpolate(grid, size=(side, side))) if scale < side else grid


def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="rows and channels mixed"
# Your map equals what you get when the vectors are reshaped into a map without moving their axis
# first: the numbers of one vector land in several places.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.reshape(len(codes), -1, scale, scale)
    if scale < side:
        grid = phi(F.interpolate(grid, size=(side, side), mode="bicubic"))
    return grid


def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="phi before enlarging"
# Your map equals what you get when phi comes before enlarging. It is there to mend what enlarging
# did.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    if scale < side:
        grid = F.interpolate(phi(grid), size=(side, side), mode="bicubic")
    return grid


def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="nothing added up"
# Your list holds what each scale says by itself. Each entry is the sum of all scales so far.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    if scale < side:
        grid = phi(F.interpolate(grid, size=(side, side), mode="bicubic"))
    return grid


def partial_sums(indices, codebook, scales, phis):
    sums, start = [], 0
    for scale, phi in zip(scales, phis):
        sums.append(spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi))
        start += scale**2
    return sums

# %% trap="partial_sums" name="phi left out"
# Your map equals what you get without phi. It mends what enlarging did: call it on the enlarged map.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    if scale < side:
        grid = F.interpolate(grid, size=(side, side), mode="bicubic")
    return grid

def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="bilinear"
# Your map equals what you get when it is enlarged bilinearly. Enlarge with bicubic interpolation.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    if scale < side:
        grid = phi(F.interpolate(grid, size=(side, side), mode="bilinear"))
    return grid

def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="align_corners"
# Your map equals what you get with align_corners=True. Leave it alone.
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    if scale < side:
        grid = phi(F.interpolate(grid, size=(side, side), mode="bicubic",
                                 align_corners=True))
    return grid

def partial_sums(indices, codebook, scales, phis):
    total, sums, start = 0, [], 0
    for scale, phi in zip(scales, phis):
        total = total + spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% trap="partial_sums" name="added to in place"
# Each of your maps equals the last one: they are one tensor, added to in place. Make a new sum at
# every scale: total = total + ...
def spread(codes, side, phi):
    scale = math.isqrt(codes.shape[1])
    grid = codes.transpose(1, 2).unflatten(2, (scale, scale))
    if scale < side:
        grid = phi(F.interpolate(grid, size=(side, side), mode="bicubic"))
    return grid


def partial_sums(indices, codebook, scales, phis):
    total, sums, start = torch.zeros(len(indices), codebook.shape[1], scales[-1], scales[-1]), [], 0
    for scale, phi in zip(scales, phis):
        total += spread(codebook[indices[:, start:start + scale**2]], scales[-1], phi)
        sums.append(total)
        start += scale**2
    return sums

# %% alternative="partial_sums" name="einops and cumsum"
def spread(codes, side, phi):
    import einops
    scale = int(codes.shape[1] ** 0.5 + 0.5)
    grid = einops.rearrange(codes, "b (rows columns) d -> b d rows columns", rows=scale)
    if scale == side:
        return grid
    return phi(nn.Upsample(size=side, mode="bicubic")(grid))


def partial_sums(indices, codebook, scales, phis):
    groups = torch.split(indices, [scale * scale for scale in scales], dim=1)
    maps = [spread(F.embedding(group, codebook), scales[-1], phi)
            for group, phi in zip(groups, phis)]
    return list(torch.stack(maps).cumsum(dim=0))

# %% alternative="partial_sums" name="row by row"
def spread(codes, side, phi):
    batch, count, dim = codes.shape
    scale = max(s for s in range(1, side + 1) if s * s <= count)
    rows = [codes[:, r * scale:(r + 1) * scale] for r in range(scale)]
    grid = torch.stack(rows, dim=1).permute(0, 3, 1, 2)
    if scale != side:
        grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
        grid = phi(grid)
    return grid


def partial_sums(indices, codebook, scales, phis):
    sums, done = [], 0
    for number in range(len(scales)):
        length = scales[number] ** 2
        picked = torch.stack([codebook[row[done:done + length]] for row in indices])
        added = spread(picked, scales[-1], phis[number])
        sums.append(added if not sums else sums[-1] + added)
        done = done + length
    return sums

# %% [markdown]
# What could a scale say at best, if its vectors could have any values? Take pixels as vectors again
# and let your `spread` enlarge the averages of an image at 1 × 1, 2 × 2 and so on (no $\phi$: nothing
# is learned here).

# %%
few = draw_stickers(attributes_of(["big fox on green", "left red star on white",
                                   "big butterfly on yellow", "right robot on blue",
                                   "big blue owl on pink", "top pizza on purple"]), 48, seed=5)
rows = {}
for s in (1, 2, 4, 8, 16):
    averages = F.interpolate(few.images, size=(s, s), mode="area").flatten(2).transpose(1, 2)
    rows[f"{s} × {s}"] = spread(averages, 48, nn.Identity())
scale_figures.show_rows(rows, title="Averages of an image, enlarged by your function",
                        alt="Six drawings, a row each number of averages: one colour, then a soft spot of "
                            "light, at 16 × 16 the thing can be named.")

# %% [markdown]
# **What it shows.** A map of 4 × 4 averages says where the thing is and in which colours, one of 16 × 16
# which thing. Eyes and teeth are finer still. The vectors of a tokenizer say more than averages: an
# encoder learns what to put into them.

# %% [markdown]
# ## 4 · Writing it
#
# Reading fixes how to write. Each scale should say as well as it can what the scales before it have
# **left**. Start with the whole latent as the rest $\mathbf{r}_0 = \mathbf{f}$; then, for each scale:
#
# 1. average the rest **down** to the scale (`mode="area"`: every vector is the mean of its region);
# 2. take the nearest code of each vector;
# 3. spread these codes as the *reader* will, $\phi_k$ included, and **subtract** that from the rest.
#
# $$ \mathbf{r}_k = \mathbf{r}_{k-1} - \operatorname{spread}\bigl(\operatorname{nearest}(\operatorname{area}(\mathbf{r}_{k-1}))\bigr) $$
#
# Two different interpolations, on purpose: an average to say something about a region, a smooth
# surface to draw it. And what is subtracted is what the reader will really see, its errors included;
# the next scale then corrects those as well.
#
# ### Exercise 4 · `residual_quantize` · 5 points · 25 minutes · hard
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about nine lines |
# | **Shapes** | `latent`: `(batch, dim, side, side)`; out: `indices` `(batch, tokens)`, the scales one after another, and `rest` `(batch, dim, side, side)`, what is left in the end |
# | **Points** | half for `indices`, half for a `rest` that goes with them: $\hat{\mathbf{f}}_K + \mathbf{r}_K = \mathbf{f}$, $\hat{\mathbf{f}}_K$ read from your indices |
# | **Given** | your `nearest_codes` and `spread`; `codebook`, `scales` and `phis` as in exercise 3 |
# | **Mind** | the input must not be changed; no gradient is asked for, since indices have none and the reader's sums carry it |
# | **Read** | VAR paper, algorithm 1; HART paper, section 3.1 |
#
# <details><summary>Hint 1: which lines are in the loop?</summary>
#
# Area, to rows of vectors, nearest codes, spread, subtract: five. The indices go to a list.
# </details>
# <details><summary>Hint 2: from a map to rows of vectors</summary>
#
# `.flatten(2).transpose(1, 2)` takes `(batch, dim, s, s)` to `(batch, s², dim)`. `torch.cat(list, dim=1)`
# puts the indices of all scales into one row.
# </details>
# <details><summary>Hint 3: "latent and partial sums do not differ by the rest"</summary>
#
# Subtract with `rest = rest - ...` (not `-=`, which would change the latent) exactly what
# `spread(codebook[found], side, phi)` gives, `found` being the indices of this scale, at the last
# scale too.
# </details>

# %% exercise="residual_quantize"
def residual_quantize(latent, codebook, scales, phis):
    """Codes of a latent, scale by scale, each for what the scales before it left.

    latent: (batch, dim, side, side). codebook: (V, dim). Returns indices (batch, tokens) and the
    rest (batch, dim, side, side).
    """
    # For each scale: average the rest down, nearest codes, spread them, subtract
    ### BEGIN SOLUTION
    rest, indices = latent, []
    for scale, phi in zip(scales, phis):
        small = F.interpolate(rest, size=(scale, scale), mode="area")
        numbers = nearest_codes(small.flatten(2).transpose(1, 2), codebook)  # (batch, scale²)
        rest = rest - spread(codebook[numbers], scales[-1], phi)
        indices.append(numbers)
    return torch.cat(indices, dim=1), rest
    ### END SOLUTION

# %% check="residual_quantize"
with Check("residual_quantize", read="section 4, the three steps") as check:
    check.signature(residual_quantize, "latent", "codebook", "scales", "phis")
    check.cases("08", globals())  # right nearest_codes and spread stand in for yours

# %% judge="residual_quantize" points=5
parts = {"indices": 2.5, "rest": 2.5}


def ask(rng):
    for title, batch, dim, codes, scales, away in (
            ("scales 1, 2, 6", 3, 4, 20, (1, 2, 6), 0),
            ("scales 2, 3, 5, batch of one", 1, 3, 9, (2, 3, 5), 0),
            ("one scale", 2, 2, 6, (4,), 0),
            ("scales 1, 2, 3, 4, 8", 2, 5, 40, (1, 2, 3, 4, 8), 0),
            ("one scale, far from 0", 2, 4, 60, (8,), 6)):
        for part in ("indices", "rest"):
            latent = codebook = None
            while latent is None or not clear(latent, codebook, scales):
                smooth = F.interpolate(randn(rng, batch, dim, 3, 3), size=(scales[-1],) * 2)
                latent = away + smooth + 0.6 * randn(rng, *smooth.shape)
                codebook = away + 0.7 * randn(rng, codes, dim)
            yield Case(title, part=part, latent=latent, codebook=codebook, scales=scales,
                       read_back=part == "rest")


def clear(latent, codebook, scales):
    """Whether no vector is about as near to two codes, where rounding would decide."""
    rest, least = latent.double(), 1.0
    for scale, phi in zip(scales, smoothers(len(scales), codebook.shape[1])):
        vectors = F.adaptive_avg_pool2d(rest, scale).flatten(2).mT
        near, numbers = torch.cdist(vectors, codebook.double()).topk(2, largest=False)
        least = min(least, (near[..., 1] - near[..., 0]).min().item())
        with torch.no_grad():
            rest = rest - stand_in_spread(codebook[numbers[..., 0]], scales[-1], phi)
    return least > 5e-4


def stand_in_spread(codes, side, phi):
    scale = round(codes.shape[1] ** 0.5)
    grid = einops.rearrange(codes, "b (h w) d -> b d h w", h=scale)
    return grid if scale == side else phi(F.interpolate(grid, size=side, mode="bicubic"))


def stand_in_nearest(vectors, codebook):
    return (vectors.unsqueeze(-2) - codebook).square().sum(-1).argmin(-1)


def smoothers(number, dim):
    return [fill_parameters(nn.Conv2d(dim, dim, 3, padding=1), seed=k) for k in range(number)]


def drive(lab, latent, codebook, scales, read_back):
    phis = smoothers(len(scales), codebook.shape[1])
    with torch.no_grad(), lab.replacing(spread=stand_in_spread, nearest_codes=stand_in_nearest):
        indices, rest = lab.residual_quantize(latent, codebook, tuple(scales), phis)
        if not read_back:
            return {"indices": indices}
        groups = indices.split([scale**2 for scale in scales], dim=1)
        read = [stand_in_spread(codebook[group], scales[-1], phi)
                for group, phi in zip(groups, phis)]
    return {"rest + what your codes say": rest + sum(read)}

# %% trap="residual_quantize" name="the latent at every scale"
# Your codes equal what you get when every scale quantises the latent itself. Only the first scale
# does; the others say what the scales before them left.
def residual_quantize(latent, codebook, scales, phis):
    rest, indices = latent, []
    for scale, phi in zip(scales, phis):
        small = F.interpolate(latent, size=(scale, scale), mode="area")
        numbers = nearest_codes(small.flatten(2).transpose(1, 2), codebook)
        rest = rest - spread(codebook[numbers], scales[-1], phi)
        indices.append(numbers)
    return torch.cat(indices, dim=1), rest

# %% trap="residual_quantize" name="nearest in the place of area"
# Your codes equal what you get when the rest is picked at single places on its way down. Average it:
# mode="area".
def residual_quantize(latent, codebook, scales, phis):
    rest, indices = latent, []
    for scale, phi in zip(scales, phis):
        small = F.interpolate(rest, size=(scale, scale), mode="nearest")
        numbers = nearest_codes(small.flatten(2).transpose(1, 2), codebook)
        rest = rest - spread(codebook[numbers], scales[-1], phi)
        indices.append(numbers)
    return torch.cat(indices, dim=1), rest

# %% trap="residual_quantize" name="bicubic down"
# Your codes equal what you get when the rest goes down by bicubic interpolation. That is the way up;
# on the way down every vector is the mean of its region.
def residual_quantize(latent, codebook, scales, phis):
    rest, indices = latent, []
    for scale, phi in zip(scales, phis):
        small = F.interpolate(rest, size=(scale, scale), mode="bicubic")
        numbers = nearest_codes(small.flatten(2).transpose(1, 2), codebook)
        rest = rest - spread(codebook[numbers], scales[-1], phi)
        indices.append(numbers)
    return torch.cat(indices, dim=1), rest

# %% trap="residual_quantize" name="the last scale not subtracted"
# Your rest equals what is left before the last scale. Subtract the codes of the last scale too: the
# rest is what no code has said.
def residual_quantize(latent, codebook, scales, phis):
    rest, indices = latent, []
    for scale, phi in zip(scales, phis):
        small = F.interpolate(rest, size=(scale, scale), mode="area")
        numbers = nearest_codes(small.flatten(2).transpose(1, 2), codebook)
        if scale != scales[-1]:
            rest = rest - spread(codebook[numbers], scales[-1], phi)
        indices.append(numbers)
    return torch.cat(indices, dim=1), rest

# %% trap="residual_quantize" name="no phi in what is subtracted"
# Your indices equal what you get when phi is left out of what is subtracted. The reader applies it, so
# the next scale has to correct the map as the reader sees it.
def residual_quantize(latent, codebook, scales, phis):
    rest, indices = latent, []
    for scale, phi in zip(scales, phis):
        small = F.interpolate(rest, size=(scale, scale), mode="area")
        numbers = nearest_codes(small.flatten(2).transpose(1, 2), codebook)
        rest = rest - spread(codebook[numbers], scales[-1], nn.Identity())
        indices.append(numbers)
    return torch.cat(indices, dim=1), rest

# %% alternative="residual_quantize" name="pooling, sum so far"
def residual_quantize(latent, codebook, scales, phis):
    so_far, found = torch.zeros_like(latent), []
    for k in range(len(scales)):
        vectors = F.adaptive_avg_pool2d(latent - so_far, scales[k]).permute(0, 2, 3, 1)
        numbers = nearest_codes(vectors, codebook).flatten(1)
        so_far = so_far + spread(F.embedding(numbers, codebook), latent.shape[-1], phis[k])
        found.append(numbers)
    return torch.hstack(found), latent - so_far

# %% alternative="residual_quantize" name="one latent at a time"
def residual_quantize(latent, codebook, scales, phis):
    all_numbers, rests = [], []
    for one in latent:
        rest, row = one[None].clone(), []
        for scale, phi in zip(scales, phis):
            small = F.interpolate(rest, (scale, scale), mode="area")[0]
            numbers = torch.stack([nearest_codes(small[:, i, j], codebook)
                                   for i in range(scale) for j in range(scale)])
            rest = rest - spread(codebook[numbers][None], scales[-1], phi)
            row.append(numbers)
        all_numbers.append(torch.cat(row))
        rests.append(rest[0])
    return torch.stack(all_numbers), torch.stack(rests)

# %% [markdown]
# Watch it at work on pixels: a 32-pixel image as the latent, 256 colours and differences of colours as
# the codebook. Above what has been said after each scale, in the middle what that scale *added*
# (grey is nothing), below what is left.

# %%
side, pixel_scales = 32, (1, 2, 4, 8, 16, 32)
colours = tokens.colour_codes(normalize(stickers(100, side, seed=1).images), pixel_scales, 256)
one = draw_stickers(attributes_of(["big butterfly on yellow"]), side, seed=5).images
no_phis = [nn.Identity()] * len(pixel_scales)
numbers, left = residual_quantize(normalize(one), colours, pixel_scales, no_phis)
sums = torch.cat(partial_sums(numbers, colours, pixel_scales, no_phis))
added = torch.cat([sums[:1], sums.diff(dim=0)])
scale_figures.show_rows({
    "so far": image_quality.to_unit(sums), "this scale adds": image_quality.to_unit(added),
    "left": image_quality.to_unit(normalize(one) - sums)},
    [f"{s} × {s}" for s in pixel_scales],
    title="Coarse to fine: each scale corrects what is there, and what is left goes grey",
    alt="A butterfly on yellow: the first scale says one colour, the last its lines; what is left "
        f"shrinks to {(normalize(one) - sums[-1]).abs().mean():.3f} a pixel.")

# %% [markdown]
# **What it shows.** The first code says the colour of most of the image, its ground. Each further scale
# adds something where the sum so far is wrong, and grey, nothing, where it is right: the finest two add
# outlines. What is left after the last scale is the distance of single pixels to their nearest codes,
# faint and without a shape. Had every scale quantised the *image*, the sum would be six images on top of
# one another.
#
# This is no good compression yet: 1,365 codes of 8 bits for 1,024 pixels of 24. With pixels as vectors
# the last scale alone needs a code a pixel. An encoder makes one vector of a whole patch of pixels: the
# pictures at the top of the lab, 48 pixels wide, have 85 codes each.

# %% [markdown]
# ## 5 · Codes nobody uses
#
# A code learns only from the vectors that choose it. One that starts far from all vectors is never
# chosen, so it never moves, so it is never chosen: it is **dead**. In a bad case a few codes do all
# the work and the list of a thousand is a list of ten (*codebook collapse*). Nothing in the loss
# says so; you have to look. The measure is the **perplexity**: with $p_v$ the share of all tokens
# that are code $v$,
#
# $$ \operatorname{perplexity} = \exp\Bigl(-\sum_v p_v \ln p_v\Bigr), \qquad 0 \ln 0 = 0 $$
#
# That is the number of codes that, used equally often, would be as surprising: $V$ if all are used
# alike, 1 if one is used alone. The cure is simple: every so often, put the codes that were not used
# where vectors are that had to be said, at **any** scale. Then somebody will choose them.
#
# ### Exercise 5 · `codebook_use` · 4 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | the functions `perplexity(indices)` and `revive(codebook, indices, vectors)`, two points and about four lines each |
# | **Shapes** | `indices`: `int64` of any shape; `codebook`: `(V, dim)`, the parameter itself; `vectors`: `(n, dim)`, in random order |
# | **Returns** | a Python number each: the perplexity; how many codes were revived |
# | **Mind** | the unused code with the smallest index becomes `vectors[0]`, the next `vectors[1]`, ...; with fewer vectors than unused codes the last ones stay. All others stay as they are. `codebook` is changed **in place**, without a gradient |
# | **Read** | Jukebox (Dhariwal et al., 2020), section 3.1: "random restarts" |
#
# <details><summary>Hint 1: how often does each code occur?</summary>
#
# `torch.bincount(indices.flatten())`; with `minlength=V` codes that are too large to occur get their 0.
# </details>
# <details><summary>Hint 2: "nan"</summary>
#
# `0 * log(0)` is NaN. Leave the zeros out, or use `torch.special.entr`, which is $-p \ln p$ with 0 at 0.
# </details>
# <details><summary>Hint 3: "a leaf Variable that requires grad is being used in an in-place operation"</summary>
#
# Assign inside `with torch.no_grad():`. `codebook[unused] = vectors[:len(unused)]` changes the
# parameter that you were given; `codebook = ...` would make a new one that nobody else sees.
# </details>

# %% exercise="codebook_use"
def perplexity(indices):
    """The number of codes that would be as surprising if used equally often. A Python number.

    indices: numbers of codes, int64 of any shape.
    """
    ### BEGIN SOLUTION
    counts = torch.bincount(indices.flatten())
    shares = counts[counts > 0] / counts.sum()
    return (-(shares * shares.log()).sum()).exp().item()
    ### END SOLUTION


def revive(codebook, indices, vectors):
    """Put unused codes where vectors are, in place; returns how many.

    codebook: (V, dim), a parameter. indices: the codes used lately, any shape. vectors: (n, dim).
    """
    # Step 1: numbers of the unused codes, as many as there are vectors; Step 2: assign, no gradient
    ### BEGIN SOLUTION
    counts = torch.bincount(indices.flatten(), minlength=len(codebook))
    dead = (counts == 0).nonzero()[:, 0][: len(vectors)]
    with torch.no_grad():
        codebook[dead] = vectors[: len(dead)]
    return len(dead)
    ### END SOLUTION

# %% check="codebook_use"
with Check("codebook_use", read="section 5") as check:
    check.signature(perplexity, "indices")
    check.signature(revive, "codebook", "indices", "vectors")
    check.values(perplexity(torch.tensor([[0, 3, 5, 9], [9, 5, 3, 0]])), 4.0,
                 "the perplexity of four codes used equally often", otherwise={
        "that is the entropy; the perplexity is its exponential": math.log(4),
        "that is the entropy in bits; the perplexity is exp of the entropy in nats": 2.0,
        "the exponential of an entropy in bits; take the natural logarithm": math.exp(2),
        "the sign is missing: p ln p is negative": 0.25,
    })
    book = nn.Parameter(torch.arange(12.0).view(6, 2))
    vectors = torch.tensor([[-1.0, -2], [-3, -4], [-5, -6], [-7, -8]])
    count = revive(book, torch.tensor([[4, 1], [1, 2]]), vectors)
    check.values(book, [[-1, -2], [2, 3], [4, 5], [-3, -4], [8, 9], [-5, -6]],
                 "the codebook after reviving codes 0, 3 and 5", otherwise={
        "it is as it was: assign to its rows, a new tensor is not the parameter":
            torch.arange(12.0).view(6, 2)},
        likely="unused codes, smallest number first, become vectors[0], vectors[1], ...; others stay")
    check.values(count, 3, "the number of revived codes")
    check.cases("08", globals())

# %% judge="codebook_use" points=4
parts = {"perplexity": 2, "revive": 2}


def ask(rng):
    def numbers(most, *shape):
        skewed = rng.integers(0, most, shape) * rng.integers(0, 3, shape) // 2
        return torch.from_numpy(skewed)

    for title, most, shape in (("a batch of tokens", 40, (3, 30)), ("few codes of many", 500, (12,)),
                               ("three axes", 9, (2, 3, 4)), ("one token", 7, (1,)),
                               ("thousands of tokens", 5, (40, 70))):
        yield Case(title, part="perplexity", indices=numbers(most, *shape))
    for title, codes, used, vectors in (("most codes unused", 30, (2, 6), 40),
                                        ("fewer vectors than unused codes", 25, (5,), 6),
                                        ("one vector", 8, (1, 2, 2), 1)):
        # the last two codes are unused as well
        yield Case(title, part="revive", codebook=randn(rng, codes, 3),
                   indices=numbers(codes - 2, *used), vectors=randn(rng, vectors, 3))
    yield Case("all used", part="revive", codebook=randn(rng, 6, 2), vectors=randn(rng, 5, 2),
               indices=torch.from_numpy(rng.permutation(np.arange(18) % 6)).view(3, 6))


def drive(lab, indices, codebook=None, vectors=None):
    if codebook is None:
        value = lab.perplexity(indices)
        return {"perplexity": value, "the perplexity is a Python number": is_number(value)}
    book = nn.Parameter(codebook.clone())
    count = lab.revive(book, indices, vectors)
    return {"codebook": book.detach().clone(), "revived": count,
            "the codebook is still a parameter, without a gradient":
                bool(book.requires_grad and book.is_leaf and book.grad is None),
            "the count is a Python number": is_number(count)}


def is_number(value):
    return isinstance(value, (int, float, np.number))

# %% trap="codebook_use" name="entropy, not its exponential"
# Your perplexity equals the entropy. Take its exponential: the result is a number of codes.
def perplexity(indices):
    counts = torch.bincount(indices.flatten())
    return torch.special.entr(counts / counts.sum()).sum().item()


def revive(codebook, indices, vectors):
    counts = torch.bincount(indices.flatten(), minlength=len(codebook))
    dead = (counts == 0).nonzero()[:, 0][: len(vectors)]
    with torch.no_grad():
        codebook[dead] = vectors[: len(dead)]
    return len(dead)

# %% trap="codebook_use" name="codes that occur"
# Your perplexity equals the number of codes that occur at all. A code that is used once in a thousand
# tokens counts less than one that is used all the time.
def perplexity(indices):
    return float(len(indices.unique()))


def revive(codebook, indices, vectors):
    counts = torch.bincount(indices.flatten(), minlength=len(codebook))
    dead = (counts == 0).nonzero()[:, 0][: len(vectors)]
    with torch.no_grad():
        codebook[dead] = vectors[: len(dead)]
    return len(dead)

# %% trap="codebook_use" name="the used ones replaced"
# Your codebook equals what you get when the codes in use are replaced. They are the good ones: replace
# those that nobody chose.
def perplexity(indices):
    counts = torch.bincount(indices.flatten())
    return torch.special.entr(counts / counts.sum()).sum().exp().item()


def revive(codebook, indices, vectors):
    counts = torch.bincount(indices.flatten(), minlength=len(codebook))
    dead = (counts > 0).nonzero()[:, 0][: len(vectors)]
    with torch.no_grad():
        codebook[dead] = vectors[: len(dead)]
    return len(dead)

# %% trap="codebook_use" name="a new codebook"
# Your codebook is as it was: a changed copy was made, and the tokenizer goes on with the old one.
# Change the parameter in place.
def perplexity(indices):
    counts = torch.bincount(indices.flatten())
    return torch.special.entr(counts / counts.sum()).sum().exp().item()


def revive(codebook, indices, vectors):
    counts = torch.bincount(indices.flatten(), minlength=len(codebook))
    dead = (counts == 0).nonzero()[:, 0][: len(vectors)]
    codebook = codebook.detach().clone()
    codebook[dead] = vectors[: len(dead)]
    return len(dead)

# %% alternative="codebook_use" name="special.entr and a mask"
def perplexity(indices):
    shares = torch.bincount(indices.reshape(-1)).double()
    shares /= shares.sum()
    return float(torch.special.entr(shares).sum().exp())


def revive(codebook, indices, vectors):
    unused = torch.ones(len(codebook), dtype=torch.bool)
    unused[indices.flatten()] = False
    numbers = torch.arange(len(codebook))[unused]
    number = min(len(numbers), len(vectors))
    codebook.data[numbers[:number]] = vectors[:number]
    return number

# %% alternative="codebook_use" name="code by code"
def perplexity(indices):
    row = indices.flatten().tolist()
    entropy = 0.0
    for code in set(row):
        share = row.count(code) / len(row)
        entropy -= share * math.log2(share)
    return 2.0 ** entropy


def revive(codebook, indices, vectors):
    used, count = set(indices.flatten().tolist()), 0
    with torch.no_grad():
        for code in range(len(codebook)):
            if code not in used and count < len(vectors):
                codebook[code].copy_(vectors[count])
                count += 1
    return count

# %% [markdown]
# From here on a tokenizer is put together of your functions. `Quantizer` holds the codebook and one $\phi$
# for each scale, writes a latent as codes and reads them back; its loss is your `codebook_loss`, averaged
# over the sums after *every* scale, so that coarse scales are good by themselves. `leftovers` collects the
# vectors that had to be said at every scale, for `revive`.

# %% tags=["setup"]
class Quantizer(nn.Module):
    """Latents (batch, dim, side, side) to codes of every scale and back, with your functions."""

    def __init__(self, codebook_size, dim, scales):
        super().__init__()
        self.scales = tuple(scales)
        self.codebook = nn.Embedding(codebook_size, dim)
        nn.init.normal_(self.codebook.weight, std=0.5)
        self.phi = nn.ModuleList([*(Phi(dim) for _ in scales[:-1]), nn.Identity()])

    def encode(self, latent):
        """Codes (batch, tokens), without a gradient."""
        with torch.no_grad():
            return residual_quantize(latent, self.codebook.weight, self.scales, self.phi)[0]

    def sums(self, indices):
        """What the codes add up to after each scale: a list of maps."""
        return partial_sums(indices, self.codebook.weight, self.scales, self.phi)

    def forward(self, latent):
        """The discrete latent, the codebook loss and the codes."""
        indices = self.encode(latent)
        sums = self.sums(indices)
        loss = sum(codebook_loss(latent, total) for total in sums) / len(sums)
        return straight_through(latent, sums[-1]), loss, indices

    @torch.no_grad()
    def leftovers(self, latent):
        """Codes of a latent, and the vectors that had to be said at every scale, (n, dim)."""
        indices = self.encode(latent)
        rests = [latent, *(latent - total for total in self.sums(indices)[:-1])]
        return indices, torch.cat([
            F.interpolate(rest, size=(s, s), mode="area").flatten(2).transpose(1, 2).flatten(0, 1)
            for rest, s in zip(rests, self.scales)])


class Tokenizer(nn.Module):
    """Encoder and decoder of the course, and your quantizer between them."""

    def __init__(self, like):
        super().__init__()
        book = like.quantizer.codebook.weight
        self.encoder, self.decoder = like.encoder, like.decoder
        self.quantizer = Quantizer(*book.shape, like.quantizer.scales)

    def encode(self, images):
        return self.encoder(images)

    def quantize(self, latent):
        return self.quantizer(latent)

    def decode(self, latent):
        return self.decoder(latent)

    @torch.no_grad()
    def leftovers(self, images):
        return self.quantizer.leftovers(self.encode(images))

# %% [markdown]
# Now the cure, measured. The stored encoder gives latents; a fresh codebook learns to say them from
# the codebook loss alone, twice: left to itself, and with your `revive` every ten steps.

# %% experiment="revive"
shipped = Tokenizer(tokens.shipped())
load_checkpoint(shipped, "08_hart_tokenizer")
shipped.eval()
size, scales = reference.size, shipped.quantizer.scales
with torch.no_grad():
    pool = image_quality.in_parts(shipped.encode, normalize(stickers(
        scale(smoke=40, cpu=500, gpu=2000), size, seed=SEED).images))


def learn_codes(reviving, steps, batch_size=16, most=256):
    """Perplexity on the batch at every step, and the codes of the last 30 batches."""
    torch.manual_seed(SEED)
    quantizer, used, values = Quantizer(most, pool.shape[1], scales), [], []
    quantizer.codebook.weight.data += 0.5  # a careless start, somewhat beside the vectors
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-2)
    for step, batch in enumerate(torch.randint(len(pool), (steps, batch_size))):
        latent = pool[batch]
        discrete, loss, indices = quantizer(latent)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(perplexity(indices))
        used.append(indices)
        if reviving and step % 10 == 9 and step < 0.75 * steps:
            indices, vectors = quantizer.leftovers(latent)
            revive(quantizer.codebook.weight, indices, vectors[torch.randperm(len(vectors))])
    with torch.no_grad():
        error = F.mse_loss(quantizer(pool[:100])[0], pool[:100]).item()
    return values, torch.bincount(torch.cat(used[-30:]).flatten(), minlength=most), error


runs = {label: learn_codes(reviving, scale(smoke=12, cpu=200, gpu=600))
        for label, reviving in (("left to itself", False), ("with revive", True))}
measured["perplexity"] = {label: run[0][-1] for label, run in runs.items()}
scale_figures.show_losses({label: run[0] for label, run in runs.items()}, ylabel="perplexity",
                          smooth=10, log=False,
                          title="Perplexity while a fresh codebook of 256 codes learns")
scale_figures.show_use({label: run[1] for label, run in runs.items()},
                       title="How often each code is chosen in the last 30 steps")
charts.Table(["codebook", "perplexity, last step", "codes of 256 never chosen in the last 30 steps",
              "share of the most chosen code", "squared error of the latent"], [
    [label, f"{run[0][-1]:.0f}", int((run[1] == 0).sum()), f"{run[1].max() / run[1].sum():.0%}",
     f"{run[2]:.4f}"] for label, run in runs.items()])

# %% [markdown]
# **What it shows.** In our run the codebook collapses when it is left to itself: one code does a third of
# the work. *Counting* the codes in use would hardly have told you, as most of the 256 are chosen now and
# then; the perplexity does. With `revive` no code is idle, and the latent comes out nearer. The gain in
# error is much smaller than that in perplexity: a code more helps only where there are vectors that no
# other says well. Reviving ends after three quarters of the steps, so that the codes can settle, and the
# perplexity falls again from there; it ends at five times the other.

# %% [markdown]
# ## 6 · What is left
#
# However good the codes, something is left: $\mathbf{r} = \mathbf{f} - \hat{\mathbf{f}}_K$. VAR throws
# it away. HART keeps it, as 8 × 8 **residual tokens**: vectors of any values, one for each place of the
# last scale. Codes and residual together are the continuous latent again, exactly:
#
# $$ \mathbf{f} = \underbrace{\hat{\mathbf{f}}_K}_{\text{discrete}} + \underbrace{\mathbf{r}}_{\text{residual}} $$
#
# Here the rule for the last scale pays. As nothing is resized or smoothed there, the residual of a
# place is *what was left at this place before the last scale, minus the code chosen there*: to make it
# in lab 09, a small network needs to look at one place, its code, and nothing else. The residual is
# also smaller than the latent. Drawing a small correction is much easier than drawing a
# whole latent; that is HART's bet.
#
# ### Exercise 6 · `hybrid_latent` · 2 points · 10 minutes · easy
#
# | | |
# |:--|:--|
# | **Deliverable** | the functions `residual_tokens(latent, discrete)` and `hybrid_latent(discrete, tokens)`, one point and one or two lines each |
# | **Shapes** | maps `(batch, dim, side, side)`, tokens `(batch, side², dim)`, row by row |
# | **Mind** | `hybrid_latent(discrete, residual_tokens(latent, discrete))` is `latent` |
# | **Read** | HART paper, section 3.1, "hybrid tokenization" |
#
# <details><summary>Hint 1: which way round is the difference?</summary>
#
# It is what must be *added* to the discrete latent to get the continuous one.
# </details>
# <details><summary>Hint 2: from a map to tokens</summary>
#
# As in exercise 4: `.flatten(2).transpose(1, 2)`.
# </details>
# <details><summary>Hint 3: and back</summary>
#
# As in exercise 3: `tokens.transpose(1, 2)`, then `.view_as(discrete)` or `.unflatten(2, ...)`. A
# `view` alone, without `transpose`, mixes places and channels.
# </details>

# %% exercise="hybrid_latent"
def residual_tokens(latent, discrete):
    """What the codes left out, as tokens: maps (batch, dim, side, side) to (batch, side², dim)."""
    ### BEGIN SOLUTION
    return (latent - discrete).flatten(2).transpose(1, 2)
    ### END SOLUTION


def hybrid_latent(discrete, tokens):
    """The latent with the residual tokens (batch, side², dim) put back: (batch, dim, side, side)."""
    ### BEGIN SOLUTION
    return discrete + tokens.transpose(1, 2).unflatten(2, discrete.shape[2:])
    ### END SOLUTION

# %% check="hybrid_latent"
with Check("hybrid_latent", read="section 6, the formula") as check:
    check.signature(residual_tokens, "latent", "discrete")
    check.signature(hybrid_latent, "discrete", "tokens")
    d = torch.full((1, 2, 2, 2), 100.0)  # two channels of 2 × 2 places
    f = d + torch.tensor([[[[1.0, 2], [3, 4]], [[10, 20], [30, 40]]]])
    rows = torch.tensor([[[1.0, 10], [2, 20], [3, 30], [4, 40]]])
    found = residual_tokens(f, d)
    check.shape(found, (1, 4, 2), "the residual tokens of maps with two channels")
    check.values(found, rows, "the residual tokens", otherwise={
        "the sign is the other way round: latent − discrete": -rows,
        "places and channels are mixed: move the channels to the end, then flatten":
            [[[1, 2], [3, 4], [10, 20], [30, 40]]],
        "the tokens come column by column; they come row by row":
            [[[1, 10], [3, 30], [2, 20], [4, 40]]],
    })
    check.values(hybrid_latent(d, rows), f, "the hybrid latent", otherwise={
        "the residual is ignored: that is the discrete latent": d,
        "the residual is subtracted; it is added": 2 * d - f,
        "places and channels are mixed: transpose before you cut into rows":
            [[[[101, 110], [102, 120]], [[103, 130], [104, 140]]]],
        "the rows come out as columns": [[[[101, 103], [102, 104]], [[110, 130], [120, 140]]]],
    })
    check.cases("08", globals())

# %% judge="hybrid_latent" points=2
parts = {"residual_tokens": 1, "hybrid_latent": 1}


def ask(rng):
    for title, batch, dim, side in (("3 × 3 places", 2, 4, 3), ("batch of one", 1, 2, 5),
                                    ("one channel", 3, 1, 4), ("one place", 2, 3, 1),
                                    ("as many channels as places", 2, 4, 2)):
        f, d = randn(rng, 2, batch, dim, side, side)
        yield Case(title, part="residual_tokens", latent=f, discrete=d)
        yield Case(title, part="hybrid_latent", discrete=d, tokens=randn(rng, batch, side**2, dim))


def drive(lab, discrete, latent=None, tokens=None):
    inputs = {"latent": latent, "discrete": discrete, "tokens": tokens}
    inputs = {name: x.requires_grad_() for name, x in inputs.items() if x is not None}
    name = "residual_tokens" if tokens is None else "hybrid_latent"
    value = getattr(lab, name)(**inputs)
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view_as(value)
    found = torch.autograd.grad((value * weights).sum(), inputs.values(), allow_unused=True)
    return {"tokens" if tokens is None else "latent": value} | {
        f"gradient to {name}": g for name, g in zip(inputs, found)}

# %% trap="hybrid_latent" name="sign"
# Your tokens have the opposite sign. The residual is what must be added to the discrete latent:
# latent − discrete.
def residual_tokens(latent, discrete):
    return (discrete - latent).flatten(2).transpose(1, 2)


def hybrid_latent(discrete, tokens):
    return discrete + tokens.transpose(1, 2).unflatten(2, discrete.shape[2:])

# %% trap="hybrid_latent" name="residual ignored"
# Your latent equals the discrete one: the residual tokens are not put back, and what only they know
# is lost.
def residual_tokens(latent, discrete):
    return (latent - discrete).flatten(2).transpose(1, 2)


def hybrid_latent(discrete, tokens):
    return discrete + 0 * tokens.transpose(1, 2).unflatten(2, discrete.shape[2:])

# %% trap="hybrid_latent" name="reshaped"
# Your values are in the wrong places: a reshape does not move the axis of channels. Transpose.
def residual_tokens(latent, discrete):
    batch, dim, side, _ = latent.shape
    return (latent - discrete).reshape(batch, side * side, dim)


def hybrid_latent(discrete, tokens):
    return discrete + tokens.reshape(discrete.shape)

# %% alternative="hybrid_latent" name="einops"
def residual_tokens(latent, discrete):
    from einops import rearrange
    return rearrange(latent - discrete, "b d h w -> b (h w) d")


def hybrid_latent(discrete, tokens):
    from einops import rearrange
    return discrete + rearrange(tokens, "b (h w) d -> b d h w", h=discrete.shape[2])

# %% alternative="hybrid_latent" name="place by place"
def residual_tokens(latent, discrete):
    gap = torch.sub(latent, discrete)
    side = gap.shape[-1]
    return torch.stack([gap[:, :, i // side, i % side] for i in range(side * side)], dim=1)


def hybrid_latent(discrete, tokens):
    return tokens.mT.reshape(discrete.shape).add(discrete)

# %% [markdown]
# How much do the codes say? The share of the latent's variance that is still unsaid after each scale,
# and where in the image it is. The weights are the stored tokenizer's, the functions yours.

# %% experiment="unsaid"
with torch.no_grad():
    latent = shipped.encode(normalize(stickers(scale(smoke=30, cpu=250, gpu=1000), size,
                                               split="triple", seed=1).images))
    sums = shipped.quantizer.sums(shipped.quantizer.encode(latent))
    centre = latent.mean(dim=(0, 2, 3), keepdim=True)
    whole = (latent - centre).square().sum()
    unsaid = [((latent - total).square().sum() / whole).item() for total in sums]
    by_scale = shipped.quantizer.encode(latent).split([s * s for s in scales], dim=1)
measured["unsaid"] = unsaid[-1]
charts.Table(["after scale", *[f"{s} × {s}" for s in scales]], [
    ["codes so far", *np.cumsum([s * s for s in scales])],
    ["variance of the latent still unsaid", *[f"{value:.1%}" for value in unsaid]],
    ["perplexity of the codes of this scale", *[f"{perplexity(part):.0f}" for part in by_scale]]],
    title=f"{len(latent)} images of held-out combinations; "
          f"{len(shipped.quantizer.codebook.weight):,} codes")

# %% experiment="residual maps"
with torch.no_grad():
    f = shipped.encode(normalize(gallery.images))
    d = shipped.quantizer.sums(shipped.quantizer.encode(f))[-1]
    kept = hybrid_latent(d, residual_tokens(f, d))
print(f"discrete + residual differs from the latent by at most {(kept - f).abs().max():.1e}")
scale_figures.show_maps(gallery.images, {
    "latent": (f - centre).norm(dim=1), "residual": residual_tokens(f, d).norm(dim=2).view(
        len(f), *f.shape[2:])}, title="The residual is small, and largest where the thing is")

# %% [markdown]
# **What it shows.** One code says seven tenths of the latent's variance. The picture at the top of the
# lab shows how: it names the ground, which fills most of an image. Then it goes slowly; only the 8 × 8
# codes, the first with one for every place, say more than half of what is left. About a tenth of the variance remains for the residual. Where the
# ground is plain, the residual is nearly nothing; it is largest at eyes, stripes and outlines. All
# scales share one list, but not its use: the first makes do with about a dozen of the codes, the last
# spreads over about seventy.

# %% [markdown]
# ## 7 · One decoder, two kinds of latents
#
# In the end there is one decoder, and it will be given discrete latents (while a generator has drawn only codes) and continuous ones (with the residual).
# The two differ: discrete latents are sums of codes, and there are only so many of those. A decoder that has never seen anything else may make less of the
# values in between than it could; section 8 measures how much. HART's answer is **alternating training**: show the decoder the continuous latent for half
# of the images, the discrete one for the other half, and ask for the image both times. (HART's code throws a coin for every *batch*; here every batch is
# divided, which does the same with less chance in it.)
#
# One step on a batch, with $s$ the share of continuous latents:
#
# 1. encode: $\mathbf{f}$; quantise: discrete latent (with its straight-through gradient) and codebook loss;
# 2. for the first $\operatorname{round}(s N)$ images of the batch the decoder gets $\mathbf{f}$, for the
#    others the discrete latent;
# 3. reconstruction loss, over the whole batch: mean absolute error + mean squared error;
# 4. step on reconstruction loss + $w \cdot$ codebook loss, where the codebook loss is that of **all**
#    images: codes have to be learned for every latent.
#
# ### Exercise 7 · `train_step` · 4 points · 25 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about ten lines |
# | **Given** | `tokenizer.encode(images)` → latent; `tokenizer.quantize(latent)` → (discrete, codebook loss, indices); `tokenizer.decode(latent)` → images; `optimizer` knows all parameters |
# | **Shapes** | `images`: `(N, 3, size, size)`; `share` between 0 and 1 |
# | **Returns** | the reconstruction loss before the step, without the codebook loss, as a Python number (half of the points; the other half is for the step) |
# | **Mind** | gradients of an earlier step may still be there; all losses are means |
# | **Read** | HART paper, section 3.1 and figure 4 |
#
# <details><summary>Hint 1: two calls of the decoder?</summary>
#
# One is enough: put the latents that it shall see together with `torch.cat`, in the order of the images.
# </details>
# <details><summary>Hint 2: where is the residual?</summary>
#
# The continuous latent is discrete + residual (section 6), so there is nothing to add: take `latent`.
# </details>
# <details><summary>Hint 3: "the encoder gets no gradient from the discrete images"</summary>
#
# Neither `latent` nor `discrete` may be detached: the straight-through estimator in `quantize` does what
# is needed.
# </details>

# %% exercise="train_step"
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    """One step of alternating training; returns the reconstruction loss before it, a float.

    images: (N, 3, size, size). The decoder sees the continuous latent of the first
    round(share * N) images, the discrete one of the others. weight: of the codebook loss.
    """
    # Step 1: latent; discrete latent and codebook loss; Step 2: what the decoder shall see
    # Step 3: mean absolute + mean squared error; Step 4: gradients and the optimiser's step
    ### BEGIN SOLUTION
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    seen = torch.cat([latent[:number], discrete[number:]])
    made = tokenizer.decode(seen)
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION

# %% check="train_step"
class OneNumber(nn.Module):
    """Latents are images times a number, 1 at first; discrete ones are too large by 1."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def encode(self, images):
        return self.gain * images

    def quantize(self, latent):
        return latent + 1, 4 * self.gain.sum(), torch.zeros(len(latent), 1, dtype=torch.int64)

    def decode(self, latent):
        return latent


with Check("train_step", read="section 7, the four parts of a step") as check:
    check.signature(train_step, "tokenizer", "optimizer", "images", "share", "weight")
    tiny = OneNumber()
    loss = train_step(tiny, torch.optim.SGD(tiny.parameters(), 0.1), torch.ones(4, 3, 2, 2))
    check.values(loss, 1.0, "the loss where two of four images are wrong by 1", otherwise={
        "the codebook loss is part of it": 3.0,
        "the decoder sees discrete latents only": 2.0, "it sees continuous latents only": 0.0,
        "the two kinds are mixed within an image; each image gets one kind": 0.75,
    })
    check.values(tiny.gain, [0.65], "the parameter after a step of SGD", otherwise={
        "the optimiser's step is missing": [1.0], "the codebook loss is missing": [0.85],
        "the codebook loss counts in full; its weight is 0.5": [0.45]})
    check.cases("08", globals())

# %% judge="train_step" points=4
parts = {"loss": 2, "step": 2}


def ask(rng):
    for title, n, share, weight, steps in (("half and half", 6, 0.5, 0.5, 2),
                                           ("share × images is 2.8", 7, 0.4, 0.8, 1),
                                           ("share × images is 1.25", 5, 0.25, 0.5, 1),
                                           ("discrete only", 3, 0.0, 0.5, 1),
                                           ("continuous only", 4, 1.0, 0.3, 1),
                                           ("share and weight not given", 8, None, None, 1)):
        for part in parts:
            yield Case(title, part=part, images=1.5 * randn(rng, n, 3, 4, 4), share=share,
                       weight=weight, steps=1 if part == "loss" else steps, wanted=part)
    yield Case("AdamW", part="step", images=randn(rng, 4, 3, 4, 4), share=0.25, weight=0.5, steps=2,
               wanted="step", adam=True)


class StandIn(nn.Module):
    """Not the lab's quantizer: one whose discrete latents and loss are known."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)
        self.levels = nn.Parameter(torch.zeros(4, 1, 1))

    def encode(self, images):
        return self.into(images)

    def quantize(self, latent):
        codes = torch.sin(3 * latent.detach()) + self.levels
        loss = (codes - latent.detach()).square().mean() + 0.2 * (latent - 1).square().mean()
        return (latent + (codes - latent).detach(), loss,
                torch.zeros(len(latent), 2, dtype=torch.int64))

    def decode(self, latent):
        return self.out(latent)


def drive(lab, images, share, weight, steps, wanted, adam=False):
    tokenizer = fill_parameters(StandIn(), seed=6)
    for p in tokenizer.parameters():
        p.grad = torch.ones_like(p)  # left over from before
    kind = torch.optim.AdamW if adam else torch.optim.SGD
    optimizer = kind(tokenizer.parameters(), lr=0.02 if adam else 0.2)
    given = {k: v for k, v in (("share", share), ("weight", weight)) if v is not None}
    found = {}
    for step in range(1, steps + 1):
        loss = lab.train_step(tokenizer, optimizer, images, **given)
        found[f"the parameters after step {step}"] = {
            name: p.detach().clone() for name, p in tokenizer.named_parameters()}
    if wanted == "step":
        return found
    return {"loss": loss, "the loss is a Python number": isinstance(loss, (int, float, np.number))}

# %% trap="train_step" name="discrete only"
# Your numbers equal those of a step whose decoder sees discrete latents only. Then it never learns what to make of
# the residual: show it the continuous latent for a share of the images.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    made = tokenizer.decode(discrete)
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="the latents mixed"
# Your numbers equal those of a step that mixes the two kinds of latents within every image. The decoder will meet
# the one or the other, not the mean of both: give each image one kind.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    made = tokenizer.decode(share * latent + (1 - share) * discrete)
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="no codebook loss"
# Your step equals one without the codebook loss: codes and phis then never learn.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="gradients add up"
# Your step equals one that does not clear the gradients: those of the steps before are added.
# Call optimizer.zero_grad() before backward.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="latents detached"
# Your step equals one that detaches what the decoder sees: the encoder then learns nothing from the
# error of the images.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]).detach())
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="rounded down"
# Your numbers equal those of a step that rounds the number of continuous images down. Take the nearest
# whole number: round(share * N).
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = int(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="rounded up"
# Your numbers equal those of a step that rounds the number of continuous images up. Take the nearest
# whole number: round(share * N).
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = math.ceil(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="discrete first"
# Your numbers equal those of a step that gives the first images the discrete latent. The continuous one
# is for the first round(share * N) images.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    seen = torch.cat([discrete[:len(images) - number], latent[len(images) - number:]])
    made = tokenizer.decode(seen)
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="the weight ignored"
# Your step equals one with the codebook loss at full weight. Multiply it by weight.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + codes).backward()
    optimizer.step()
    return loss.item()

# %% trap="train_step" name="both losses returned"
# Your loss equals one that has the codebook loss in it. Return the reconstruction loss alone.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.l1_loss(made, images) + F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return (loss + weight * codes).item()

# %% trap="train_step" name="one error only"
# Your numbers equal those of a step on the mean squared error alone. The loss is mean absolute error +
# mean squared error.
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    discrete, codes, _ = tokenizer.quantize(latent)
    number = round(share * len(images))
    made = tokenizer.decode(torch.cat([latent[:number], discrete[number:]]))
    loss = F.mse_loss(made, images)
    optimizer.zero_grad()
    (loss + weight * codes).backward()
    optimizer.step()
    return loss.item()

# %% alternative="train_step" name="two calls of the decoder"
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    optimizer.zero_grad(set_to_none=True)
    latent = tokenizer.encode(images)
    discrete, codes, indices = tokenizer.quantize(latent)
    number = int(round(share * images.shape[0]))
    parts = []
    if number:
        parts.append(tokenizer.decode(latent[:number]))
    if number < len(images):
        parts.append(tokenizer.decode(discrete[number:]))
    gap = torch.cat(parts) - images
    loss = gap.abs().mean() + gap.pow(2).mean()
    total = loss + weight * codes
    total.backward()
    optimizer.step()
    return float(loss.detach())

# %% alternative="train_step" name="chosen with where"
def train_step(tokenizer, optimizer, images, share=0.5, weight=0.5):
    latent = tokenizer.encode(images)
    quantized = tokenizer.quantize(latent)
    first = torch.arange(len(images)) < round(share * len(images))
    residual = latent - quantized[0]
    seen = quantized[0] + first.view(-1, 1, 1, 1) * residual
    seen = torch.where(first.view(-1, 1, 1, 1), latent, quantized[0])
    made = tokenizer.decode(seen)
    loss = (made - images).abs().mean() + ((made - images) ** 2).mean()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    torch.autograd.backward([loss, weight * quantized[1]])
    optimizer.step()
    return loss.item()

# %% [markdown]
# Now train one, from the start, with all that you have written: a small tokenizer of 32-pixel
# stickers, a minute or two. (Encoder and decoder, a few convolutions each, are given; both contain a
# straight linear path beside the convolutions.)

# %% experiment="train"
torch.manual_seed(SEED)
model = Tokenizer(tokens.small())
history = tokens.train(model, train_step, revive, size=32, share=0.5, seed=SEED,
                       steps=scale(smoke=3, cpu=900, gpu=4000), progress="your tokenizer")
print(f"{count_parameters(model):,} parameters")
scale_figures.show_losses({"": history.loss}, smooth=10, ylabel="reconstruction loss",
                          title="Your tokenizer learns to rebuild 32-pixel images")

# %% experiment="yours"
held = stickers(scale(smoke=40, cpu=300, gpu=1000), 32, split="triple", seed=2)


@torch.no_grad()
def rebuild(tokenizer, images):
    """Images (n, 3, h, w) in [0, 1], rebuilt from codes alone and from codes + residual."""
    def both(part):
        latent = tokenizer.encode(normalize(part))
        discrete = tokenizer.quantizer.sums(tokenizer.quantizer.encode(latent))[-1]
        hybrid = hybrid_latent(discrete, residual_tokens(latent, discrete))
        return torch.stack([tokenizer.decode(discrete), tokenizer.decode(hybrid)], dim=1)

    made = image_quality.to_unit(image_quality.in_parts(both, images))
    return made[:, 0], made[:, 1]


discrete, hybrid = rebuild(model, held.images)
scale_figures.show_rows({
    "original": held.images[:8],
    f"codes, {image_quality.psnr(discrete, held.images):.1f} dB": discrete[:8],
    f"+ residual, {image_quality.psnr(hybrid, held.images):.1f} dB": hybrid[:8]},
    title="Your tokenizer, on combinations that it never saw",
    alt=f"The originals show {', '.join(held.captions[:8])}; below, how near they come.")
with torch.no_grad():
    written = model.quantizer.encode(model.encode(normalize(held.images)))
print(f"perplexity of all codes: {perplexity(written):.0f} of {len(model.quantizer.codebook.weight)}")

# %% [markdown]
# **What it shows.** The loss falls fast in the first two hundred steps and then slowly. The codes give a
# soft image, mostly of the right thing in the right colours; the residual cleans it and gives back some
# edges. That is little training. Section 8 uses the stored tokenizer: ten times larger,
# for 48 pixels, trained for 5,000 steps, and never on the combinations that it is tested on.
#
# ## 8 · How far from the original?
#
# Three measures, each blind to something.
#
# * **PSNR** (dB): the squared error of pixels on a logarithmic scale. Half a pixel's shift costs a
#   lot, a blurred eye very little.
# * **SSIM** (at most 1): means, variances and covariances of small windows, compared.
# * **Fréchet distance**: not image against image but *set against set*. A network turns every image
#   into a vector of features; the originals are then a cloud of vectors, the rebuilt ones another. Take
#   each as a normal distribution with mean $\mathbf{m}$ and covariance $\mathbf{C}$:
#
# $$ d^2 = \lVert \mathbf{m}_1 - \mathbf{m}_2 \rVert^2 +
#    \operatorname{tr}\bigl(\mathbf{C}_1 + \mathbf{C}_2 - 2\, (\mathbf{C}_1 \mathbf{C}_2)^{1/2}\bigr) $$
#
# With the features of an Inception network trained on ImageNet this is the **FID** (and the *rFID*
# where the images are rebuilt ones). Inception knows nothing of our stickers, so the features here come
# from **our own classifier**, trained on stickers of all combinations and used in no training of a
# tokenizer. Its values have nothing to do with published FIDs. What can be compared is one row of a
# table with another.
#
# The root is that of a *matrix*, not of its entries. Nobody needs it in full: the trace of
# $(\mathbf{C}_1 \mathbf{C}_2)^{1/2}$ is the sum of the square roots of the eigenvalues of
# $\mathbf{C}_1 \mathbf{C}_2$, and these are real and not negative (up to rounding).
#
# ### Exercise 8 · `frechet_distance` · 3 points · 20 minutes · medium
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about six lines |
# | **Shapes** | `first`: `(n, dim)`, `second`: `(m, dim)`, all three at least 2; out: $d^2$ as a Python number |
# | **Mind** | the covariance divides by $n - 1$; compute in double precision; rounding can make an eigenvalue slightly negative, or complex: take the real part, at least 0 |
# | **Allowed** | `torch.cov`, all of `torch.linalg` |
# | **Read** | Heusel et al., 2017, section 3 (FID) |
#
# <details><summary>Hint 1: which axis does torch.cov want?</summary>
#
# Variables in *rows*: `x.T.cov()` is `(dim, dim)` for `x` of shape `(n, dim)`.
# </details>
# <details><summary>Hint 2: which function gives the eigenvalues?</summary>
#
# $\mathbf{C}_1 \mathbf{C}_2$ is not symmetric: `torch.linalg.eigvals`, and `.real.clamp(min=0)`.
# </details>
# <details><summary>Hint 3: "nan", or a set far from itself</summary>
#
# Either a root of a negative number (clamp first), or the root was taken of the entries of the matrix:
# the distance of a set to itself must come out as 0.
# </details>

# %% exercise="frechet_distance"
def frechet_distance(first, second):
    """The squared Fréchet distance of the normal distributions of two sets of vectors.

    first: (n, dim). second: (m, dim). Returns a Python number.
    """
    # Step 1: double precision, means and covariances; Step 2: the trace of the root; Step 3: the sum
    ### BEGIN SOLUTION
    first, second = first.double(), second.double()
    gap = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    c1, c2 = first.T.cov(), second.T.cov()  # (dim, dim)
    roots = torch.linalg.eigvals(c1 @ c2).real.clamp(min=0).sqrt()
    return (gap + c1.trace() + c2.trace() - 2 * roots.sum()).item()
    ### END SOLUTION

# %% check="frechet_distance"
with Check("frechet_distance", read="section 8, the formula") as check:
    check.signature(frechet_distance, "first", "second")
    x = torch.tensor([[1.0, 0], [-1, 0], [0, 2], [0, -2], [0, 0]])  # covariance diag(0.5, 2)
    y = torch.tensor([[5.0, 0], [-1, 0], [2, 1], [2, -1], [2, 0]])  # mean (2, 0), diag(4.5, 0.5)
    # independent numbers: the sum of (difference of the deviations)², 2 + 0.5, and of the means, 4
    check.values(frechet_distance(x, y), 4 + 2.5, "the distance of two crosses", otherwise={
        "the covariances are missing": 4.0,
        "the distance of the means is not squared": 2 + 2.5,
        "the root is missing: tr(C1 C2) instead of tr((C1 C2)^½)": 4 + 7.5 - 6.5,
        "the factor 2 of the root's trace is missing": 4 + 7.5 - 2.5,
        "the sign of the root's trace: it is subtracted": 4 + 7.5 + 5,
        "the covariances divide by n; divide by n - 1": 4 + 0.8 * 2.5,
        "the means are missing": 2.5,
    })
    check.cases("08", globals())

# %% judge="frechet_distance" points=3
def ask(rng):
    for title, n, m, dim in (("two clouds", 40, 30, 5), ("two numbers each", 12, 9, 2),
                             ("5 and 60 vectors of 9 numbers", 5, 60, 9),
                             ("large means", 50, 50, 3)):
        first = randn(rng, n, dim) @ randn(rng, dim, dim)
        second = 0.5 * randn(rng, m, dim) + (30 if title == "large means" else 0.7)
        yield Case(title, first=first, second=second)
    first = randn(rng, 60, 4)
    yield Case("two sets that are close", first=first, second=first + 0.3 * randn(rng, 60, 4))
    yield Case("a set and itself", first=first, second=first.clone())
    # eigenvalues that should be 0 are rounding errors, and their roots are far larger: here they
    # make 1e-3 of the distance in single precision, 1e-8 in double
    yield Case("6 and 9 vectors of 100 numbers, where single precision is not enough",
               first=2 * randn(rng, 6, 100), second=2 * randn(rng, 9, 100))


def drive(lab, first, second):
    distance = lab.frechet_distance(first, second)
    return {"distance": distance,
            "the distance is a Python number": isinstance(distance, (int, float, np.number))}


tolerance = dict(rtol=3e-4, atol=1e-4)  # covariances in single precision will do, the roots not

# %% trap="frechet_distance" name="no root"
# Your distance equals what you get from tr(C1 C2): the root is missing.
def frechet_distance(first, second):
    first, second = first.double(), second.double()
    gap = (first.mean(0) - second.mean(0)).square().sum()
    c1, c2 = first.T.cov(), second.T.cov()
    return (gap + c1.trace() + c2.trace() - 2 * (c1 @ c2).trace()).item()

# %% trap="frechet_distance" name="variances only"
# Your distance equals what you get from the variances alone. How features vary together counts too:
# take the eigenvalues of C1 @ C2.
def frechet_distance(first, second):
    first, second = first.double(), second.double()
    gap = (first.mean(0) - second.mean(0)).square().sum()
    v1, v2 = first.var(0), second.var(0)
    return (gap + (v1 + v2 - 2 * (v1 * v2).sqrt()).sum()).item()

# %% trap="frechet_distance" name="root of the entries"
# Your distance equals what you get when the root is taken of every entry of C1 C2. The root of a
# matrix is another thing; the trace of it is the sum of the roots of the eigenvalues.
def frechet_distance(first, second):
    first, second = first.double(), second.double()
    gap = (first.mean(0) - second.mean(0)).square().sum()
    c1, c2 = first.T.cov(), second.T.cov()
    return (gap + c1.trace() + c2.trace() - 2 * (c1 @ c2).abs().sqrt().trace()).item()

# %% trap="frechet_distance" name="divided by n"
# Your distance equals what you get when the covariances divide by n. Divide by n - 1, which is what
# torch.cov does.
def frechet_distance(first, second):
    first, second = first.double(), second.double()
    gap = (first.mean(0) - second.mean(0)).square().sum()
    c1, c2 = first.T.cov(correction=0), second.T.cov(correction=0)
    roots = torch.linalg.eigvals(c1 @ c2).real.clamp(min=0).sqrt()
    return (gap + c1.trace() + c2.trace() - 2 * roots.sum()).item()

# %% alternative="frechet_distance" name="symmetric root"
def frechet_distance(first, second):
    a, b = first.to(torch.float64), second.to(torch.float64)
    ca, cb = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(ca)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    middle = torch.linalg.eigvalsh(root @ cb @ root).clamp(min=0).sqrt().sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + ca.trace() + cb.trace() - 2 * middle)

# %% alternative="frechet_distance" name="nuclear norm, numpy"
def frechet_distance(first, second):
    a, b = first.double().numpy(), second.double().numpy()
    ca, cb = a - a.mean(axis=0), b - b.mean(axis=0)
    ca, cb = ca / math.sqrt(len(a) - 1), cb / math.sqrt(len(b) - 1)
    overlap = np.linalg.svd(ca @ cb.T, compute_uv=False).sum()
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(apart + np.square(ca).sum() + np.square(cb).sum() - 2 * overlap)

# %% [markdown]
# Now the stored tokenizer, in your code, on images of combinations that its training never showed:
# triples of place, thing and ground. What do you expect of the residual: much or little in PSNR, much or
# little in the Fréchet distance?

# %% experiment="reconstruct"
test = stickers(scale(smoke=40, cpu=1000, gpu=2000), size, split="triple", seed=3)
discrete, hybrid = rebuild(shipped, test.images)
wrong = (hybrid - discrete).abs().mean(dim=1, keepdim=True)
scale_figures.show_rows({
    "original": test.images[:8], "codes only": discrete[:8], "codes + residual": hybrid[:8],
    "difference × 4": (4 * wrong[:8]).expand(-1, 3, -1, -1)},
    title="Originals, and what their tokens say",
    alt=f"The originals show {', '.join(test.captions[:8])}. What the residual changes, {wrong.mean():.3f} "
        "a pixel on average, is bright in the last row.")

# %% experiment="measures"
judge, judge_size = tokens.shipped_judge()
features, words = image_quality.opinion(judge, test.images, judge_size)
table, rows = {}, []
for name, made in (("codes only", discrete), ("codes + residual", hybrid)):
    seen, read = image_quality.opinion(judge, made, judge_size)
    table[name] = {"psnr": image_quality.psnr(made, test.images),
                   "ssim": image_quality.ssim(made, test.images),
                   "frechet": frechet_distance(seen, features),
                   "right": image_quality.share_right(read, test.attributes)}
    rows.append([name, *(f"{table[name][key]:{form}}" for key, form in (
        ("psnr", ".2f"), ("ssim", ".4f"), ("frechet", ".2f"), ("right", ".1%")))])
measured["table"] = table
rows.append(["the originals", "", "1", "0",
             f"{image_quality.share_right(words, test.attributes):.1%}"])
charts.Table(["decoded from", "PSNR, dB", "SSIM", "Fréchet distance in the features of our own "
              "classifier", "all four words right"], rows,
             title=f"{len(test):,} images of held-out combinations")

# %% [markdown]
# The last column asks the same classifier what it sees: place, tint, thing and ground, all four.

# %% experiment="scales"
with torch.no_grad():
    def stages_of(part):
        latent = shipped.encode(normalize(part))
        sums = shipped.quantizer.sums(shipped.quantizer.encode(latent))
        return torch.stack([shipped.decode(total) for total in sums], dim=1)

    stages = image_quality.to_unit(image_quality.in_parts(stages_of, test.images[
        : scale(smoke=20, cpu=300, gpu=1000)])).transpose(0, 1)  # (scales, n, 3, height, width)
steps_up = [image_quality.psnr(made, test.images[: len(made)]) for made in stages]
scale_figures.show_scales(steps_up, scales, table["codes + residual"]["psnr"],
                          f"+ residual\n{scales[-1] ** 2} vectors",
                          title="What each scale adds to the image")

# %% [markdown]
# **What it shows.** The codes say *what* the picture is: from them alone the classifier reads nearly every word. The
# residual says what it *looks* like: the third row of images has eyes and edges that the second one lost. By how much it
# helps in decibels and in distance is part of question 1.
#
# Do not read too much into the blurred images of the coarse scales: the decoder was trained on complete
# sums only, and what it draws of partial ones may say less than they know.
#
# ### Was it the residual, or the training?
#
# Alternating training shows the decoder fewer discrete latents. Does that cost something? And would a
# decoder that was never shown a continuous latent do as well with the residual? That needs other
# tokenizers, and more than one of each. The command `labs experiment 08 hart_decoders` trained small
# ones of 32-pixel stickers, three seeds: whole tokenizers with a share of 0 and of a half, and, as HART's
# own code has it, with encoder and codes of the first *frozen* and only the decoder trained further, for a
# third as long, again with a share of 0 and of a half. The loss is the one you know plus a term for edges.

# %% experiment="decoders"
stored = json.loads(data_path("results", "08_hart_decoders.json").read_text())
paths = {"discrete": "codes", "continuous": "+ residual"}


def runs_of(net, path, key, split="held out"):
    """One value a seed."""
    return [r[key] for r in stored["records"]
            if (r["net"], r["path"], r["split"]) == (net, path, split)]


def spread_of(net, path, key, form):
    values = runs_of(net, path, key)
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


nets = list(dict.fromkeys(r["net"] for r in stored["records"]))
comparisons.bars({f"{net}: {paths[path]}": runs_of(net, path, "frechet")
                  for net in nets for path in paths}, percent=False,
                 highlight=[f"{net}: {paths['continuous']}" for net in nets if "alt" in net],
                 xlabel="Fréchet distance in the features of our own classifier; dots are seeds",
                 title="Every decoder gains from the residual, those that were shown it most")
charts.Table(["trained on", "decoded from", "PSNR, dB", "SSIM", "Fréchet distance",
              "all four words right"], [
    [net, paths[path], spread_of(net, path, "psnr", ".2f"), spread_of(net, path, "ssim", ".4f"),
     spread_of(net, path, "frechet", ".2f"), spread_of(net, path, "right", ".3f")]
    for net in nets for path in paths],
    title=f"Stored on {stored['date'][:10]}: mean ± deviation of "
          f"{len({r['seed'] for r in stored['records']})} seeds, 1,000 held-out images")

# %% [markdown]
# **What it shows.** Question 1 asks what alternating training gives and what it takes. Three things
# to mind when you compare rows.
#
# * **What differs?** Between the two frozen tokenizers the decoder alone. Between the two that were trained whole,
#   encoder and codes have learned along.
# * **What is equal?** The number of steps. In as many steps an alternating decoder sees half as many discrete
#   latents, and one network has to serve two kinds of input.
# * **The factor depends on what you compare with.** From its own codes to codes + residual the alternating
#   tokenizer improves eightfold. From the codes of the discrete tokenizer, which has learned nothing else,
#   it is six times; that is the fairer pair, and of the kind that HART's paper prints.
#
# HART draws the residual every time, so what codes alone are worth matters little to it. A decoder for
# each kind generates far worse, according to the paper (section 9).

# %% [markdown] question="q_hybrid" points=2
# ### Question 1 · 2 points
#
# Answer from the tables of sections 6 and 8, in five to eight sentences, with numbers.
#
# (a) By what factor does the residual lower the Fréchet distance of the stored 48-pixel tokenizer in your
# code, and how many dB of PSNR does it add? How many dB does it add to the tokenizer that *you* trained?
# Which scale adds most dB to the image, and which says most of the latent's variance?
#
# (b) Compare the two small tokenizers that were trained whole. What does alternating training give to the
# images from codes + residual, and what does it take from those from codes alone? Are the differences
# larger than the spread over seeds? How much of it is the decoder's doing?
#
# (c) A fellow student says: "The residual always helps, so a decoder need not be trained for it." What in
# the stored table speaks for it, and what against?
#
# ### BEGIN SOLUTION
# (a) The distance falls from 16.9 to 1.6, about ten times, and the PSNR rises by about 5½ dB, so that
# little more than a quarter of the squared error is left. For the student's own tokenizer both PSNR
# stand above its images; in the run shown it gains 2.6 dB. The 8 × 8 codes add most to the image, about
# 7 dB; the single first code says most of the variance, seven tenths of it, because it names the
# ground.
#
# (b) With the residual alternating training lowers the distance from 8.7 ± 0.4 to 5.5 ± 0.6 and adds 1.9
# dB (28.2 to 30.1); from codes alone it raises the distance from 34.9 ± 1.7 to 44.1 ± 1.7, while PSNR
# stays the same to 0.1 dB. Both differences are several times the deviation over three seeds, so they are
# not chance; the 0.1 dB is about as large as its deviation. With encoder and codes frozen, where decoders
# alone differ, the residual's images come to 5.9 against 9.0 and one decibel more, those of the codes to
# 50 against 32: both are to a large part the decoder's doing.
#
# (c) For it: the decoder that never saw a continuous latent improves as well, from 34.9 to 8.7 and by 2.3 dB, so
# "always helps" holds in this table. Against it: the decoder that was trained for it gets to 5.5, and with
# frozen encoder and codes to 5.9 against 9.0, so a good part of what the residual knows is lost on an
# unprepared decoder. And two small tokenizers of simple images do not show that it helps always.
#
# Rubric. ½ point: (a) factor and dB, and the two scales. ½ point: (b) gain and price. ½ point: (b) compared
# with the spread over seeds. ½ point: (c) one piece of evidence for and one against, from the rows "+
# residual". Numbers of the student's own run may differ in the last digit.
# ### END SOLUTION

# %% [markdown]
# ## Play: coarse to fine
#
# Go through the list from one code to all of them, then let the residual in little by little. Which scale
# decides what the thing is? Which one gives it a face? And what does half a residual look like, which
# the decoder never saw in training?

# %% widget="scales"
asked = draw_stickers(attributes_of([
    "big fox on green", "big owl on pink", "left red star on white", "big butterfly on yellow",
    "right robot on blue", "top pizza on purple", "bottom green car on gray",
    "big panda on purple"]), size, seed=9)
with torch.no_grad():
    f = shipped.encode(normalize(asked.images))
    sums = shipped.quantizer.sums(shipped.quantizer.encode(f))
    r = residual_tokens(f, sums[-1])
    levels = [*sums, *(hybrid_latent(sums[-1], part * r) for part in (0.25, 0.5, 0.75, 1.0))]
    steps = torch.stack([image_quality.to_unit(shipped.decode(level)) for level in levels])
labels = [f"{s} × {s}" for s in scales] + ["+ ¼ residual", "+ ½ residual", "+ ¾ residual",
                                          "+ residual"]
psnrs = [[image_quality.psnr(made[None], image[None]) for made, image in
          zip(level, asked.images)] for level in steps]
scale_explorer(steps, labels, asked.images, asked.captions, psnrs)

# %% [markdown]
# ## 9 · Published and measured
#
# HART's figure, 2.11 → 0.30, was measured on **MJHQ-30K**, 30,000 images that Midjourney drew, at 1024 pixels. The tokenizer
# of SDXL, which is continuous through and through, comes to 0.27 there: the residual brings a discrete tokenizer next to a
# continuous one.

# %%
def shown(key, form="{}"):
    """A measured value, or the word that it is still to be measured."""
    return form.format(measured[key]) if key in measured else "not measured yet"


def arrow(key, form):
    """The measure from codes only to codes + residual."""
    if "table" not in measured:
        return "not measured yet"
    before, after = (measured["table"][name][key] for name in ("codes only", "codes + residual"))
    return f"{before:{form}} → {after:{form}}"


long = json.loads(data_path("results", "08_hart_decoders.json").read_text())


def mean_of(net, path, key, form):
    return format(np.mean([r[key] for r in long["records"] if (r["net"], r["path"], r["split"])
                           == (net, path, "held out")]), form)


def factor():
    if "table" not in measured:
        return ""
    before, after = (measured["table"][name]["frechet"] for name in ("codes only",
                                                                     "codes + residual"))
    return f" ({before / after:.1f} times lower)"


charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["the residual brings the rebuilt images nearer to the originals",
     "rFID at 1024 px: 2.11 (VAR's discrete tokenizer) → 0.30 (HART's hybrid one), 7 times lower; "
     "HART's own codes alone: 1.09",
     f"48 px: Fréchet distance in the features of our own classifier {arrow('frechet', '.2f')}"
     f"{factor()}; PSNR {arrow('psnr', '.1f')} dB, SSIM {arrow('ssim', '.3f')}",
     "other features, images and sizes: only direction and factor can be compared; both values are "
     "of one tokenizer here, of two in the published pair"],
    ["the same, with a discrete tokenizer to compare with", "2.11 → 0.30, as above",
     f"32 px, three seeds: {mean_of('discrete only', 'discrete', 'frechet', '.1f')} → "
     f"{mean_of('alternating', 'continuous', 'frechet', '.1f')}", "as above, but two tokenizers"],
    ["at smaller sizes the residual gives less", "rFID of HART's own codes → hybrid: 1.64 → 0.67 at "
     "512 px, 1.70 → 0.78 at 256 px",
     f"own codes → hybrid, 32 px: {mean_of('alternating', 'discrete', 'frechet', '.1f')} → "
     f"{mean_of('alternating', 'continuous', 'frechet', '.1f')}",
     "one small size here, and a tokenizer of its own: nothing is shown about the dependence on size"],
    ["one decoder, trained in turns",
     "alternating training 5.30, two decoders 21.98 (FID of generated images after 24,000 steps)",
     "codes + residual, 32 px: " + ", ".join(
         f"{net} {mean_of(net, 'continuous', 'frechet', '.1f')}"
         for net in ("discrete only", "alternating")),
     "two decoders were not trained here, and nothing is generated before lab 09"],
    ["codes stay in use", "not published", f"perplexity of 256 fresh codes: " + (
        " → ".join(f"{v:.0f}" for v in measured["perplexity"].values())
        if "perplexity" in measured else "not measured yet"), "left to itself → with revive"],
    ["what codes leave unsaid", "not published", shown("unsaid", "{:.1%}") + " of the variance of "
     "the latent", ""],
], title="Published · measured here · why they differ")

# %% [markdown]
# ## Where next
#
# **What the full-size system does besides.** HART's latent at 1024 pixels is 64 × 64 vectors of 32
# numbers, written in 14 scales with a codebook of 4,096. Its tokenizer is trained on Open Images. By
# default its code freezes encoder and quantiser, so that only the decoder learns to read both kinds of
# latents. Beside the errors of pixels its loss has a network that compares features (LPIPS) and one that
# tells rebuilt images from real ones (a GAN), which is where sharp textures come from; without them, as
# here, fine texture is blurred where it cannot be predicted. VAR shares four smoothing convolutions
# among ten scales; ours has one for each.
#
# **What came of it.** **Infinity** (Han et al., 2025) keeps VAR's scales and drops the list: every
# entry of a vector is quantised to its sign, so a token of 32 entries is one of $2^{32}$ codes, and no
# codebook has to be learned, looked up or revived. **InfinityStar** (Liu et al., 2025) does the same
# for video: its scales are of space and time, a first frame and then short clips, each coarse to fine.
#
# **Where this course goes.** Lab 09 trains a transformer to write these codes from a caption, a whole
# scale at a time, and a small diffusion network to add the residual tokens. All of it stands on this
# tokenizer: a generator can never look better than what its tokens say. Lab 10 uses codes differently,
# several deep at one place, and lets a language model write them.
#
# **To try.**
#
# * `PROFILE = "gpu"` trains your tokenizer for 4,000 steps. Does the gap between codes and residual grow
#   or shrink?
# * Leave `revive` out of your training. How many codes are used, and what does it cost in dB?
# * Train with the scales `(8,)` alone: 64 codes an image in the place of 85 in four scales. What do the
#   coarse scales give?
# * Apply $\phi$ at the last scale as VAR does, and measure how large the residual becomes.
#
# ## References
#
# * H. Tang et al., *HART: Efficient Visual Generation with Hybrid Autoregressive Transformer*, ICLR
#   2025.
# * K. Tian et al., *Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale
#   Prediction*, NeurIPS 2024: VAR, its multi-scale residual quantiser, and its code.
# * A. van den Oord, O. Vinyals, K. Kavukcuoglu, *Neural Discrete Representation Learning*, NeurIPS
#   2017: VQ-VAE.
# * Y. Bengio, N. Léonard, A. Courville, *Estimating or Propagating Gradients Through Stochastic Neurons
#   for Conditional Computation*, 2013: the straight-through estimator.
# * P. Dhariwal et al., *Jukebox: A Generative Model for Music*, 2020: random restarts of codes.
# * M. Heusel et al., *GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
#   Equilibrium*, NeurIPS 2017: the Fréchet distance of features.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
# * J. Han et al., *Infinity: Scaling Bitwise AutoRegressive Modeling for High-Resolution Image
#   Synthesis*, CVPR 2025. J. Liu et al., *InfinityStar: Unified Spacetime AutoRegressive Modeling
#   for Visual Generation*, 2025.
#
# ## Glossary
#
# * **alternating training**: the decoder is shown continuous and discrete latents in turn.
# * **code, codebook**: a vector of a fixed list, and the list.
# * **continuous latent**: what the encoder gives, before anything is quantised.
# * **discrete latent**: the sum of the codes of all scales.
# * **Fréchet distance**: how far two sets of images are apart in the features of a network; less
#   is better.
# * **index**: the place of a code in the codebook.
# * **latent**: a small map of vectors that stands for an image.
# * **perplexity**: how many codes, used equally often, would be as surprising.
# * **quantisation**: replacing a vector by the nearest code.
# * **residual tokens**: what the codes leave of the latent: a continuous vector for every place.
# * **scale**: one map of codes in the stack, named by its side.
# * **straight-through estimator**: pretending in the backward pass that nothing was quantised.
# * **token**: an index, or a residual vector, at one place of one scale.
# * **tokenizer**: encoder, quantiser and decoder: from image to tokens and back.
