"""Mutants that are no mistakes, declared beside a lab's source in NN_name.equivalents.toml.

Each entry is one mutant, named by what ``labs audit`` prints, and the reason why it is right::

    [[equivalent]]
    exercise = "patchify"
    operator = "axis"
    where = "patchify"
    before = "return x.flatten(3).flatten(1, 2)"
    after = "return x.flatten(-3).flatten(1, 2)"    # or a list, for one reason
    reason = "x has six axes, so -3 is axis 3"

The file is for mutants that give every student the same outputs, gradients and side effects as the
solution. A mutant that ought to be caught is a gap in the judge: mend the judge instead.
"""

from dataclasses import dataclass
from pathlib import Path

from labsupport.course.publication import tomllib
from labsupport.grading.audit.mutants import Mutant

KEYS = ("exercise", "operator", "where", "before", "after", "reason")


@dataclass(frozen=True)
class Equivalent:
    """One declared mutant."""

    exercise: str
    operator: str
    where: str
    before: str
    after: str
    reason: str

    @property
    def identity(self) -> tuple[str, str, str, str, str]:
        return self.exercise, self.operator, self.where, self.before, self.after

    def of(self, mutant: Mutant) -> bool:
        return self.identity == mutant.identity


def equivalents_file(source: Path) -> Path:
    return source.with_suffix(".equivalents.toml")


def read_equivalents(source: Path) -> dict[tuple, Equivalent]:
    """The declared equivalents of a lab's source by identity; none where there is no file.

    Raises ValueError that names the entry and what it lacks.
    """
    path = equivalents_file(source)
    if not path.exists():
        return {}
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    found = {}
    for number, entry in enumerate(entries, 1):
        lacking = [key for key in KEYS if key not in entry]
        unknown = [key for key in entry if key not in KEYS]
        if lacking or unknown:
            what = f"lacks {lacking[0]!r}" if lacking else f"has unknown {unknown[0]!r}"
            raise ValueError(f"{path}: entry {number} {what}; an entry has {', '.join(KEYS)}")
        if not str(entry["reason"]).strip():
            raise ValueError(f"{path}: entry {number} gives no reason; say why it is no mistake")
        lines = entry["after"] if isinstance(entry["after"], list) else [entry["after"]]
        for after in lines:
            one = Equivalent(**(entry | {"after": after}))
            if one.identity in found:
                raise ValueError(f"{path}: entry {number} declares a mutant a second time")
            found[one.identity] = one
    return found
