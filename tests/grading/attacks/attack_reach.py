"""Family 3: reach out, peek, leave something behind. The answers are right: only the attempt
must fail. ``CANARY`` is replaced by a file of the instructor's, ``ROOT`` by the checkout."""

from attack import reach

LIBC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
    return name
def in_child(name, *arguments):  # a refusal must not end the kernel
    child = os.fork()
    if child == 0:
        try: call(name, *arguments)
        except BaseException: os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise OSError(name)
    return name
"""
PIDS = "[p for p in __import__('os').listdir('/proc') if p.isdigit()]"
OTHERS = """
import os
me = os.readlink("/proc/self")
others = [p for p in os.listdir("/proc") if p.isdigit() and p != me]
mine = {me}
def first(path, use):
    for pid in others:
        with open(f"/proc/{pid}/status") as status:
            if f"PPid:\\t{me}" in status.read(): continue
        try: return use(path.format(pid))
        except OSError: pass
    raise PermissionError
"""

REACH = [
    reach("a file of the instructor's", "open('CANARY').read()"),
    reach(
        "through a link",
        "open('/tmp/work/link').read()",
        setup="import os\nos.symlink('CANARY', '/tmp/work/link')",
    ),
    reach("through the root of a process", "open('/proc/self/root/CANARY').read()"),
    reach(
        "solutions and tests",
        "open('ROOT/solutions/01_vision_transformer.py').read()",
        "open('ROOT/tests/fixtures/90_mini.py').read()",
        "open('ROOT/pyproject.toml').read()",
    ),
    reach(
        "accounts",
        "open('/etc/passwd').read()",
        "open('/etc/shadow').read()",
        "__import__('os').listdir('/root/.ssh')",
    ),
    reach(
        "the environment",
        "__import__('os').environ['LABS_TEST_CANARY']",
        "[k for k in __import__('os').environ if 'TOKEN' in k or 'CANARY' in k][0]",
    ),
    reach(
        "the environment of others",
        "first('/proc/{}/environ', lambda p: open(p).read())",
        "first('/proc/{}/root/tmp', os.listdir)",
        "first('/proc/{}/cwd', os.listdir)",
        "first('/proc/{}/fd/2', os.readlink)",
        setup=OTHERS,
    ),
    reach(
        "the memory of others",
        "first('/proc/{}/mem', lambda p: open(p, 'r+b'))",
        "in_child('ptrace', 16, 2, 0, 0)",
        "in_child('process_vm_readv', 2, None, 0, None, 0, 0)",
        setup=OTHERS + LIBC,
    ),
    reach(
        "signals to others",
        "os.kill(PARENT, 0)",
        "__import__('signal').pidfd_send_signal(os.open('/proc/2', os.O_RDONLY), 9)",
        setup="import os",
    ),
    reach(
        "the network",
        "socket.create_connection(('1.1.1.1', 53), timeout=1)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.create_connection(('127.0.0.1', PORT), timeout=1)",
        setup="import socket",
    ),
    reach(
        "the sandbox's own sockets",
        "connect('/run/labs/zygote.sock')",
        "os.listdir('/run/labs')[0]",
        "connect('\\0labs')",
        setup="""
import os, socket
def connect(place):
    client = socket.socket(socket.AF_UNIX); client.connect(place); return place
""",
    ),
    reach(
        "namespaces of its own",
        "in_child('unshare', 0x10000000)",
        "in_child('unshare', 0x10000000 | 0x20000 | 0x20000000)",
        "in_child('syscall', 56, 0x10000000 | 17, 0, 0, 0, 0)",
        "in_child('setns', os.open('/proc/self/ns/user', os.O_RDONLY), 0)",
        setup=LIBC,
    ),
    reach(
        "mounts",
        "in_child('mount', b't', b'/tmp/work', b'tmpfs', 0, b'size=8g')",
        "in_child('umount2', b'/run/labs', 2)",
        "in_child('chroot', b'/tmp')",
        "in_child('pivot_root', b'/tmp', b'/tmp')",
        setup=LIBC,
    ),
    reach(
        "more rights",
        "os.setuid(0)",
        "os.mknod('/tmp/sda', 0o60600, os.makedev(8, 0))",
        "os.chown('/tmp/work', 0, 0)",
        "os.write(os.open('/proc/self/uid_map', os.O_WRONLY), b'0 0 1')",
        setup="import os",
    ),
    reach(
        "the machine's settings",
        "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)",
        "os.open('/proc/sys/vm/drop_caches', os.O_WRONLY)",
        "open('/proc/sysrq-trigger', 'r+b').read(1)[0]",
        "os.listdir('/sys')",
        setup="import os",
    ),
    reach(
        "the package",
        "open('ROOT/labsupport/respond.py', 'a').write('x')",
        "open(labsupport.__file__, 'a')",
        "os.remove(labsupport.__file__)",
        setup="import os, labsupport",
    ),
    reach(
        "the answers of a masked module",
        "importlib.import_module('labsupport.models.vit').VisionTransformer",
        "glob.glob(os.path.dirname(labsupport.models.__file__) + '/__pycache__/vit*')[0]",
        "open(labsupport.models.__file__.replace('__init__', 'vit')).read()[0]",
        setup="import glob, importlib, os, labsupport.models",
    ),
    reach(
        "start-up files for the next",
        "os.makedirs('/etc/ipython/startup')",
        "open('/etc/ld.so.preload', 'w')",
        "os.makedirs('/home/next')",
        "open('/next', 'w')",
        "open('/run/next', 'w')",
        "open('/dev/next', 'w')",
        setup="import os",
    ),
    reach(
        "keyrings",
        "in_child('syscall', 248, b'user', b'k', b'v', 1, -4)",
        "in_child('syscall', 250, 0, -3, 1)",
        setup=LIBC,
    ),
    reach(
        "the kernel's own machinery",
        "in_child('syscall', 321, 0, 0, 0)",
        "in_child('syscall', 425, 8, 0)",
        "in_child('syscall', 323, 0)",
        "in_child('syscall', 298, 0, 0, -1, -1, 0)",
        setup=LIBC,
    ),
    reach(
        "the log of the sandbox",
        "[f for f in os.listdir('/proc/self/fd') if '.log' in "
        "os.readlink('/proc/self/fd/' + f)][0]",
        setup="import os",
    ),
    reach(
        "the solution, made here",
        "AnswerKey(read_lab(Path('ROOT/tests/fixtures/90_mini.py')))",
        setup="from pathlib import Path\nfrom labsupport.course.source import read_lab\n"
        "from labsupport.grading.judging.judge import AnswerKey",
    ),
]
