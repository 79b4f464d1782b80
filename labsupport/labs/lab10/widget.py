"""A widget for both ways: show the model a picture, and give it a caption."""

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure
from torch import Tensor

from labsupport.labs.lab10.figures_model import Answers, answers_in_words, draw_answers
from labsupport.notebook.plot.images import pixels
from labsupport.notebook.widgets import (
    Drawn,
    Message,
    Picture,
    Playable,
    choice,
    column,
    drawn,
    line_of_text,
    row,
    whole_number,
)

GUIDANCES = (1.0, 1.5, 2.0, 3.0, 5.0)


def unified_explorer(
    read: Callable[[Tensor], tuple[str, Answers]],
    draw: Callable[[str, float, int], Tensor],
    pictures: Mapping[str, Callable[[int], Tensor]],
    caption: str,
    guidance: float = 1.5,
) -> Playable:
    """Left, a picture that is shown to the model, what it says of it and answers; right, what it
    draws for a caption.

    `pictures` are functions of a whole number, the picture's variant, to (3, h, w), by name.
    `read(image)` gives the caption and the answers, `draw(caption, guidance, seed)` an image (3,
    h, w). What is wrong with a caption is said below the field. The still picture is the first.
    """
    names = list(pictures)
    made: dict[tuple[str, float, int], Tensor] = {}  # the last one, while other controls move

    def drawing(*asked) -> Tensor:
        if asked not in made:
            image = draw(*asked)
            made.clear()
            made[asked] = image
        return made[asked]

    def render(name: str, variant: int, asked: str, strength: float, seed: int) -> Drawn:
        shown, painted = pictures[name](variant), drawing(asked, strength, seed)
        said, answers = read(shown)
        fig = Figure(figsize=(11, 4.6), dpi=80, layout="constrained")
        left, middle, right = fig.subplots(1, 3, width_ratios=(1, 1.05, 1))
        for ax, image, title in (
            (left, shown, f"it is shown: {name}\nit says: “{said}”"),
            (right, painted, f"it is told: “{asked}”\nit draws:"),
        ):
            ax.imshow(pixels(image))
            ax.set_title(title, fontsize=11)
            ax.axis("off")
        draw_answers(middle, answers)
        return drawn(
            fig,
            f"Left, what the model is shown: {name}, variant {variant}. It says “{said}”, and "
            f"answers: {answers_in_words(answers)}. Right, what it draws for “{asked}” with "
            f"guidance {strength:g} and seed {seed}.",
        )

    shown = choice("show it", names, names[0])
    variant = whole_number("variant", 0, 99, 0)
    field = line_of_text("caption", caption)
    strength = choice("guidance", [(f"{c:g}", c) for c in GUIDANCES], guidance)
    seed = whole_number("seed", 0, 99, 0)
    controls = shown, variant, field, strength, seed
    message = Message()
    still = render(*(control.value for control in controls))
    picture = Picture(still)

    def redraw(_: dict) -> None:
        try:
            picture.show(render(*(control.value for control in controls)))
            message.say()
        except ValueError as error:
            message.say(str(error))

    for control in controls:
        control.observe(redraw, "value")
    return Playable(
        column(row(shown, variant), row(field, strength, seed), message.widget, picture.widget),
        still,
    )
