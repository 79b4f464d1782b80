"""Lab 07, judged as its text says: right answers in other styles keep all points and are green;
mistakes lose the points of their part, are red, and are called by no other mistake's name."""

import pytest
import torch

from tests.labs.marker import Marker, ids

CAT = "x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)"
DECODE = "x = torch.cat([x[:, :1], patches], dim=1) + self.positions"
VISIBLE = "visible = tokens.gather(1, index)"
MASK = "mask = (restore >= kept).to(tokens.dtype)"
GATHER = "return shuffled.gather(1, restore[:, :, None].expand(-1, -1, dim))"
MASKED = "return (error * mask).sum() / mask.sum()"
VARIANCE = "target.var(dim=-1, keepdim=True)"
NORMALISED = "target = (target - mean) / (variance + 1e-6).sqrt()"
MIXED = "mixed = torch.where(mask[..., None] == 1, predicted, patches)"
NOISE = "noise = torch.rand(x.shape[:2], device=x.device)"
ENCODE = "latents, _, _ = self.encoder(images, 0.0)"
LOGITS = "return self.head(self.norm(latents[:, 1:].mean(dim=1)))"
LAST = "return self.norm(x), mask, restore"
PREDICT = "return self.pred(self.norm(x))[:, 1:]"

# exercise, in which style, and how it is made from the solution: old text, new text
RIGHT = [
    (
        "random_masking",
        "written into zeros",
        VISIBLE,
        "visible = torch.zeros(batch, kept, dim)\n"
        "    for b in range(batch):\n        visible[b] = tokens[b, order[b, :kept]]",
    ),
    (
        "random_masking",
        "a mask of zeros, and ones written into it",
        MASK,
        "mask = torch.zeros(batch, count)\n    mask[restore >= kept] = 1",
    ),
    ("random_masking", "a mask in double precision", MASK, "mask = (restore >= kept).double()"),
    ("random_masking", "short integers", "mask, restore\n", "mask, restore.int()\n"),
    (
        "random_masking",
        "a list",
        "return visible, mask, restore",
        "return [visible, mask, restore]",
    ),
    (
        "put_back",
        "written into zeros",
        GATHER,
        "out = torch.zeros(batch, restore.shape[1], dim)\n    for b in range(batch):\n"
        "        out[b] = shuffled[b, restore[b]]\n    return out",
    ),
    ("put_back", "in double precision", GATHER, GATHER + ".double()"),
    (
        "put_back",
        "no copies where nothing is missing",
        "shuffled = torch.cat",
        "if restore.shape[1] == kept:\n"
        "        return visible.gather(1, restore[:, :, None].expand(-1, -1, dim))\n"
        "    shuffled = torch.cat",
    ),
    (
        "mae_encoder",
        "written into zeros",
        CAT,
        "full = torch.zeros(x.shape[0], x.shape[1] + 1, x.shape[2])\n"
        "        full[:, :1], full[:, 1:] = self.cls_token, x\n        x = full",
    ),
    (
        "mae_encoder",
        "masks on its own",
        "x, mask, restore = random_masking(x, mask_ratio, noise)",
        "kept = int(x.shape[1] * (1 - mask_ratio))\n"
        "        order = noise.argsort(1)\n        restore = order.argsort(1)\n"
        "        mask = (restore >= kept).float()\n"
        "        x = x[torch.arange(len(x))[:, None], order[:, :kept]]",
    ),
    ("mae_encoder", "a list", LAST, "return [self.norm(x), mask, restore]"),
    ("mae_encoder", "a spare buffer", CAT, "self.seen = mask.detach()\n        " + CAT),
    (
        "mae_decoder",
        "written into zeros",
        DECODE,
        "full = torch.zeros(x.shape[0], patches.shape[1] + 1, x.shape[2])\n"
        "        full[:, 0], full[:, 1:] = x[:, 0], patches\n        x = full + self.positions",
    ),
    (
        "mae_decoder",
        "puts back on its own",
        "patches = put_back(x[:, 1:], self.mask_token, restore)",
        "missing = self.mask_token.expand(len(x), restore.shape[1] + 1 - x.shape[1], -1)\n"
        "        patches = torch.cat([x[:, 1:], missing], 1)\n"
        "        patches = torch.stack([p[r] for p, r in zip(patches, restore)])",
    ),
    (
        "mae_loss",
        "added up in zeros",
        MASKED,
        "total = torch.zeros(())\n    for b, i in mask.nonzero().tolist():\n"
        "        total += error[b, i]\n    return total / mask.sum()",
    ),
    (
        "mae_loss",
        "errors written into zeros",
        "error = ((predicted - target) ** 2).mean(dim=-1)",
        "error = torch.zeros(mask.shape)\n    for i in range(mask.shape[1]):\n"
        "        error[:, i] = ((predicted[:, i] - target[:, i]) ** 2).mean(-1)",
    ),
    ("mae_loss", "in double precision", "patchify(images,", "patchify(images.double(),"),
    (
        "mae_loss",
        "variance as a mean of squares",
        "variance = " + VARIANCE,
        "n = target.shape[-1]\n"
        "        variance = ((target**2).mean(-1, keepdim=True) - mean**2) * n / (n - 1)",
    ),
    ("mae_loss", "std instead of the root", "(variance + 1e-6).sqrt()", "(variance + 1e-6) ** 0.5"),
    (
        "reconstruct",
        "written into zeros",
        MIXED,
        "mixed = torch.zeros(patches.shape)\n    mixed[mask == 0] = patches[mask == 0]\n"
        "    mixed[mask == 1] = predicted[mask == 1]",
    ),
    ("reconstruct", "in double precision", "patchify(images,", "patchify(images.double(),"),
    ("classifier", "default ratio", ENCODE, "latents, _, _ = self.encoder(images)"),
    ("classifier", "ratio by name", ENCODE, "latents = self.encoder(images, mask_ratio=0.0)[0]"),
    (
        "classifier",
        "noise that hides nothing",
        ENCODE,
        "noise = torch.zeros(len(images), 16)\n"
        "        latents, _, _ = self.encoder(images, 0.0, noise=noise)",
    ),
    (
        "classifier",
        "written into zeros",
        LOGITS,
        "mean = torch.zeros(len(images), latents.shape[2])\n"
        "        for i in range(1, latents.shape[1]):\n"
        "            mean += latents[:, i] / (latents.shape[1] - 1)\n"
        "        return self.head(self.norm(mean))",
    ),
]

# exercise, what is wrong, old text, new text, points kept, what the message says (of a known
# mistake), or None where it names none
WRONG = [
    (
        "random_masking",
        "kept in the order of the image",
        "index = order[:, :kept, None]",
        "index = order[:, :kept].sort(1).values[:, :, None]",
        2,
        "in the order of the image",
    ),
    ("random_masking", "rounded", "= int(count", "= round(count", 0, "rounded to the nearest"),
    (
        "random_masking",
        "what is hidden is cut off, not what is kept",
        "int(count * (1 - mask_ratio))",
        "count - int(count * mask_ratio)",
        0,
        None,
    ),
    (
        "random_masking",
        "one argsort",
        "restore = order.argsort(dim=1)",
        "restore = order",
        2,
        "the mask is made with it",
    ),
    ("random_masking", "restore alone", "mask, restore\n", "mask, order\n", 2, "mask is right"),
    ("random_masking", "1 for visible", ">= kept", "< kept", 2, "1 for visible tokens"),
    ("random_masking", "a mask of bools", ".to(tokens.dtype)", "", 2, None),
    ("random_masking", "a mask of integers", ".to(tokens.dtype)", ".long()", 2, None),
    (
        "random_masking",
        "most noise",
        "noise.argsort(dim=1)",
        "(-noise).argsort(1)",
        0,
        "most noise",
    ),
    (
        "random_masking",
        "noise of the first image",
        "order = noise.argsort(dim=1)",
        "order = noise[:1].expand(batch, -1).argsort(dim=1)",
        0,
        "the first image decides",
    ),
    (
        "random_masking",
        "noise sorted in place",
        "return visible",
        "noise.copy_(noise.sort(1).values)\n    return visible",
        0,
        None,
    ),
    ("random_masking", "no gradient", "tokens.gather", "tokens.detach().gather", 2, None),
    (
        "put_back",
        "the mask token wherever a value is 0",
        GATHER,
        "out = torch.cat([visible, missing * 0], dim=1)\n"
        "    out = out.gather(1, restore[:, :, None].expand(-1, -1, dim))\n"
        "    return torch.where(out == 0, mask_token, out)",
        0,
        "wherever a value is 0",
    ),
    (
        "put_back",
        "a token that does not learn",
        "mask_token.exp",
        "mask_token.detach().exp",
        0,
        None,
    ),
    ("put_back", "in order of noise", GATHER, "return shuffled", 0, "in order of noise"),
    ("put_back", "the inverse", "(1, restore[", "(1, restore.argsort(1)[", 0, "inverse of restore"),
    (
        "put_back",
        "one order for all",
        GATHER,
        "return shuffled[:, restore[0]]",
        0,
        "first image's restore",
    ),
    ("mae_encoder", "another epsilon", ", eps=1e-6", "", 2, None),
    ("mae_encoder", "mlp_ratio not handed on", "(dim, heads, mlp_ratio)", "(dim, heads)", 2, None),
    ("mae_encoder", "heads not handed on", "(dim, heads, mlp", "(dim, 1, mlp", 2, None),
    ("mae_encoder", "class token last", ", -1, -1), x]", ", -1, -1)][:0] + [x]", 2, None),
    (
        "mae_encoder",
        "class token behind the patches",
        CAT,
        "x = torch.cat([x, self.cls_token.expand(len(x), -1, -1)], dim=1)",
        2,
        None,
    ),
    ("mae_encoder", "no positions", " + self.positions[:, 1:]", "", 2, "no positions"),
    ("mae_encoder", "positions of others", "positions[:, 1:]", "positions[:, :-1]", 2, None),
    ("mae_encoder", "no last norm", "return self.norm(x)", "return x", 2, None),
    (
        "mae_encoder",
        "one mask for all",
        NOISE,
        "noise = torch.rand(1, x.shape[1]).expand(len(x), -1)",
        4,
        None,
    ),
    (
        "mae_encoder",
        "always the same masks",
        NOISE,
        "torch.manual_seed(0)\n            " + NOISE,
        4,
        None,
    ),
    ("mae_encoder", "hides by default", "mask_ratio=0.0", "mask_ratio=0.75", 1, None),
    ("mae_encoder", "starts otherwise", "        initialise(self)", "        pass", 4, None),
    ("mae_encoder", "positions are saved", ", persistent=False", "", 2, None),
    ("mae_decoder", "another epsilon", ", eps=1e-6", "", 1, None),
    ("mae_decoder", "mlp_ratio not handed on", "(dim, heads, mlp_ratio)", "(dim, heads)", 1, None),
    ("mae_decoder", "no positions", DECODE, DECODE.split(" + ")[0], 1, "no positions"),
    (
        "mae_decoder",
        "the last token dropped",
        "[:, 1:]\n",
        "[:, :-1]\n",
        1,
        "last token is dropped",
    ),
    ("mae_decoder", "columns before rows", "*grid", "*grid[::-1]", 1, None),
    ("mae_decoder", "no norm", "self.norm(x)", "x", 1, None),
    ("mae_decoder", "starts otherwise", "        initialise(self)", "        pass", 3, None),
    (
        "mae_loss",
        "variance over n",
        VARIANCE,
        VARIANCE[:-1] + ", unbiased=False)",
        2,
        "divided by n",
    ),
    (
        "mae_loss",
        "deviation plus epsilon",
        "(variance + 1e-6).sqrt()",
        "(variance.sqrt() + 1e-6)",
        2,
        None,
    ),
    (
        "mae_loss",
        "variance, not its root",
        "(variance + 1e-6).sqrt()",
        "(variance + 1e-6)",
        2,
        None,
    ),
    ("mae_loss", "never normalised", "if normalise:", "if False:", 2, "pixels as they are"),
    ("mae_loss", "always normalised", "if normalise:", "if True:", 2, None),
    ("mae_loss", "all patches", MASKED, "return error.mean()", 2, "all patches"),
    ("mae_loss", "divided by all", MASKED, "return (error * mask).mean()", 2, "number of all"),
    (
        "mae_loss",
        "image by image",
        MASKED,
        "return ((error * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()",
        2,
        None,
    ),
    ("mae_loss", "no mean over a patch", "** 2).mean(dim=-1)", "** 2).sum(dim=-1)", 0, None),
    ("mae_loss", "a number", MASKED, "return ((error * mask).sum() / mask.sum()).item()", 0, None),
    ("mae_loss", "absolute error", " ** 2).mean", ".abs()).mean", 0, None),
    ("reconstruct", "not undone", "if normalised:", "if False:", 1, "as it is"),
    ("reconstruct", "always undone", "if normalised:", "if True:", 2, None),
    ("reconstruct", "everything painted", MIXED, "mixed = predicted", 0, "everywhere"),
    ("reconstruct", "the wrong way round", "== 1", "== 0", 0, "paints the visible"),
    ("reconstruct", "rows of the width", "images.shape[2] //", "images.shape[3] //", 0, None),
    (
        "reconstruct",
        "painted where it is not 0",
        MIXED,
        "painted = predicted * mask[..., None]\n"
        "    mixed = torch.where(painted == 0, patches, painted)",
        2,
        None,
    ),
    (
        "reconstruct",
        "variance over n",
        "dim=-1, keepdim=True) + 1e-6",
        "dim=-1, keepdim=True, unbiased=False) + 1e-6",
        1,
        None,
    ),
    ("reconstruct", "painted into the image", MIXED, MIXED + "\n    images.zero_()", 0, None),
    ("classifier", "not a copy", "copy.deepcopy(encoder)", "encoder", 1.5, "share their layers"),
    (
        "classifier",
        "a copy that is shallow",
        "copy.deepcopy",
        "copy.copy",
        1.5,
        "share their layers",
    ),
    ("classifier", "class token in the mean", "latents[:, 1:]", "latents", 1.5, "in the mean"),
    (
        "classifier",
        "class token read",
        "latents[:, 1:].mean(dim=1)",
        "latents[:, 0]",
        1.5,
        "read from",
    ),
    ("classifier", "still hiding", "images, 0.0", "images, 0.75", 1.5, "hides three quarters"),
    ("classifier", "another epsilon", ", eps=1e-6", "", 1.5, None),
    (
        "classifier",
        "the encoder's norm kept",
        "self.encoder.norm = nn.Identity()",
        "pass",
        1.5,
        None,
    ),
    (
        "classifier",
        "norm before the mean",
        LOGITS,
        "return self.head(self.norm(latents[:, 1:]).mean(dim=1))",
        1.5,
        None,
    ),
    (
        "classifier",
        "frozen",
        "self.encoder.norm = ",
        "self.encoder.requires_grad_(False)\n        self.encoder.norm = ",
        1.5,
        None,
    ),
    ("classifier", "probabilities", LOGITS, LOGITS + ".softmax(-1)", 1.5, None),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("07")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), ["fair"])


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept", "said"), WRONG, ids=ids(WRONG))
def test_a_mistake_costs_its_part_and_is_red(marker, exercise, kind, old, new, kept, said):
    names = marker.answered(exercise, (old, new))
    (verdict,) = marker.refuses(exercise, names, kept, ["fair"])
    if said is None:
        assert not verdict.hint, verdict.message
    else:
        assert said in verdict.hint, verdict.message


@pytest.mark.parametrize("exercise", ["mae_encoder", "mae_decoder", "classifier"])
def test_an_earlier_mistake_does_not_make_a_later_check_red(marker, exercise):
    def broken(*_, **__):
        raise RuntimeError("an earlier mistake")

    names = marker.names
    names |= {"random_masking": broken, "put_back": broken}
    if exercise == "classifier":
        names["MAEEncoder"] = broken
    assert marker.check(exercise, names) == ""


def test_a_check_gives_the_same_whatever_random_numbers_were_drawn_before(marker):
    names = marker.names
    for seed in range(3):
        torch.manual_seed(seed)
        for exercise in marker.lab.exercises:
            assert marker.check(exercise, names) == ""


def test_what_an_answer_makes_anew_is_on_the_meta_device_where_macs_are_counted(marker):
    cell = next(c.source for c in marker.lab.cells if "PUBLISHED = " in c.source)
    counting = cell[cell.index("with torch.device") : cell.index("    measured[")]
    indented = [line for line in counting.splitlines() if "count_macs" in line]
    assert indented and all(line.startswith(12 * " ") for line in indented)

    change = next(r[2:] for r in RIGHT if r[:2] == ("mae_encoder", "written into zeros"))
    names = marker.answered("mae_encoder", change)
    with torch.device("meta"):
        net = names["MAEEncoder"](16, 4, 8, 1, 2)
        latents = net(torch.zeros(1, 3, 16, 16), 0.75, torch.zeros(1, 16))[0]
    assert latents.shape == (1, 5, 8)
