"""The form in which every experiment keeps its results."""

import json
import platform
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import torch

PACKAGES = ("torch", "torchvision", "numpy", "labsupport")


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_result(
    path: Path,
    *,
    command: str,
    settings: dict,
    records: list[dict],
    seconds: float,
    **more_records: list[dict],
) -> Path:
    """Write `records` to the JSON file `path` with all that is needed to make them again.

    `seconds` is the wall time of the experiment, other work on the machine included. Records that
    do not belong on the same curve go under a name of their own, as further keywords.
    """
    result = {
        "command": command,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": {
            "cpu": cpu_model(),
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": package_versions(),
        "seconds": round(seconds),
        "settings": settings,
        "records": records,
    } | more_records
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def resume(path: Path, *, command: str, settings: dict) -> tuple[list[dict], Callable[..., Path]]:
    """The records of a run with these settings that was killed, none if there was none; and
    keep(records, **more_records), which writes what there is by now as `write_result` does, the
    seconds of killed runs included."""
    start = perf_counter()
    before = json.loads(path.read_text()) if path.is_file() else {}
    if before.get("settings") != json.loads(json.dumps(settings)):
        before = {}

    def keep(records: list[dict], **more_records: list[dict]) -> Path:
        return write_result(
            path,
            command=command,
            settings=settings,
            records=records,
            seconds=before.get("seconds", 0) + perf_counter() - start,
            **more_records,
        )

    return before.get("records", []), keep
