"""The plain side, run inside a disposable sandbox: nbgrader grades each attack in a process that
may be lost. ``python plain.py COURSE HOME`` prints a JSON object, attack's name -> outcome."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path

import nbformat
from catalogue import ATTACKS
from course import HONEST, PLAIN_CONFIG, SECRET, attacked, hand_in, honest, plain_source
from nbgrader.apps.api import NbGraderAPI
from outcome import FULL, harms, score_of, tree
from traitlets.config import Config

STEM = "mini"
PATIENCE = 40  # seconds for one submission of seconds' work


def main(course: Path, home: Path) -> None:
    course.mkdir(parents=True)
    home.mkdir(parents=True, exist_ok=True)
    (home / "token.txt").write_text(SECRET)
    (course / "nbgrader_config.py").write_text(PLAIN_CONFIG)
    source = course / "source" / STEM / f"{STEM}.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(plain_source(), source)
    config = Config()
    config.CourseDirectory.root = str(course)
    config.NbGrader.logfile = ""
    config.Execute.timeout = 5
    assert alone(lambda: NbGraderAPI(config=config).generate_assignment(STEM, create=True))
    released = nbformat.read(course / "release" / STEM / f"{STEM}.ipynb", as_version=4)
    names = {"home": str(home), "course": str(course), "port": str(listen()), "wait": "0"}
    hand_in(course, HONEST, STEM, honest(released, False))
    grade(config, HONEST)
    results = {}
    for number, attack in enumerate(ATTACKS):
        if attack.unsafe:
            continue
        student = attack.student or f"student-{number}"
        hand_in(
            course, student, STEM, attacked(released, attack, False, names), attack.damage, home
        )
        before, begin = tree(course, home), time.monotonic()
        done = grade(config, student)
        seconds = time.monotonic() - begin
        left = end_others()
        score = score_of(course, STEM, student)
        found = harms(attack, course, STEM, student, before, home, score)
        found += [f"the grader was {done}"] if done else []
        found += ["left a process"] if left else []
        results[attack.name] = {"score": score, "harms": found, "seconds": round(seconds, 1)}
        print(attack.name, results[attack.name], file=sys.stderr, flush=True)
        mend(course, released, before, home, config)
    json.dump(results, sys.stdout)


def grade(config: Config, student: str) -> str:
    """ "" where the grader lived to say so; it is another process, for it may be killed."""

    def work():
        api = NbGraderAPI(config=config)
        if api.autograde(STEM, student, force=True, create=True)["success"]:
            api.generate_feedback(STEM, student, force=True)

    return "" if (done := alone(work)) is True else done


def alone(work) -> bool | str:
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return True if status == 0 else "killed"
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"held up for {PATIENCE} s"


def end_others() -> list[int]:
    """Processes that are still there after grading; they are ended."""
    time.sleep(0.3)
    me, left = os.getpid(), []
    for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
        if pid in (1, me) or pid == os.getppid():
            continue
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z":
                left.append(pid)
                os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return left


def mend(course, released, before, home, config) -> None:
    """What one attack has done is not to count against the next."""
    for path in set(tree(course, home)) - set(before):
        os.remove(path)
    source = course / "source" / STEM / f"{STEM}.ipynb"
    nbformat.write(plain_source(), source)
    handed_in = course / "submitted" / HONEST / STEM / f"{STEM}.ipynb"
    handed_in.write_text(honest(released, False))
    if score_of(course, STEM, HONEST) != FULL:
        base = sqlite3.connect(course / "gradebook.db")
        base.execute("update grade set manual_score = NULL")
        base.commit()
        grade(config, HONEST)


def listen() -> int:
    """A service on this machine that hands out a secret, as many do."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.sendall(SECRET.encode())

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
