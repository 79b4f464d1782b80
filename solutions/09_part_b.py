# %% [markdown]
# ## 6 · The loop
#
# To write scale $k$ the network reads the caption and all scales before. Their keys and values do not change when a
# scale is added, because the mask hides it from them (section 1). So every block keeps them in a **cache**, and only the
# tokens of the *new* scale pass through the network: turned by the angles of their own places, and looking at all keys,
# those of the cache in front. A cache is no approximation; the images must be the same to rounding.
#
# A **painter** holds a trained network with its cache and your functions, and answers what the loop asks; the
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
# hidden state and the code. At the end, the decoder makes the image of $\hat f$.
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
# ### Exercise 6 · `generate` · 6 points · 35 minutes · ●●●
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about fifteen lines |
# | **Input** | `text` `(batch, words)`; `steps` of the residual diffusion, 0 for none; `guidance`; `on_scale(k, images)`, if there is one, is told after each scale what the image would be by now |
# | **Output** | the images, `(batch, 3, size, size)` |
# | **Mind** | `predict` is called once a scale and only with the inputs of the new one: its cache knows the rest |
# | **Read** | VAR paper, algorithm 2; HART paper, section 3.3 |
#
# **What to expect.** Six passes for six scales, and images that equal those of the stored generator's own loop to the
# last digits of single precision. A pass with the wrong inputs does not fail: it draws another image.
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
class ToyPainter:
    """A painter of two by two pixels, whose answers can be followed by hand."""

    scales, book = (1, 2), torch.arange(8.0).view(8, 1)

    def begin(self, text):
        self.passes, self.seen = 0, text.float().sum(dim=1)[:, None, None]

    def predict(self, new=None):
        given = self.seen if new is None else new
        if given.shape[1] != self.scales[self.passes] ** 2:
            raise ValueError(f"predict was given {given.shape[1]} tokens for the scale of side "
                             f"{self.scales[self.passes]}: only those of the next scale")
        self.passes += 1
        return given + self.seen

    def choose(self, out, k, guidance):
        return (out[..., 0] + k + guidance).round().long() % 8

    def vectors(self, codes):
        return self.book[codes]

    def residual(self, out, codes, steps, guidance):
        return (steps + guidance) / 100 + codes[..., None] / 1000

    def spread(self, k, vectors):
        return 10 * (k + 1) * self.as_map(vectors.expand(-1, 4, -1)) + torch.tensor([[0, 10], [20, 30]])

    def as_map(self, vectors):
        return vectors.mT.unflatten(2, (2, 2))

    def shrink(self, total, k):
        return F.adaptive_avg_pool2d(total, self.scales[k]).flatten(2).mT

    def decode(self, total):
        return total.expand(-1, 3, -1, -1).clone()


with Check("generate", read="section 6, the three steps and the table") as check:
    check.signature(generate, "painter", "text", "steps", "guidance", "on_scale")
    text = torch.tensor([[1, 0], [1, 1]])
    told = []
    found = generate(ToyPainter(), text, 0, 1.0, lambda k, images: told.append((k, images)))
    check.shape(found, (2, 3, 2, 2), "the images", "return painter.decode(total)")
    # by hand: the first code is 2 · (sum of the caption) + 0 + w, that of each pixel then (total
    # there + the sum) + 1 + w, both modulo 8
    check.values(found[:, 0], [[[31.0, 43.0], [55.0, 67.0]], [[56.0, 60.0], [72.0, 84.0]]], "images of two captions, codes only", otherwise={
        "the last scale goes through spread; it has no φ and full size already: as_map": [[[50.0, 110.0], [170.0, 230.0]], [[170.0, 70.0], [130.0, 190.0]]],
        "only the last scale is decoded; the scales add up": [[[1.0, 3.0], [5.0, 7.0]], [[6.0, 0.0], [2.0, 4.0]]],
        "guidance does not reach choose": [[[26.0, 30.0], [42.0, 54.0]], [[43.0, 55.0], [67.0, 71.0]]],
        "a residual is added although steps is 0": [[[31.011, 43.013], [55.015, 67.017]], [[56.016, 60.01], [72.012, 84.014]]],
    })
    check.that([k for k, _ in told] == [0, 1], "on_scale was not called once a scale, with k = 0 and 1",
               "it is called at the end of every round, the last one too")
    check.values(told[0][1][:, 0], [[[30.0, 40.0], [50.0, 60.0]], [[50.0, 60.0], [70.0, 80.0]]], "what on_scale is told after the first scale",
                 likely="the image of the sum after this scale")
    check.values(told[1][1], found, "what on_scale is told after the last scale",
                 likely="the image of the sum after this scale, residual included")
    found = generate(ToyPainter(), text, 8, 1.0)
    check.values(found[:, 0], [[[31.091, 43.093], [55.095, 67.097]], [[56.096, 60.09], [72.092, 84.094]]], "images with a residual of 8 steps", otherwise={
        "the residual is left out": [[[31.0, 43.0], [55.0, 67.0]], [[56.0, 60.0], [72.0, 84.0]]],
        "the residual takes the place of the codes; it is what they leave out": [[[30.091, 40.093], [50.095, 60.097]], [[50.096, 60.09], [70.092, 80.094]]],
        "the residual has the opposite sign": [[[30.909, 42.907], [54.905, 66.903]], [[55.904, 59.91], [71.908, 83.906]]],
        "every scale gets a residual; only the last has one": [[[33.022, 45.024], [57.026, 61.02]], [[58.047, 62.041], [74.043, 86.045]]],
        "the last scale goes through spread, codes and residual; it has no φ: as_map": [[[51.82, 111.86], [171.9, 231.94]], [[171.92, 71.8], [131.84, 191.88]]],
    })

    class ThreeScales(ToyPainter):
        """A scale more, so that there is one in the middle."""

        scales = (1, 1, 2)

        def spread(self, k, vectors):
            return super().spread(k, vectors) + 3 * k

    found = generate(ThreeScales(), text, 2, 0.0)
    check.values(found[:, 0], [[[129.026, 145.022], [169.026, 185.022]], [[90.027, 106.023], [130.027, 146.023]]],
                 "images of a painter of three scales", otherwise={
        "inputs of the next scale are the newest map alone, not what all scales add up to":
            [[[125.022, 147.024], [169.026, 183.02]], [[90.027, 104.021], [126.023, 148.025]]],
        "inputs lag behind: the sum is averaged down before the newest map is added":
            [[[130.027, 144.021], [166.023, 188.025]], [[87.024, 109.026], [123.02, 145.022]]],
    })

# %% judge="generate" points=6
def ask(rng):
    for title, scales, words, batch, steps, guidance in (
            ("codes only", (1, 2, 4), 3, 2, 0, 1.0), ("with a residual", (1, 2, 4), 3, 2, 8, 1.5),
            ("one step, no guidance", (1, 3, 5), 2, 3, 1, 0.0), ("four scales", (1, 2, 3, 6), 4, 1, 4, 2.0),
            ("one scale", (3,), 2, 2, 2, 1.0), ("one scale, codes only", (2,), 3, 1, 0, 0.5)):
        yield Case(title, text=torch.from_numpy(rng.integers(0, 9, (batch, words))), scales=scales,
                   steps=steps, guidance=guidance, book=randn(rng, 13, 3).double(), told=True)
    yield Case("nobody to be told", text=torch.from_numpy(rng.integers(0, 9, (2, 3))), scales=(1, 2, 3),
               steps=3, guidance=1.0, book=randn(rng, 9, 2).double(), told=False)


class Painter:
    def __init__(self, scales, book):
        self.scales, self.book, self.calls = tuple(scales), book, []

    def begin(self, text):
        self.text, self.memory = text.double().mean(dim=1)[:, None, None], 0
        self.passes = 0
        self.calls.append("begin")

    def predict(self, new=None):
        tokens, dim = self.scales[self.passes] ** 2, self.book.shape[1]
        if new is None:
            new = torch.ones(len(self.text), tokens, dim, dtype=torch.float64)
        if tuple(new.shape) != (len(self.text), tokens, dim):
            raise ValueError(f"predict was given inputs of the shape {tuple(new.shape)}; the next scale "
                             f"has {tokens} tokens")
        out = torch.sin(1.7 * new + 0.3 * self.text + self.memory)
        self.memory, self.passes = self.memory + out.mean(dim=(1, 2), keepdim=True), self.passes + 1
        self.calls.append(self.passes)
        return out

    def choose(self, out, k, guidance):
        return (9.7 * out.sum(dim=-1) + k + 3 * guidance).abs().long() % len(self.book)

    def vectors(self, codes):
        return self.book[codes]

    def residual(self, out, codes, steps, guidance):
        return 0.3 * torch.sin(out * steps + codes[..., None] + guidance)

    def spread(self, k, vectors):
        p, side = self.scales[k], self.scales[-1]
        grid = vectors.mT.unflatten(2, (p, p))
        return (0.8 + 0.1 * k) * F.interpolate(grid, size=(side, side)) + 0.05 * (k + 1)

    def as_map(self, vectors):
        return vectors.mT.unflatten(2, (self.scales[-1], self.scales[-1]))

    def shrink(self, total, k):
        return F.adaptive_avg_pool2d(total, self.scales[k]).flatten(2).mT

    def decode(self, total):
        return torch.sigmoid(total.mean(dim=1, keepdim=True)).expand(-1, 3, -1, -1).clone()


def drive(lab, text, scales, steps, guidance, book, told):
    painter, heard = Painter(scales, book), []
    if told:
        images = lab.generate(painter, text, steps, guidance,
                              lambda k, seen: heard.append((int(k), seen.clone())))
    else:
        images = lab.generate(painter, text, steps, guidance)
    return {"images": images, "passes": painter.calls, "told": [k for k, _ in heard],
            "shown": [seen for _, seen in heard]}

tolerance = dict(float64=1e-9)

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

# %% trap="generate" name="the sum is replaced"
# Your map is replaced by each scale in the place of growing by it: what the decoder is shown is the last scale
# alone. Add.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = 0, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            total = painter.spread(k, vectors)
            new = painter.shrink(total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            total = painter.as_map(vectors)
        if on_scale is not None:
            on_scale(k, painter.decode(total))
    return painter.decode(total)

# %% trap="generate" name="a scale late"
# Your inputs lag behind: a scale is shown the sum as it was before the scale in front of it. Add the new map first, then
# average the sum down.
def generate(painter, text, steps, guidance, on_scale=None):
    painter.begin(text)
    total, new, last = None, None, len(painter.scales) - 1
    for k in range(last + 1):
        out = painter.predict(new)
        codes = painter.choose(out, k, guidance)
        vectors = painter.vectors(codes)
        if k < last:
            part = painter.spread(k, vectors)
            new = painter.shrink(part if total is None else total, k + 1)
        else:
            if steps > 0:
                vectors = vectors + painter.residual(out, codes, steps, guidance)
            part = painter.as_map(vectors)
        total = part if total is None else total + part
        if on_scale is not None:
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
# Now the loop in the trained HART, with your mask, places, guidance and filter, and beside it the stored generator's own
# loop, once with its cache and once without. Without a cache all tokens up to the new scale pass through the network
# again, six times. There are 4 tokens of caption and 130 of the image, of which 64 belong to the last scale alone: before you
# run it, reckon how many tokens pass through in all with a cache, and how many without.

# %% experiment="loop"
from time import perf_counter

from labsupport.hart_lab import Painter

text = tokenize(test_captions)
ways = {"your loop": lambda: generate(Painter(hart, guide, keep_likely, None), text, 0, 1.0),
        "cache": lambda: hart.generate(text, residual=False),
        "no cache": lambda: hart.generate(text, residual=False, cache=False)}
images, seconds = {}, {name: [] for name in ways}
for _ in range(scale(smoke=2, cpu=8, gpu=20)):
    for name, way in ways.items():
        start = perf_counter()
        images[name] = way()
        seconds[name].append(perf_counter() - start)
best = {name: min(runs[1:]) for name, runs in seconds.items()}  # the first warms up
measured["loop error"] = (images["your loop"] - images["cache"]).abs().max().item()
measured["cache error"] = (images["cache"] - images["no cache"]).abs().max().item()
measured["cache times"] = best["no cache"] / best["cache"]
cached = TEXT_LENGTH + sum(s * s for s in scales)
again = sum(TEXT_LENGTH + sum(s * s for s in scales[:k + 1]) for k in range(len(scales)))
print(f"largest difference of a pixel: your loop to the stored one {measured['loop error']:.1e}, "
      f"cache to no cache {measured['cache error']:.1e}")
charts.Table(["", "tokens through the network", "milliseconds", "times as long as with a cache"], [
    [name, again if name == "no cache" else cached, f"{1000 * best[name]:.0f}",
     f"{best[name] / best['cache']:.2f}"] for name in ways],
    title=f"{len(text)} images, codes only; the least of {len(seconds['cache']) - 1} runs")

# %% [markdown]
# **What it shows.** The images are the same to rounding, and the cache saves time, though less than the count of tokens
# says: the decoder and the calls of small layers cost the same either way. The gain is smaller than a language model's, which
# makes a pass for every token: here there are six passes in all, and the last scale is half of the tokens. With more
# scales, and with a text of hundreds of tokens in front as HART has it, a cache saves more.
#
# The filter of section 4 is in the loop too. The most probable codes, and three images drawn by lot (temperature 1,
# top-k 200, nucleus 0.9): which words of a caption do you expect to vary?

# %% experiment="variety"
rows = [images["your loop"]]
for seed in (0, 100, 200):
    lots = Painter(hart, guide, keep_likely, None, seed=seed, temperature=1.0, top_k=200, top_p=0.9)
    rows.append(generate(lots, text, 0, 1.0))
hart_views.show_scales(rows, test_captions, ["most probable", "by lot", "by lot", "by lot"],
                       title="Your loop, codes only: held-out captions")

# %% [markdown]
# **What it shows.** Place and ground stay as the caption says; what varies are shades, edges and small parts.
# Stickers of one caption differ little in this world (a shift of a pixel, a few degrees), so there is little to vary.
# Where a code is drawn badly at an early scale, the scales behind it make the best of it: a thing that is not quite one.

# %% [markdown]
# ## 7 · What the codes leave out
#
# The codes are drawn. What is left of the latent at each of the 64 places of the last scale, the true latent minus all that
# codes say, is the **residual token**: a vector, not a number from a list. Divided by its standard deviation (HART: by
# 0.6), call it $x$. No code is there to choose, and an average of all that it may be would be a blur. So it is *drawn*, by
# **diffusion**: a small network learns to take noise away, and drawing begins with noise alone.
#
# **The network** is an MLP that works on every token by itself. It sees the noisy token, the time, and a **condition**: the
# transformer's last hidden state at that place plus the chosen code. Whatever neighbours have to tell each other,
# the transformer has told already; that is why an MLP is enough, and why its steps are cheap.
#
# **Noise.** At time $t$ of $0, \dots, 999$ a share $\bar\alpha_t$ of the variance is signal, nearly all at first and nearly
# nothing at the end:
#
# $$ x_t = \sqrt{\bar\alpha_t}\, x + \sqrt{1 - \bar\alpha_t}\, \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, 1) $$
#
# **What should it answer?** HART asks for the noise $\varepsilon$. Our network answers the **velocity**,
#
# $$ v = \sqrt{\bar\alpha_t}\, \varepsilon - \sqrt{1 - \bar\alpha_t}\, x $$
#
# which is the noise at small $t$ and $-x$ at large $t$. The reason is the first step of drawing, at $t = 999$: there $x_t$ is
# almost pure noise, naming the noise says nothing of $x$, and to get $x$ from it means to divide by almost nothing. A
# network that drops a small error there is far off, and eight steps leave no time to mend it. The loss is the mean
# squared error of the answer; a tenth of it is added to the loss of the codes. After that the stored MLP trained on for a
# while alone, with the transformer at rest.
#
# ### Exercise 7 · `noise_and_target` · 2 points · 10 minutes · ●○○
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of two or three lines |
# | **Shapes** | `x`, `noise`: `(n, dim)`; `left`: `(n,)`, the share $\bar\alpha$ of each row; out: two tensors `(n, dim)` |
# | **Mind** | $\bar\alpha$ is a share of the *variance* |
# | **Read** | HART paper, section 3.3; Salimans and Ho, 2022, section 2 and appendix D |
#
# **What to expect.** $(\sqrt{\bar\alpha}, \sqrt{1 - \bar\alpha})$ is a point on a circle. $x_t$ goes along it from $x$ to
# $\varepsilon$, and $v$ is the direction in which it goes.
#
# <details><summary>Hint 1: "sizes must match"</summary>
#
# `left` belongs to rows: `left[:, None]`.
# </details>
# <details><summary>Hint 2: two factors, four products</summary>
#
# `signal = left[:, None].sqrt()` and `rest = (1 - left[:, None]).sqrt()`.
# </details>
# <details><summary>Hint 3: how do I check the target?</summary>
#
# `signal * noisy - rest * target` must give `x` back.
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

# %% check="noise_and_target"
with Check("noise_and_target", read="section 7, the formulas of noise and velocity") as check:
    check.signature(noise_and_target, "x", "noise", "left")
    x, noise = torch.tensor([[1.0, 0.0], [2.0, -1.0]]), torch.tensor([[0.0, 1.0], [1.0, 3.0]])
    left = torch.tensor([0.36, 0.64])
    found = noise_and_target(x, noise, left)
    check.that(isinstance(found, tuple) and len(found) == 2, "noise_and_target does not return two tensors",
               "return noisy, target")
    noisy, target = found
    check.shape(noisy, (2, 2), "the noisy tokens")
    check.values(noisy, [[0.6, 0.8], [2.2, 1.0]], "the noisy tokens (0.6 and 0.8 are the roots)", otherwise={
        "the shares themselves are used; they are shares of the variance: take roots":
            [[0.36, 0.64], [1.64, 0.44]],
        "signal and noise have each other's factor": [[0.8, 0.6], [2.0, 1.8]],
        "the noise's factor is 1 − √ᾱ; its variance is 1 − ᾱ: √(1 − ᾱ)": [[0.6, 0.4], [1.8, -0.2]]})
    check.values(target, [[-0.8, 0.6], [-0.4, 3.0]], "the velocities", otherwise={
        "this is the noise, which HART asks for; here the velocity is asked for": noise,
        "this is x; the velocity is asked for": x,
        "the velocity has the opposite sign: +√ᾱ noise − √(1−ᾱ) x": [[0.8, -0.6], [0.4, -3.0]],
        "signal and noise have each other's factor in the velocity": [[-0.6, 0.8], [-1.0, 2.6]]})
    check.shape(target, (2, 2), "the velocities")
    back = left[:, None].sqrt() * noisy - (1 - left[:, None]).sqrt() * target
    check.values(back, x, "x, put together again from both answers")

# %% judge="noise_and_target" points=2
def ask(rng):
    for title, n, dim in (("five tokens", 5, 3), ("one token", 1, 4), ("one number a token", 6, 1),
                          ("as many tokens as numbers", 4, 4)):
        yield Case(title, x=randn(rng, n, dim).double(), noise=randn(rng, n, dim).double(),
                   left=torch.from_numpy(rng.uniform(0.05, 0.95, n)))
    yield Case("nothing and everything left", x=randn(rng, 2, 3), noise=randn(rng, 2, 3),
               left=torch.tensor([0.0, 1.0]))


def drive(lab, x, noise, left):
    noisy, target = lab.noise_and_target(x, noise, left)
    return {"noisy": noisy, "target": target}

tolerance = dict(float64=1e-9)

# %% trap="noise_and_target" name="noise as the target"
# Your target is the noise, as HART has it. Here the network answers the velocity.
def noise_and_target(x, noise, left):
    return left[:, None].sqrt() * x + (1 - left[:, None]).sqrt() * noise, noise

# %% trap="noise_and_target" name="shares without roots"
# Your factors are the shares themselves. They are shares of the variance: the factors are their roots.
def noise_and_target(x, noise, left):
    left = left[:, None]
    return left * x + (1 - left) * noise, left * noise - (1 - left) * x

# %% trap="noise_and_target" name="opposite velocity"
# Your velocity has the opposite sign. It is +√ᾱ · noise − √(1−ᾱ) · x.
def noise_and_target(x, noise, left):
    a, b = left[:, None].sqrt(), (1 - left[:, None]).sqrt()
    return a * x + b * noise, b * x - a * noise

# %% alternative="noise_and_target" name="an angle"
def noise_and_target(x, noise, left):
    angle = torch.acos(left.sqrt()).unsqueeze(1)
    return torch.cos(angle) * x + torch.sin(angle) * noise, torch.cos(angle) * noise - torch.sin(angle) * x

# %% alternative="noise_and_target" name="row by row"
def noise_and_target(x, noise, left):
    noisy, target = torch.empty_like(x), torch.empty_like(x)
    for i, share in enumerate(left.tolist()):
        a, b = math.sqrt(share), math.sqrt(1 - share)
        noisy[i], target[i] = a * x[i] + b * noise[i], a * noise[i] - b * x[i]
    return noisy, target

# %% [markdown]
# ### Drawing: eight steps
#
# Of the 1,000 times of training take `steps`, equally far apart, first and last included: for eight
# $t = 0, 143, 285, 428, 571, 714, 856, 999$, from the last to the first. (Choosing few times is called **respacing**.) At time
# $t$ with $a = \bar\alpha_t$, the network's velocity $v$ gives the clean token that it has in mind,
#
# $$ \hat x = \sqrt{a}\, x_t - \sqrt{1 - a}\, v \quad\text{, cut off at } \pm 4 $$
#
# (a residual is hardly ever four deviations long: what is larger is a mistake of the network). At the last step, $t = 0$,
# $\hat x$ is the result. Otherwise go to the next chosen time $s < t$ with $b = \bar\alpha_s$: the mean of what $x_s$ may be,
# given $x_t$ and $\hat x$, and fresh noise,
#
# $$ x_s = \frac{\sqrt{b}\,(1 - \tfrac{a}{b})\, \hat x + \sqrt{\tfrac{a}{b}}\,(1 - b)\, x_t}{1 - a}
#    + \sqrt{\frac{(1 - \tfrac{a}{b})(1 - b)}{1 - a}}\; \varepsilon $$
#
# This is DDPM's step with $a/b$ in the place of one time's $\alpha$, because many times are jumped at once: the noise that one
# step takes away must be that of *all* the times between. (In papers: $\beta = 1 - a/b$.)
#
# **Why should eight be enough**, where an image from pure noise takes 30 to 50? Because nearly everything has been said: codes
# know what is to be seen and where. What is left is small, and every token's residual is drawn by itself.
#
# ### Exercise 8 · `denoise` · 4 points · 20 minutes · ●●●
#
# | | |
# |:--|:--|
# | **Deliverable** | a function of about twelve lines |
# | **Input** | `network(x, time)` with `time` `(n,)`, `int64`, gives velocities `(n, dim)`; `draw()` gives standard noise `(n, dim)`; `left` `(1000,)` is $\bar\alpha$; `steps` |
# | **Output** | clean tokens `(n, dim)` |
# | **Mind** | call `draw()` for the beginning and for each step but the last, in this order. One step: $t = 999$ alone, and its $\hat x$ |
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
with Check("denoise", read="section 7, both formulas of drawing") as check:
    check.signature(denoise, "network", "draw", "left", "steps")
    left = torch.cos(torch.linspace(0.01, 1.55, 1000)).square()  # a schedule much like the true one
    asked, rows = [], torch.tensor([[0.5, -1.0], [1.5, 0.2], [-0.7, 0.9]])

    def perfect(x, time):
        """The velocity of a network that knows: x is `rows`."""
        asked.append(time)
        a = left[time][:, None]
        noise = (x - a.sqrt() * rows) / (1 - a).sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * rows

    def lot(seed=0):
        generator = torch.Generator().manual_seed(seed)
        return lambda: torch.randn(3, 2, generator=generator)

    drawn, source = [], lot()
    found = denoise(perfect, lambda: drawn.append(0) or source(), left, 8)
    check.shape(found, (3, 2), "the tokens", "return the clean tokens of the last step")
    check.that(all(t.shape == (3,) for t in asked), "network was not given one time for each row",
               "torch.full((len(x),), t)")
    times = [int(t[0]) for t in asked]
    check.that(len(times) == 8, f"the network was asked {len(times)} times for 8 steps")
    check.that(times == sorted(times, reverse=True), f"the times are {times}; they fall from 999 to 0",
               "from noise to data: the last time comes first")
    check.values(times, [999, 856, 714, 571, 428, 285, 143, 0], "the times of 8 steps", otherwise={
        "0 is left out: the times reach from 0 to 999": [999, 874, 749, 624, 499, 374, 249, 124],
        "999 is left out: the times reach from 0 to 999": [875, 750, 625, 500, 375, 250, 125, 0]},
        likely="round(i · 999 / (steps − 1))")
    check.that(len(drawn) == 8, f"draw was called {len(drawn)} times for 8 steps; it gives the beginning and the fresh "
               "noise of each step but the last", "behind the last step nothing would take the noise away")

    def answers(x, time):
        return torch.tanh(x) * (0.2 + time[:, None] / 2000)

    first, second = lot(5)(), None
    stream = lot(5)
    stream(), (second := stream())
    a, b = left[999], left[0]

    def two(hat, share=b, noise=True):
        """Two steps, if `hat(x, velocity, a)` is x̂ and `share` that of the time to go to."""
        clean = hat(first, answers(first, torch.full((3,), 999)), a).clamp(-4, 4)
        towards = share.sqrt() * (1 - a / share) / (1 - a) * clean
        stay = (a / share).sqrt() * (1 - share) / (1 - a) * first
        x = towards + stay + noise * ((1 - a / share) * (1 - share) / (1 - a)).sqrt() * second
        return hat(x, answers(x, torch.zeros(3, dtype=torch.int64)), b).clamp(-4, 4)

    def by_velocity(x, v, share):
        return share.sqrt() * x - (1 - share).sqrt() * v

    check.values(denoise(answers, lot(5), left, 2), two(by_velocity), "two steps", otherwise={
        "the answer is read as the noise; it is a velocity":
            two(lambda x, v, share: (x - (1 - share).sqrt() * v) / share.sqrt()),
        "the answer is read as x̂ itself; it is a velocity": two(lambda x, v, share: v),
        "x̂ = √a x − √(1−a) v has a minus":
            two(lambda x, v, share: share.sqrt() * x + (1 - share).sqrt() * v),
        "no fresh noise is added on the way": two(by_velocity, noise=False),
        "b is the share at t − 1; a step goes to the next chosen time": two(by_velocity, left[998]),
    })
    check.values(found, rows, "what a perfect network leads to", rtol=1e-3, atol=1e-3,
                 likely="x̂ = √a x − √(1−a) v; the last step returns x̂ and adds no noise")
    asked.clear()
    check.values(denoise(perfect, lot(), left, 1), rows, "one step of a perfect network", rtol=0.02, atol=0.02)
    check.that([int(t[0]) for t in asked] == [999], "one step must be at time 999")
    far = denoise(lambda x, time: -20 + 0 * x, lot(), left, 1)
    check.that((far.abs() <= 4).all(), f"a network that answers −20 leads to {far.max().item():.1f}",
               "cut x̂ off at ±4")

# %% judge="denoise" points=4
def ask(rng):
    for title, n, dim, steps in (("eight steps", 4, 3, 8), ("one step", 3, 2, 1), ("two steps", 2, 4, 2),
                                 ("three steps, one token", 1, 3, 3), ("thirty steps", 2, 2, 30),
                                 ("seven steps", 5, 1, 7)):
        yield Case(title, noise=randn(rng, steps + 1, n, dim).double(), steps=steps, gain=float(rng.uniform(0.3, 0.9)),
                   shift=randn(rng, n, dim).double())
    yield Case("a network that overdoes it", noise=randn(rng, 7, 3, 2).double(), steps=6, gain=9.0,
               shift=6 * randn(rng, 3, 2).double())
    yield Case("single precision", noise=randn(rng, 9, 3, 4), steps=8, gain=0.5, shift=randn(rng, 3, 4))


def drive(lab, noise, steps, gain, shift):
    places = torch.linspace(0, 1, 1000, dtype=torch.float64)
    left = torch.cos((places * 0.985 + 0.008) * math.pi / 2).square().to(noise.dtype)
    times, lots = [], iter(noise)

    def network(x, time):
        times.append([int(t) for t in time])
        return gain * torch.sin(1.3 * x + time.to(x.dtype)[:, None] / 300) + 0.2 * shift

    return {"tokens": lab.denoise(network, lambda: next(lots).clone(), left, steps), "times": times}

tolerance = dict(float64=1e-6, float32=1e-3)

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
        b = left[times[i + 1]]
        x = b.sqrt() * clean + (1 - b).sqrt() * draw()

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

# %% trap="denoise" name="noise at the last step"
# You add fresh noise at the last step too. There is no step behind it to take the noise away: x̂ is the result.
def denoise(network, draw, left, steps):
    times = [round(i * 999 / (steps - 1)) for i in range(steps)] if steps > 1 else [999]
    x = draw()
    for i in reversed(range(steps)):
        a = left[times[i]]
        velocity = network(x, torch.full((len(x),), times[i]))
        clean = (a.sqrt() * x - (1 - a).sqrt() * velocity).clamp(-4, 4)
        b = left[times[max(i - 1, 0)]]
        if i == 0:
            return clean + 0.1 * draw()
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
# Everything is there. The same captions and codes, with residual tokens of one to thirty steps, and what the residual of
# eight steps changes, five times enlarged (gray: nothing). Where do you expect changes: in the ground, in the thing, at
# edges?

# %% experiment="residual"
painter = Painter(hart, guide, keep_likely, denoise)
codes_only = generate(painter, text, 0, 1.0)
by_steps = {count: generate(painter, text, count, 1.0) for count in (1, 2, 8, 30)}
change = (0.5 + 5 * (by_steps[8] - codes_only)).clamp(0, 1)
hart_views.show_scales([codes_only, *by_steps.values(), change], test_captions,
                       ["codes only", *(f"{s} step{'s' * (s > 1)}" for s in by_steps), "5 × change by 8"],
                       title="Your residual tokens")
measured["change"] = (by_steps[8] - codes_only).abs().mean().item()
measured["residual error"] = (by_steps[8] - hart.generate(text, steps=8)).abs().max().item()
print(f"8 steps change a pixel by {255 * measured['change']:.1f} of 255 on average")
print(f"largest difference to the stored generator: {measured['residual error']:.1e}")

# %% [markdown]
# **What it shows.** @@Check against the figure: The change follows the thing; the ground hardly moves. Look at edges and small
# parts, eyes above all. One step draws what is likeliest and is the smoothest, for there is no chance in it beyond the first noise; more
# steps draw texture that an image of this caption *might* have.@@
#
# **What does it cost?** With guidance, the MLP answers twice for each of the 64 tokens, at each of eight steps: 16 passes
# of a small network beside six passes of a larger one. How much that is depends on how small "small" is.

# %% experiment="what the residual costs"
speed = json.loads(data_path("results", "09_hart_speed.json").read_text())
batches = sorted({r["batch"] for r in speed["records"]})


def speed_of(system, batch, key):
    """A stored measurement of one system."""
    return next(r[key] for r in speed["records"] if (r["system"], r["batch"]) == (system, batch))


passes = 2 * speed["settings"]["residual_steps"] * scales[-1] ** 2
macs = [speed_of(name, 1, "macs") for name in ("VAR (no residual)", "HART")]
measured["overhead"] = {batch: speed_of("HART", batch, "seconds")
                        / speed_of("VAR (no residual)", batch, "seconds") - 1 for batch in batches}
measured["overhead macs"] = macs[1] / macs[0] - 1
share = count_parameters(hart.residual) / count_parameters(hart.transformer)
print(f"{passes:,} token passes of the MLP at {(macs[1] - macs[0]) / passes / 1e6:.2f} M MACs each: "
      f"{(macs[1] - macs[0]) / 1e6:.0f} M beside {macs[0] / 1e6:.0f} M for all else "
      f"({measured['overhead macs']:+.0%})")
print("time: " + ", ".join(f"{value:+.0%} at batch {batch}"
                           for batch, value in measured["overhead"].items()))
print(f"the MLP has {share:.0%} of the transformer's parameters here; about 2% in HART-d30 "
      f"(37 million beside 2 billion)")

# %% [markdown]
# The published price is 4% more time (HART-d30 beside VAR-d30, 2.7 and 2.6 seconds for 64 images). Ours is
# many times that, because our transformer is only four times larger than its MLP. Each token passes through the transformer
# twice (with caption and without), and each of the last scale through the MLP sixteen times. In a large HART the ratio of sizes is fifty,
# and sixteen passes of the small network do not matter. The method's claim is about large transformers, and this is a thing that the small scale cannot show.

# %% [markdown]
# ## 8 · Draw, and measure
#
# Every image below is of a caption with a combination of thing, place and ground (or of thing and ground alone) that was in no
# training image. All of it runs on your functions: mask, places, guidance, filter, loop, residual. First the same caption scale by
# scale. At which scale do *you* recognise the thing?

# %% experiment="scale by scale"
hardest = stickers(6, tokenizer.size, split="pair", seed=7).captions
seen = []
with_residual = generate(painter, tokenize(hardest), 8, 1.0, lambda k, made: seen.append(made))
final_codes = generate(painter, tokenize(hardest), 0, 1.0)
hart_views.show_scales([*seen[:-1], final_codes, with_residual], hardest,
                       [*(f"{s} × {s}" for s in scales), "+ residual"],
                       title="Things on grounds on which they never were in training")

# %% experiment="gallery"
gallery = stickers(scale(smoke=6, cpu=40, gpu=80), tokenizer.size, split="triple", seed=11).captions
drawn = torch.cat([generate(Painter(hart, guide, keep_likely, denoise, seed=i), tokenize(gallery[i:i + 20]), 8, 1.0)
                   for i in range(0, len(gallery), 20)])
figures.show_images(drawn, [caption.replace(" on ", "\non ") for caption in gallery], columns=8, inches=1.7,
                    title="Drawn by your code: captions that were never seen in training")

# %% [markdown]
# ### Play: your own caption
#
# Type a caption: a place (`big`, `left`, `right`, `top`, `bottom`), perhaps a tint (`red`, `green`, `blue`), a thing, and
# `on` a ground. The seed matters because codes are drawn by lot here. Try a thing in a tint
# that it never has ("blue fire"), guidance 0 and 6, and the residual on and off.

# %% widget="caption"
def draw_one(caption, guidance, seed, residual):
    """One image a scale, (scales, 3, height, width)."""
    own = Painter(hart, guide, keep_likely, denoise, seed=seed, temperature=1.0, top_k=200, top_p=0.8)
    made = []
    generate(own, tokenize([caption]), 8 if residual else 0, guidance,
             lambda k, image: made.append(image[0]))
    return torch.stack(made)


hart_views.caption_explorer(draw_one, "big fox on purple", scales)

# %% [markdown]
# ### Does the residual help?
#
# Looking at images is not measuring. The command `labs experiment 09 hart_generation`, which trained the stored network,
# also drew hundreds of images of three kinds of captions: from training, with a held-out **triple** (place, thing and ground
# never met), and with a held-out **pair** (thing and ground never met, wherever the thing is). Each way of making the image is scored by
#
# * the **Fréchet distance** of lab 08 in the features of our own classifier, to *other* renders of the same captions: 0 would be
#   the same distribution, and real images get about 1 because there are finitely many;
# * **all four words right**, read by that classifier, judge a, and by judge b, another architecture from another seed, which did
#   not give the features.
#
# The controls decide what an improvement means. *Another image's residual* and *noise* of the right size add texture
# too: if those did as well, the residual would not know what it is about. And *true codes* and *true
# latent* of real images are what a perfect generator of codes, with and without residual, could reach. Before you run the cell: in which order do you expect the rows?

# %% experiment="measured residual"
record = json.loads(data_path("results", "09_hart_generation.json").read_text())
kinds = {"train": "captions of training", "triple": "held-out triples", "pair": "held-out pairs"}


def found(split, way, key, count=None):
    """Stored values, one a seed."""
    return [r[key] for r in record["records"] if (r["split"], r["way"]) == (split, way)
            and (count is None or r["steps"] == count)]


ways = {"real images": ("real", None), "true latent": ("true latent", None),
        "true codes": ("true codes", None), "codes only": ("codes only", None),
        "codes + residual, 8 steps": ("residual", 8),
        "codes + another image's residual": ("another image's residual", None),
        "codes + noise": ("noise", None)}
rows = []
for name, (way, count) in ways.items():
    row = [name]
    for split in kinds:
        values = found(split, way, "distance", count)
        row.append(f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""))
    held_out = [np.mean([v for s in ("triple", "pair") for v in found(s, way, key, count)])
                for key in ("all a", "all b")]
    rows.append([*row, *(f"{value:.1%}" for value in held_out)])
measured["residual"] = {split: (np.mean(found(split, "codes only", "distance")),
                                np.mean(found(split, "residual", "distance", 8))) for split in kinds}
charts.Table(["", *(f"distance, {name}" for name in kinds.values()), "all four words right, held out: judge a",
              "judge b"], rows, title=f"{record['settings']['images']} images of each kind; ± over seeds of the noise; "
             f"stored on {record['date'][:10]}")

# %% experiment="steps"
counts = sorted({r["steps"] for r in record["records"] if r["way"] == "residual"})
hart_views.show_residual(
    {kinds[split]: [(r["steps"], r["distance"]) for r in record["records"]
                    if (r["split"], r["way"]) == (split, "residual")] for split in ("triple", "train")},
    {"codes only, held-out triples": found("triple", "codes only", "distance")[0],
     "another image's residual, triples": found("triple", "another image's residual", "distance")[0],
     "codes only, training": found("train", "codes only", "distance")[0],
     "true latent, triples": found("triple", "true latent", "distance")[0]},
    ylabel="Fréchet distance", title="How many steps does the residual need?")
by_count = {count: np.mean([v for split in kinds for v in found(split, "residual", "distance", count)])
            for count in counts}
codes_alone = np.mean([v for split in kinds for v in found(split, "codes only", "distance")])
measured["steps"] = {count: (codes_alone - value) / codes_alone for count, value in by_count.items()}
print("the distance falls by, mean of the three kinds: "
      + ", ".join(f"{count} step{'s' * (count > 1)} {value:.0%}" for count, value in measured["steps"].items()))

# %% [markdown]
# **What it shows.** @@Final record needed. Claims to check: (1) the residual lowers the distance of every kind of caption, by more than the
# spread over seeds; (2) another image's residual and noise raise it above codes only: the residual
# belongs to its image; (3) the words that judges read hardly change: the codes say what, the residual what it looks like; (4) the distance to true codes is much larger than what the residual gains:
# the weak part here is the transformer's choice of codes, most of all on held-out captions; (5) one and two steps are alike (both take the network's first guess; at time 0 nothing
# is left to remove), gains grow to about 8 steps and then stay or turn.@@
#
# The judges stand in for the **CLIP score** that papers report for agreement with the caption. Lab 06's CLIP cannot read these
# captions, as the next cell shows; and words that a caption either has or has not can be checked one by one, where a
# similarity would have to be interpreted.

# %%
from labsupport.models.clip.words import INDEX

sticker_words = {word for entry in VOCABULARY for word in entry.split()}
unknown = sorted(sticker_words - set(INDEX))
print(f"{len(unknown)} of the {len(sticker_words)} words of sticker captions are not in the vocabulary of lab 06's "
      f"CLIP: {', '.join(unknown[:12])}, …")

# %% [markdown]
# ### A larger grid
#
# Section 2 drew 12 × 12 tokens. Everything takes part in it, the residual too: the MLP works on each token by itself,
# whatever their number. Here is more of it, up to four times as many tokens as in training, and then measured.

# %% experiment="larger"
from labsupport.hart_lab import larger_tokenizer

wider = {side: larger_tokenizer(tokenizer, (*scales[:-1], side)) for side in (10, 12, 16)}
columns = {f"{tokenizer.size} pixels": hart.generate(text, steps=8)}
for side, wide in wider.items():
    columns[f"{wide.size} pixels,\ninterpolated"] = hart.generate(text, steps=8, tokenizer=wide)
columns[f"{wide.size} pixels,\ncontinued"] = hart.generate(text, steps=8, tokenizer=wide, interpolate=False)
hart_views.show_scales([F.interpolate(made, size=(wide.size, wide.size), mode="nearest") for made in columns.values()],
                       test_captions, list(columns), title="Grids of 8, 10, 12 and 16, one network")

# %% experiment="larger, judged"
from labsupport.experiments.hart_generation import shipped_judge
from labsupport.models.judges import judge

asked = stickers(scale(smoke=8, cpu=60, gpu=480), tokenizer.size, split="triple", seed=31, jitter=0.5)
judges = {name: shipped_judge(name) for name in "ab"}


def share_right(made):
    """In which share of images each judge, shown them at the trained size, reads all four words."""
    small = F.interpolate(made, size=(tokenizer.size, tokenizer.size), mode="area")
    return [(judge(net, normalize(small))[1] == asked.attributes).all(dim=1).float().mean().item()
            for net in judges.values()]


rows, words = [], tokenize(asked.captions)
for side, between in ((8, True), (12, True), (12, False), (16, True), (16, False)):
    made = hart.generate(words, steps=8, tokenizer=larger_tokenizer(tokenizer, (*scales[:-1], side)) if side > 8
                         else None, interpolate=between)
    right = share_right(made)
    measured["grid", side, between] = np.mean(right)
    rows.append([f"{side} × {side}", "as trained" if side == 8 else "interpolated" if between else "continued",
                 *(f"{value:.0%}" for value in right)])
charts.Table(["grid", "places", "all four words right, judge a", "judge b"], rows,
             title=f"{len(asked)} held-out captions, larger images reduced to {tokenizer.size} pixels")

# %% [markdown]
# **What it shows.** @@Check with the final network: interpolated grids keep place, thing and ground for the most part and lose some of the words with growing
# size; continued places lose nearly all of them.@@ A part of the loss is the tokenizer's: its codes were never this close together. HART trains on at the
# larger size; that is how it gets from 256 to 512 and 1024 pixels, and interpolation makes it short.

# %% [markdown]
# ### HART beside the others
#
# The claims of HART's paper are comparisons: against **diffusion** over the whole latent it is several times faster at
# the same quality; against **VAR** (the same without residual tokens) it is better for a little more time; against **MAR**,
# which draws *all* tokens by diffusion, it is faster and needs fewer steps. To compare methods and not budgets,
# `labs experiment 09 hart_systems` trained all of them in the same time, ten minutes of one thread each, over the same tokenizer, with blocks of the
# same width and number, the same captions and optimizer. Guidance, and for diffusion the number of steps, were chosen on
# *training* captions; the distance is of held-out ones. **Raster order** is a language model's way: one token after the other, with a cache.
#
# Time and MACs come from `labs experiment 09 hart_speed`, one thread. What do you expect: which is the fastest for one image, and
# which for many at once?

# %% experiment="systems"
others = json.loads(data_path("results", "09_hart_systems.json").read_text())
systems = list(dict.fromkeys(r["system"] for r in others["records"]))
trained = {s["system"]: s for s in others["systems"]}
best_steps = next(r["steps"] for r in others["records"] if r["system"] == "diffusion")
timed = {"HART": "HART", "VAR": "VAR (no residual)", "raster order": "raster order",
         "diffusion": f"diffusion, {best_steps} steps", "MAR-like": "MAR-like"}


def of_system(name, key):
    """Stored values of held-out captions, one a seed."""
    return [r[key] for r in others["records"] if r["system"] == name]


def both(name, key):
    """Mean and, over several seeds, deviation."""
    values = of_system(name, key)
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


for name in systems:
    own = timed[name]
    measured[name] = {"distance": np.mean(of_system(name, "distance")),
                      "latency": speed_of(own, batches[0], "seconds"),
                      "throughput": speed_of(own, batches[-1], "images a second"),
                      "macs": speed_of(own, batches[0], "macs")}
measured["best steps"] = best_steps
charts.Table(["system", "parameters", "training steps", "guidance", "Fréchet distance", "all four words, judge a",
              "judge b", "one image, ms", f"images a second, batch {batches[-1]}", "million MACs"], [
    [f"diffusion, {best_steps} steps" if name == "diffusion" else name,
     f"{trained.get(name, trained['HART'])['parameters']:,}", f"{trained.get(name, trained['HART'])['steps']:,}",
     f"{of_system(name, 'guidance')[0]:g}", both(name, "distance"),
     *(f"{np.mean(of_system(name, key)):.1%}" for key in ("all a", "all b")),
     f"{1000 * measured[name]['latency']:.0f}", f"{measured[name]['throughput']:.1f}",
     f"{measured[name]['macs'] / 1e6:,.0f}"] for name in systems],
    title=f"{others['settings']['images']:,} held-out captions; the same training time for each; stored on "
          f"{others['date'][:10]}")

# %% experiment="systems, drawn"
comparisons.race([(f"diffusion, {best_steps} steps" if name == "diffusion" else name, 1000 * measured[name]["latency"],
                   -measured[name]["distance"]) for name in systems], "HART",
                 title="Quality against time, one image", xlabel="milliseconds, one thread",
                 ylabel="minus Fréchet distance (up is better)")
charts.Table(["diffusion's steps", "Fréchet distance, 200 captions of training", "one image, ms", "times as long as HART"], [
    [r["steps"], f"{r['distance']:.1f}", f"{1000 * one:.0f}", f"{one / measured['HART']['latency']:.1f}"]
    for r in others["tried"] if r["system"] == "diffusion" and "steps" in r
    for one in [speed_of(f"diffusion, {r['steps']} steps", batches[0], "seconds")]],
    title=f"How its {best_steps} steps were chosen")

# %% [markdown]
# **What it shows.** @@Final records needed: order of distances; whether HART beats diffusion at its own best number of steps in quality and in time;
# what the residual gives at ten minutes of training (HART against VAR); whether raster order, with codes of its own, is faster in a batch (in the speed record it is: few MACs, and a
# batch hides its many passes) and slower for a single image; MAR-like slowest.@@
#
# Mind what was equal here: the *training time*, the tokenizer, the size of the blocks. With ten minutes none of these
# networks is done, and a method that learns fast has an advantage that it might lose with more. Raster order has codes of its own (one
# scale of 64, found by k-means), because those of the tokenizer are made for scales.

# %% [markdown] question="q_claims" points=2
# ### Question 2 · 2 points
#
# Answer from the tables of sections 7 and 8, in six to nine sentences, with numbers.
#
# (a) HART's paper says that the residual costs 4% more time. What do you measure, in time and in MACs, and from which counts of
# passes and widths does the difference come? What would you change in *our* system to bring it down, and what would it cost?
#
# (b) A fellow student sees that the residual lowers the Fréchet distance and says: "Of course, any texture would." Which rows of the
# table answer that, and what do they say? Do the judges' readings move with it?
#
# (c) Name one claim of the paper about HART's speed that your tables support, with its ratio, and one that they cannot test. Why can they not?
#
# ### BEGIN SOLUTION
# (a) Per token the MLP runs 16 times (8 steps, twice for guidance), 1,024 token passes for an image; in the stored measurement that makes 880 instead of 524 million
# MACs, 68% more, and 38% more time for one image, 55% more at batch 32. The MLP is as wide as the transformer (128) with three
# blocks against six, and has a sizeable share of its parameters; in HART-d30 it is about 2%, so the same 16 passes weigh little. To bring it down: fewer steps
# (four cost half; the table of steps says what is lost), no guidance for the residual (half of the passes, to be measured), a narrower MLP, or a larger transformer, which
# lowers only the share.
#
# (b) The rows with another image's residual and with noise of the same size add texture as well, and their distance is *higher* than that
# of codes only, whereas the image's own residual lowers it; so what helps is that the residual fits its image. @@Put in numbers
# of the final record: held-out triples, codes only → own / another's / noise.@@ The judges' share of captions fully right
# changes little in either direction: what the image shows is decided by the codes.
#
# (c) For instance: @@ratio of latency, throughput and MACs against diffusion at its own best number of steps, from the final record@@. The
# paper's 512- and 1024-pixel ratios, and the price against VAR, cannot be tested: our image has 64 tokens in the last scale in the place of
# 4,096, the transformer is thousands of times smaller, and on one thread of a processor the start of small layers
# counts, where the paper measures a GPU. Quality at scale cannot be tested either: ten minutes of training, 48 pixels, and a feature network of our own.
#
# Rubric. ½ point: (a) both overheads with numbers and the count 2 × 8 × 64. ½ point: (a) cause (size of the MLP relative to the transformer) and a measure with
# its price. ½ point: (b) both controls named and read rightly, judges mentioned. ½ point: (c) one supported claim with a ratio from the table, one that is not testable with a
# reason. Times of the student's own machine may differ.
# ### END SOLUTION

# %% [markdown]
# ## 9 · Published and measured

# %%
def times_of(key, name, base="HART"):
    """How many times more of `key` the system `name` has than HART."""
    if name not in measured:
        return "not measured yet"
    return f"{measured[name][key] / measured[base][key]:.1f}"


def faster(name):
    """HART's throughput in units of that of `name`."""
    return f"{measured['HART']['throughput'] / measured[name]['throughput']:.1f}" if name in measured else "?"


def distances(*names):
    return " · ".join(f"{name} {measured[name]['distance']:.1f}" for name in names) if "HART" in measured \
        else "not measured yet"


def fell(split):
    if "residual" not in measured:
        return "not measured yet"
    before, after = measured["residual"][split]
    return f"{before:.1f} → {after:.1f} ({after / before - 1:+.0%})"


def overhead():
    if "overhead" not in measured:
        return "not measured yet"
    return ", ".join(f"{v:+.0%} time at batch {b}" for b, v in measured["overhead"].items()) \
        + f"; {measured['overhead macs']:+.0%} MACs"


charts.Table(["claim", "published", "measured here", "why they differ"], [
    ["much cheaper than diffusion at comparable quality",
     "1024 px: 4.5–7.7 × throughput, 3.1–5.9 × lower latency, 6.9–13.4 × fewer MACs",
     f"against {measured.get('best steps', '?')} steps: {faster('diffusion')} × throughput, "
     f"{times_of('latency', 'diffusion')} × lower latency, {times_of('macs', 'diffusion')} × fewer MACs; distance "
     + distances("HART", "diffusion"),
     "64 tokens, not 4,096; one thread; equal training time here, published models of other sizes and data there"],
    ["the residual makes VAR's images better", "FID 1.92 (VAR-d30) → 1.77 (HART-d30), 7.8% lower; 1024 px: 7.85 → 5.38",
     f"the stored network: held-out triples {fell('triple')}, pairs {fell('pair')}, captions of training {fell('train')}; "
     f"ten minutes of training: " + distances("VAR", "HART"),
     "other features and images; the same codes with and without residual here, two networks in the published pair"],
    ["it costs little", "4% more time (2.6 → 2.7 s for 64 images)", overhead(),
     "our transformer is not much larger than the MLP: sixteen passes of it weigh a lot"],
    ["eight steps are enough", "8 (HART) where MAR takes 30–50 according to HART; MAR's own default is 100",
     ", ".join(f"{n}: {v:+.0%}" for n, v in ((n, -v) for n, v in measured["steps"].items())) if "steps" in measured
     else "not measured yet", "change of the distance by steps, mean of three kinds of captions"],
    ["cheaper than MAR", "against MAR-L: 10.7 × fewer MACs, 12.9 × faster",
     f"{times_of('macs', 'MAR-like')} × fewer MACs, {times_of('latency', 'MAR-like')} × lower latency, {faster('MAR-like')} × "
     f"throughput; distance " + distances("HART", "MAR-like"),
     "16 passes of 30 steps here, 64 of 100 there: the ratio grows with the steps one allows MAR"],
    ["faster than one token after another", "LlamaGen at 512 px: 37.7 s, HART 0.3 s",
     f"{times_of('latency', 'raster order')} × lower latency, but {faster('raster order')} × the throughput",
     "64 passes, not 1,024; in a batch its passes are cheap, and it has one scale only"],
    ["a cache changes nothing and saves time", "not published",
     f"largest difference {measured.get('cache error', float('nan')):.0e}, {measured.get('cache times', float('nan')):.2f} × faster", ""],
    ["larger images than in training", "positions that interpolate make training at 512 and 1024 px short",
     "all four words: " + ", ".join(f"{side} × {side} {'interpolated' if between else 'continued'} {measured['grid', side, between]:.0%}"
                                    for side, between in ((12, True), (12, False)) if ("grid", side, between) in measured),
     "no training at the larger size here"],
], title="Published · measured here · why they differ")

# %% [markdown]
# ## Where next
#
# **What the full-size system does besides.** HART reads captions with a language model of 1.5 billion parameters, 300 tokens of
# hidden states in front of the image in the place of our four words. Its transformer, 732 million parameters, has the blocks of Llama: RMSNorm and
# SwiGLU. It draws 1024 pixels in 14 scales, up to 64 × 64 tokens, and trains at 256, 512 and 1024 pixels in turn. In training it drops most tokens of the last
# scale, which saves up to half of the time. The MLP of its residual diffusion is 1,024 wide and six blocks deep.
#
# **Where this course goes.** Lab 10 lets *one* language model read and draw: VILA-U puts the codes of images into the vocabulary of words, several
# codes deep at one place in the place of scales, and writes them in raster order. Its table of comparison has a row for HART.
#
# **To try.**
#
# * Give the residual another guidance than the codes (`residual_guidance` of `hart.generate`). Does half of the MLP's cost have to be?
# * Draw by lot with temperature 1.5 and no filter, then with each of section 4's. Which keeps the words right, in the judges' eyes?
# * `labs experiment 09 hart_systems` with other times of training: do the ranks stay?
# * Add new noise at no step (`fresh=False` in `labsupport/models/hart/diffusion.py`). How many steps does it then take?
#
# ## References
#
# * H. Tang et al., *HART: Efficient Visual Generation with Hybrid Autoregressive Transformer*, ICLR 2025.
# * K. Tian et al., *Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction*, NeurIPS 2024: VAR.
# * T. Li et al., *Autoregressive Image Generation without Vector Quantization*, NeurIPS 2024: MAR, and the MLP that denoises a token.
# * J. Ho, A. Jain, P. Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
# * A. Nichol, P. Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, ICML 2021: the cosine schedule, and respacing.
# * T. Salimans, J. Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*, ICLR 2022: the velocity.
# * J. Ho, T. Salimans, *Classifier-Free Diffusion Guidance*, 2022.
# * A. Holtzman et al., *The Curious Case of Neural Text Degeneration*, ICLR 2020: the nucleus.
# * W. Peebles, S. Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023: DiT, the diffusion that HART is compared with.
# * P. Sun et al., *Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation*, 2024: LlamaGen, raster order.
# * S. Han, *EfficientML.ai* (MIT 6.5940, Fall 2024), lecture on vision transformers.
