"""Run a mutant where it can neither hang nor hurt the audit: a forked process with limits."""

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from labsupport.answers.respond import LabNamespace, answer_cases, make_driver
from labsupport.answers.wire import decode

MOST_BYTES = 256 * 1024 * 1024  # of answers, all cases together


@dataclass(frozen=True)
class Limits:
    """What one mutant may use: seconds of processor time, of wall time, and bytes more than the
    audit itself has. Processor time, so that a busy machine turns nobody into a timeout."""

    cpu_seconds: int = 4
    wall_seconds: float = 120
    memory: int = 2 * 1024**3


def answer_isolated(code: str, names: dict[str, Any], challenge: str, limits: Limits) -> dict | str:
    """The response of ``code``, run among ``names``, to a challenge as students get it.

    Where there is none, the status instead: "timeout" or "crashed". Call this only in a process
    with a single thread: it forks.
    """
    return _isolated(lambda: answers_of(code, names, challenge), limits)


def check_isolated(code: str, names: dict[str, Any], check: str, limits: Limits) -> str:
    """What a visible check's cell says of ``code``: "" where it is green, else its message, or
    "timeout" or "crashed". Forks, too."""
    return str(_isolated(lambda: {"said": _said_by(code, names, check)}, limits, of="said"))


def _said_by(code: str, names: dict[str, Any], check: str) -> str:
    names = dict(names)
    try:
        exec(compile(code, "<answer>", "exec"), names)
        exec(compile(check, "<check>", "exec"), names)
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def _isolated(work: Callable[[], dict], limits: Limits, of: str = "") -> Any:
    """What ``work`` returns in a forked process with limits, or the entry ``of`` it; "timeout" or
    "crashed" where it returns nothing."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _work_and_exit(work, write_end, limits)
    os.close(write_end)
    try:
        text, in_time = _read(read_end, time.monotonic() + limits.wall_seconds)
    finally:
        os.close(read_end)
        try:
            os.killpg(child, signal.SIGKILL)  # it, and whatever it started
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)  # it had no time to become the leader of its group
        _, status = os.waitpid(child, 0)
    stopped = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    if stopped or not in_time:
        return "timeout"
    try:
        return json.loads(text)[of] if of else json.loads(text)
    except ValueError:
        return "crashed"


def _read(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """What a process writes until it ends, and whether it ended in time and in measure."""
    chunks: list[bytes] = []
    size = 0
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"", False
        chunk = os.read(pipe, 1 << 20)
        size += len(chunk)
        if not chunk:
            return b"".join(chunks), True
        if size > MOST_BYTES:
            return b"", True
        chunks.append(chunk)


def _work_and_exit(work: Callable[[], dict], pipe: int, limits: Limits) -> None:
    """The child's whole life. Whatever happens, it never returns into the audit's code."""
    try:
        os.setpgid(0, 0)
        _limit(limits)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        torch.manual_seed(0)  # else it would draw the very numbers that the judge draws next
        response = work()
        with os.fdopen(pipe, "w") as out:
            json.dump(response, out)
    finally:
        os._exit(0)


def answers_of(code: str, names: dict[str, Any], challenge: str) -> dict:
    """The response of ``code``, run here and now among a copy of ``names``."""
    message, names = decode(challenge), dict(names)
    try:
        exec(compile(code, "<answer>", "exec"), names)
        driver = make_driver(message["driver"], message["exercise"])
        answers = answer_cases(driver, LabNamespace(names), message["cases"])
    except Exception as error:  # the cell itself fails, as it would in a notebook
        text = f"{type(error).__name__}: {error}"[:500]
        answers = [{"error": "raised", "text": text}] * len(message["cases"])
    return {"nonce": message["nonce"], "answers": answers}


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + limits.memory, now + limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
