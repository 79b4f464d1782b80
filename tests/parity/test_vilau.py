"""VILA-U piece by piece against slow transcriptions of what its published code computes.

The transcriptions are written from a description, with loops where the package has none. SigLIP's
image tower is compared with transformers' own.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from labsupport.models.hart.heads import LinearHead
from labsupport.models.vilau.codebook import RunningCodebook
from labsupport.models.vilau.config import (
    DEPTH_SIZES,
    LLAMA_2_7B,
    SIGLIP_SIZES,
    DepthConfig,
    SiglipConfig,
    TrunkConfig,
)
from labsupport.models.vilau.depth import DepthTransformer
from labsupport.models.vilau.model import projector
from labsupport.models.vilau.quantizer import ResidualQuantizer
from labsupport.models.vilau.siglip import SiglipEncoder, load_transformers_weights
from labsupport.models.vilau.trunk import Trunk
from labsupport.profiling.counts import count_macs, count_parameters


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# Residual quantization


class SlowQuantizer:
    """One vector after another; its codebook is a list of vectors with running counts and sums."""

    def __init__(self, vectors, counts, sums, depth, decay=0.99, eps=1e-5):
        self.vectors, self.counts, self.sums = vectors.clone(), counts.clone(), sums.clone()
        self.depth, self.decay, self.eps = depth, decay, eps

    def __call__(self, x, training):
        rests = [row.clone() for row in x]
        totals = [torch.zeros_like(row) for row in x]
        codes = [[] for _ in x]
        commitment = 0.0
        for _ in range(self.depth):
            before, chosen = [row.clone() for row in rests], []
            for i, rest in enumerate(rests):
                distances = [float((code - rest).square().sum()) for code in self.vectors]
                chosen.append(distances.index(min(distances)))
                codes[i].append(chosen[-1])
            for i, code in enumerate(chosen):
                rests[i] = rests[i] - self.vectors[code]
                totals[i] = totals[i] + self.vectors[code]
            commitment += sum(
                float((row - total).square().mean()) for row, total in zip(x, totals, strict=True)
            ) / len(x)
            if training:
                self.move(torch.stack(before), chosen)
        return torch.tensor(codes), torch.stack(totals), commitment / self.depth

    def move(self, values, chosen):
        n = len(self.vectors)
        for code in range(n):
            own = [v for v, c in zip(values, chosen, strict=True) if c == code]
            self.counts[code] = self.decay * self.counts[code] + (1 - self.decay) * len(own)
            total = sum(own, torch.zeros_like(values[0]))
            self.sums[code] = self.decay * self.sums[code] + (1 - self.decay) * total
        pool = values
        if len(pool) < n:
            pool = torch.cat([pool] * math.ceil(n / len(pool)))
            pool = pool + torch.rand_like(pool) * 0.01 / math.sqrt(pool.shape[1])
        pool = pool[torch.randperm(len(pool))]
        for code in range(n):
            if self.counts[code] < 1:
                self.counts[code], self.sums[code] = 1.0, pool[code]
        total = self.counts.sum()
        for code in range(n):
            smooth = total * (self.counts[code] + self.eps) / (total + n * self.eps)
            self.vectors[code] = self.sums[code] / smooth


def quantizer_with_a_past(codes=6, dim=3, depth=4):
    """Of some codes that are in use and some that are nearly dead, in double precision."""
    quantizer = ResidualQuantizer(codes, dim, depth).double()
    book = quantizer.codebook
    book.counts.copy_(torch.tensor([5.0, 1.002, 0.9, 3.0, 1.2, 2.0])[:codes])
    book.sums.copy_(book.vectors * book.counts[:, None])
    return quantizer


@pytest.mark.parametrize("vectors", [4, 20])  # fewer than there are codes, and more
@pytest.mark.parametrize("training", [True, False])
def test_residual_quantization_is_that_of_the_transcription(vectors, training):
    quantizer = quantizer_with_a_past().train(training)
    book = quantizer.codebook
    slow = SlowQuantizer(book.vectors, book.counts, book.sums, quantizer.depth)
    for step in range(3):
        x = torch.randn(vectors, 3, dtype=torch.float64)
        with torch.random.fork_rng():
            torch.manual_seed(step)
            codes, total, commitment = slow(x, training)
        with torch.random.fork_rng():
            torch.manual_seed(step)
            made = quantizer(x)
        assert torch.equal(made.indices, codes)
        torch.testing.assert_close(made.discrete, total)
        assert made.commitment.item() == pytest.approx(commitment)
        for name in ("vectors", "counts", "sums"):
            torch.testing.assert_close(getattr(book, name), getattr(slow, name))


def test_a_row_of_maps_is_quantized_place_by_place():
    quantizer = quantizer_with_a_past().eval()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    made = quantizer(x)
    assert made.indices.shape == (2, 5, 4)
    flat = quantizer(x.flatten(0, 1))
    assert torch.equal(made.indices.flatten(0, 1), flat.indices)
    torch.testing.assert_close(made.discrete.flatten(0, 1), flat.discrete)
    torch.testing.assert_close(quantizer.accumulate(made.indices), made.discrete)
    sums = quantizer.partial_sums(made.indices)
    torch.testing.assert_close(sums[..., -1, :], made.discrete)
    torch.testing.assert_close(sums[..., 0, :], quantizer.codebook.vectors[made.indices[..., 0]])


def test_smoothed_counts_keep_their_sum_and_no_code_has_none():
    book = RunningCodebook(4, 2)
    book.counts.copy_(torch.tensor([3.0, 0.0, 1.0, 4.0]))
    torch.testing.assert_close(book.smoothed().sum(), torch.tensor(8.0))
    torch.testing.assert_close(book.smoothed()[1], torch.tensor(8e-5 / (8 + 4e-5)))


# The depth transformer


def slow_depth(net, hidden, codes, codebook):
    """Logits (places, D, codes), one place and one step at a time, every step from the beginning:
    every head's shares written out."""
    dim, heads = net.positions.shape[1], net.blocks[0].attention.heads
    size = dim // heads
    out = []
    for h, row in zip(hidden, codes, strict=True):
        tokens = [net.from_hidden.weight @ h + net.from_hidden.bias]
        running = torch.zeros_like(codebook[0])
        for code in row[:-1]:
            running = running + codebook[code]  # the sum of all before, not the last alone
            tokens.append(net.from_codes.weight @ running + net.from_codes.bias)
        x = torch.stack([t + p for t, p in zip(tokens, net.positions, strict=True)])
        for block in net.blocks:
            y = F.layer_norm(x, (dim,), block.norm1.weight, block.norm1.bias, 1e-5)
            attention = block.attention
            mixed = torch.zeros_like(x)
            for head in range(heads):
                q, k, v = (
                    y @ attention.qkv.weight[part * dim + head * size :][:size].T
                    + attention.qkv.bias[part * dim + head * size :][:size]
                    for part in range(3)
                )
                for i in range(len(x)):
                    shares = (k[: i + 1] @ q[i] / math.sqrt(size)).softmax(0)
                    mixed[i, head * size : (head + 1) * size] = shares @ v[: i + 1]
            x = x + mixed @ attention.proj.weight.T + attention.proj.bias
            y = F.layer_norm(x, (dim,), block.norm2.weight, block.norm2.bias, 1e-5)
            y = y @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            y = y * 0.5 * (1 + torch.erf(y / math.sqrt(2)))
            x = x + y @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
        x = F.layer_norm(x, (dim,), net.norm.weight, net.norm.bias, 1e-5)
        out.append(x @ net.head.weight.T + net.head.bias)
    return torch.stack(out)


def test_the_depth_transformer_is_that_of_the_transcription():
    config = DepthConfig(10, 6, 9, 4, dim=16, depth=2, heads=4, dropout=0.1)
    net = DepthTransformer(config).double().eval()
    assert isinstance(net.head, LinearHead)
    codebook = torch.randn(9, 6, dtype=torch.float64)
    hidden, codes = torch.randn(5, 10, dtype=torch.float64), torch.randint(9, (5, 4))
    sums = codebook[codes].cumsum(dim=1)[:, :-1]
    with torch.no_grad():
        torch.testing.assert_close(
            net(hidden, sums).logits, slow_depth(net, hidden, codes, codebook)
        )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("2560_6", 527_145_984), ("1024_6", 97_622_016), ("1024_4", 72_429_568)],
)
def test_depth_transformers_have_exactly_the_published_classs_parameters(name, parameters):
    with torch.device("meta"):
        assert count_parameters(DepthTransformer(DEPTH_SIZES[name])) == parameters


def test_a_depth_transformer_multiplies_what_its_sizes_say():
    """Counted without computing: D tokens, each past every matrix, and attention among them."""
    config = DEPTH_SIZES["1024_4"]
    with torch.device("meta"):
        net = DepthTransformer(config).eval()
        macs = count_macs(net, torch.empty(1, config.hidden), torch.empty(1, 3, config.code_dim))
    d, steps = config.dim, config.steps
    per_block = steps * 12 * d * d + 2 * steps * steps * d
    ends = config.hidden * d + (steps - 1) * config.code_dim * d + steps * d * config.codes
    assert macs == config.depth * per_block + ends


# The language model


def slow_trunk(net, x):
    """Llama's blocks with complex numbers for rotary positions and a loop over heads."""
    dim, heads = x.shape[1], net.blocks[0].attention.heads
    size = dim // heads
    rates = torch.tensor([10_000.0 ** (-2 * i / size) for i in range(size // 2)]).double()
    turns = torch.polar(
        torch.ones(len(x), size // 2).double(), torch.outer(torch.arange(len(x)), rates)
    )

    def norm(layer, y):
        return y / (y.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight

    def turned(y):  # a pair is an entry of the first half and its counterpart in the second
        y = torch.complex(y[:, : size // 2], y[:, size // 2 :]) * turns
        return torch.cat([y.real, y.imag], dim=1)

    for block in net.blocks:
        parts = (norm(block.norm1, x) @ block.attention.qkv.weight.T).split(dim, dim=1)
        heard = []
        for head in range(heads):
            q, k, v = (part[:, head * size : (head + 1) * size] for part in parts)
            scores = turned(q) @ turned(k).T / math.sqrt(size)
            later = torch.ones_like(scores).triu(1).bool()
            heard.append(scores.masked_fill(later, -torch.inf).softmax(1) @ v)
        x = x + torch.cat(heard, dim=1) @ block.attention.proj.weight.T
        gate, up = (norm(block.norm2, x) @ block.mlp.gate_up.weight.T).chunk(2, dim=1)
        x = x + (gate * gate.sigmoid() * up) @ block.mlp.down.weight.T
    return norm(net.norm, x)


def test_the_trunk_is_that_of_the_transcription():
    net = Trunk(TrunkConfig(11, dim=24, depth=2, heads=3, hidden=40)).double()
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    with torch.no_grad():
        # angles are rounded to single precision before they are used
        expected = torch.stack([slow_trunk(net, row) for row in x])
        torch.testing.assert_close(net(x), expected, atol=1e-6, rtol=1e-6)


def test_the_published_language_model_and_projector_have_their_parameters():
    with torch.device("meta"):
        assert count_parameters(Trunk(LLAMA_2_7B)) == 6_738_415_616
        assert count_parameters(projector(1024, 4096)) == 20_979_712


# The image encoder


def theirs(config: SiglipConfig):
    transformers = pytest.importorskip("transformers")
    return transformers.SiglipVisionConfig(
        hidden_size=config.dim,
        intermediate_size=config.hidden,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
    ), transformers.SiglipVisionModel


@torch.no_grad()
def test_features_are_those_after_siglips_second_to_last_block():
    config = SiglipConfig(30, 8, 24, 3, 4, 40)  # 30 pixels in 3 patches of 8: some are left out
    their_config, model = theirs(config)
    their_config.attn_implementation = "eager"
    reference = model(their_config).eval()
    net = SiglipEncoder(config).eval()
    load_transformers_weights(net, reference.state_dict())
    images = torch.randn(2, 3, 30, 30)
    expected = reference(images, output_hidden_states=True)
    features = net.features(images)
    assert features.shape == (2, 9, 24)
    torch.testing.assert_close(features, expected.hidden_states[-2], atol=1e-5, rtol=1e-5)
    # not the last block's, with or without the norm: those are of another scale and meaning
    assert (features - expected.hidden_states[-1]).abs().max() > 1e-3
    assert (features - expected.last_hidden_state).abs().max() > 1e-3
    torch.testing.assert_close(net.pool(features), expected.pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["large_256", "so400m_384"])
def test_siglip_has_exactly_its_parameters_and_places(name):
    config = SIGLIP_SIZES[name]
    their_config, model = theirs(config)
    with torch.device("meta"):
        net, reference = SiglipEncoder(config), model(their_config)
    assert count_parameters(net) == count_parameters(reference)
    assert net.side == {"large_256": 16, "so400m_384": 27}[name]
