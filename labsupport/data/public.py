"""Public data sets through torchvision.datasets, for the `gpu` profile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset

from . import arguments as check
from .batch import Batch
from .captions import with_article


@dataclass(frozen=True)
class _Source:
    """How torchvision calls a data set, and which file it downloads."""

    torchvision_name: str
    file: str
    size: int  # side in pixels by default
    splits: dict[str, dict[str, object]]


PUBLIC = {
    "cifar10": _Source(
        "CIFAR10",
        "cifar-10-python.tar.gz",
        32,
        {"train": {"train": True}, "test": {"train": False}},
    ),
    "cifar100": _Source(
        "CIFAR100",
        "cifar-100-python.tar.gz",
        32,
        {"train": {"train": True}, "test": {"train": False}},
    ),
    "flowers102": _Source(
        "Flowers102", "102flowers.tgz", 224, {s: {"split": s} for s in ("train", "val", "test")}
    ),
    "pets": _Source(
        "OxfordIIITPet",
        "images.tar.gz",
        224,
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
    ),
}


class _Pictures(Protocol):
    """What torchvision's data sets are: so many pairs of a PIL image and a label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


class PublicImages(Dataset):
    """A public data set as (image, label) pairs.

    Item i is a pair of an image float32 (3, size, size) in [0, 1] and its label; images are
    scaled to a shorter side of `size` and cropped in the middle. `batch(indices)` gives the same
    Batch as the embedded data, without masks and boxes.
    """

    def __init__(self, source: _Pictures, classes: tuple[str, ...], size: int):
        self.source, self.classes, self.size = source, classes, size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from torchvision.transforms import functional as transforms

        image, label = self.source[index]
        image = transforms.resize(image.convert("RGB"), self.size, antialias=True)
        image = transforms.center_crop(image, [self.size, self.size])
        return transforms.to_tensor(image), int(label)

    def batch(self, indices: Iterable[int]) -> Batch:
        """The chosen images as a Batch of n; nothing is known but their classes.

        The instance map is all background, and there are no boxes: shape (n, 0, 4).
        """
        images, labels = zip(*(self[index] for index in indices), strict=True)
        n = len(images)
        return Batch(
            images=torch.stack(images),
            captions=[with_article(self.classes[label]) for label in labels],
            labels=torch.tensor(labels),
            classes=self.classes,
            instance_map=torch.zeros(n, self.size, self.size, dtype=torch.uint8),
            boxes=torch.empty(n, 0, 4),
            visible=torch.empty(n, 0),
            styles=["photograph"] * n,
            seed=0,
        )


def public(
    name: str,
    split: str = "train",
    size: int | None = None,
    root: str | Path | None = None,
    download: bool = True,
) -> PublicImages:
    """A public data set; downloads it at the first call.

    Args:
        name: "cifar10", "cifar100", "flowers102" or "pets" (Oxford-IIIT Pet).
        split: "train" or "test"; Flowers102 also has "val".
        size: side of the images in pixels; 32 for CIFAR and 224 for the others by default.
        root: folder for the files; ~/.cache/labsupport by default.
        download: fetch missing files; without it they must be in `root` already.

    Raises:
        ValueError: a bad argument.
        RuntimeError: the files are neither there nor could be fetched. The embedded data are
            never used instead of them.
    """
    from torchvision import datasets

    check.one_of("name", name, tuple(PUBLIC))
    source = PUBLIC[name]
    check.one_of("split", split, tuple(source.splits))
    size = source.size if size is None else check.whole("size", size, 8, 512)
    folder = Path(root) if root is not None else Path.home() / ".cache" / "labsupport"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        dataset = getattr(datasets, source.torchvision_name)(
            root=folder, download=download, **source.splits[split]
        )
    except ImportError as error:  # torchvision reads the labels of Flowers102 with scipy
        raise RuntimeError(
            f"public data set {name!r} needs {error.name}, which is not installed: "
            f"pip install {error.name}"
        ) from error
    except (OSError, RuntimeError) as error:  # a failed download is an OSError (URLError) mostly
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"public data set {name!r} is not available: {source.file} is not in {folder} and "
            f"could not be fetched ({reason}); connect to the internet, or use the embedded "
            "data: labsupport.data.singles(), PROFILE = 'cpu'"
        ) from error
    return PublicImages(dataset, _class_names(dataset), size)


def _class_names(dataset: _Pictures) -> tuple[str, ...]:
    """Lower-case names with spaces; torchvision spells them in several ways."""
    # Flowers102 has had names only since a later torchvision than the oldest one supported.
    names = getattr(dataset, "classes", None) or [f"flower {i + 1}" for i in range(102)]
    return tuple(name.replace("_", " ").lower() for name in names)
