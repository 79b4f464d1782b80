"""Lab 08, both sides: right answers in other styles keep all points and are green; wrong ones that
students write lose the points of their part and are red."""

import pytest

from tests.labs.marker import SEEDS, Marker, ids

ARGMIN = "return gaps.argmin(dim=-1)"
CODE_GRADIENT = "return latent + (discrete - latent).detach()"
LOSS = "return codes + beta * encoder"
AREA = 'size=(scale, scale), mode="area"'
SUBTRACT = "rest = rest - spread(codebook[numbers], scales[-1], phi)"
ITEM = "return (-(shares * shares.log()).sum()).exp().item()"
DEAD = "dead = (counts == 0).nonzero()[:, 0][: len(vectors)]"
REVIVE = "codebook[dead] = vectors[: len(dead)]"
NUMBER = "number = round(share * len(images))"
STEP = "(loss + weight * codes).backward()"
TOTAL = "total = total + spread(codebook[numbers], scales[-1], phi)"
START = "total, sums, start = 0, [], 0"
GRID = "grid = codes.transpose(1, 2).unflatten(2, (scale, scale))"
TOKENS = "return (latent - discrete).flatten(2).transpose(1, 2)"
DOUBLE = "first, second = first.double(), second.double()"
ROOTS = "roots = torch.linalg.eigvals(c1 @ c2).real.clamp(min=0).sqrt()"
DISTANCE = "return (gap + c1.trace() + c2.trace() - 2 * roots.sum()).item()"

# exercise, what it is, old text of the solution, new text
RIGHT = [
    (
        "nearest_codes",
        "written into a buffer, a row at a time",
        ARGMIN,
        "out = torch.zeros(gaps.shape[:-1], dtype=torch.int32)\n"
        "    flat = out.view(-1)\n"
        "    for i, row in enumerate(gaps.reshape(-1, gaps.shape[-1])):\n"
        "        flat[i] = row.argmin()\n"
        "    return out",
    ),
    (
        "nearest_codes",
        "in double",
        "gaps = codebook",
        "vectors, codebook = vectors.double(), codebook.double()\n    gaps = codebook",
    ),
    (
        "straight_through",
        "written into a float32 buffer",
        CODE_GRADIENT,
        "out = torch.zeros(latent.shape)\n    out[...] = discrete.detach()\n"
        "    return out + latent - latent.detach()",
    ),
    ("straight_through", "in double", CODE_GRADIENT, CODE_GRADIENT + ".double()"),
    (
        "straight_through",
        "a mean by hand",
        "encoder = F.mse_loss(latent, discrete.detach())",
        "encoder = (latent - discrete.detach()).norm() ** 2 / latent.numel()",
    ),
    (
        "partial_sums",
        "written into torch.zeros",
        GRID,
        "grid = torch.zeros(len(codes), codes.shape[2], scale, scale)\n"
        "    for i in range(codes.shape[1]):\n"
        "        grid[:, :, i // scale, i % scale] = codes[:, i]",
    ),
    ("partial_sums", "a tuple", "return sums", "return tuple(sums)"),
    (
        "residual_quantize",
        "a list",
        "return torch.cat(indices, dim=1), rest",
        "return [torch.cat(indices, dim=1), rest]",
    ),
    (
        "residual_quantize",
        "a copy changed in place",
        "rest, indices = latent, []",
        "rest, indices = latent.clone(), []",
    ),
    (
        "residual_quantize",
        "pooling",
        f"F.interpolate(rest, {AREA})",
        "F.adaptive_avg_pool2d(rest, scale)",
    ),
    ("codebook_use", "an epsilon of its own", "shares.log()", "(shares + 1e-9).log()"),
    (
        "codebook_use",
        "numpy's number",
        ITEM,
        "return np.exp(-(shares * shares.log()).sum().numpy())",
    ),
    (
        "hybrid_latent",
        "in double",
        TOKENS,
        TOKENS.replace("return ", "return 1.0 * ") + ".double()",
    ),
    ("train_step", "rounded by int(x + 0.5)", NUMBER, "number = int(share * len(images) + 0.5)"),
    (
        "train_step",
        "two losses by hand",
        "F.l1_loss(made, images) + F.mse_loss(made, images)",
        "((made - images).abs() + (made - images) ** 2).sum() / images.numel()",
    ),
    (
        "train_step",
        "gradients cleared after the step",
        "optimizer.step()",
        "optimizer.step()\n    optimizer.zero_grad()",
    ),
    (
        "frechet_distance",
        "covariances before double precision",
        "c1, c2 = first.T.cov(), second.T.cov()",
        "c1, c2 = first.float().T.cov().double(), second.float().T.cov().double()",
    ),
    (
        "frechet_distance",
        "numpy's number",
        DISTANCE,
        "return np.float64(gap + c1.trace() + c2.trace() - 2 * roots.sum())",
    ),
]

# exercise, what is wrong, old text of the solution, new text, points kept
WRONG = [
    (
        "nearest_codes",
        "a map only",
        "gaps = codebook",
        "_, _, _, _ = vectors.shape\n    gaps = codebook",
        0,
    ),
    ("nearest_codes", "one axis too few", ARGMIN, "return gaps.argmin(dim=-1).squeeze()", 0),
    (
        "nearest_codes",
        "length, not its square",
        "codebook.square().sum(dim=1)",
        "codebook.norm(dim=1)",
        0,
    ),
    (
        "nearest_codes",
        "sums of absolute differences",
        ARGMIN,
        "return (vectors.unsqueeze(-2) - codebook).abs().sum(-1).argmin(-1)",
        0,
    ),
    ("nearest_codes", "numbers as floats", ARGMIN, ARGMIN + ".float()", 0),
    ("straight_through", "nothing learns", CODE_GRADIENT, "return discrete.detach()", 2),
    (
        "straight_through",
        "gradient to both",
        CODE_GRADIENT,
        "return latent + discrete - latent.detach()",
        2,
    ),
    ("straight_through", "beta fixed", LOSS, "return codes + 0.25 * encoder", 2),
    ("straight_through", "beta is 1 unless told", "beta=0.25", "beta=1.0", 2),
    (
        "straight_through",
        "a number without a gradient",
        LOSS,
        LOSS.replace("return ", "return float(") + ")",
        2,
    ),
    ("partial_sums", "side 5 only", "size=(side, side)", "size=(5, 5)", 2),
    ("partial_sums", "a scale of two only", GRID, GRID.replace("(scale, scale)", "(2, 2)"), 2),
    (
        "partial_sums",
        "one tensor, added to in place",
        TOTAL,
        "total = total + spread(codebook[numbers], scales[-1], phi) if start == 0 else "
        "total.add_(spread(codebook[numbers], scales[-1], phi))",
        2,
    ),
    ("partial_sums", "each scale alone", TOTAL, TOTAL.replace("total + ", ""), 2),
    (
        "partial_sums",
        "the codebook does not learn",
        "codebook[numbers]",
        "codebook.detach()[numbers]",
        2,
    ),
    ("partial_sums", "only the last sum", "return sums", "return sums[-1:]", 2),
    (
        "residual_quantize",
        "the latent changed in place",
        SUBTRACT,
        SUBTRACT.replace("rest = rest - ", "rest -= "),
        0,
    ),
    (
        "residual_quantize",
        "the latent at every scale",
        f"F.interpolate(rest, {AREA})",
        f"F.interpolate(latent, {AREA})",
        2.5,
    ),
    (
        "residual_quantize",
        "the last scale not subtracted",
        SUBTRACT,
        SUBTRACT + " if scale < scales[-1] else rest",
        2.5,
    ),
    ("residual_quantize", "nothing left", "dim=1), rest", "dim=1), rest * 0", 2.5),
    (
        "residual_quantize",
        "numbers in a list",
        "torch.cat(indices, dim=1), rest",
        "indices, rest",
        0,
    ),
    ("codebook_use", "a tensor, not a number", ITEM, ITEM.replace(".item()", ""), 2),
    (
        "codebook_use",
        "a matrix of numbers only",
        "indices.flatten())\n    shares",
        "indices.view(-1, indices.shape[1])[0])\n    shares",
        2,
    ),
    ("codebook_use", "codes that occur", ITEM, "return float(len(shares))", 2),
    ("codebook_use", "no minlength", ", minlength=len(codebook))", ")", 2),
    (
        "codebook_use",
        "the vectors of the same numbers",
        REVIVE,
        "codebook[dead] = vectors[dead]",
        2,
    ),
    (
        "codebook_use",
        "largest numbers first",
        DEAD,
        "dead = (counts == 0).nonzero()[:, 0].flip(0)[: len(vectors)]",
        2,
    ),
    (
        "codebook_use",
        "as many as are unused",
        "return len(dead)",
        "return int((counts == 0).sum())",
        2,
    ),
    (
        "codebook_use",
        "the count as a tensor",
        "return len(dead)",
        "return torch.tensor(len(dead))",
        2,
    ),
    ("codebook_use", "a new codebook", REVIVE, "codebook = codebook.clone(); " + REVIVE, 2),
    (
        "hybrid_latent",
        "the sign",
        TOKENS,
        TOKENS.replace("latent - discrete", "discrete - latent"),
        1,
    ),
    (
        "hybrid_latent",
        "column by column",
        ".flatten(2).transpose(1, 2)",
        ".mT.flatten(2).transpose(1, 2)",
        1,
    ),
    ("hybrid_latent", "one image only", TOKENS, TOKENS + "[:1]", 1),
    ("train_step", "rounded down", NUMBER, "number = int(share * len(images))", 0),
    ("train_step", "rounded up", NUMBER, "number = math.ceil(share * len(images))", 0),
    ("train_step", "a tensor returned", "return loss.item()", "return loss", 2),
    (
        "train_step",
        "both losses returned",
        "return loss.item()",
        "return (loss + weight * codes).item()",
        2,
    ),
    ("train_step", "weight ignored", STEP, "(loss + 0.5 * codes).backward()", 2),
    ("train_step", "half of the images", NUMBER, "number = len(images) // 2", 0),
    ("train_step", "no step", "optimizer.step()", "pass", 2),
    ("train_step", "gradients kept", "optimizer.zero_grad()", "pass", 2),
    (
        "train_step",
        "a step of its own",
        "optimizer.step()",
        "[p.data.sub_(0.2 * p.grad) for p in tokenizer.parameters()]",
        2,
    ),
    (
        "train_step",
        "codebook loss of some images only",
        "discrete, codes, _ = tokenizer.quantize(latent)",
        "discrete, _, _ = tokenizer.quantize(latent)\n"
        "    _, codes, _ = tokenizer.quantize(latent[round(share * len(images)) - 1:])",
        2,
    ),
    (
        "frechet_distance",
        "single precision",
        DOUBLE,
        "first, second = first.float(), second.float()",
        0,
    ),
    ("frechet_distance", "a tensor, not a number", DISTANCE, DISTANCE.replace(".item()", ""), 0),
    (
        "frechet_distance",
        "the root of the distance",
        DISTANCE,
        DISTANCE.replace(".item()", ".sqrt().item()"),
        0,
    ),
    ("frechet_distance", "no clamp", ROOTS, ROOTS.replace(".real.clamp(min=0)", ".real"), 0),
    ("frechet_distance", "variances only", ROOTS, "roots = (c1.diag() * c2.diag()).sqrt()", 0),
]


@pytest.fixture(scope="module")
def marker():
    return Marker("08")


@pytest.mark.parametrize(("exercise", "kind", "old", "new"), RIGHT, ids=ids(RIGHT))
def test_a_right_answer_keeps_all_points_and_is_green(marker, exercise, kind, old, new):
    marker.accepts(exercise, marker.answered(exercise, (old, new)), SEEDS)


@pytest.mark.parametrize(("exercise", "kind", "old", "new", "kept"), WRONG, ids=ids(WRONG))
def test_a_wrong_answer_loses_its_part_and_is_red(marker, exercise, kind, old, new, kept):
    marker.refuses(exercise, marker.answered(exercise, (old, new)), kept)


def test_an_earlier_mistake_is_paid_for_once(marker):
    names = marker.names
    names |= {"nearest_codes": None, "spread": None}
    marker.accepts("residual_quantize", names)


def test_a_rest_that_goes_with_wrong_indices_keeps_its_points(marker):
    nearest = (AREA, 'size=(scale, scale), mode="nearest"')
    names = marker.answered("residual_quantize", nearest)
    verdict = marker.verdict("residual_quantize", names)
    assert verdict.points == 2.5
    assert "picked at single places" in verdict.message
