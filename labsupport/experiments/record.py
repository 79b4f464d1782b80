"""Records: how every experiment keeps its results, and goes on after it was killed."""

import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from labsupport.data.results import DATE, Result, as_stored, read_result
from labsupport.files import write_whole
from labsupport.models.weights import save_checkpoint

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
    settings: Mapping[str, Any],
    records: list[dict[str, Any]],
    seconds: float,
    **more: Any,
) -> Path:
    """Write `records` to the JSON file `path` with all that is needed to make them again: a
    `labsupport.data.results.Result`, of which date, machine and versions are those of now.

    Records that do not belong on the same curve go under a name of their own, as further keywords.
    """
    result = Result(
        command=command,
        date=datetime.now(timezone.utc).strftime(DATE),
        machine={
            "cpu": cpu_model(),
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        versions=package_versions(),
        seconds=round(seconds),
        settings=settings,
        records=records,
        more=more,
    )
    write_whole(path, result.to_json())
    return path


class Records(list[dict[str, Any]]):
    """The records of a run as it goes: those that were `done` before, and what is added, after
    each of which `keep` is called with all of them."""

    def __init__(
        self, done: Iterable[dict[str, Any]] = (), keep: Callable[["Records"], object] | None = None
    ):
        super().__init__(done)
        self.keep = keep

    def have(self, **values: Any) -> bool:
        """Whether one of them has these values, such as `have(net="CLIP", seed=0)`."""
        return any(all(r.get(k) == v for k, v in values.items()) for r in self)

    def add(self, record: dict[str, Any]) -> None:
        """One more."""
        self.append(record)
        if self.keep:
            self.keep(self)


class Run:
    """A run of an experiment from its beginning, on one thread, which writes under `root`/data.

    `module` is the experiment's `__name__`: the command and the file are named after it.
    `records` and `more` are what a killed run has left, for a run made by `resume`; else empty.
    """

    def __init__(self, root: Path, module: str, settings: Mapping[str, Any]):
        torch.set_num_threads(1)
        *_, lab, name = module.split(".")
        number = lab.removeprefix("lab")
        self.root, self.settings = root, settings
        self.command = f"labs experiment {number} {name}"
        self.path = root / f"data/results/{number}_{name}.json"
        self.records: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}
        self.seconds_before, self.start = 0.0, perf_counter()

    def keep(self, records: list[dict[str, Any]], **more: Any) -> Path:
        """Write what there is by now, as `write_result` does, the seconds of killed runs
        included."""
        return write_result(
            self.path,
            command=self.command,
            settings=self.settings,
            records=records,
            seconds=self.seconds_before + perf_counter() - self.start,
            **more,
        )

    def ship(self, net: nn.Module, checkpoint: str, **notes: str) -> Path:
        """Save `net` as a checkpoint of the labs ("05_sparsevit"), with the command and `notes` in
        its header."""
        path = self.root / f"data/checkpoints/{checkpoint}.safetensors"
        return save_checkpoint(net, path, {"command": self.command, **notes})


def resume(root: Path, module: str, settings: Mapping[str, Any]) -> Run:
    """The `Run` that goes on where one with the same settings was killed, if there was one. Raises
    LabError where the file of that run is no result file."""
    run = Run(root, module, settings)
    before = read_result(run.path) if run.path.is_file() else None
    if before and before.settings == as_stored(settings):
        run.records, run.more = before.records, dict(before.more)
        run.seconds_before = before.seconds
    return run
