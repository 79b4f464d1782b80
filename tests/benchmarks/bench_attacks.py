"""The same hostile submissions on plain ``nbgrader autograde`` and on ours, side by side.

An attack *wins* where it gets points that its code is not worth. It *harms* where it costs
somebody marks, keeps the grader from its work, leaves a process or a file, changes the host,
shows a secret, or puts live script into the feedback page. The plain side runs inside bubblewrap,
with its own course, home and processes and no network; what is not safe even there is counted
apart. Run by ``make bench``; ``--json FILE`` writes every outcome.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "attacks"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from catalogue import ATTACKS, Attack  # noqa: E402
from course import HONEST, SECONDS, SECRET, TESTS, attacked, hand_in, honest  # noqa: E402
from outcome import harms, score_of, tree  # noqa: E402

STEM = "90_mini"
THEIRS: set[int] = set()  # the plain side's first process, which is no matter of ours


def plain_side(folder: Path) -> dict[str, dict]:
    """Outcomes on plain nbgrader, by the attack's name."""
    paths = [
        "/usr",
        "/lib",
        "/lib64",
        "/bin",
        "/sbin",
        "/etc/alternatives",
        "/etc/passwd",
        "/etc/ld.so.cache",
        "/etc/localtime",
        sys.prefix,
        sys.base_prefix,
        str(HERE),
    ]
    words = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/run",
        "--size",
        str(2**30),
        "--tmpfs",
        "/tmp",
        "--dir",
        "/tmp/home",
    ]
    for path in paths:
        if os.path.exists(path):
            words += ["--ro-bind", path, path]
    for name, value in {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": "/tmp/home",
        "INSTRUCTORS_TOKEN": SECRET,
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JUPYTER_RUNTIME_DIR": "/tmp/runtime",
        "LANG": "C.UTF-8",
    }.items():
        words += ["--setenv", name, value]
    limits = "ulimit -v 4000000; ulimit -f 400000; ulimit -c 0; exec "
    words += [
        "--chdir",
        "/tmp",
        "sh",
        "-c",
        limits
        + " ".join(
            [sys.executable, str(HERE / "attacks" / "plain.py"), "/tmp/course", "/tmp/home"]
        ),
    ]
    with (folder / "plain.log").open("w") as log:
        done = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log)
        THEIRS.add(done.pid)
        said, _ = done.communicate(timeout=900)
    if done.returncode != 0:
        sys.exit(f"the plain side failed: {(folder / 'plain.log').read_text()[-2000:]}")
    return json.loads(said)


def our_side(folder: Path) -> dict[str, dict]:
    """Outcomes on ours: one course with every attack in it, graded in one go."""
    import nbformat
    import psutil

    from labsupport.grading.ledger.course_directory import init_course, release
    from labsupport.grading.ledger.grades import grade_course

    home, labs, course = folder / "home", folder / "labs", folder / "course"
    home.mkdir()
    labs.mkdir()
    (home / "token.txt").write_text(SECRET)
    os.environ |= {"HOME": str(home), "INSTRUCTORS_TOKEN": SECRET}
    lab = (HERE.parent / "fixtures" / "90_mini.py").read_text()
    (labs / "90_mini.py").write_text(
        lab.replace("    for n in (1, 5):", f"    # {TESTS}\n    for n in (1, 5):")
    )
    init_course(course, labs)
    config = course / "nbgrader_config.py"
    config.write_text(
        config.read_text().replace("c.Execute.timeout = 60", f"c.Execute.timeout = {SECONDS}")
    )
    release(course)
    released = nbformat.read(course / "release" / STEM / f"{STEM}.ipynb", as_version=4)
    import plain

    names = {"home": str(home), "course": str(course), "port": str(plain.listen()), "wait": "0"}
    hand_in(course, HONEST, STEM, honest(released, True))
    students = {}
    for number, attack in enumerate(ATTACKS):
        student = students[attack.name] = attack.student or f"student-{number}"
        hand_in(course, student, STEM, attacked(released, attack, True, names), attack.damage, home)
    before, begin = tree(course, home), time.monotonic()
    processes = {p.pid for p in psutil.process_iter()}
    rows = {row.student: row for row in grade_course(course)}
    seconds = time.monotonic() - begin
    left = [
        p
        for p in psutil.Process().children(recursive=True)
        if p.pid not in processes
        and not THEIRS & {one.pid for one in [p, *p.parents()]}
        and "resource_tracker" not in " ".join(p.cmdline())
    ]
    results = {}
    for attack in ATTACKS:
        student = students[attack.name]
        score = score_of(course, STEM, student)
        found = harms(attack, course, STEM, student, before, home, score)
        found += ["left a process"] if left else []
        results[attack.name] = {
            "score": score,
            "harms": found,
            "seconds": None,
            "error": rows[student].error,
        }
    print(f"ours: {len(ATTACKS)} submissions in {seconds:.0f} s", file=sys.stderr)
    return results


def wins(attack: Attack, outcome: dict) -> bool:
    return (outcome["score"] or 0.0) > max(attack.earned, attack.worth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where every outcome is written")
    parser.add_argument("--ours-only", action="store_true", help="leave nbgrader out")
    options = parser.parse_args()
    if shutil.which("bwrap") is None:
        print("skipped: bubblewrap is missing, and without it neither side can be attacked safely")
        return
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labs-attacks-") as name:
        folder = Path(name)
        with ThreadPoolExecutor() as beside:  # what is measured is no time
            plain = None if options.ours_only else beside.submit(plain_side, folder)
            ours = our_side(folder)
            theirs = plain.result() if plain else {}
    rows = [
        {
            "family": a.family,
            "attack": a.name,
            "earned": a.earned,
            "unsafe": a.unsafe,
            "ours": ours[a.name] | {"win": wins(a, ours[a.name])},
            "nbgrader": theirs[a.name] | {"win": wins(a, theirs[a.name])}
            if a.name in theirs
            else None,
        }
        for a in ATTACKS
    ]
    show(rows)
    print(f"\n{time.monotonic() - begin:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def show(rows: list[dict]) -> None:
    print(f"{'':14}{'attacks':>8}{'':4}{'nbgrader 0.9':>22}{'':4}{'ours':>22}")
    print(f"{'family':14}{'':8}{'':4}{'wins':>8}{'harms':>7}{'not run':>9}{'wins':>14}{'harms':>7}")
    families = [*dict.fromkeys(r["family"] for r in rows), "all"]
    for family in families:
        mine = [r for r in rows if family in (r["family"], "all")]
        run = [r["nbgrader"] for r in mine if r["nbgrader"]]
        own = [r["ours"] for r in mine]
        print(
            f"{family:14}{len(mine):8}{'':4}{sum(r['win'] for r in run):8}"
            f"{sum(bool(r['harms']) for r in run):7}{len(mine) - len(run):9}"
            f"{sum(r['win'] for r in own):14}{sum(bool(r['harms']) for r in own):7}"
        )
    for side in ("nbgrader", "ours"):
        print(f"\n{side}:")
        for row in rows:
            found = row[side] or {"win": False, "harms": []}
            said = ["wins"] * found["win"] + found["harms"]
            if said:
                print(f"  {row['attack']}: {'; '.join(said)[:150]}")
    for row in rows:
        if row["unsafe"] and not row["nbgrader"]:
            print(f"  not run on nbgrader: {row['attack']}: {row['unsafe']}")


if __name__ == "__main__":
    main()
