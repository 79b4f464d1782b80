"""Hands on a kernel that work from any thread, whatever the kernel is doing."""

import contextlib
import signal

import psutil
from jupyter_client.manager import AsyncKernelManager


def end_kernel(manager: AsyncKernelManager) -> None:
    """Kill a kernel now, from any thread, whatever it is doing."""
    process = kernel_process(manager)
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        try:
            children = process.children(recursive=True)
        finally:
            # in a sandbox it is the first of its process namespace: all others go with it
            process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def interrupt_kernel(manager: AsyncKernelManager) -> None:
    """Ask a kernel to stop its cell, from any thread."""
    process = kernel_process(manager)
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)


def kernel_process(manager: AsyncKernelManager) -> psutil.Process | None:
    provisioner = manager.provisioner if manager else None
    holder = getattr(provisioner, "kernel", None) or getattr(provisioner, "process", None)
    try:
        return psutil.Process(holder.pid) if holder is not None else None
    except psutil.NoSuchProcess:
        return None
