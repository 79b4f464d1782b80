"""Lab 06: right answers written in other ways keep all points and are green; wrong ones that many
students write lose the points of what they break, and are red."""

import pytest

from tests.labs.marker import SEEDS, Marker, ids

NT_XENT = "    return F.cross_entropy(scores, partner)"
CLIP = "    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2"
CLAMP = "        model.logit_scale.clamp_(0, math.log(100))"
NO_GRAD_CLAMP = "    with torch.no_grad():\n" + CLAMP
PAIRS = "torch.pdist(F.normalize(x, dim=-1)).pow(2)"
READ = "tokens.argmax(dim=-1)"

# exercise, what is odd about it, old text, new text
RIGHT = [
    (
        "nt_xent",
        "written into zeros",
        "    scores = z @ z.T / temperature",
        "    scores = torch.zeros(len(z), len(z))\n"
        "    for i in range(len(z)):\n"
        "        scores[i] = z @ z[i] / temperature",
    ),
    ("nt_xent", "double precision", "torch.cat([z1, z2])", "torch.cat([z1, z2]).double()"),
    ("nt_xent", "a large number for infinity", "-torch.inf", "-1e9"),
    (
        "nt_xent",
        "exp and log by hand",
        NT_XENT,
        "    chosen = scores[torch.arange(len(z)), partner].exp()\n"
        "    return -(chosen / scores.exp().sum(dim=1)).log().mean()",
    ),
    (
        "clip_loss",
        "written into zeros",
        "logits = logit_scale.exp() * images @ texts.T",
        "logits = torch.zeros(len(images), len(texts))\n"
        "    for i in range(len(images)):\n"
        "        logits[i] = logit_scale.exp() * (texts @ images[i])",
    ),
    ("clip_loss", "a cosine with its own epsilon", "dim=-1)", "dim=-1, eps=1e-8)"),
    (
        "clip_loss",
        "exp and log by hand",
        CLIP,
        "    e = logits.exp()\n"
        "    return -((e.diag() / e.sum(0)).log() + (e.diag() / e.sum(1)).log()).mean() / 2",
    ),
    (
        "text_encoder",
        "written into zeros",
        "        x = x[torch.arange(len(x)), end]",
        "        read = torch.zeros(len(x), x.shape[-1])\n"
        "        for i in range(len(x)):\n"
        "            read[i] = x[i, end[i]]\n"
        "        x = read",
    ),
    ("text_encoder", "counts what is no padding", READ, "(tokens != 0).sum(dim=-1) - 1"),
    ("text_encoder", "the first padding", READ, "(tokens == 0).int().argmax(-1) - 1"),
    (
        "text_encoder",
        "the last word of the vocabulary",
        READ,
        "(tokens == self.token_embedding.num_embeddings - 1).int().argmax(dim=-1)",
    ),
    (
        "image_encoder",
        "written into zeros",
        "        x = torch.cat([first, x], dim=1)",
        "        room = torch.zeros(len(x), 1 + x.shape[1], x.shape[2])\n"
        "        room[:, :1], room[:, 1:] = first, x\n"
        "        x = room",
    ),
    (
        "image_encoder",
        "a buffer of its own",
        "initialise(self)",
        "initialise(self)\n        self.register_buffer('seen', torch.zeros(1))",
    ),
    (
        "train_step",
        "the loss written out",
        "loss = clip_loss(model.image(images), model.text(tokens), model.logit_scale)",
        "x = F.normalize(model.image(images), dim=-1)\n"
        "    t = F.normalize(model.text(tokens), dim=-1)\n"
        "    logits = model.logit_scale.exp() * x @ t.T\n"
        "    places = torch.arange(len(x))\n"
        "    loss = (F.cross_entropy(logits, places) + F.cross_entropy(logits.T, places)) / 2",
    ),
    (
        "train_step",
        "called with names",
        "clip_loss(model.image(images), model.text(tokens), model.logit_scale)",
        "clip_loss(image_features=model.image(images), text_features=model.text(tokens), "
        "logit_scale=model.logit_scale)",
    ),
    ("train_step", "numpy's number", "loss.item()", "loss.detach().numpy()[()]"),
    (
        "train_step",
        "clamped by data",
        NO_GRAD_CLAMP,
        "    model.logit_scale.data = model.logit_scale.data.clamp(0, math.log(100))",
    ),
    ("train_step", "evaluation mode", "    loss =", "    model.eval()\n    loss ="),
    (
        "zero_shot_classifier",
        "written into zeros",
        "    return torch.stack(rows)",
        "    out = torch.zeros(len(names), len(rows[0]))\n"
        "    for i, row in enumerate(rows):\n"
        "        out[i] = row\n"
        "    return out",
    ),
    (
        "zero_shot_classifier",
        "captions as a tuple",
        "encode_text([template.format(name) for template in templates])",
        "encode_text(tuple(t.format(name) for t in templates))",
    ),
    (
        "hard_negative_loss",
        "written into zeros",
        "    logits = logit_scale.exp() * images @ texts.T",
        "    logits = torch.zeros(len(images), len(texts))\n"
        "    logits[:] = logit_scale.exp() * images @ texts.T",
    ),
    (
        "alignment_uniformity",
        "pairwise_distance with its epsilon",
        "return gap.pow(2).sum(dim=-1).mean()",
        "return F.pairwise_distance(F.normalize(x), F.normalize(y)).square().mean()",
    ),
    (
        "alignment_uniformity",
        "written into zeros",
        PAIRS,
        "torch.zeros(len(x) * (len(x) - 1) // 2)\n"
        "    squares[:] = torch.pdist(F.normalize(x, dim=-1)) ** 2",
    ),
    (
        "alignment_uniformity",
        "cdist without its diagonal",
        PAIRS,
        "torch.cdist(F.normalize(x), F.normalize(x))[~torch.eye(len(x), dtype=torch.bool)] ** 2",
    ),
]

# exercise, what is wrong, old text, new text, points kept
WRONG = [
    ("nt_xent", "zeros on the diagonal", "-torch.inf", "0.0", 0),
    ("nt_xent", "the sum", NT_XENT, NT_XENT[:-1] + ", reduction='sum')", 0),
    ("nt_xent", "length 1 along the wrong axis", "dim=-1", "dim=0", 0),
    ("nt_xent", "temperature squared", "/ temperature", "/ temperature**2", 0),
    ("nt_xent", "temperature fixed", "/ temperature", "/ 0.5", 0),
    ("nt_xent", "another default", "temperature=0.1", "temperature=0.5", 0),
    ("nt_xent", "squared distances", "z @ z.T", "-torch.cdist(z, z) ** 2", 0),
    ("nt_xent", "itself as the partner", ".roll(len(z1))", "", 0),
    ("nt_xent", "cut off", "z @ z.T", "z @ z.T.detach()", 0),
    ("nt_xent", "in place", "    z =", "    z1.data /= z1.norm(dim=1, keepdim=True)\n    z =", 0),
    (
        "image_encoder",
        "bias in the patches",
        ", bias=False)\n        self.class",
        ")\n        self.class",
        1,
    ),
    (
        "image_encoder",
        "last norm on all, then the mean",
        "self.ln_post(x[:, 0])",
        "self.ln_post(x).mean(dim=1)",
        1,
    ),
    (
        "image_encoder",
        "no positions",
        " + self.positional_embedding",
        " + 0 * self.positional_embedding",
        1,
    ),
    (
        "image_encoder",
        "length 1",
        "return self.proj(self.ln_post(x[:, 0]))",
        "return F.normalize(self.proj(self.ln_post(x[:, 0])), dim=-1)",
        1,
    ),
    ("image_encoder", "patches by columns", ".flatten(2)", ".transpose(2, 3).flatten(2)", 1),
    ("image_encoder", "one head", "Block(width, heads)", "Block(width, 1)", 1),
    ("image_encoder", "one block", "range(depth)", "range(1)", 1),
    (
        "image_encoder",
        "dropout in training",
        "x = self.ln_pre(x)",
        "x = F.dropout(self.ln_pre(x), 0.1, self.training)",
        1,
    ),
    ("image_encoder", "not initialised", "        initialise(self)\n", "", 3),
    ("clip_loss", "clamped from below", "logit_scale.exp()", "logit_scale.clamp(min=0).exp()", 0),
    (
        "clip_loss",
        "clamped from above",
        "logit_scale.exp()",
        "logit_scale.clamp(max=math.log(100)).exp()",
        0,
    ),
    (
        "clip_loss",
        "clamped both ways",
        "logit_scale.exp()",
        "logit_scale.clamp(0, math.log(100)).exp()",
        0,
    ),
    ("clip_loss", "scale without gradient", "logit_scale.exp()", "logit_scale.exp().item()", 0),
    (
        "clip_loss",
        "one direction",
        "F.cross_entropy(logits.T, target)",
        "F.cross_entropy(logits, target)",
        0,
    ),
    ("text_encoder", "the last place", READ, "torch.full((len(x),), tokens.shape[1] - 1)", 1),
    ("text_encoder", "the end of another vocabulary", READ, "(tokens == 73).int().argmax(-1)", 1),
    ("text_encoder", "no mask", ", causal=True", "", 1),
    (
        "text_encoder",
        "right in training only",
        "self.ln_final(x)",
        "self.ln_final(x) * self.training",
        1,
    ),
    ("text_encoder", "not initialised", "        initialise(self)\n", "", 3),
    ("train_step", "a tensor", "loss.item()", "loss.detach()", 1.5),
    ("train_step", "gradients add up", "    optimizer.zero_grad()\n", "", 1.5),
    (
        "train_step",
        "zero_grad too late",
        "    optimizer.zero_grad()\n    loss.backward()\n",
        "    loss.backward()\n    optimizer.zero_grad()\n",
        1.5,
    ),
    (
        "train_step",
        "the loss after the step",
        "loss.item()",
        "clip_loss(model.image(images), model.text(tokens), model.logit_scale).item()",
        1.5,
    ),
    (
        "train_step",
        "a hand-made step",
        "    optimizer.step()\n",
        "    for p in model.parameters():\n        p.data -= 0.5 * p.grad\n",
        0,
    ),
    (
        "train_step",
        "a new parameter",
        NO_GRAD_CLAMP,
        "    model.logit_scale = nn.Parameter(model.logit_scale.clamp(0, math.log(100)))",
        1.5,
    ),
    (
        "train_step",
        "no longer learns",
        NO_GRAD_CLAMP,
        "    model.logit_scale.requires_grad_(False).clamp_(0, math.log(100))",
        1.5,
    ),
    ("train_step", "1 and 100", "clamp_(0, math.log(100))", "clamp_(1, 100)", 1.5),
    ("train_step", "no lower limit", "clamp_(0, math.log(100))", "clamp_(max=math.log(100))", 1.5),
    ("train_step", "no clamp", NO_GRAD_CLAMP, "", 1.5),
    (
        "train_step",
        "a scale that is not learned",
        "model.text(tokens), model.logit_scale)",
        "model.text(tokens), model.logit_scale.detach())",
        1.5,
    ),
    (
        "zero_shot_classifier",
        "one template",
        "for template in templates",
        "for template in templates[:1]",
        0,
    ),
    (
        "zero_shot_classifier",
        "the mean as it is",
        "F.normalize(vectors.mean(dim=0), dim=0)",
        "vectors.mean(dim=0)",
        0,
    ),
    ("zero_shot_classifier", "long vectors", "vectors = F.normalize(vectors, dim=-1)", "pass", 0),
    (
        "zero_shot_classifier",
        "64 numbers",
        "return torch.stack(rows)",
        "return torch.stack(rows).reshape(-1, 64)",
        0,
    ),
    (
        "hard_negative_loss",
        "clamped",
        "logit_scale.exp()",
        "logit_scale.clamp(0, math.log(100)).exp()",
        0,
    ),
    (
        "hard_negative_loss",
        "wrong captions without gradient",
        "negative_features])",
        "negative_features.detach()])",
        0,
    ),
    (
        "hard_negative_loss",
        "wrong captions as they come",
        "F.normalize(torch.cat([text_features, negative_features]), dim=-1)",
        "torch.cat([F.normalize(text_features, dim=-1), negative_features])",
        0,
    ),
    (
        "alignment_uniformity",
        "distances above 0",
        PAIRS,
        "torch.cdist(F.normalize(x), F.normalize(x))\n    squares = squares[squares > 0] ** 2",
        1,
    ),
    ("alignment_uniformity", "t fixed", "(-t * squares)", "(-2.0 * squares)", 1),
    (
        "alignment_uniformity",
        "each with itself",
        PAIRS,
        "torch.cdist(F.normalize(x), F.normalize(x)) ** 2",
        1,
    ),
    ("alignment_uniformity", "mean of the logarithms", ".exp().mean().log()", ".mean()", 1),
    ("alignment_uniformity", "the sum of all pairs", ".sum(dim=-1).mean()", ".sum()", 1),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("06")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), SEEDS)


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_what_it_breaks_and_is_red(marker, exercise, kind, old, new, kept):
    marker.refuses(exercise, marker.answered(exercise, (old, new)), kept, SEEDS)


def verdict_on(marker, exercise, old, new):
    return marker.verdict(exercise, marker.answered(exercise, (old, new)))


@pytest.mark.parametrize("row", [w for w in WRONG if w[0] == "nt_xent"], ids=lambda w: w[1])
def test_mistakes_of_other_kinds_are_not_blamed_on_the_partner(marker, row):
    assert "partner" not in verdict_on(marker, row[0], *row[2:4]).message


def test_an_input_changed_in_place_is_said_before_its_values(marker):
    row = next(w for w in WRONG if w[1] == "in place")
    assert verdict_on(marker, row[0], *row[2:4]).cause == "changed inputs"


def test_two_ways_to_leave_the_scale_alone_read_the_same(marker):
    """No clamp, and a clamp inside the loss: neither moves the parameter."""
    inside = "        scale = model.logit_scale.clamp(0, math.log(100))"
    hints = {verdict_on(marker, "train_step", CLAMP, new).hint for new in ("        pass", inside)}
    assert len(hints) == 1 and "after the optimiser's step" in hints.pop()


def test_a_step_calls_a_right_loss_whatever_became_of_exercise_3(marker):
    names = marker.names
    names["clip_loss"] = lambda image_features, text_features, logit_scale: 1 / 0
    assert marker.verdict("train_step", names).status == "passed"
