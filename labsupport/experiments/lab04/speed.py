"""Lab 04: the published encoders at their real sizes, random weights: time, MACs, the share.

    labs experiment 04 speed

One image at a time on one thread. ViT-H at 1024 x 1024 takes a minute or more and 8 GB of memory.
"""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time

import torch

from labsupport.experiments.record import Records, resume
from labsupport.models.sam.config import SIZES
from labsupport.models.sam.model import sam
from labsupport.profiling.counts import count_macs, count_parameters

NETS = ("efficientvit_l0", "efficientvit_l2", "efficientvit_xl1", "vit_h")
TIMES = {"vit_h": 1}  # passes that count; the others have as many as the next line says
PASSES, DECODER_PASSES = 3, 5


def measure(name: str) -> dict:
    """One net: encoder and decoder of one image and one click; seconds of the clock and of the
    processor, the least of a few passes after one that does not count (but for ViT-H)."""
    config = SIZES[name]
    with torch.device("meta"):
        shape = torch.zeros(1, 3, config.encoder.image_size, config.encoder.image_size)
        bare = sam(name).eval()
    torch.manual_seed(0)
    net = sam(name).eval()
    image = torch.randn(shape.shape)
    point, label = torch.full((1, 1, 2), 500.0), torch.ones(1, 1, dtype=torch.long)

    def seconds(work: Callable[[], object], times: int) -> tuple[float, float]:
        taken = []
        for _ in range(times):
            clock, processor = perf_counter(), process_time()
            work()
            taken.append((perf_counter() - clock, process_time() - processor))
        clocks, processors = zip(*taken, strict=True)
        return round(min(clocks), 3), round(min(processors), 3)

    with torch.inference_mode():
        times = TIMES.get(name, PASSES)
        if times > 1:
            net.embed(image)
        encoder = seconds(lambda: net.embed(image), times)
        embedding = torch.randn(1, config.decoder.dim, config.embedding, config.embedding)
        net.decode(embedding, point, label)
        decoder = seconds(lambda: net.decode(embedding, point, label), DECODER_PASSES)
    return {
        "net": name,
        "image_size": config.encoder.image_size,
        "parameters": count_parameters(bare),
        "encoder_macs": count_macs(bare.image_encoder, shape),
        "passes": times,
        "encoder_seconds": encoder[0],
        "encoder_processor_seconds": encoder[1],
        "decoder_seconds": decoder[0],
        "decoder_processor_seconds": decoder[1],
        "encoder_share": round(encoder[1] / (encoder[1] + decoder[1]), 4),
    }


def run(
    nets: Sequence[str] = NETS,
    done: Sequence[dict] = (),
    keep: Callable[[Records], object] | None = None,
) -> list[dict]:
    """One record a net, see `measure`; what is in `done` is not repeated."""
    records = Records(done, keep)
    for name in nets:
        if not records.have(net=name):
            records.add(measure(name))
            gc.collect()  # ViT-H needs the memory
    return records


def main(root: Path) -> None:
    """Run it on one thread; write data/results/04_speed.json."""
    this = resume(root, __name__, {"nets": NETS, "passes": PASSES, "fewer_passes": TIMES})
    run(done=this.records, keep=this.keep)
