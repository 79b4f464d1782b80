"""Lab 04: the shipped nets: a ViT teacher, and an EfficientViT student that learns from it.

    labs experiment 04 promptable

Writes data/checkpoints/04_sam_vit.safetensors and 04_sam_efficientvit.safetensors. The student's
image encoder first learns to give the teacher's embeddings (distillation), then all of it is
trained as the teacher was. Results are written after every net; started again with the same
settings, it goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport.data.click_scenes import ClickScenes, click_scenes
from labsupport.data.splits import held_out, held_out_style
from labsupport.data.transforms import normalize
from labsupport.experiments.record import Records, resume
from labsupport.labs.lab04.training import BETAS, BOXES, CLICKS, train_promptable
from labsupport.models.registry import pretrained
from labsupport.models.sam.model import Sam, sam
from labsupport.profiling.counts import count_macs, count_parameters
from labsupport.training.loop import History, fit, shuffled_batches

SIZE, CONCEPTS, SCENES = 64, 40, 4000
SEED = 0
BATCH_SIZE, LR, WEIGHT_DECAY = 8, 2e-3, 0.05
STEPS = {"teacher": 5000, "student": 1500}
DISTIL_STEPS, DISTIL_BATCH = 1500, 16
FINE_TUNE_LR = 1e-3
CHECKPOINTS = {"teacher": "04_sam_vit", "student": "04_sam_efficientvit"}
NETS = {"teacher": "small_vit", "student": "small_efficientvit"}
EVERY = 50  # steps a point of the curve is the mean of


def training_scenes(count: int = SCENES, seed: int = SEED) -> ClickScenes:
    """Scenes of the concepts and in the style that nets are trained on."""
    return click_scenes(
        count,
        SIZE,
        concepts=held_out(CONCEPTS)[0],
        style=held_out_style()[0],
        split="train",
        seed=seed,
    )


def untrained(role: str, seed: int = SEED) -> Sam:
    """The teacher or the student as it begins."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return sam(NETS[role])


def distil(
    student: Sam,
    teacher: Sam,
    scenes: ClickScenes,
    steps: int,
    seed: int = SEED,
    progress: bool | str = False,
) -> History:
    """Give the student the teacher's prompt encoder and decoder, and train its image encoder to
    give the teacher's embeddings: their mean squared difference (EfficientViT-SAM, section 3.2)."""
    student.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())
    student.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())
    encoder = student.image_encoder
    optimizer = torch.optim.AdamW(encoder.parameters(), LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(len(scenes), DISTIL_BATCH, steps, generator)

    def step(number: int) -> Tensor:
        images = normalize(scenes.images[next(batches)])
        with torch.no_grad():
            goal = teacher.embed(images)
        return F.mse_loss(encoder(images), goal)

    encoder.train()
    history = fit(step, optimizer, steps=steps, clip=1.0, progress=progress)
    student.eval()
    return history


def curve(history: History) -> list[float]:
    """The loss, mean of every `EVERY` steps."""
    return [
        round(sum(part) / len(part), 4)
        for part in (history.loss[i : i + EVERY] for i in range(0, len(history.loss), EVERY))
    ]


def settings(scenes: int = SCENES) -> dict:
    """All that a record depends on, for the result file."""
    image = torch.zeros(1, 3, SIZE, SIZE, device="meta")
    nets = {}
    for role, name in NETS.items():
        with torch.device("meta"):
            net = sam(name).eval()
        nets[role] = {
            "name": name,
            "parameters": count_parameters(net),
            "encoder_macs": count_macs(net.image_encoder, image),
            "steps": STEPS[role],
        }
    return {
        "size": SIZE,
        "concepts": CONCEPTS,
        "scenes": scenes,
        "seed": SEED,
        "batch_size": BATCH_SIZE,
        "clicks": CLICKS,
        "boxes": BOXES,
        "lr": LR,
        "fine_tune_lr": FINE_TUNE_LR,
        "weight_decay": WEIGHT_DECAY,
        "distil_steps": DISTIL_STEPS,
        "distil_batch_size": DISTIL_BATCH,
        "nets": nets,
    }


def run(
    most_steps: int = 10**6,
    scenes: int = SCENES,
    progress: bool = True,
    done: Sequence[dict] = (),
    teacher: Callable[[], Sam] | None = None,
    keep: Callable[[str, nn.Module, list[dict]], None] | None = None,
) -> list[dict]:
    """One record a net: how its loss fell, and the seconds it took.

    `teacher` gives the trained teacher where its record is among `done`. `keep(role, net,
    records)` is called after every net.
    """
    records = Records(done)
    train = training_scenes(scenes)
    master = None
    if records.have(net="teacher") and teacher:
        master = teacher()
    for role in NETS:
        if records.have(net=role):
            continue
        net, record = untrained(role), {"net": role, "seed": SEED}
        lr, seconds = LR, 0.0
        if role == "student" and master is not None:
            history = distil(
                net, master, train, min(DISTIL_STEPS, most_steps), SEED, progress and "distilling"
            )
            record["distil_loss"], lr, seconds = curve(history), FINE_TUNE_LR, history.seconds
        history = train_promptable(
            net,
            train,
            steps=min(STEPS[role], most_steps),
            batch_size=BATCH_SIZE,
            lr=lr,
            weight_decay=WEIGHT_DECAY,
            seed=SEED + (role == "student"),
            progress=progress and role,
        )
        record |= {"loss": curve(history), "seconds": round(seconds + history.seconds, 1)}
        records.append(record)
        master = net if role == "teacher" else master
        if keep:
            keep(role, net, records)
    return records


def main(root: Path) -> None:
    """Run it on one thread; write the checkpoints and data/results/04_promptable.json."""
    this = resume(root, __name__, settings())

    def keep(role: str, net: nn.Module, records: list[dict]) -> None:
        this.ship(net, CHECKPOINTS[role], size=NETS[role], seed=str(SEED))
        this.keep(records)

    def teacher() -> Sam:
        return pretrained(CHECKPOINTS["teacher"])  # type: ignore[return-value]

    run(done=this.records, teacher=teacher, keep=keep)
