"""Processes that judge many answers, each as a student's would be judged."""

import atexit
import multiprocessing.forkserver
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport.answers.wire import decode
from labsupport.grading.audit.agreement import same
from labsupport.grading.audit.isolated import Limits
from labsupport.grading.audit.jailed import Jail, sandboxed
from labsupport.grading.judging.verdicts import Cause, Challenge, Status, Verdict
from labsupport.grading.workers.forks import deaf

# The first seed stands for one student; who gets by it is asked with the others as well.
SEEDS = ("audit", "audit-2", "audit-3", "audit-4")


@dataclass(frozen=True)
class Job:
    """One answer to one exercise, judged with the first ``seeds`` seeds while it passes.

    ``check`` is the exercise's visible check, "" to leave it out. ``kind`` is "rewrite" for what
    is right only where it agrees with the solution.
    """

    exercise: str
    code: str
    seeds: int = len(SEEDS)
    check: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the judge said. ``passed`` counts seeds, of ``asked``; ``status``, ``message``,
    ``cause``, ``hint`` and ``seen`` are of the first seed, ``later`` is the message of the first
    seed after it that was not passed. ``red`` is what the visible check said, "" where it is green,
    None where it was not asked. ``agrees``: whether a rewrite gives what the solution gives."""

    status: Status
    message: str
    passed: int
    asked: int
    later: str = ""
    cause: Cause = ""
    hint: str = ""
    seen: str = ""
    red: str | None = None
    agrees: bool = True


_worker: dict[str, Any] = {}  # what a worker process makes once


def judge_all(
    source: Path, jobs: Iterable[Job], workers: int, limits: Limits, sandbox: bool = True
) -> Iterator[Outcome]:
    """Outcomes of jobs on one lab, in order. Raises RuntimeError when a worker process dies.

    Each worker judges, and keeps a warm process (``jailed``) that answers; in bubblewrap, if
    ``sandbox`` says so and there is one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "labsupport.grading.judging.judge", "einops"])
    with deaf():
        multiprocessing.forkserver.ensure_running()
    about = (str(source), limits, sandbox and sandboxed())
    with ProcessPoolExecutor(workers, context, _prepare, about) as pool:
        try:
            yield from pool.map(_judge, jobs, chunksize=4)
        except BrokenProcessPool:
            told = "a worker process of the audit died; is there memory left?"
            raise RuntimeError(told) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare(source: str, limits: Limits, sandbox: bool) -> None:
    import torch

    torch.set_num_threads(1)
    from labsupport.course.source import read_lab
    from labsupport.grading.judging.judge import AnswerKey

    lab = read_lab(Path(source))
    _worker.update(key=AnswerKey(lab), challenges={})
    # The lab's own right answers load what they load late (torch.device("meta") takes seconds)
    # once, here, and not in every fork, where it would count as their own processor time.
    warm = [(c.source, _challenge(c.name, SEEDS[0]).text) for c in lab.of("alternative")]
    _worker["jail"] = Jail(lab, limits, warm, sandbox)
    atexit.register(_worker["jail"].close)


def _judge(job: Job) -> Outcome:
    if job.kind == "rewrite" and not _agrees(job):
        return Outcome("failed", "it gives other numbers", 0, job.seeds, agrees=False)
    red = _worker["jail"].check(job.code, job.check) if job.check else None
    first = _verdict(job, SEEDS[0])
    if first.status != "passed":
        return Outcome(
            first.status,
            first.message,
            0,
            job.seeds,
            cause=first.cause,
            hint=first.hint,
            seen=first.seen,
            red=red,
        )
    passed, later = 1, ""
    for seed in SEEDS[1 : job.seeds]:
        verdict = _verdict(job, seed)
        passed += verdict.status == "passed"
        if verdict.status != "passed":
            later = later or verdict.message
    return Outcome("passed", first.message, passed, job.seeds, later, red=red)


def _agrees(job: Job) -> bool:
    """Whether a rewrite gives what the solution gives, by a measure of the audit's own."""
    key, challenge = _worker["key"], _challenge(job.exercise, SEEDS[0])
    response = _worker["jail"].answer(job.code, challenge.text)
    if isinstance(response, str) or not all("answer" in a for a in response["answers"]):
        return False
    pairs = zip(response["answers"], key.expected(challenge), strict=True)
    return all(same(decode(a["answer"]), decode(e["answer"])) for a, e in pairs)


def _challenge(exercise: str, seed: str) -> Challenge:
    challenges = _worker["challenges"]
    if (exercise, seed) not in challenges:
        challenges[exercise, seed] = _worker["key"].challenge(exercise, seed)
    return challenges[exercise, seed]


def _verdict(job: Job, seed: str) -> Verdict:
    key, challenge = _worker["key"], _challenge(job.exercise, seed)
    answer = _worker["jail"].answer(job.code, challenge.text)
    if answer == "timeout":
        return key.unanswered(challenge, "timeout", "time", "no answer: timeout")
    if answer == "crashed":
        return key.unanswered(challenge, "crashed", "died", "no answer: crashed")
    return key.verdict(challenge, answer)
