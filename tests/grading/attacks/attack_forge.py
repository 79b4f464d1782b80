"""Family 1: get the points without the right answer, or make a wrong answer look right."""

from attack import HONEST, Attack

MIME = "application/vnd.labsupport.response+json"
WRONG = "def scale(x, factor):\n    return torch.as_tensor(x) * 0\n"
# The response's own frame, which holds the nonce.
FRAME = """
import sys, json
from labsupport.answers.wire import decode, encode
def message():
    frame = sys._getframe()
    while "message" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["message"]
"""
# Keeps the response from being sent; what is sent instead is the attack's choice.
SWALLOW = (
    FRAME
    + f"""
import IPython.display as shown
real = shown.display
MIME = {MIME!r}
"""
)

FORGE = [
    Attack(
        "comparisons always true",
        WRONG
        + """
torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True
torch.Tensor.__eq__ = torch.Tensor.equal = torch.Tensor.allclose = lambda *a, **k: True
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "an object equal to everything",
        """
class Same:
    __eq__ = __le__ = __ge__ = lambda *a: True
    __getattr__ = lambda self, name: self
def scale(x, factor):
    return Same()
""",
        "failed",
        "is a Same",
    ),
    Attack(
        "a tensor subclass that agrees",
        """
class Agree(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
def scale(x, factor):
    return x.as_subclass(Agree)
""",
        "failed",
        "is a Agree, a subclass of torch.Tensor",
    ),
    Attack(
        "a bundle of its own",
        f"""
from IPython.display import display
def scale(x, factor):
    display({{{MIME!r}: {{"nonce": "0", "answers": []}}}}, raw=True)
    return x * 0
""",
        "tampered",
        "several responses",
    ),
    Attack(
        "the nonce stolen, a second bundle",
        FRAME
        + f"""
from IPython.display import display
def scale(x, factor):
    display({{{MIME!r}: {{"nonce": message()["nonce"], "answers": []}}}}, raw=True)
    return x * 0
""",
        "tampered",
        "several responses",
    ),
    Attack(
        "the nonce stolen, the response replaced",
        SWALLOW
        + """
def display(data, raw=False):
    answers = [{"answer": encode(True), "passed": True, "points": 2}] * len(message()["cases"])
    real({MIME: {"nonce": data[MIME]["nonce"], "answers": answers, "status": "passed"}}, raw=True)
"""
        + WRONG
        + "shown.display = display\n",
        "failed",
        "is a bool, not a tensor",
        twice="failed",
    ),
    Attack(
        "fewer answers than questions",
        SWALLOW
        + """
def display(data, raw=False):
    real({MIME: {"nonce": data[MIME]["nonce"], "answers": []}}, raw=True)
"""
        + HONEST
        + "shown.display = display\n",
        "tampered",
        "lacks cases",
        twice="tampered",
    ),
    Attack(
        "answers of the wrong kind",
        SWALLOW
        + """
def display(data, raw=False):
    answers = [{"error": ["passed"], "text": {}}] * len(data[MIME]["answers"])
    real({MIME: {"nonce": data[MIME]["nonce"], "answers": answers}}, raw=True)
"""
        + HONEST
        + "shown.display = display\n",
        "tampered",
        "malformed",
        twice="tampered",
    ),
    Attack(
        "a pickle as the answer",
        SWALLOW
        + """
import base64, pickle
class Boom:
    def __reduce__(self):
        return (print, ("LEAK the grader unpickled",))
blob = base64.b64encode(pickle.dumps(Boom())).decode()
def display(data, raw=False):
    text = json.dumps({"tree": {"$tensor": "t0"}, "tensors": blob})
    answers = [{"answer": text}] * len(data[MIME]["answers"])
    real({MIME: {"nonce": data[MIME]["nonce"], "answers": answers}}, raw=True)
"""
        + HONEST
        + "shown.display = display\n",
        "tampered",
        "does not decode",
        twice="tampered",
    ),
    Attack(
        "a response that is changed later",
        SWALLOW
        + """
def display(data, raw=False):
    sent = data[MIME]
    if message()["exercise"] == "scale":  # for now; the next question brings a stand-in
        globals()["asked"] = message()
        real(data, raw=True, display_id="later")
        return
    names = {}
    exec(message()["driver"], names)
    right = [{"answer": encode(names["stand_in"](**case))} for case in asked["cases"]]
    shown.update_display({MIME: {"nonce": asked["nonce"], "answers": right}}, raw=True,
                         display_id="later")
    real({MIME: {"nonce": asked["nonce"], "answers": right}}, raw=True, display_id="later")
    real(data, raw=True)
"""
        + WRONG
        + "shown.display = display\n",
        "failed",
        "values of the result differ",
        twice="tampered",
    ),
    Attack(
        "answers looked for in frames and on the heap",
        """
import gc, sys
def scale(x, factor):
    frame, found = sys._getframe(), []
    while frame:
        found += [v for k, v in frame.f_locals.items() if k in ("expected", "solution", "answer")]
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing).__name__ in ("AnswerKey", "Challenge") or (
                type(thing) is dict and "as_tensor(x) * factor" in str(thing.get("source"))):
            found.append(thing)
    return found[0] if found else x * 0
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "labsupport.answers.respond replaced",
        WRONG
        + f"""
import sys, types
from IPython.display import display
fake = types.ModuleType("labsupport.answers.respond")
fake.respond = lambda text: display({{{MIME!r}: {{"nonce": "", "answers": "passed"}}}}, raw=True)
sys.modules["labsupport.answers.respond"] = fake
""",
        "tampered",
        "not the grader's own",
        twice="tampered",
    ),
    Attack(
        "encode replaced",
        WRONG
        + """
import labsupport.answers.respond
labsupport.answers.respond.encode = lambda value: '{"tree": true, "tensors": ""}'
""",
        "failed",
        "is a bool",
        twice="failed",
    ),
    Attack(
        "a syntax transformer removes the question",
        WRONG
        + """
import ast
class Drop(ast.NodeTransformer):
    def visit_Call(self, node):
        return ast.Constant(2.0) if getattr(node.func, "id", "") == "_respond" else node
get_ipython().ast_transformers.append(Drop())
""",
        "missing",
        "no response",
        twice="missing",
    ),
    Attack(
        "an input transformer writes the points",
        WRONG
        + """
get_ipython().input_transformers_cleanup.append(
    lambda lines: ["2.0"] if any("_respond" in line for line in lines) else lines)
""",
        "missing",
        "no response",
        twice="missing",
    ),
    Attack(
        "no tracebacks",
        """
get_ipython().showtraceback = lambda *a, **k: None
get_ipython().showindentationerror = lambda *a, **k: None
def scale(x, factor):
    raise NotImplementedError
""",
        "missing",
        "not implemented yet",
    ),
    Attack(
        "a display hook shows points",
        WRONG
        + """
import sys
from IPython.display import display
def show(*values):
    display({"text/plain": "2.0", "text/html": "<b>scale: passed</b>, 2 of 2 points"}, raw=True)
sys.displayhook = show
get_ipython().events.register("post_run_cell", show)
""",
        "failed",
        "values of the result differ",
    ),
    Attack(
        "right the first time only",
        """
calls = []
def scale(x, factor):
    calls.append(factor != 3)  # the check's call does not count
    return x * factor + (sum(calls) > 1)
""",
        "failed",
        "called twice on the same inputs, it gives two results",
    ),
    Attack(
        "noise",
        """
def scale(x, factor):
    return x * factor + torch.randn(len(x))
""",
        "failed",
        "two results",
    ),
    Attack(
        "works once",
        """
calls = iter([1])
def scale(x, factor):
    if factor != 3: next(calls)  # the check's call does not count
    return x * factor
""",
        "failed",
        "fails when it is called again",
    ),
    Attack(
        "inputs changed in place",
        "def scale(x, factor):\n    return x.mul_(factor)",
        "failed",
        "changed in place",
    ),
    Attack(
        "exit in the function",
        "def scale(x, factor):\n    raise SystemExit(0)",
        "error",
        "SystemExit",
    ),
    Attack(
        "an exception that cannot be described",
        """
class Mute(Exception):
    def __str__(self):
        raise self
def scale(x, factor):
    raise Mute
""",
        "error",
        "Mute",
    ),
    Attack(
        "a malformed message",
        HONEST
        + """
kernel = get_ipython().kernel
send = lambda kind, content: kernel.session.send(
    kernel.iopub_socket, kind, content, parent=kernel.get_parent(), ident=kind.encode())
def scale(x, factor):
    if factor == 3: return x * factor
    send("display_data", {"metadata": 1})
    import time; time.sleep(1)
    return x * factor
""",
        "crashed",
        "malformed message",
    ),
    Attack(
        "a message too deep to read",
        HONEST
        + """
kernel = get_ipython().kernel
def scale(x, factor):
    if factor == 3: return x * factor
    deep = b"[" * 200_000 + b"]" * 200_000
    parts = [kernel.session.pack(p) for p in (kernel.session.msg_header("display_data"),
             kernel.get_parent()["header"], {})] + [deep]
    kernel.iopub_socket.send_multipart(
        [b"x", b"<IDS|MSG>", kernel.session.sign(parts), *parts])
    import time; time.sleep(1)
    return x * factor
""",
        "crashed",
        "cannot be read",
    ),
]
