"""Family 1, continued: messages forged by hand, at the wrong time, from the wrong place."""

from attack import HONEST, Attack
from attack_forge import FRAME, MIME, WRONG

# How a kernel speaks; whoever runs in it holds its key and its sockets.
KERNEL = f"""
import threading, time
MIME = {MIME!r}
kernel = get_ipython().kernel
def tell(kind, content, parent, socket=None, ident=b"x"):
    kernel.session.send(socket or kernel.iopub_socket, kind, content, parent=parent, ident=ident)
def bundle(nonce, answers):
    return {{"data": {{MIME: {{"nonce": nonce, "answers": answers}}}}, "metadata": {{}}}}
"""
GUESS = (
    FRAME
    + KERNEL
    + """
def guesses():
    from labsupport.answers.wire import encode
    return [{"answer": encode(case["x"] * 0)} for case in message()["cases"]]
"""
)

SLY = [
    Attack(
        "a thread answers while the graded cell runs",
        GUESS
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    parent, nonce, given = kernel.get_parent(), message()["nonce"], guesses()
    thread = threading.Thread(
        target=lambda: tell("display_data", bundle(nonce, given), parent))
    thread.start(); thread.join()
    return x * 0
""",
        "tampered",
        "several responses",
    ),
    Attack(
        "a thread answers with another cell's header",
        GUESS
        + """
asked = []
def later():
    time.sleep(0.2)
    parent, nonce, given = asked[0]
    for _ in range(20):
        tell("display_data", bundle(nonce, given), parent)
        time.sleep(0.02)
def scale(x, factor):
    if factor != 3 and not asked:
        asked.append((kernel.get_parent(), message()["nonce"], guesses()))
        threading.Thread(target=later, daemon=True).start()
    return x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "answers first, asks for the next question, answers again",
        GUESS
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    if "seen" in globals(): return x * 0
    globals()["seen"] = parent = kernel.get_parent()
    nonce, cases = message()["nonce"], message()["cases"]
    tell("execute_reply", {"status": "ok", "execution_count": 1, "payload": []}, parent,
         socket=kernel.shell_stream.socket, ident=kernel._parent_ident["shell"])
    tell("status", {"execution_state": "idle"}, parent)
    time.sleep(0.7)
    for source in list(globals()["In"]):  # where the next question would be, had it come
        if "stand_in" in source:
            raise SystemExit
    tell("display_data", bundle(nonce, guesses()), parent)
    return x * 0
""",
        "failed|missing|tampered|crashed|timeout",
        twice="passed|missing|tampered|crashed|timeout",
    ),
    Attack(
        "a display that becomes a response",
        GUESS
        + """
from IPython.display import display, update_display
def scale(x, factor):
    if factor == 3: return x * factor
    display({"text/plain": "."}, raw=True, display_id="later")
    update_display(bundle(message()["nonce"], guesses())["data"], raw=True, display_id="later")
    return x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "a response as a result, and as a comm",
        GUESS
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    given = bundle(message()["nonce"], guesses())
    parent = kernel.get_parent()
    tell("execute_result", given | {"execution_count": 1}, parent)
    tell("comm_open", {"comm_id": "c", "target_name": "jupyter.widget", "data": given}, parent)
    tell("comm_msg", {"comm_id": "c", "data": {"method": "update", "state": given}}, parent)
    return x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "points as the graded cell's result",
        KERNEL
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    tell("execute_result", {"data": {"text/plain": "2.0"}, "metadata": {}, "execution_count": 1},
         kernel.get_parent())
    return x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "an update whose display's name is a list",
        KERNEL
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    tell("update_display_data", {"data": {}, "metadata": {}, "transient": {"display_id": [1]}},
         kernel.get_parent())
    time.sleep(0.5)
    return x * 0
""",
        "crashed",
        "malformed message",
    ),
    Attack(
        "a message of no kind",
        KERNEL
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    tell("no such kind", {"data": 1}, kernel.get_parent()); time.sleep(0.5)
    return x * 0
""",
        "failed|crashed",
    ),
    Attack(
        "a question on standard input",
        KERNEL
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    tell("input_request", {"prompt": "points?", "password": True}, kernel.get_parent(),
         socket=kernel.stdin_socket)
    return x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "torch lies to the stand-ins",
        WRONG
        + """
torch.Tensor.__mul__ = torch.Tensor.__rmul__ = lambda self, other: torch.zeros_like(self)
""",
        "failed",
        "values of the result differ",
        twice="failed",
    ),
    Attack(
        "a trace looks into every frame",
        """
import sys
found = []
def look(frame, event, argument):
    for name in ("expected", "solution", "answer_key", "right"):
        if name in frame.f_locals: found.append(frame.f_locals[name])
    return look
sys.settrace(look); sys.setprofile(look)
def scale(x, factor):
    return found[0] if found else x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "finalizers answer at the end",
        GUESS
        + """
import atexit, weakref
class Thing: pass
def scale(x, factor):
    if factor == 3: return x * factor
    parent, nonce, given = kernel.get_parent(), message()["nonce"], guesses()
    send = lambda: tell("display_data", bundle(nonce, given), parent)
    globals()["thing"] = thing = Thing()
    weakref.finalize(thing, send); atexit.register(send)
    return x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "a fork answers later",
        GUESS
        + """
import os
def scale(x, factor):
    if factor == 3: return x * factor
    if os.fork() == 0:
        try:
            time.sleep(0.3)
            tell("display_data", bundle("0", guesses()), kernel.get_parent())
        finally: os._exit(0)
    return x * 0
""",
        "failed|tampered",
        twice="passed|tampered",
    ),
    Attack(
        "the clock stands still",
        HONEST
        + """
import time
time.time = time.monotonic = time.perf_counter = lambda: 0.0
def scale(x, factor):
    while factor != 3 and time.monotonic() < 1: pass
    return x * factor
""",
        "timeout",
        "took too long",
        limits={"cell_seconds": 1},
    ),
    Attack(
        "everything of ours replaced",
        WRONG
        + """
from labsupport.answers import plain_values, respond, wire
for module in (plain_values, respond, wire):
    for name in ("encode", "decode", "plain", "answer_cases", "make_driver"):
        if hasattr(module, name): setattr(module, name, lambda *a, **k: "passed")
""",
        "missing|tampered|failed",
        twice="missing|tampered|failed",
    ),
    Attack(
        "a reply that says nothing",
        KERNEL
        + """
def scale(x, factor):
    if factor == 3: return x * factor
    kernel.session.send = lambda *a, **k: None
    return x * 0
""",
        "timeout|missing|crashed|failed",
        limits={"cell_seconds": 2},
        twice="passed|timeout|missing|crashed",
    ),
]
