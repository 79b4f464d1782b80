"""Labs 08 and 09: two networks that say what a sticker shows.

    labs experiment 08 hart_judges

They see every combination, those held out from the generators too, and are used in no training
of a generator. Blur, noise and stains in training keep them from asking for sharpness alone.
"""

from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from labsupport.data.stickers import CHOICES, Stickers, stickers
from labsupport.data.transforms import normalize
from labsupport.experiments.record import write_result
from labsupport.models.judges import JudgeNet, judge
from labsupport.models.weights import save_checkpoint
from labsupport.training.schedule import learning_rate_factor

STEPS, BATCH_SIZE, LR, SIZE, JITTER = 1500, 64, 3e-3, 48, 1.5
JUDGES = {"a": {"kernel": 3}, "b": {"kernel": 5, "widths": (16, 48, 64, 128)}}
TEST_IMAGES, TEST_SEED = 2000, 77


def judge_net(name: str) -> JudgeNet:
    """Judge "a" or "b", untrained."""
    return JudgeNet([len(words) for words in CHOICES], size=SIZE, **JUDGES[name])


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
    """A trained judge in eval mode."""
    torch.manual_seed(seed)
    net, generator = judge_net(name), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=0.02)
    net.train()
    with tqdm(range(steps), disable=not progress, desc=f"judge {name}") as bar:
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = LR * learning_rate_factor(step, steps)
            batch = stickers(
                BATCH_SIZE, SIZE, split="all", seed=(seed + 1) * 20_000_000 + step, jitter=JITTER
            )
            verdict = net(worsen(normalize(batch.images), generator))
            loss = sum(
                F.cross_entropy(logits, words)
                for logits, words in zip(verdict.logits, batch.attributes.T, strict=True)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return net.eval()


def right(net: JudgeNet, batch: Stickers) -> dict[str, float]:
    """Share of images in which the judge finds each kind of word, and all of them."""
    _, words = judge(net, normalize(batch.images))
    hits = words == batch.attributes
    names = ("place", "tint", "thing", "ground")
    found = {name: round(hits[:, i].float().mean().item(), 4) for i, name in enumerate(names)}
    return found | {"all": round(hits.all(dim=1).float().mean().item(), 4)}


def main(root: Path) -> None:
    """Train both on one thread, write data/checkpoints/08_judge_*.safetensors and the record."""
    torch.set_num_threads(1)
    start, records = perf_counter(), []
    for seed, name in enumerate(JUDGES):
        net = train_judge(name, seed)
        save_checkpoint(
            net,
            root / f"data/checkpoints/08_judge_{name}.safetensors",
            {"command": "labs experiment 08 hart_judges", "seed": str(seed)},
        )
        records += [
            {"judge": name, "split": split}
            | right(net, stickers(TEST_IMAGES, SIZE, split=split, seed=TEST_SEED))
            for split in ("triple", "pair")
        ]
    write_result(
        root / "data/results/08_hart_judges.json",
        records=records,
        command="labs experiment 08 hart_judges",
        seconds=perf_counter() - start,
        settings={
            "steps": STEPS,
            "batch_size": BATCH_SIZE,
            "lr": LR,
            "size": SIZE,
            "jitter": JITTER,
            "judges": JUDGES,
            "test_images": TEST_IMAGES,
        },
    )
