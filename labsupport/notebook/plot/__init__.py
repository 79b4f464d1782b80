"""Figures, in one style for all labs.

Rooms: `style` (colours, fonts), `images` (images, patches, tokens, rows of images), `charts`
(curves, error bars, tables), `comparison_charts` (systems side by side), `maps` (matrices,
attention), `segmentation` (classes as colours), `diagrams` (boxes and arrows).
"""

from labsupport.notebook.plot.images import (
    compare_tokens,
    draw_grid,
    draw_row,
    draw_sheet,
    pixels,
    rows_below,
    rows_of_axes,
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
    "draw_row",
    "draw_sheet",
    "finish",
    "pixels",
    "rows_below",
    "rows_of_axes",
    "show_grids",
    "show_images",
    "show_patches",
    "use_style",
]
