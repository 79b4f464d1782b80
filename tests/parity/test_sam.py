"""The reference SAM equals transformers' on the same weights; counts equal the published code's.

Where transformers' code and the published code differ, the published one is followed:
- The two-way layers' norms have eps 1e-5 in the published code and 1e-6 in transformers' default
  configuration (its last norm has 1e-5 too); EfficientViT-SAM sets 1e-6 for them all.
- The random frequencies are a buffer with a deviation of 1 in the published code; in transformers
  a parameter, 256 numbers more, that begins with a deviation of half the encoder's channels.
- A mask as prompt is one a prompt in the published code, one an image in transformers.
- Label -10 (nothing at all) and prompts without any token (None) are transformers' own.
"""

import pytest
import torch

from labsupport.models.efficientvit.backbone import backbone
from labsupport.models.sam.automatic import near_crop_edge, point_grid, stability_score
from labsupport.models.sam.config import SIZES, DecoderConfig, SamConfig, ViTConfig
from labsupport.models.sam.efficientvit_sam import large_backbone
from labsupport.models.sam.frame import fit_image, masks_in_image
from labsupport.models.sam.image_encoder import ImageEncoder
from labsupport.models.sam.mask_decoder import Masks, select_masks
from labsupport.models.sam.model import build_sam, sam
from labsupport.models.sam.transformers_weights import load_transformers_weights
from labsupport.profiling.counts import count_macs, count_parameters

# name; parameters in all, of the image encoder; its multiply-accumulates. Counted on the
# published code. The papers round: ViT-H 641M and 2973G (without the relative positions), L0
# 34.8M and 35G, L1 47.7M and 49G, L2 61.3M and 69G, XL0 117.0M and 185G, XL1 203.3M and 322G.
COUNTS = [
    ("vit_b", 93_735_472, 89_670_912, 486_038_667_264),
    ("vit_l", 312_342_832, 308_278_272, 1_492_840_153_088),
    ("vit_h", 641_090_608, 637_026_048, 2_980_541_415_424),
    ("efficientvit_l0", 34_792_784, 30_728_224, 34_774_974_464),
    ("efficientvit_l1", 47_650_128, 43_585_568, 48_980_295_680),
    ("efficientvit_l2", 61_328_592, 57_264_032, 68_554_326_016),
    ("efficientvit_xl0", 116_957_904, 112_893_344, 184_804_442_112),
    ("efficientvit_xl1", 203_346_128, 199_281_568, 321_870_364_672),
]
SIDE, FRAME, DIM, PROMPTS = 5, 40, 32, 3
TINY = SamConfig(  # 5 tokens a side in windows of 3: the last ones are padded
    ViTConfig(40, 24, 3, 2, (1,), patch_size=8, window=3),
    DecoderConfig(dim=DIM, heads=4, hidden=48, iou_hidden=20),
    frame=FRAME,
    embedding=SIDE,
    mask_channels=8,
)
POINTS = torch.tensor([[[3.0, 17.0], [39.0, 0.0]], [[20.5, 8.0], [9.0, 30.0]], [[1.0, 1.0]] * 2])
LABELS = torch.tensor([[1, 0], [1, -1], [0, 1]])
BOXES = torch.tensor([[2.0, 3.0, 20.0, 30.0], [0.0, 0.0, 40.0, 40.0], [5.0, 6.0, 7.0, 8.0]])


@pytest.fixture(autouse=True)
def fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def pair():
    """transformers' model and ours, the same random weights; relative positions are not zero."""
    library = pytest.importorskip("transformers")
    encoder, decoder = TINY.encoder, TINY.decoder
    config = library.SamConfig(
        vision_config=library.SamVisionConfig(
            hidden_size=encoder.dim,
            output_channels=DIM,
            num_hidden_layers=encoder.depth,
            num_attention_heads=encoder.heads,
            image_size=encoder.image_size,
            patch_size=encoder.patch_size,
            window_size=encoder.window,
            global_attn_indexes=list(encoder.global_blocks),
            num_pos_feats=DIM // 2,
        ).to_dict(),
        prompt_encoder_config=library.SamPromptEncoderConfig(
            hidden_size=DIM, image_size=FRAME, patch_size=8, mask_input_channels=8
        ).to_dict(),
        mask_decoder_config=library.SamMaskDecoderConfig(
            hidden_size=DIM,
            mlp_dim=decoder.hidden,
            num_attention_heads=decoder.heads,
            iou_head_hidden_dim=decoder.iou_hidden,
            layer_norm_eps=decoder.norm_eps,
        ).to_dict(),
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        theirs = library.SamModel(config).eval()
        for value in theirs.parameters():  # norms, biases, relative positions too
            value.normal_(std=0.5 if value.ndim == 1 else 0.3)
        # one matrix in two modules
        theirs.prompt_encoder.shared_embedding.positional_embedding.copy_(
            theirs.shared_image_embedding.positional_embedding
        )
    ours = build_sam(TINY).eval()
    load_transformers_weights(ours, theirs.state_dict())
    return theirs, ours


def equal(mine, other):
    torch.testing.assert_close(mine, other, rtol=2e-4, atol=2e-5)


@torch.no_grad()
def test_image_encoder_in_padded_windows(pair):
    theirs, ours = pair
    images = torch.randn(2, 3, 40, 40)
    equal(ours.embed(images), theirs.vision_encoder(images).last_hidden_state)


def test_gradients_of_the_image_encoder(pair):
    """Those of relative positions too, whose query is not scaled."""
    theirs, ours = pair
    images = torch.randn(2, 3, 40, 40)
    weight = torch.randn(2, DIM, SIDE, SIDE)
    (ours.embed(images) * weight).sum().backward()
    (theirs.vision_encoder(images).last_hidden_state * weight).sum().backward()
    for i in range(3):
        mine, other = ours.image_encoder.blocks[i].attn, theirs.vision_encoder.layers[i].attn
        for name in ("rel_pos_h", "rel_pos_w"):
            grad = getattr(other, name).grad
            torch.testing.assert_close(getattr(mine, name).grad, grad, rtol=1e-3, atol=1e-3)
    for model in pair:
        model.zero_grad()


def test_relative_positions_meet_the_query_as_it_is():
    """Pair by pair: the query, not divided by √head_dim, times a row's and a column's vector."""
    encoder = ImageEncoder(ViTConfig(16, 8, 1, 1, (0,), patch_size=8), 8)
    attention = encoder.blocks[0].attn
    with torch.no_grad():
        attention.rel_pos_h.normal_()
        attention.rel_pos_w.normal_()
        q = torch.randn(1, 1, 4, 8)
        bias = attention.bias(q)
    for i in range(4):
        for j in range(4):
            down, right = i // 2 - j // 2 + 1, i % 2 - j % 2 + 1
            expected = q[0, 0, i] @ (attention.rel_pos_h[down] + attention.rel_pos_w[right])
            torch.testing.assert_close(bias[0, 0, i, j], expected)


@torch.no_grad()
@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("with_boxes", [False, True])
@pytest.mark.parametrize("with_points", [False, True])
def test_prompts_and_masks(pair, with_points, with_boxes, with_masks):
    """Every combination of prompts: their codes, then all that the decoder makes of them."""
    theirs, ours = pair
    points, labels = (POINTS, LABELS) if with_points else (None, None)
    boxes = BOXES if with_boxes else None
    masks = torch.randn(PROMPTS, 1, 4 * SIDE, 4 * SIDE) if with_masks else None
    if not (with_points or with_boxes or with_masks):
        masks_given = ours.prompt_encoder()
        assert masks_given.sparse.shape == (1, 0, DIM)
        equal(masks_given.dense, theirs.prompt_encoder(None, None, None, None)[1])
        return
    # transformers has images and prompts; a mask is an image's, so here each prompt has its own
    each = {
        "input_points": None if points is None else points[:, None],
        "input_labels": None if labels is None else labels[:, None],
        "input_boxes": None if boxes is None else boxes[:, None],
        "input_masks": masks,
    }
    sparse, dense = theirs.prompt_encoder(**each)
    prompt = ours.prompt_encoder(points, labels, boxes, masks)
    tokens = 2 * with_points + 2 * with_boxes + (with_points and not with_boxes)
    assert prompt.sparse.shape == (PROMPTS, tokens, DIM)
    if sparse is not None:
        equal(prompt.sparse, sparse[:, 0])
    equal(prompt.dense, dense)

    embeddings = torch.randn(PROMPTS, DIM, SIDE, SIDE)
    for multimask in (True, False):
        answer = theirs(image_embeddings=embeddings, multimask_output=multimask, **each)
        mine = ours.decode(embeddings, points, labels, boxes, masks, multimask)
        assert mine.logits.shape == (PROMPTS, 3 if multimask else 1, 4 * SIDE, 4 * SIDE)
        equal(mine.logits, answer.pred_masks[:, 0])
        equal(mine.scores, answer.iou_scores[:, 0])


@torch.no_grad()
def test_from_pixels_to_masks_with_several_prompts_an_image(pair):
    theirs, ours = pair
    images = torch.randn(2, 3, 40, 40)
    points, labels = torch.rand(2, 3, 2, 2) * FRAME, torch.randint(0, 2, (2, 3, 2))
    answer = theirs(pixel_values=images, input_points=points, input_labels=labels)
    mine = ours(images, points.flatten(0, 1), labels.flatten(0, 1))
    equal(mine.logits, answer.pred_masks.flatten(0, 1))
    equal(mine.scores, answer.iou_scores.flatten(0, 1))


@torch.no_grad()
def test_positions_of_the_image(pair):
    theirs, ours = pair
    equal(ours.prompt_encoder.image_positions(), theirs.get_image_wide_positional_embeddings())


@torch.no_grad()
def test_two_way_transformer(pair):
    theirs, ours = pair
    tokens, image = torch.randn(2, 6, DIM), torch.randn(2, DIM, SIDE, SIDE)
    positions = torch.randn(1, DIM, SIDE, SIDE)
    mine = ours.mask_decoder.transformer(image, positions, tokens)
    other = theirs.mask_decoder.transformer(
        tokens[:, None], image, positions.expand(2, -1, -1, -1), attention_similarity=None
    )
    for a, b in zip(mine, other, strict=True):
        equal(a, b[:, 0])


def test_where_the_libraries_differ(pair):
    """What the head of this file says, so that a change in transformers is seen."""
    library = pytest.importorskip("transformers")
    theirs, ours = pair
    assert library.SamMaskDecoderConfig().layer_norm_eps == 1e-6
    assert DecoderConfig().norm_eps == 1e-5
    assert SIZES["efficientvit_l0"].decoder.norm_eps == 1e-6
    assert count_parameters(theirs) == count_parameters(ours) + 2 * DIM // 2
    ignored = torch.full((1, 1, 1), -10)
    sparse, _ = theirs.prompt_encoder(torch.ones(1, 1, 1, 2), ignored, BOXES[:1, None], None)
    assert sparse[0, 0, 0].abs().max() == 0


def test_a_mask_of_the_four_is_selected():
    """The rule of the published export, written out: fewer than 3 tokens are ambiguous."""
    scores = torch.tensor([[0.9, 0.2, 0.7, 0.1], [0.1, 0.2, 0.3, 0.8]])
    masks = Masks(torch.arange(8.0).view(2, 4, 1, 1), scores)
    for points, chosen in ((1, [2, 3]), (2, [2, 3]), (3, [0, 0]), (9, [0, 0])):
        answer = select_masks(masks, points)
        assert answer.logits.flatten().tolist() == [chosen[0], 4 + chosen[1]]
        assert answer.scores[:, 0].tolist() == [scores[i, c].item() for i, c in enumerate(chosen)]


@pytest.mark.parametrize("name, parameters, encoder, macs", COUNTS)
def test_published_integers(name, parameters, encoder, macs):
    with torch.device("meta"):
        model = sam(name).eval()
        side = SIZES[name].encoder.image_size
        images = torch.empty(1, 3, side, side)
    assert count_parameters(model) == parameters
    assert count_parameters(model.image_encoder) == encoder
    assert count_macs(model.image_encoder, images) == macs


def test_published_integers_of_the_light_end():
    with torch.device("meta"):
        model = sam("vit_b").eval()
        embeddings, positions = torch.empty(1, 256, 64, 64), torch.empty(1, 256, 64, 64)
        prompt = model.prompt_encoder(torch.empty(1, 1, 2), torch.ones(1, 1, dtype=torch.long))
    decoder, prompts = model.mask_decoder, model.prompt_encoder
    assert count_macs(decoder, embeddings, positions, prompt) == 1_811_302_400
    assert count_parameters(decoder) == 4_058_340
    assert {name: count_parameters(part) for name, part in decoder.named_children()} == {
        "iou_token": 256,
        "mask_tokens": 1_024,
        "transformer": 3_291_264,
        "output_upscaling": 73_952,
        "output_hypernetworks_mlps": 559_232,
        "iou_prediction_head": 132_612,
    }
    assert {name: count_parameters(part) for name, part in prompts.named_children()} == {
        "positions": 0,
        "point_embeddings": 1_024,
        "not_a_point_embed": 256,
        "mask_downscaling": 4_684,
        "no_mask_embed": 256,
    }


@pytest.mark.parametrize("name, of_decoder", [("vit_b", 1e-5), ("efficientvit_xl0", 1e-6)])
def test_eps_of_every_norm(name, of_decoder):
    """They are too small to show in an output; 9 norms in the two-way transformer are others."""
    with torch.device("meta"):
        model = sam(name)
    eps = {
        k: m.eps
        for k, m in model.named_modules()
        if isinstance(m, torch.nn.LayerNorm | torch.nn.BatchNorm2d)
    }
    others = {k: v for k, v in eps.items() if k.startswith("mask_decoder.transformer.")}
    assert len(others) == 9 and set(others.values()) == {of_decoder}
    assert {v for k, v in eps.items() if k not in others} == {1e-6}


def test_integers_of_a_toy_size():
    """The published code at 64 pixels: 16 x 16 tokens in windows of 4."""
    config = SamConfig(
        ViTConfig(64, 96, 4, 4, (1, 3), patch_size=4, window=4),
        DecoderConfig(dim=64, heads=4, hidden=128, iou_hidden=64),
        frame=64,
        embedding=16,
    )
    model = build_sam(config).eval()
    parts = (model.image_encoder, model.mask_decoder, model.prompt_encoder)
    assert [count_parameters(part) for part in parts] == [523_552, 158_268, 1_804]
    assert count_macs(model.image_encoder, torch.zeros(1, 3, 64, 64)) == 154_140_672


def test_a_large_backbone_is_that_of_the_classifiers():
    """L0's backbone has the same names and shapes, so that its weights can be the start."""
    with torch.device("meta"):
        mine, other = large_backbone(SIZES["efficientvit_l0"].encoder), backbone("L0")
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (mine, other)]
    assert shapes[0] == shapes[1]


def test_grid_stability_and_edges_equal_transformers():
    module = pytest.importorskip("transformers.models.sam.image_processing_sam")
    torch.testing.assert_close(point_grid(7), torch.as_tensor(module._build_point_grid(7)).float())
    logits = torch.randn(6, 9, 9) * 2
    theirs = module._compute_stability_score(logits, 0.0, 1)
    torch.testing.assert_close(stability_score(logits), torch.as_tensor(theirs).float())
    boxes = torch.tensor(
        [[0.0, 30, 50, 99], [35, 60, 90, 80], [60, 60, 199, 120], [60, 60, 90, 90]]
    )
    for crop in ([0, 0, 100, 100], [30, 0, 200, 150], [0, 0, 200, 200]):
        moved = boxes - torch.tensor([crop[0], crop[1]] * 2)  # theirs are in pixels of the crop
        other = module._is_box_near_crop_edge(moved, crop, [0, 0, 200, 200])
        assert near_crop_edge(boxes, tuple(crop), (200, 200)).tolist() == other.tolist()


@torch.no_grad()
def test_masks_back_in_the_image_equal_transformers():
    module = pytest.importorskip("transformers.models.sam.image_processing_sam")
    processor = module.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
    )
    image = torch.randint(0, 256, (3, 30, 50), dtype=torch.uint8)
    inputs = processor(image, return_tensors="pt")
    # transformers enlarges whole numbers, in fixed-point arithmetic: a step of 255, by a deviation
    gap = (fit_image(image[None], 64) - inputs["pixel_values"]).abs().max()
    assert gap <= 1.01 / 57 and inputs["pixel_values"].shape == (1, 3, 64, 64)
    logits = torch.randn(2, 3, 16, 16)
    theirs = processor.post_process_masks(
        logits[None], inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
    )[0]
    equal(
        masks_in_image(logits, (30, 50), 64), theirs.flatten(0, 0) if theirs.ndim == 4 else theirs
    )
