"""Canvas' names: ``doejane_LATE_4711_90210_lab-1.ipynb``: name, user's id, upload's id, file.

Names and files may have numbers between underscores themselves: a group called ``group_1``, a file
called ``2_solved.ipynb``. Canvas puts hyphens around every other such number of a name, so at most
one belongs to it. Where two readings are left, and the file's name is no lab's in just one of them,
whose it is is not guessed. Source: Canvas' lib/content_zipper.rb.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from labsupport.grading.collect.archive import Source
from labsupport.grading.collect.handin import HandIn, Notebook, Stray

_ANONYMOUS = re.compile(
    r"(?:(?P<late>LATE)_)?(?P<user>anon_[A-Za-z0-9]+)_(?P<attempt>[0-9]+)_(?P<file>.+)"
)
_PAGE = re.compile(r"(?:(?P<name>.*)_)?(?P<user>[0-9]+)_(?P<kind>text|link)\.html")
_AGAIN = re.compile(r"(?P<base>.+?)(?:-(?P<count>\d{1,3}))?\.ipynb", re.I)


@dataclass(frozen=True)
class Upload:
    """A name understood. ``attempt`` grows from one upload to the next."""

    name: str
    user: str
    attempt: int
    file: str
    late: bool = False


def read_canvas(source: Source, stray: list[Stray], is_lab: Callable[[str], bool]) -> list[HandIn]:
    """A hand-in for every file; ``is_lab`` says whether a file's name is that of a lab."""
    found = []
    for member in source.members:
        uploads = readings(member.parts[-1], is_lab)
        if len(uploads) != 1:
            if uploads:
                users = " or ".join(u.user for u in uploads)
                stray.append(
                    Stray(member.name, f"it may be user {users}'s: its name tells no more")
                )
            elif member.is_notebook:
                stray.append(Stray(member.name))
            continue
        (upload,) = uploads
        hand_in = HandIn(
            key=upload.user,
            shown=upload.name or upload.user,
            ids=[upload.user, upload.name],
            late=upload.late,
        )
        if not upload.user.startswith("anon_"):
            group = upload.name[-1:].isdigit()  # group_1: nobody's own name
            name = "" if group else upload.name
            hand_in.person = {"last_name": name, "lms_user_id": upload.user}
        if member.is_notebook:
            again = _AGAIN.fullmatch(upload.file)  # not of a file that is named .ipynb only
            name, count = (f"{again['base']}.ipynb", again["count"]) if again else (".ipynb", 0)
            attempt = (upload.attempt, int(count or 0))
            hand_in.notebooks.append(Notebook(member, name, attempt, member.modified))
        else:
            hand_in.others.append(upload.file)
        found.append(hand_in)
    return found


def readings(name: str, is_lab: Callable[[str], bool]) -> list[Upload]:
    """What a file's name may mean: one upload, several where it cannot be told, or none."""
    if match := _ANONYMOUS.fullmatch(name):
        late = bool(match["late"])
        return [Upload("", match["user"], int(match["attempt"]), match["file"], late)]
    if match := _PAGE.fullmatch(name):
        shown, late = _without_late(match["name"] or "")
        return [Upload(shown, match["user"], 0, f"a {match['kind']}", late)]
    parts = name.split("_")
    pairs = [i for i in range(len(parts) - 2) if _digits(parts[i]) and _digits(parts[i + 1])]
    pairs = [i for i in pairs if "_".join(parts[i + 2 :])]
    found = [_upload(parts, i) for i in pairs if i in (pairs[0], pairs[0] + 1)]
    if len(found) < 2:
        return found
    named = [u for u in found if is_lab(u.file)]
    if len(named) == 1:
        return named
    # Canvas' numbers do not begin with 0, as that of 01_vision does
    return found[:1] if _canvas_own(parts, pairs[0]) > _canvas_own(parts, pairs[1]) else found


def _canvas_own(parts: list[str], place: int) -> bool:
    return all(not part.startswith("0") for part in parts[place : place + 2])


def _upload(parts: list[str], place: int) -> Upload:
    user, attempt = parts[place : place + 2]
    shown, late = _without_late("_".join(parts[:place]))
    return Upload(shown, user, int(attempt), "_".join(parts[place + 2 :]), late)


def _without_late(name: str) -> tuple[str, bool]:
    if name == "LATE":
        return "", True
    return (name.removesuffix("_LATE"), True) if name.endswith("_LATE") else (name, False)


def _digits(part: str) -> bool:
    return part.isascii() and part.isdigit()
