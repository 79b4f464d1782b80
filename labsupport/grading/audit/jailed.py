"""Mutants behind the wall that submissions run behind: one warm process in bubblewrap, which has
run the lab's solved cells and forks for every answer.

The judge stays outside. As in grading, what goes in is code and a challenge, and what comes out
is a response; no judge, trap or other student's answer is ever inside.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labsupport.course.lab import Lab
from labsupport.grading.audit.isolated import Limits, answer_isolated, answers_of, check_isolated
from labsupport.grading.judging.lab_code import run_cells, solved_cells
from labsupport.grading.running.sandbox.visible import command
from labsupport.grading.running.scratch import scratch


def sandboxed() -> bool:
    """Whether bubblewrap is here. An audit goes without it: a mutant is the course's own code."""
    return shutil.which("bwrap") is not None


class Jail:
    """The outside's end of a warm process. ``warm`` are (code, challenge) pairs that are run
    once, unforked, so that what they load late is loaded for all."""

    def __init__(self, lab: Lab, limits: Limits, warm: list[tuple[str, str]], sandbox: bool):
        self._folder = tempfile.TemporaryDirectory(prefix="labs-audit-", dir=scratch())
        words = [sys.executable, "-m", __name__]
        if sandbox:
            words = command(Path(self._folder.name), list(lab.masks), __name__)
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._ask(
            {"stem": lab.stem, "cells": solved_cells(lab), "limits": asdict(limits), "warm": warm}
        )

    def answer(self, code: str, challenge: str) -> dict | str:
        """See :func:`answer_isolated`. Raises RuntimeError where the warm process has died."""
        return self._ask({"code": code, "challenge": challenge})

    def check(self, code: str, check: str) -> str:
        """See :func:`check_isolated`."""
        return str(self._ask({"code": code, "check": check}))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()

    def _ask(self, message: dict) -> Any:
        to, back = self._process.stdin, self._process.stdout
        assert to and back  # both are pipes
        with contextlib.suppress(BrokenPipeError):
            to.write(json.dumps(message) + "\n")
            to.flush()
        line = back.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"the process that runs mutants died: {said[-1][:300]}")
        return json.loads(line)


def main() -> None:
    """Inside: one JSON object a line; first the lab, then answers to be given."""
    import torch

    torch.set_num_threads(1)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what the lab's cells print is no answer
        about = json.loads(sys.stdin.readline())
        names = run_cells(about["stem"], about["cells"])
        limits = Limits(**about["limits"])
        for code, challenge in about["warm"]:
            with contextlib.suppress(Exception):  # refused later, when it is judged
                answers_of(code, names, challenge)
        print(json.dumps("ready"), file=out, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            answer: dict | str
            if "check" in asked:
                answer = check_isolated(asked["code"], names, asked["check"], limits)
            else:
                answer = answer_isolated(asked["code"], names, asked["challenge"], limits)
            print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
