
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
# `side` 8 puts its tokens *between* the places that the network has met: no angle is new. That is
# **interpolation**.
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
hart_views.show_scales(
    [F.interpolate(after, size=(wide.size, wide.size)), hart.generate(words, tokenizer=wide),
     hart.generate(words, tokenizer=wide, interpolate=False)], test_captions,
    [f"{tokenizer.size} pixels,\nas trained", f"{wide.size} pixels,\ninterpolated",
     f"{wide.size} pixels,\ncontinued"], title="A larger grid than in training")

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
