"""Moodle's names: ``Jane Doe_1234_assignsubmission_file_/lab.ipynb``, or that in one flat name.

The number counts participants of one assignment only: a student is known by the name. What a
group handed in has the group's name, and no number where it is the "Default group" of all who are
in none.
Source: Moodle's mod/assign/classes/downloader.php.
"""

import re

from labsupport.grading.collect.archive import Source
from labsupport.grading.collect.handin import HandIn, Notebook, Stray

_NAME = re.compile(
    r"(?P<name>.+?)(?:_(?P<user>[0-9]+))?_"
    r"(?:assignsubmission_(?P<kind>[a-z]+)|(?P<old>file|onlinetext))(?:_(?P<file>.*))?"
)
_NUMBERED = re.compile(_NAME.pattern.replace(r"(?:_(?P<user>[0-9]+))?_", "_(?P<user>[0-9]+)_"))


def read_moodle(source: Source, stray: list[Stray]) -> list[HandIn]:
    """A hand-in for every file of whoever handed something in."""
    found = []
    for member in source.members:
        place, match = next(
            ((i, m) for i, part in enumerate(member.parts) if (m := _of(part))), (0, None)
        )
        if match is None:
            if member.is_notebook:
                stray.append(Stray(member.name))
            continue
        name, number = match["name"].strip(), match["user"] or ""
        anonymous = name.casefold() == "participant"
        hand_in = HandIn(
            key=f"{name} {number}".strip(),
            shown=name,
            ids=[number, f"{name}_{number}", name] if number else [name],
            own_id=f"{name}-{number}" if anonymous else name,
        )
        if not number:
            hand_in.unless_mapped = (
                "it is a group's, for Moodle gives no number: say with --map who is in it"
            )
        elif not anonymous:
            first, _, last = name.rpartition(" ")
            hand_in.person = {"first_name": first, "last_name": last}
        file = "/".join(member.parts[place + 1 :]) or match["file"] or ""
        if member.is_notebook and file:
            hand_in.notebooks.append(Notebook(member, file, (), member.modified))
        else:
            text = "onlinetext" in (match["kind"], match["old"])
            hand_in.others.append("a text" if text else file)
        found.append(hand_in)
    return found


def _of(part: str) -> re.Match | None:
    """A folder's or file's name understood; without a number in Moodle's present form only."""
    match = _NUMBERED.fullmatch(part) or _NAME.fullmatch(part)
    if match is None or ("_" in match["name"] and not (match["kind"] and match["user"])):
        return None
    return match if match["kind"] or match["user"] else None
