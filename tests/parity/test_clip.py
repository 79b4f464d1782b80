"""Our CLIP computes what transformers' computes, and its losses what they are defined as."""

import math

import pytest
import torch
import torch.nn.functional as F

from labsupport.data import CONCEPTS, scenes, singles
from labsupport.models.clip import losses
from labsupport.models.clip.blocks import Block
from labsupport.models.clip.model import clip
from labsupport.models.clip.words import CONTEXT, END, START, VOCABULARY, tokenize
from labsupport.profiling.counts import count_macs, count_parameters

SIZE = {
    "width": 48,
    "depth": 3,
    "heads": 4,
    "text_width": 32,
    "text_depth": 2,
    "text_heads": 2,
    "embed_dim": 24,
}
NAMES = (  # in transformers -> here; replaced in this order
    ("vision_model.embeddings.class_embedding", "image.class_embedding"),
    ("vision_model.embeddings.patch_embedding", "image.patch_embed"),
    ("vision_model.embeddings.position_embedding.weight", "image.positional_embedding"),
    ("vision_model.pre_layrnorm", "image.ln_pre"),
    ("vision_model.post_layernorm", "image.ln_post"),
    ("vision_model.encoder.layers", "image.blocks"),
    ("visual_projection", "image.proj"),
    ("text_model.embeddings.token_embedding", "text.token_embedding"),
    ("text_model.embeddings.position_embedding.weight", "text.positional_embedding"),
    ("text_model.final_layer_norm", "text.ln_final"),
    ("text_model.encoder.layers", "text.blocks"),
    ("text_projection", "text.proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc", "fc"),
    ("self_attn.out_proj", "out"),
)


def from_transformers(state: dict) -> dict:
    """Their weights under our names, with queries, keys and values in one matrix."""
    found: dict = {}
    for name, tensor in state.items():
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        if "self_attn" not in name:
            found[name] = tensor
    for name in [n for n in state if "self_attn.q_proj" in n]:
        joint = name
        for theirs, ours in NAMES:
            joint = joint.replace(theirs, ours)
        parts = [state[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
        found[joint.replace("self_attn.q_proj", "qkv")] = torch.cat(parts)
    return found


@pytest.fixture(scope="module")
def theirs():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    words = len(VOCABULARY)
    config = transformers.CLIPConfig(
        projection_dim=SIZE["embed_dim"],
        text_config={
            "vocab_size": words,
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": START,
            "eos_token_id": END,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 48,
            "intermediate_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
    )
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():  # biases, norms and small weights must show in the output
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def ours(theirs):
    model = clip(32, 8, len(VOCABULARY), CONTEXT, **SIZE).eval()
    model.load_state_dict(from_transformers(theirs.state_dict()))
    return model


@pytest.fixture(scope="module")
def batch():
    found = scenes(6, 32, objects=(1, 3), seed=3)
    return found.images * 2 - 1, tokenize(found.captions)


def test_logits_equal_transformers(ours, theirs, batch):
    images, tokens = batch
    with torch.no_grad():
        expected = theirs(input_ids=tokens, pixel_values=images)
        logits = ours(images, tokens)
        torch.testing.assert_close(logits, expected.logits_per_image, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.encode_image(images), expected.image_embeds)
        torch.testing.assert_close(ours.encode_text(tokens), expected.text_embeds)
        torch.testing.assert_close(ours.similarity(images, tokens) * ours.logit_scale.exp(), logits)
    assert logits.std() > 1e-2


def test_loss_and_gradients_equal_transformers(ours, theirs, batch):
    images, tokens = batch
    expected = theirs(input_ids=tokens, pixel_values=images, return_loss=True).loss
    loss = losses.clip_loss(ours.image(images), ours.text(tokens), ours.logit_scale)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    mine = torch.autograd.grad(loss, list(ours.parameters()))
    wanted = torch.autograd.grad(expected, list(theirs.parameters()))
    named = dict(zip((n for n, _ in theirs.named_parameters()), wanted))
    for (name, _), grad in zip(ours.named_parameters(), mine):
        torch.testing.assert_close(grad, from_transformers(named)[name], rtol=1e-3, atol=1e-5)


def test_vit_b_32_has_the_published_size():
    with torch.device("meta"):
        model = clip(
            224,
            32,
            49408,
            77,
            width=768,
            depth=12,
            heads=12,
            text_width=512,
            text_depth=12,
            text_heads=8,
            embed_dim=512,
        )
        image, tokens = torch.zeros(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.int64)
    assert count_parameters(model) == 151_277_313
    assert count_parameters(model.image) == 87_849_216
    assert count_parameters(model.text) == 63_428_096
    assert count_macs(model.image.eval(), image) == 4_408_811_520
    assert count_macs(model.text.eval(), tokens) == 2_979_770_368


def open_clip_loss(image_features, text_features, logit_scale):
    """As open_clip defines it (ClipLoss of its loss.py), in plain sums: features of length 1."""
    n = len(image_features)
    total = 0.0
    for i in range(n):
        row = torch.stack([logit_scale * image_features[i] @ text_features[j] for j in range(n)])
        column = torch.stack([logit_scale * text_features[i] @ image_features[j] for j in range(n)])
        total += (row.exp().sum().log() - row[i]) / n + (column.exp().sum().log() - column[i]) / n
    return total / 2


def test_clip_loss_equals_open_clips_definition():
    a, b = torch.randn(2, 7, 5, dtype=torch.float64)
    scale = torch.tensor(1.3, dtype=torch.float64)
    expected = open_clip_loss(F.normalize(a, dim=1), F.normalize(b, dim=1), scale.exp())
    torch.testing.assert_close(losses.clip_loss(a, b, scale), expected)
    assert losses.clip_loss(a, b, scale) != losses.clip_loss(a, b.roll(1, 0), scale)


def test_nt_xent_is_half_of_what_simclr_s_code_adds_up():
    """SimCLR's objective.py adds the means of two halves; written out pair by pair."""
    z1, z2 = (F.normalize(z, dim=1) for z in torch.randn(2, 5, 4, dtype=torch.float64))
    halves = 0.0
    for one, two in ((z1, z2), (z2, z1)):
        for i in range(5):
            positive = one[i] @ two[i] / 0.2
            others = [one[i] @ one[j] / 0.2 for j in range(5) if j != i]
            others += [one[i] @ two[j] / 0.2 for j in range(5)]
            halves += (torch.stack(others).exp().sum().log() - positive) / 5
    torch.testing.assert_close(2 * losses.nt_xent(3 * z1, z2, 0.2), halves)


def test_hard_negatives_only_add_to_what_an_image_chooses_from():
    a, b, far = torch.randn(3, 4, 6, dtype=torch.float64)
    scale = torch.tensor(0.5, dtype=torch.float64)
    plain = losses.clip_loss(a, b, scale)
    assert losses.hard_negative_loss(a, b, far, scale) > plain
    rows = losses.clip_logits(a, torch.cat([b, far]), scale)
    extra = (rows.logsumexp(1) - rows[:, :4].logsumexp(1)).mean() / 2
    torch.testing.assert_close(losses.hard_negative_loss(a, b, far, scale), plain + extra)


def test_the_scale_is_kept_between_1_and_100():
    for value, kept in ((9.0, 100.0), (-1.0, 1.0), (1.0, math.e)):
        scale = torch.nn.Parameter(torch.tensor(value))
        losses.clamp_scale(scale)
        assert scale.exp().item() == pytest.approx(kept, rel=1e-5) and scale.requires_grad


def test_padding_behind_the_end_changes_nothing(ours):
    tokens = tokenize(["a cat left of a dog"])
    longer = tokens.clone()
    longer[0, -1] = 5
    torch.testing.assert_close(ours.text(tokens), ours.text(longer))
    assert not torch.allclose(ours.text(tokens), ours.text(tokenize(["a dog left of a cat"])))


def test_every_caption_of_the_course_fits_the_vocabulary():
    captions = scenes(300, 32, objects=(1, 4), concepts=40).captions
    captions += singles(40, 32, concepts=40).captions
    tokens = tokenize(captions)
    assert (tokens.max(dim=1).values == END).all() and (tokens[:, 0] == START).all()
    assert VOCABULARY[:5] == ("<pad>", "a", "an", "and", ",") and VOCABULARY[-1] == "<end>"
    assert set(CONCEPTS) < set(VOCABULARY) and len(set(VOCABULARY)) == len(VOCABULARY)


def test_a_word_or_a_length_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="'zebra' is not in the vocabulary"):
        tokenize("a zebra")
    with pytest.raises(ValueError, match="has 19 words; at most 18 fit"):
        tokenize("a cat " * 9 + "a")


def test_sizes_that_do_not_divide_are_named():
    with pytest.raises(ValueError, match="patch_size=5 must divide image_size=32"):
        clip(32, 5, 10, 8, **SIZE)
    with pytest.raises(ValueError, match="heads=3 must divide width=16"):
        Block(16, 3)
