"""What an attack is: code in the place of an answer, and what must come of it."""

import textwrap
from dataclasses import dataclass, field

HONEST = "def scale(x, factor):\n    return torch.as_tensor(x) * factor\n"
# For attacks that look for something: says LEAK with what was had, or "refused".
ATTEMPT = """
def attempt(what, try_it):
    try:
        found = try_it()
    except BaseException as error:
        print("refused", what, type(error).__name__)
    else:
        print("LEAK", what, str(found)[:300])

"""


@dataclass
class Attack:
    """``code`` stands in the cell of the exercise ``scale``; ``twice`` is solved.

    ``scale`` and ``twice`` are the statuses that are allowed, separated by "|"; ``words`` must be
    in the message for ``scale``. ``limits`` are for RunLimits.
    """

    name: str
    code: str
    scale: str
    words: str = ""
    twice: str = "passed"
    limits: dict = field(default_factory=dict)

    @property
    def source(self) -> str:
        return textwrap.dedent(self.code).strip() + "\n"


def reach(name: str, *attempts: str, setup: str = "") -> Attack:
    """An attack that tries expressions, each of which must be refused; its answer is right."""
    lines = [f"attempt({a!r}, lambda: {a})" for a in attempts]
    code = "\n".join([ATTEMPT.strip(), textwrap.dedent(setup), *lines, HONEST])
    return Attack(name, code, "passed")
