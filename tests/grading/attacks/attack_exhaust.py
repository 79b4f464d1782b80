"""Family 2: use up time, memory, processes, disk, output, and the grader's patience."""

from attack import HONEST, Attack

SECONDS = {"cell_seconds": 1}
DIED = "crashed|timeout|out of memory"


def inside(name: str, body: str, scale: str, words: str = "", **options) -> Attack:
    """An attack whose ``body`` runs when the grader calls the function; the checks pass."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    code = (
        "import os, sys, time\ndef scale(x, factor):\n"
        "    if factor in (2, 3): return x * factor\n"
        f"{lines}    return x * factor\n"
    )
    return Attack(name, code, scale, words, **options)


SPEAK = """
kernel = get_ipython().kernel
parent = kernel.get_parent()
who = parent["header"]["session"].encode()
who = getattr(kernel, "_parent_ident", {}).get("shell") or who
def tell(socket, kind, content, parent=parent, ident=b"x"):
    kernel.session.send(socket, kind, content, parent=parent, ident=ident)
"""

EXHAUST = [
    inside("endless loop", "while True: pass", "timeout", "took too long", limits=SECONDS),
    inside(
        "a loop that refuses to end",
        """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: time.sleep(1)
""",
        "timeout",
        limits=SECONDS,
    ),
    inside(
        "fork bomb",
        "while True:\n    try: os.fork()\n    except OSError: pass",
        DIED,
        limits={"cell_seconds": 4},
    ),
    inside(
        "thread bomb",
        """
import threading
held = threading.Event()
for _ in range(10**5):
    threading.Thread(target=held.wait).start()
""",
        f"{DIED}|error",
        limits={"cell_seconds": 4},
    ),
    inside(
        "threads left behind, to be blamed on the next exercise",
        """
import threading
for _ in range(300):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
        f"{DIED}|error",
    ),
    inside(
        "memory bomb", "held = bytearray(10**9); time.sleep(2)", "out of memory", "more than 700 MB"
    ),
    inside(
        "memory bomb in shared mappings",
        """
import mmap
held = []
for _ in range(4):
    held.append(mmap.mmap(-1, 300_000_000))
    for at in range(0, 300_000_000, 4096): held[-1][at] = 1
time.sleep(2)
""",
        "out of memory",
        "more than 700 MB",
    ),
    inside(
        "memory bomb over processes",
        """
for _ in range(5):
    if os.fork() == 0:
        held = bytearray(200_000_000); time.sleep(30)
time.sleep(30)
""",
        "out of memory",
    ),
    inside(
        "memory nobody owns",
        """
try:
    os.memfd_create("x"); print("LEAK memfd")
except PermissionError: pass
import ctypes
if ctypes.CDLL(None).shmget(0, ctypes.c_size_t(1 << 30), 0o1600) != -1: print("LEAK shmget")
""",
        "passed",
    ),
    inside("a tensor of a terabyte", "torch.empty(10**12)", "error", "RuntimeError"),
    inside(
        "a file of any size",
        """
try:
    with open("/tmp/big", "wb") as file:
        while True: file.write(b"x" * 10**7)
except OSError: pass
try:
    for n in range(10):
        with open(f"/tmp/more{n}", "wb") as file:
            while True: file.write(b"x" * 10**7)
except OSError: pass
""",
        "passed",
    ),
    inside(
        "any number of files",
        """
try:
    for n in range(10**5): open(f"/tmp/{n}", "w").close()
except OSError: pass
else: print("LEAK 10**5 files")
""",
        "passed",
    ),
    inside(
        "files beside the kernel's sockets",
        """
for name in ("/run/kernel/big", "/run/labs/big", "/dev/big", "/run/big", "/home/big", "/big"):
    try:
        with open(name, "wb") as file: file.write(b"x" * 5_000_000)
    except OSError: continue
    print("LEAK", name)
""",
        "passed",
    ),
    inside(
        "all file descriptors",
        """
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
del held[:0]
for fd in held: os.close(fd)
""",
        "passed",
    ),
    inside(
        "a flood of text",
        "while True: print('x' * 10_000)",
        "timeout|crashed|out of memory",
        limits=SECONDS,
    ),
    inside(
        "a million outputs",
        """
from IPython.display import display
for n in range(10**6): display({"text/plain": "x"}, raw=True)
""",
        "crashed",
        "outputs",
        limits={"cell_seconds": 30, "outputs": 1000},
    ),
    inside(
        "one output of 100 MB",
        """
from IPython.display import display
display({"text/plain": "x" * 10**8}, raw=True)
""",
        "crashed|timeout",
        limits={"memory_mb": 2000},
    ),
    inside(
        "a display updated over and over",
        """
from IPython.display import display, update_display
for n in range(900): display(n, display_id="d")
for n in range(10**6): update_display(n, display_id="d")
""",
        "crashed",
        "outputs",
        limits={"cell_seconds": 30, "outputs": 1000},
    ),
    inside(
        "tracebacks of any length",
        SPEAK
        + """
long = {"ename": "x", "evalue": "y", "traceback": ["z" * 7_000_000]}
for n in range(100): tell(kernel.iopub_socket, "error", long)
time.sleep(2)
""",
        "crashed",
        "printed more than 2 MB",
    ),
    inside(
        "messages that belong to no cell",
        SPEAK
        + """
for n in range(200):
    tell(kernel.iopub_socket, "stream", {"name": "stdout", "text": "x" * 7_000_000}, parent=None)
time.sleep(2)
""",
        "crashed",
        "printed more than 2 MB",
    ),
    inside(
        "questions that nobody reads",
        SPEAK
        + """
for n in range(40):
    tell(kernel.stdin_socket, "input_request", {"prompt": "x" * 7_000_000}, ident=who)
""",
        f"passed|{DIED}",
    ),
    inside(
        "replies that nobody asked for",
        SPEAK
        + """
for n in range(40):
    try: tell(kernel.shell_stream.socket, "execute_reply", {"status": "x" * 7_000_000}, ident=who)
    except AttributeError: break
""",
        f"passed|{DIED}",
    ),
    inside(
        "outputs cleared over and over",
        SPEAK
        + """
for n in range(10**6):
    tell(kernel.iopub_socket, "clear_output", {"wait": bool(n % 2)})
""",
        "crashed",
        "outputs",
        limits={"cell_seconds": 30, "outputs": 1000},
    ),
    inside(
        "memory in the buffers of sockets",
        """
import socket
held = []
try:
    while True:
        pair = socket.socketpair()
        held.append(pair)
        pair[0].setblocking(False)
        try:
            while True: pair[0].send(b"x" * 65536)
        except BlockingIOError: pass
except OSError: pass
for one, other in held: one.close(); other.close()
""",
        "passed",
    ),
    inside(
        "a child that is stopped",
        """
import signal
if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGSTOP); os._exit(0)
os.kill(os.getpid(), signal.SIGSTOP)
""",
        "passed|timeout",
        limits=SECONDS,
    ),
    inside("endless recursion", "return scale(x, factor)", "error", "RecursionError"),
    inside("a segmentation fault", "import ctypes; ctypes.string_at(0)", "crashed"),
    inside("the end of the process", "os._exit(0)", "crashed"),
    inside(
        "death and a full table", "os.kill(os.getpid(), 9); os.kill(-1, 9)", "passed|crashed|error"
    ),
    inside("input", "input()", "error", "StdinNotImplementedError"),
    Attack(
        "sleep in every cell but within its time",
        HONEST + "import time\ntime.sleep(30)\n",
        "crashed|not reached|missing",
        limits={"cell_seconds": 60, "notebook_seconds": 4},
        twice="passed|missing",
    ),
    Attack(
        "threads and daemons that stay",
        HONEST
        + """
import atexit, os, threading, time
atexit.register(time.sleep, 1000)
def spin():
    while True: pass
threading.Thread(target=spin).start()
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: time.sleep(1)
        os._exit(0)
""",
        "passed",
    ),
]
