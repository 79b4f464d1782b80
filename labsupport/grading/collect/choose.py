"""Choice among a student's notebooks: the lab's by its name, by its metadata, the newest."""

import re
import unicodedata
from dataclasses import dataclass

from labsupport.answers.text import one_line
from labsupport.grading.collect.archive import Refused
from labsupport.grading.collect.handin import HandIn, Notebook
from labsupport.grading.submission.reading import Unreadable, json_of


@dataclass
class Choice:
    """A notebook for a lab, with its text; or why there is none."""

    stem: str
    notebook: Notebook | None = None
    data: bytes = b""
    why: str = ""


@dataclass
class _Candidate:
    notebook: Notebook
    data: bytes
    lab: str  # stem, "" where neither name nor metadata tells
    named: bool


def choose(hand_in: HandIn, labs: dict[str, str], wanted: str = "") -> list[Choice]:
    """A choice for the ``wanted`` lab, or for every lab of which there is a notebook.

    ``labs`` maps the stems of the course's labs to their numbers. What is no lab's by name or
    metadata is taken for the one lab that is wanted: students rename files.
    """
    if hand_in.problem:
        return [Choice(wanted, why=hand_in.problem)]
    candidates, unread = [], []
    for notebook in hand_in.notebooks:
        try:
            data = notebook.member.read()
        except Refused as error:
            unread.append(f"{notebook.name}: {error}")
            continue
        by_name, by_metadata = lab_named(notebook.name, labs), lab_within(data, labs)
        candidates.append(_Candidate(notebook, data, by_metadata or by_name, bool(by_name)))
    only = wanted or (next(iter(labs)) if len(labs) == 1 else "")
    stems = [only] if only else sorted({c.lab for c in candidates if c.lab})
    choices = [_best(stem, candidates, bool(only)) for stem in stems]
    if not choices or any(c.notebook is None for c in choices):
        why = _why_none(hand_in, candidates, unread)
        choices = [c if c.notebook or c.why else Choice(c.stem, why=why) for c in choices]
        choices = choices or [Choice("", why=why)]
    elif unread:  # one that could not be read may be the newer one
        choices = [Choice(c.stem, why="; ".join(unread)) for c in choices]
    return choices


def _best(stem: str, candidates: list[_Candidate], only: bool) -> Choice:
    pool = [c for c in candidates if c.lab == stem]
    pool = pool or [c for c in candidates if only and not c.lab]
    names = {same_name(c.notebook.name) for c in pool}
    if len(names) > 1:
        pool = [c for c in pool if c.named] or pool
        names = {same_name(c.notebook.name) for c in pool}
    if len(names) > 1 and len({c.data for c in pool}) > 1:
        listed = one_line(", ".join(sorted(c.notebook.name for c in pool)), 120)
        return Choice(stem, why=f"several notebooks, and none is named {stem}.ipynb: {listed}")
    if not pool:
        return Choice(stem)
    pool.sort(key=lambda c: c.notebook.attempt)
    best = pool[-1]
    rivals = [c for c in pool if c.notebook.attempt == best.notebook.attempt]
    if len({c.data for c in rivals}) > 1:
        return Choice(
            stem, why=f"{len(rivals)} different notebooks named {one_line(best.notebook.name, 80)}"
        )
    return Choice(stem, best.notebook, best.data)


def _why_none(hand_in: HandIn, candidates: list[_Candidate], unread: list[str]) -> str:
    if unread:
        return "; ".join(unread)
    other = sorted({c.lab for c in candidates if c.lab})
    if other:
        return f"by its name or metadata it is the notebook of {', '.join(other)}"
    if candidates:
        listed = one_line(", ".join(c.notebook.name for c in candidates), 120)
        return f"neither name nor metadata says which lab it is: {listed}"
    packed = [o for o in hand_in.others if o.lower().endswith((".zip", ".gz", ".7z", ".rar"))]
    if packed:
        return f"no notebook, but {one_line(packed[0], 80)}: an archive inside one is not opened"
    return f"no notebook, but {one_line(', '.join(hand_in.others), 120) or 'nothing'}"


def same_name(name: str) -> str:
    """A file's name without its folder, its ending, and the number a browser or platform gives
    the second file of one name: ``lab (1).ipynb`` and ``lab-2.ipynb`` are ``lab``."""
    name = unicodedata.normalize("NFKC", name.rsplit("/", 1)[-1]).casefold()
    name = name.removesuffix(".ipynb").strip()
    return re.sub(r"(?<=.)( ?\(\d{1,3}\)|-\d{1,3}|[ _-]copy\d*)+$", "", name).strip()


def lab_named(name: str, labs: dict[str, str]) -> str:
    """The stem of the lab whose file's name this is, or ""."""
    given = same_name(name)
    return next((stem for stem in labs if given in (stem.casefold(), same_name(stem))), "")


def lab_within(data: bytes, labs: dict[str, str]) -> str:
    """The stem of the lab that a notebook says it is in its metadata, or ""."""
    try:
        loaded = json_of(data)
        number = loaded["metadata"]["labsupport"]["lab"]
    except (Unreadable, KeyError, TypeError):
        return ""  # damaged: whoever grades it will say so
    return next((stem for stem, own in labs.items() if own == number), "")
