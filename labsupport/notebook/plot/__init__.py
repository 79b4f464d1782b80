"""Figures, in one style for all labs.

Rooms: `style` (colours, markers, fonts), `ending` (how each figure ends, its words with it),
`words` (sentences out of numbers), `images` (images, patches, tokens, rows of images), `charts`
(curves, error bars, tables), `comparison_charts` (systems side by side), `maps` (matrices,
attention), `segmentation` (classes as colours), `diagrams` (boxes and arrows).
"""

from labsupport.notebook.plot.ending import finish
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
    HATCHES,
    HEAT,
    MARKERS,
    ORANGE,
    PALETTE,
    PURPLE,
    RED,
    SKY,
    bar_of,
    ink,
    line_of,
    use_style,
)

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "HATCHES",
    "HEAT",
    "MARKERS",
    "ORANGE",
    "PALETTE",
    "PURPLE",
    "RED",
    "SKY",
    "bar_of",
    "compare_tokens",
    "draw_grid",
    "draw_row",
    "draw_sheet",
    "finish",
    "ink",
    "line_of",
    "pixels",
    "rows_below",
    "rows_of_axes",
    "show_grids",
    "show_images",
    "show_patches",
    "use_style",
]
