"""Batches: images with everything that is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with everything that is known about them.

    Attributes:
        images: float32 (n, 3, size, size) in [0, 1].
        captions: n sentences.
        labels: int64, (n,) for single objects, (n, max_objects) for scenes, padded with -1.
        classes: the name of each label.
        instance_map: uint8 (n, size, size); 0 is background, j + 1 is object j.
        boxes: float32 (n, max_objects, 4), the visible pixels' (left, top, right, bottom) in
            pixels, right and bottom exclusive; padded with -1.
        visible: float32 (n, max_objects), the share of each object that no other one covers;
            padded with 0.
        styles: the drawing style of each image.
        seed: the seed the images were drawn with.
    """

    images: torch.Tensor
    captions: list[str]
    labels: torch.Tensor
    classes: tuple[str, ...]
    instance_map: torch.Tensor
    boxes: torch.Tensor
    visible: torch.Tensor
    styles: list[str]
    seed: int

    @property
    def instances(self) -> torch.Tensor:
        """int64 (n, size, size): 0 is background, j + 1 is object j of the image."""
        return self.instance_map.long()

    @property
    def masks(self) -> torch.Tensor:
        """int64 (n, size, size): 0 is background, class + 1 is an object of that class.

        Computed on demand: eight bytes a pixel would often be more than the images themselves.
        """
        n, height, width = self.instance_map.shape
        classes = self.labels.view(n, -1) + 1  # (n, max_objects)
        table = torch.cat([torch.zeros_like(classes[:, :1]), classes], dim=1)
        return table.gather(1, self.instance_map.view(n, -1).long()).view(n, height, width)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | slice | Sequence[int] | torch.Tensor) -> Batch:
        """The chosen images as a smaller batch; a single number gives a batch of one."""
        rows = torch.arange(len(self), device=self.images.device)[index].reshape(-1)
        chosen = rows.tolist()
        changes: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, torch.Tensor):
                changes[entry.name] = value[index if isinstance(index, slice) else rows]
            elif isinstance(value, list):
                changes[entry.name] = [value[row] for row in chosen]
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        changes: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, torch.Tensor):
                changes[entry.name] = value.to(device)
        return replace(self, **changes)
