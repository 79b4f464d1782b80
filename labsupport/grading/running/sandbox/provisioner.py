"""A jupyter_client kernel provisioner whose kernels are forks of a warm process, in a sandbox or
without."""

import asyncio
import contextlib
import os
from functools import lru_cache, partial
from queue import Empty
from typing import Any

import zmq.asyncio
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerBase

from labsupport.grading.running.clock import Clock
from labsupport.grading.running.kernels import kernel_process
from labsupport.grading.running.limits import MESSAGE_MB, MIB
from labsupport.grading.running.sandbox.asking import KernelSource
from labsupport.grading.running.sandbox.kernel import JailedKernel
from labsupport.grading.running.tree import use_of

NAME = "labs-sandbox"
WAITING = 8  # messages that a socket holds for us until they are read, but for outputs
OUTPUTS_WAITING = 1000
READY_SECONDS = 60  # on a kernel's clock, for it to answer for the first time


@lru_cache(maxsize=1)
def _context(pid: int) -> zmq.asyncio.Context:
    """A process's sockets to sandboxed kernels; after a fork the child needs its own."""
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.MAXMSGSIZE, MESSAGE_MB * MIB)
    context.setsockopt(zmq.RCVHWM, WAITING)
    # a kernel's sockets come into being a moment after we first try: look again soon (ms)
    context.setsockopt(zmq.RECONNECT_IVL, 4)
    context.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
    return context


class SandboxKernelClient(AsyncKernelClient):
    """A client that holds little of what nobody reads: questions to a person, say."""

    events: zmq.Socket | None = None  # until outputs are connected

    def connect_iopub(self, identity: bytes | None = None) -> zmq.Socket:
        self.context.setsockopt(zmq.RCVHWM, OUTPUTS_WAITING)  # takes effect on new sockets
        try:
            outputs = super().connect_iopub(identity)
        finally:
            self.context.setsockopt(zmq.RCVHWM, WAITING)
        address = f"inproc://labs-{self.session.session}"
        outputs.monitor(address, zmq.EVENT_DISCONNECTED)
        events: zmq.Socket = zmq.Context.shadow(self.context.underlying).socket(zmq.PAIR)
        events.connect(address)
        self.events = events  # from here on it is the watch's thread's
        return outputs

    def lost_outputs(self) -> bool:
        """Whether the connection for outputs has ended: with the kernel, or because a message was
        too large. For one thread only, which closes ``events`` when it is done."""
        return self.events is not None and self.events.poll(0) != 0

    def stop_channels(self) -> None:
        if self._iopub_channel is not None and self._iopub_channel.socket is not None:
            self._iopub_channel.socket.disable_monitor()
        super().stop_channels()

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Until the kernel has answered on both channels. The base class goes on to wait for a
        fifth of a second of silence, in every submission."""
        clock = Clock()
        while clock.seconds < READY_SECONDS:
            asked = self.kernel_info()
            reply = await _heard(self.get_shell_msg, asked, "kernel_info_reply", seconds=1)
            # sent before the reply, or lost: outputs from before a socket is connected are
            if reply and await _heard(self.get_iopub_msg, asked, "status", seconds=0.02):
                self._handle_kernel_info_reply(reply)
                return
            if not await self.is_alive():
                raise RuntimeError("the kernel died before it was ready")
            manager: Any = self.parent
            if clock.due():
                clock.look(use_of(kernel_process(manager)))
        raise RuntimeError("the kernel was not ready in time")


async def _heard(get, asked: str, kind: str, seconds: float) -> dict | None:
    """The answer to one question; None where it does not come, so it has to be asked again."""
    with contextlib.suppress(Empty):
        while True:
            message = await get(timeout=seconds)
            if (message["parent_header"].get("msg_id"), message["msg_type"]) == (asked, kind):
                return message
    return None


class SandboxKernelManager(AsyncKernelManager):
    """A kernel manager whose kernels come from ``source``, a :class:`KernelSource`. ``killed``:
    the last of them was killed by something outside of it, before it was to end."""

    killed = False

    def __init__(self, source: KernelSource, **options: Any):
        super().__init__(context=_context(os.getpid()), **options)
        self.client_factory = SandboxKernelClient
        self.source = source
        self.cache_ports = False

    def client(self, **options: Any) -> Any:  # a SandboxKernelClient
        return super().client(context=self.context, **options)

    @property
    def kernel_spec(self) -> KernelSpec:
        provisioner = {"kernel_provisioner": {"provisioner_name": NAME}}
        return KernelSpec(argv=[], display_name="sandbox", language="python", metadata=provisioner)


class SandboxProvisioner(KernelProvisionerBase):
    """Registered as ``labs-sandbox``; its kernel manager says which warm process to ask."""

    kernel: JailedKernel | None = None

    @property
    def has_process(self) -> bool:
        return self.kernel is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        manager: Any = self.parent
        folder = manager.source.new_folder()
        manager.transport, manager.ip = "ipc", str(folder / "s")
        for index, name in enumerate(("shell", "iopub", "stdin", "hb", "control"), 1):
            setattr(manager, f"{name}_port", index)
        self._folder = folder
        self.connection_info = manager.get_connection_info()
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        manager: Any = self.parent
        info: dict[str, Any] = dict(self.connection_info)
        info["key"] = info["key"].decode()
        loop = asyncio.get_running_loop()
        work = str(kwargs.get("cwd") or "")
        ask = partial(manager.source.kernel, self._folder, info, work)
        self.kernel = await loop.run_in_executor(None, ask)
        return self.connection_info

    async def poll(self) -> int | None:
        if self.kernel is None:
            return 0
        return None if self.kernel.alive() else 1

    async def wait(self) -> int | None:
        while await self.poll() is None:
            await asyncio.sleep(0.02)
        self._end()
        return 0

    async def send_signal(self, signum: int) -> None:
        if self.kernel is not None:
            self.kernel.signal(signum)

    async def kill(self, restart: bool = False) -> None:
        if self.kernel is not None:
            self.kernel.kill()

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)  # what runs inside has nothing to save

    async def cleanup(self, restart: bool = False) -> None:
        self._end()

    def _end(self) -> None:
        if self.kernel is not None:
            manager: Any = self.parent
            manager.killed = self.kernel.killed()
            self.kernel.end()
            self.kernel = None
