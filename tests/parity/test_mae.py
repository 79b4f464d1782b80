"""The masked autoencoder equals transformers' ViTMAE; its counts are the published code's."""

import pytest
import torch

from labsupport.models import mae
from labsupport.models.masking import block_noise, grid_noise, random_noise
from labsupport.profiling.counts import count_macs, count_parameters

# dim, depth, heads, patch size: trainable parameters, encoder's MACs and all at a mask of 0.75 and
# at 0, 224 pixels; counted on the published code (its fixed positions are no parameters here)
PUBLISHED = {
    "B": ((768, 12, 12, 16), 111_655_680, 4_408_418_304, 9_781_133_312),
    "L": ((1024, 24, 16, 16), 329_239_296, 15_376_515_072, 20_755_783_680),
    "H": ((1280, 32, 16, 14), 656_613_964, 41_433_251_840, 48_561_911_808),
}
UNMASKED = {"B": 2.35, "L": 3.23, "H": 3.59}  # MACs of everything without a mask, against 0.75


def macs_by_formula(tokens, patch_size, dim, depth, decoder=(512, 8), mask_ratio=0.75):
    """Multiply-accumulates of encoder and decoder for one image, counted by hand."""

    def blocks(n, width, count):  # four projections and an MLP of four times the width; 2 tables
        return count * (n * width**2 * (4 + 2 * 4) + 2 * n**2 * width)

    kept, values = int(tokens * (1 - mask_ratio)), 3 * patch_size**2
    encoder = tokens * values * dim + blocks(kept + 1, dim, depth)
    into_decoder, out = (kept + 1) * dim * decoder[0], (tokens + 1) * decoder[0] * values
    return encoder, into_decoder + blocks(tokens + 1, *decoder) + out


def make(
    dim,
    depth,
    heads,
    patch_size,
    image_size=224,
    decoder=(512, 8, 16),
    ratio=0.75,
    mlp_ratio=4,
    normalise=True,
):
    encoder = mae.MAEEncoder(image_size, patch_size, dim, depth, heads, mlp_ratio)
    decoder = mae.MAEDecoder(encoder.grid, dim, 3 * patch_size**2, *decoder, mlp_ratio)
    return mae.MaskedAutoencoder(encoder, decoder, ratio, normalise)


def from_transformers(state):
    """Their weights under our names, with queries, keys and values in one matrix."""
    renames = (
        ("vit.embeddings.patch_embeddings.projection", "encoder.patch_embed.proj"),
        ("vit.embeddings.cls_token", "encoder.cls_token"),
        ("vit.encoder.layer", "encoder.blocks"),
        ("vit.layers", "encoder.blocks"),
        ("vit.layernorm", "encoder.norm"),
        ("decoder.decoder_embed", "decoder.embed"),
        ("decoder.decoder_layers", "decoder.blocks"),
        ("decoder.decoder_norm", "decoder.norm"),
        ("decoder.decoder_pred", "decoder.pred"),
        ("attention.o_proj", "attn.proj"),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
    )
    found = {}
    for name, tensor in state.items():
        if "pos" in name or "k_proj" in name or "v_proj" in name:
            continue
        if "q_proj" in name:
            parts = [state[name.replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj")]
            name, tensor = name.replace("attention.q_proj", "attn.qkv"), torch.cat(parts)
        for theirs, ours in renames:
            name = name.replace(theirs, ours)
        found[name] = tensor
    return found


def fill_positions(theirs):
    """A net of theirs that was not loaded has zeros for positions; let their code fill them."""
    embeddings, decoder = theirs.vit.embeddings, theirs.decoder
    for part in (
        embeddings.patch_embeddings.projection,
        *embeddings.parameters(),
        *decoder.parameters(),
    ):
        part._is_hf_initialized = False
    embeddings.initialize_weights()
    decoder.initialize_weights(embeddings.position_embeddings.shape[1] - 1)
    assert embeddings.position_embeddings.abs().max() == 1 == decoder.decoder_pos_embed.abs().max()


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("ratio, normalise", [(0.75, True), (0.75, False), (0.4, True)])
def test_equal_to_transformers_on_the_same_weights_and_noise(ratio, normalise):
    transformers = pytest.importorskip("transformers", minversion="5")
    config = transformers.ViTMAEConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        image_size=32,
        patch_size=4,
        decoder_hidden_size=32,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=128,
        mask_ratio=ratio,
        norm_pix_loss=normalise,
        layer_norm_eps=1e-6,
    )
    theirs = transformers.ViTMAEForPreTraining(config).eval()
    fill_positions(theirs)
    with torch.no_grad():  # biases, norms and tokens must show in the output
        for parameter in theirs.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    ours = make(48, 3, 4, 4, 32, (32, 2, 2), ratio, normalise=normalise).eval()
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    images, noise = torch.randn(3, 3, 32, 32), torch.rand(3, 64)
    expected = theirs(images, noise=noise)
    loss, predicted, mask = ours(images, noise)
    latents, _, restore = ours.encoder(images, ratio, noise)
    torch.testing.assert_close(latents, theirs.vit(images, noise=noise).last_hidden_state)
    torch.testing.assert_close(predicted, expected.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, expected.loss)
    assert torch.equal(mask, expected.mask) and torch.equal(restore, expected.ids_restore)
    loss.backward()
    expected.loss.backward()
    torch.testing.assert_close(
        ours.encoder.cls_token.grad, theirs.vit.embeddings.cls_token.grad, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        ours.decoder.mask_token.grad, theirs.decoder.mask_token.grad, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_of_the_published_sizes(name):
    (dim, depth, heads, patch), parameters, encoder_macs, all_macs = PUBLISHED[name]
    with torch.device("meta"):
        model = make(dim, depth, heads, patch).eval()
        images, noise = torch.zeros(1, 3, 224, 224), torch.zeros(1, (224 // patch) ** 2)
    assert count_parameters(model) == parameters
    assert count_macs(model.encoder, images, 0.75, noise) == encoder_macs
    assert count_macs(model, images, noise) == all_macs
    size = (224 // patch) ** 2, patch, dim, depth
    assert macs_by_formula(*size) == (encoder_macs, all_macs - encoder_macs)
    unmasked = sum(macs_by_formula(*size, mask_ratio=0.0))
    assert unmasked / all_macs == pytest.approx(UNMASKED[name], abs=0.005)


def test_small_net_has_the_integers_of_the_published_code_at_that_size():
    model = make(128, 6, 4, 4, 32, (64, 2, 4)).eval()
    images, noise = torch.zeros(1, 3, 32, 32), torch.rand(1, 64)
    assert count_parameters(model) == 1_320_304 - 65 * (128 + 64)
    assert count_macs(model, images, noise) == 28_701_440
    assert count_macs(model.encoder, images, 0.75, noise) == 20_891_136
    assert count_macs(model.encoder, images, 0.0, noise) == 83_559_936


def test_masking_keeps_the_least_noise_and_put_back_undoes_it():
    tokens, noise = torch.randn(5, 12, 3), torch.rand(5, 12)
    visible, mask, restore = mae.random_masking(tokens, 0.75, noise)
    assert visible.shape == (5, 3, 3) and mask.sum(1).tolist() == [9.0] * 5
    for i in range(5):
        assert noise[i][mask[i] == 0].max() < noise[i][mask[i] == 1].min()
    full = mae.put_back(visible, torch.full((1, 1, 3), 7.0), restore)
    expected = torch.where(mask[..., None] == 0, tokens, torch.tensor(7.0))
    assert torch.equal(full, expected)


def test_what_is_hidden_does_not_enter_the_prediction_but_the_loss():
    model = make(24, 2, 2, 4, 16, (16, 1, 2)).eval()
    images, noise = torch.randn(1, 3, 16, 16), torch.rand(1, 16)
    loss, predicted, mask = model(images, noise)
    patches = mae.patchify(images, 4)
    changed = mae.unpatchify(patches * (1 - 2 * mask[..., None]), 4, 4)  # their negatives
    other_loss, other, _ = model(changed, noise)
    torch.testing.assert_close(other, predicted)
    assert abs(other_loss - loss) > 0.01


def test_patches_come_back_and_have_the_channel_fastest():
    images = torch.randn(2, 3, 8, 12)
    patches = mae.patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(patches[0, 1, :4], torch.stack([*images[0, :, 0, 4], images[0, 0, 0, 5]]))
    assert torch.equal(mae.unpatchify(patches, 4, 2), images)


def test_blocks_are_blocks_and_grids_are_grids():
    for draw in (random_noise, block_noise, grid_noise):
        assert draw(3, (8, 6)).shape == (3, 48)
    mask = mae.random_masking(torch.zeros(50, 64, 1), 0.25, block_noise(50, (8, 8)))[1]
    rows, columns = (mask.view(50, 8, 8).amax(d).sum(1) for d in (2, 1))  # hidden in any column
    assert ((rows - columns).abs() <= 5).all() and (rows * columns <= 40).all()
    mask = mae.random_masking(torch.zeros(2, 64, 1), 0.75, grid_noise(2, (8, 8)))[1].view(2, 8, 8)
    assert mask[:, ::2, ::2].sum() == 0 and mask.sum() == 96


def test_a_classifier_leaves_its_encoder_alone_and_ignores_the_class_token():
    encoder = mae.MAEEncoder(16, 4, 24, 2, 2)
    before = [p.clone() for p in encoder.parameters()]
    net = mae.PooledClassifier(encoder, 24, 5)
    loss = net(torch.randn(2, 3, 16, 16)).square().sum()
    loss.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters()))
    assert isinstance(encoder.norm, torch.nn.LayerNorm)
