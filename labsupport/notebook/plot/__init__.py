"""Figures, in one style for all labs.

Rooms: `style` (colours, fonts), `images` (images, patches, tokens), `charts` (curves, tables),
`comparison_charts` (systems side by side), `maps` (matrices, attention), `segmentation`.
"""

from labsupport.notebook.plot.images import (
    compare_tokens,
    draw_grid,
    draw_sheet,
    pixels,
    show_grids,
    show_images,
    show_patches,
)
from labsupport.notebook.plot.style import (
    BLUE,
    GREEN,
    GREY,
    HEAT,
    ORANGE,
    PALETTE,
    PURPLE,
    RED,
    SKY,
    finish,
    use_style,
)

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "HEAT",
    "ORANGE",
    "PALETTE",
    "PURPLE",
    "RED",
    "SKY",
    "compare_tokens",
    "draw_grid",
    "draw_sheet",
    "finish",
    "pixels",
    "show_grids",
    "show_images",
    "show_patches",
    "use_style",
]
