"""Judges of labs 08 and 09: two networks that say what a sticker shows.

    labs experiment 08 hart_judges

They see every combination, those held out from the generators too, and are used in no training
of a generator. Blur, noise and stains in training keep them from asking for sharpness alone.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.data.stickers import Stickers, stickers
from labsupport.data.transforms import normalize
from labsupport.experiments.record import Run
from labsupport.models.hart.shipped import JUDGE_SIZE as SIZE
from labsupport.models.hart.shipped import JUDGES, untrained
from labsupport.models.judges import JudgeNet, judge
from labsupport.training.loop import fit

STEPS, BATCH_SIZE, LR, JITTER = 1500, 64, 3e-3, 1.5
TEST_IMAGES, TEST_SEED = 2000, 77


def worsen(images: Tensor, generator: torch.Generator) -> Tensor:
    """Some of the images (n, 3, h, w) blurred, all of them noisy."""
    n = len(images)
    kernel = torch.tensor([0.25, 0.5, 0.25])
    for axis in ((3, 1), (1, 3)):
        blurred = F.conv2d(
            images,
            kernel.view(1, 1, *axis).expand(3, 1, *axis),
            groups=3,
            padding=(axis[0] // 2, axis[1] // 2),
        )
        share = torch.rand(n, 1, 1, 1, generator=generator)
        images = images + share * (blurred - images)
    strength = 0.15 * torch.rand(n, 1, 1, 1, generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    stains = F.interpolate(
        torch.randn(n, 3, 8, 8, generator=generator), size=images.shape[2:], mode="bilinear"
    )
    return images + strength * (noise + stains)


def train_judge(name: str, seed: int, steps: int = STEPS, progress: bool = True) -> JudgeNet:
    """A trained judge, "a" or "b", in eval mode."""
    torch.manual_seed(seed)
    net, generator = untrained(f"judge {name}"), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=0.02)

    def step(number: int) -> Tensor:
        batch = stickers(
            BATCH_SIZE, SIZE, split="all", seed=(seed + 1) * 20_000_000 + number, jitter=JITTER
        )
        verdict = net(worsen(normalize(batch.images), generator))
        words = zip(verdict.logits, batch.attributes.T, strict=True)
        return sum(F.cross_entropy(logits, word) for logits, word in words)

    net.train()
    fit(step, optimizer, steps=steps, progress=f"judge {name}" if progress else False)
    return net.eval()


def right(net: JudgeNet, batch: Stickers) -> dict[str, float]:
    """Share of images in which the judge finds each kind of word, and all of them."""
    _, words = judge(net, normalize(batch.images))
    hits = words == batch.attributes
    names = ("place", "tint", "thing", "ground")
    found = {name: round(hits[:, i].float().mean().item(), 4) for i, name in enumerate(names)}
    return found | {"all": round(hits.all(dim=1).float().mean().item(), 4)}


def main(root: Path) -> None:
    """Train both, write data/checkpoints/08_judge_*.safetensors and the record."""
    settings = {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "lr": LR,
        "size": SIZE,
        "jitter": JITTER,
        "judges": JUDGES,
        "test_images": TEST_IMAGES,
    }
    run, records = Run(root, __name__, settings), []
    for seed, name in enumerate(JUDGES):
        net = train_judge(name, seed)
        run.ship(net, f"08_judge_{name}", seed=str(seed))
        records += [
            {"judge": name, "split": split}
            | right(net, stickers(TEST_IMAGES, SIZE, split=split, seed=TEST_SEED))
            for split in ("triple", "pair")
        ]
    run.keep(records)
