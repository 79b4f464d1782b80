"""Gradescope's export: a folder for each submission, and who and when in one YAML file."""

import datetime
import re
from typing import Any

import yaml
from dateutil import parser as dates

from labsupport.errors import CourseError
from labsupport.grading.collect.archive import Member, Refused, Source
from labsupport.grading.collect.handin import HandIn, Notebook, Stray

METADATA = "submission_metadata.yml"
_FOLDER = re.compile(r"submission_\d+")
# A loader that makes strings, lists and mappings only: no tags are heeded, and a student number
# keeps its leading zeros.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_gradescope(source: Source, stray: list[Stray]) -> list[HandIn]:
    """Each submission once for each of its submitters (a group's members all get it)."""
    about = _metadata(source.members)
    folders: dict[str, list[tuple[Member, int]]] = {}
    for member in source.members:
        place = next((i for i, p in enumerate(member.parts[:-1]) if _FOLDER.fullmatch(p)), None)
        if place is not None:
            folders.setdefault(member.parts[place], []).append((member, place))
        elif member.is_notebook:
            stray.append(Stray(member.name))
    newest: dict[str, tuple[tuple, HandIn]] = {}
    for folder, files in folders.items():
        facts = about.get(folder)
        facts = facts if isinstance(facts, dict) else {}
        when = _moment(facts.get(":created_at"))
        order = (when.timestamp() if when else 0.0, int(folder.split("_")[1]))
        for person in _submitters(facts) or [{}]:
            hand_in = _hand_in(folder, person, files, when, order)
            if hand_in.key not in newest or newest[hand_in.key][0] < order:
                newest[hand_in.key] = (order, hand_in)
    return [hand_in for _, hand_in in newest.values()]


def _metadata(members: list[Member]) -> dict:
    found = [
        m
        for m in members
        if m.parts[-1] == METADATA and not any(_FOLDER.fullmatch(p) for p in m.parts)
    ]
    if len(found) > 1:
        raise CourseError(f"there are {len(found)} files {METADATA}: give one export at a time")
    if not found:
        return {}
    try:
        loaded = yaml.load(found[0].read(), Loader=_LOADER)  # noqa: S506 (makes plain values only)
    except Refused as error:
        raise CourseError(f"{found[0].name}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CourseError(f"{found[0].name} is no valid YAML: {line}") from None
    if not isinstance(loaded, dict):
        raise CourseError(f"{found[0].name} does not list submissions: export them again")
    return loaded


def _submitters(facts: dict) -> list[dict[str, str]]:
    people = facts.get(":submitters")
    people = [p for p in people if isinstance(p, dict)] if isinstance(people, list) else []
    return [
        {
            key: text
            for key in ("sid", "email", "name")
            if isinstance(text := p.get(f":{key}"), str) and text.strip()
        }
        for p in people
    ]


def _hand_in(folder: str, person: dict, files, when, order) -> HandIn:
    ids = [person[key].strip() for key in ("sid", "email", "name") if key in person]
    hand_in = HandIn(
        # two of one name, and nothing else known of them, may be two people
        key=folder if list(person) == ["name"] else ids[0] if ids else folder,
        shown=person.get("name", folder),
        ids=ids or [folder],
    )
    first, _, last = " ".join(person.get("name", "").split()).rpartition(" ")
    hand_in.person = {
        "first_name": first,
        "last_name": last,
        "email": person.get("email", "").strip(),
        "lms_user_id": person.get("sid", "").strip(),
    }
    if not ids:
        hand_in.problem = f"{METADATA} does not say who handed it in"
    for member, place in files:
        name = "/".join(member.parts[place + 1 :])
        if member.is_notebook:
            hand_in.notebooks.append(Notebook(member, name, order, when))
        else:
            hand_in.others.append(name)
    return hand_in


def _moment(text: Any) -> datetime.datetime | None:
    """``2026-01-31 22:15:03.123456000 Z`` as a time with a zone; None for what is no time."""
    try:
        moment = dates.parse(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
