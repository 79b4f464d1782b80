"""Lab 04: what the shipped nets make of clicks and boxes, on things seen and never seen.

    labs experiment 04 evaluation

Reads the two checkpoints that `promptable` writes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from labsupport.data.click_scenes import ClickScenes, click_scenes
from labsupport.data.clicks import boxes_around, clicks
from labsupport.data.splits import held_out, held_out_style
from labsupport.experiments.lab04.promptable import CHECKPOINTS, CONCEPTS, SIZE
from labsupport.experiments.record import Records, resume
from labsupport.labs.lab04.evaluation import answer, embed_scenes, iou_of_clicks, judge_click
from labsupport.models.registry import pretrained
from labsupport.models.sam.model import Sam

TEST_SEED = 1_000_000
TEST_SCENES, EACH = 300, 4
MOST_CLICKS, WITH_BOX = 5, 2
TIMED = 20  # passes of one image; the median counts
SETS: Mapping[str, tuple[bool, bool]] = {  # unseen concepts, unseen style
    "seen": (False, False),
    "unseen concepts": (True, False),
    "unseen style": (False, True),
    "unseen concepts and style": (True, True),
}


def test_scenes(name: str, count: int = TEST_SCENES) -> ClickScenes:
    """Scenes of one of `SETS`, none of them in training."""
    new_concepts, new_style = SETS[name]
    return click_scenes(
        count,
        SIZE,
        concepts=held_out(CONCEPTS)[new_concepts],
        style=held_out_style()[new_style],
        split="test",
        seed=TEST_SEED,
    )


def average_precision(net: Sam, scenes: ClickScenes) -> dict[str, float]:
    """COCO's AP (IoU 0.5 to 0.95) and AP at 0.5 of masks by their boxes, of everything seen.

    Of every box the mask that the net scores best, ranked by that score over all scenes; one
    class. SAM's evaluation takes a detector's boxes, here they are the true ones.
    """
    metric = MeanAveragePrecision(iou_type="segm", class_metrics=False)
    embeddings = embed_scenes(net, scenes)
    for image, seen in enumerate(scenes.seen):
        node = seen.nonzero()[:, 0]
        goal = scenes.masks(torch.full_like(node, image), node)
        logits, scores = answer(net, embeddings[[image]], boxes=boxes_around(goal))
        best = scores.argmax(dim=1)
        one = torch.zeros(len(goal), dtype=torch.long)
        mine = logits[torch.arange(len(goal)), best] > 0
        metric.update(
            [{"masks": mine, "scores": scores.amax(dim=1), "labels": one}],
            [{"masks": goal, "labels": one}],
        )
    found = metric.compute()
    return {"ap": round(found["map"].item(), 4), "ap_50": round(found["map_50"].item(), 4)}


def judge(net: Sam, scenes: ClickScenes, each: int = EACH) -> dict:
    """Everything about one net on some scenes."""
    asked = clicks(scenes, each, seed=TEST_SEED)
    with_box = iou_of_clicks(net, scenes, asked, WITH_BOX, box=True, seed=TEST_SEED)
    middle = judge_click(net, scenes, clicks(scenes, each, place="middle", seed=TEST_SEED))
    return {
        "click": judge_click(net, scenes, asked),
        "click_in_the_middle": middle,
        "by_clicks": iou_of_clicks(net, scenes, asked, MOST_CLICKS, seed=TEST_SEED),
        "box": with_box[0],
        "box_and_click": with_box[1],
        **average_precision(net, scenes),
    }


def milliseconds(net: Sam, scenes: ClickScenes, times: int = TIMED) -> dict[str, float]:
    """Processor time of one image's embedding and of one click's masks, the median."""
    one = scenes[0]
    embedding = embed_scenes(net, one)
    point, label = torch.full((1, 1, 2), 30.0), torch.ones(1, 1, dtype=torch.long)

    def median(work: Callable[[], Tensor]) -> float:
        taken = []
        for _ in range(times):
            start = process_time()
            work()
            taken.append(1000 * (process_time() - start))
        return round(sorted(taken)[times // 2], 3)

    def decode() -> Tensor:
        with torch.no_grad():
            return net.decode(embedding, point, label).logits

    return {"encoder": median(lambda: embed_scenes(net, one)), "decoder": median(decode)}


def run(
    nets: Mapping[str, Sam],
    scenes: int = TEST_SCENES,
    each: int = EACH,
    done: Sequence[dict] = (),
    keep: Callable[[Records], object] | None = None,
) -> list[dict]:
    """One record a net and set of scenes, as `judge` has it; `keep(records)` after each."""
    records = Records(done, keep)
    for name in SETS:
        test = test_scenes(name, scenes)
        for role, net in nets.items():
            if not records.have(net=role, scenes=name):
                records.add({"net": role, "scenes": name, **judge(net, test, each)})
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/04_evaluation.json."""
    settings = {
        "test_scenes": TEST_SCENES,
        "clicks_a_scene": EACH,
        "test_seed": TEST_SEED,
        "held_out_concepts": held_out(CONCEPTS)[1],
        "checkpoints": CHECKPOINTS,
    }
    this = resume(root, __name__, settings)
    nets: dict[str, Sam] = {
        role: pretrained(file)  # type: ignore[misc]
        for role, file in CHECKPOINTS.items()
    }
    speed = {role: milliseconds(net, test_scenes("seen", 1)) for role, net in nets.items()}
    run(nets, done=this.records, keep=lambda records: this.keep(records, milliseconds=speed))
