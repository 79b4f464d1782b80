"""Metrics: how good an answer is, in numbers.

Rooms: `classification` (accuracy), `segmentation` (IoU), `images` (PSNR, SSIM), `frechet` (distance
of two sets of images), `judges` (is a caption drawn right), `probe` (what frozen features are
worth), `retrieval` (is the right one found).
A name is imported when it is first used: the room that holds a lab's answer is hidden while that
lab is graded, and the others have to work without it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": ["accuracy"],
        "frechet": ["frechet_distance"],
        "images": ["brightness_psnr", "brightness_ssim", "psnr", "ssim"],
        "judges": ["opinion", "share_right"],
        "probe": ["linear_probe"],
        "retrieval": ["better", "top1"],
        "segmentation": ["class_iou", "mean_iou"],
    },
)
