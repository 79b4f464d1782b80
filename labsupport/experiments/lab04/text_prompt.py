"""Lab 04: words as a prompt, through the text encoder of lab 06, beside a click and a box.

    labs experiment 04 text_prompt

Reads `promptable`'s EfficientViT; writes data/checkpoints/04_sam_text.safetensors.

A linear layer makes a CLIP embedding a prompt token, and the small EfficientViT learns to read it,
its image encoder too. Trained with the embeddings of names, and as in section 7.5 of the SAM paper
without any name: there the token is made of CLIP's embedding of the thing's *image* ("image of the
mask"), and the text's embedding takes its place when masks are asked for. Only wholes are asked
for.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.data.captions import with_article
from labsupport.data.click_scenes import LEVELS, ClickScenes
from labsupport.data.clicks import boxes_around
from labsupport.data.transforms import normalize
from labsupport.experiments.lab04.evaluation import TEST_SEED, test_scenes
from labsupport.experiments.lab04.promptable import CHECKPOINTS, training_scenes
from labsupport.experiments.record import Records, resume
from labsupport.labs.lab04.evaluation import answer, candidate_iou, embed_scenes, picked
from labsupport.models.clip.model import CLIP
from labsupport.models.clip.words import tokenize
from labsupport.models.registry import pretrained
from labsupport.models.sam.losses import promptable_loss
from labsupport.models.sam.mask_decoder import Masks
from labsupport.models.sam.model import Sam
from labsupport.models.sam.text_prompt import TextPrompt
from labsupport.training.loop import fit, shuffled_batches

SCENES, STEPS, SEEDS = 4000, 1500, (0, 1)
BATCH_SIZE, LR, WEIGHT_DECAY = 32, 1e-3, 0.05  # named things a step
CHECKPOINT = "04_sam_text"
CLIP_SIZE, AROUND = 32, 1.4  # pixels; side of what CLIP is shown against the thing's longer side
AT_ONCE, LAST = 200, 50  # prompts decoded together; steps that the last loss is the mean of
TAUGHT_BY = ("text", "image of the mask")
SETS = ("seen", "unseen concepts")


def named_things(scenes: ClickScenes) -> tuple[Tensor, Tensor]:
    """Images (k,) and nodes (k,) that a name alone points to: wholes, seen, of a kind of their own
    in the scene."""
    alike = scenes.labels[:, :, None] == scenes.labels[:, None]
    alone = alike.sum(dim=2) == 1
    image, node = (scenes.seen & alone & (LEVELS == 0)).nonzero().unbind(1)
    return image, node


def crops(scenes: ClickScenes, image: Tensor, node: Tensor) -> Tensor:
    """What CLIP is shown of each thing: (k, 3, CLIP_SIZE, CLIP_SIZE), a square around it."""
    boxes = boxes_around(scenes.masks(image, node))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = AROUND * (boxes[:, 2:] - boxes[:, :2]).amax(dim=1) / 2
    size = scenes.images.shape[-1]
    theta = torch.zeros(len(boxes), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 2 * half / size
    theta[:, :, 2] = 2 * middle / size - 1
    shape = (len(boxes), 3, CLIP_SIZE, CLIP_SIZE)
    grid = F.affine_grid(theta, list(shape), align_corners=False)
    shown = scenes.images[image]
    return F.grid_sample(shown, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def of_text(clip: CLIP, scenes: ClickScenes) -> Tensor:
    """CLIP's embedding of the name of every class, of length 1: (classes, width)."""
    names = [f"a photo of {with_article(name)}" for name in scenes.classes]
    return clip.encode_text(tokenize(names))


@torch.no_grad()
def of_images(clip: CLIP, scenes: ClickScenes, image: Tensor, node: Tensor) -> Tensor:
    """CLIP's embedding of the image of every thing, of length 1: (k, width)."""
    parts = [
        clip.encode_image(normalize(crops(scenes, i, n)))
        for i, n in zip(image.split(256), node.split(256), strict=True)
    ]
    return torch.cat(parts)


def train(
    reader: TextPrompt,
    scenes: ClickScenes,
    words: Tensor,
    steps: int,
    seed: int,
    progress: bool | str = False,
) -> list[float]:
    """Train `reader` with the masks of what `words` (things, width) mean. Returns the losses."""
    image, node = named_things(scenes)
    optimizer = torch.optim.AdamW(reader.parameters(), LR, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(len(image), min(BATCH_SIZE, len(image)), steps, generator)

    def step(number: int) -> Tensor:
        rows = next(batches)
        embedded = reader.embed(normalize(scenes.images[image[rows]]))
        goal = scenes.masks(image[rows], node[rows])
        return promptable_loss(*reader(embedded, words[rows]), goal, every_score=True).total

    reader.train()
    history = fit(step, optimizer, steps=steps, clip=1.0, progress=progress)
    reader.eval()
    return history.loss


def quality(masks: Sequence[Masks], goal: Tensor) -> float:
    """Mean IoU of the candidate that is scored best, or of the only one."""
    logits, scores = (torch.cat(x) for x in zip(*masks, strict=True))
    return round(picked(candidate_iou(logits, goal), scores).mean().item(), 4)


@torch.no_grad()
def judge(reader: TextPrompt, clip: CLIP, scenes: ClickScenes) -> dict[str, float]:
    """What is found by a thing's name, by its image in the name's place, and, a control, by the
    name of something else."""
    image, node = named_things(scenes)
    goal, embeddings = scenes.masks(image, node), embed_scenes(reader.net, scenes)
    names, label = of_text(clip, scenes), scenes.labels[image, node]
    prompts = {
        "text": names[label],
        "image": of_images(clip, scenes, image, node),
        "another_text": names[(label + 1) % len(names)],
    }
    found = {}
    for name, words in prompts.items():
        pairs = zip(image.split(AT_ONCE), words.split(AT_ONCE), strict=True)
        found[name] = quality([reader(embeddings[i], w) for i, w in pairs], goal)
    return found


@torch.no_grad()
def by_hand(net: Sam, scenes: ClickScenes) -> dict[str, float]:
    """The same things asked for with a click and with a box."""
    image, node = named_things(scenes)
    goal, embeddings = scenes.masks(image, node), embed_scenes(net, scenes)[image]
    generator = torch.Generator().manual_seed(TEST_SEED)
    places = torch.multinomial(goal.flatten(1).float(), 1, generator=generator)[:, 0]
    points = torch.stack([places % goal.shape[-1], places // goal.shape[-1]], dim=1).float()
    ones = torch.ones(len(points), 1, dtype=torch.long)
    return {
        "things": len(goal),
        "click": quality([answer(net, embeddings, points[:, None], ones)], goal),
        "box": quality([answer(net, embeddings, boxes=boxes_around(goal))], goal),
    }


def run(
    net: Sam,
    clip: CLIP,
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    scenes: int = SCENES,
    tested: int = 300,
    done: Sequence[dict] = (),
    keep: Callable[[Records], object] | None = None,
    ship: Callable[[TextPrompt], object] | None = None,
    progress: bool = False,
) -> list[dict]:
    """A record of click and box for each set of scenes, and one a teacher, seed and set.

    `ship(reader)` is called with the first seed's that was taught by names.
    """
    records = Records(done, keep)
    tests = {name: test_scenes(name, tested) for name in SETS}
    for name, test in tests.items():
        if not records.have(taught_by="nobody", scenes=name):
            records.add({"taught_by": "nobody", "scenes": name, **by_hand(net, test)})
    world = training_scenes(scenes)
    image, node = named_things(world)
    embedded = {
        "image of the mask": of_images(clip, world, image, node),
        "text": of_text(clip, world)[world.labels[image, node]],
    }
    for seed in seeds:
        for teacher in TAUGHT_BY:
            if records.have(taught_by=teacher, seed=seed, scenes=SETS[-1]):
                continue
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                width = embedded[teacher].shape[1]
                reader = TextPrompt(net, width)
            said = progress and f"{teacher}, seed {seed}"
            losses = train(reader, world, embedded[teacher], steps, seed, said)
            for name, test in tests.items():
                record = {"taught_by": teacher, "seed": seed, "scenes": name}
                record |= judge(reader, clip, test)
                records.add(
                    record | {"last_loss": round(sum(losses[-LAST:]) / len(losses[-LAST:]), 4)}
                )
            if ship and (seed, teacher) == (seeds[0], TAUGHT_BY[0]):
                ship(reader)
    return records


def settings() -> dict:
    """All that a record depends on, for the result file."""
    return {"scenes": SCENES, "steps": STEPS, "seeds": SEEDS, "batch_size": BATCH_SIZE, "lr": LR}


def main(root: Path) -> None:
    """Run it on one thread; write data/results/04_text_prompt.json."""
    this = resume(root, __name__, settings())
    net, clip = pretrained(CHECKPOINTS["student"]), pretrained("06_clip")

    def ship(reader: TextPrompt) -> None:
        this.ship(reader, CHECKPOINT, seed=str(SEEDS[0]))

    run(net, clip, done=this.records, keep=this.keep, ship=ship, progress=True)  # type: ignore[arg-type]
