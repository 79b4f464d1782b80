"""How good an answer is, in numbers.

Rooms: `classification` (accuracy), `images` (PSNR, SSIM), `segmentation` (IoU), `retrieval`,
`frechet` (distance of two sets of images), `probe` (linear probes), `judges` (is a caption drawn right).
A name is imported when it is first used: the room that holds a lab's answer is hidden while that
lab is graded, and the others have to work without it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": ["accuracy"],
        "frechet": ["frechet_distance"],
        "images": ["psnr", "ssim"],
        "judges": ["opinion", "share_right"],
        "probe": ["features", "linear_probe"],
        "retrieval": ["better", "top1"],
        "segmentation": ["class_iou", "mean_iou"],
    },
)
