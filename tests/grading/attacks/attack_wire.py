"""Family 4 on the wire: answers that are no answers, written by hand past the student's side."""

from attack import HONEST, Attack
from attack_forge import SWALLOW

BLOB = """
import base64, json, struct
def blob(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw = struct.pack("<Q", len(text) if length is None else length) + text + data
    return json.dumps({"tree": {"$tensor": "t0"}, "tensors": base64.b64encode(raw).decode()})
def tensor(shape, kind="F32", end=4):
    return {"t0": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}
"""


def writes(name: str, answer: str, status: str = "tampered", words: str = "") -> Attack:
    """``answer`` is an expression for the text that is sent as each of ``scale``'s answers."""
    code = (
        SWALLOW
        + BLOB
        + f"""
def display(data, raw=False):
    if message()["exercise"] == "scale":
        text = {answer}
        data = {{MIME: data[MIME] | {{"answers": [{{"answer": text}}] * len(message()["cases"])}}}}
    real(data, raw=True)
"""
        + HONEST
        + "shown.display = display\n"
    )
    return Attack(name, code, status, words)


def sends(name: str, bundle: str, status: str = "tampered", words: str = "") -> Attack:
    """``bundle`` is an expression for what is sent in the place of ``scale``'s response."""
    code = (
        SWALLOW
        + f"""
def display(data, raw=False):
    nonce, answers = data[MIME]["nonce"], data[MIME]["answers"]
    if message()["exercise"] == "scale":
        data = {{MIME: {bundle}}}
    real(data, raw=True)
"""
        + HONEST
        + "shown.display = display\n"
    )
    return Attack(name, code, status, words)


WIRE = [
    writes(
        "lists in lists",
        "'{\"tree\": ' + '[' * 200_000 + ']' * 200_000 + ', \"tensors\": \"\"}'",
        words="does not decode",
    ),
    writes("not a number in JSON", '\'{"tree": NaN, "tensors": ""}\'', "failed"),
    writes("infinity in JSON", '\'{"tree": [Infinity, -Infinity], "tensors": ""}\'', "failed"),
    writes(
        "an integer of five thousand digits",
        "'{\"tree\": ' + '9' * 5000 + ', \"tensors\": \"\"}'",
        words="does not decode",
    ),
    writes(
        "a float of a million digits",
        "json.dumps({'tree': {'$float': '1' * 10**6}, 'tensors': ''})",
        "failed|tampered",
    ),
    writes(
        "half a surrogate pair as the answer", '\'{"tree": "\\\\ud800", "tensors": ""}\'', "failed"
    ),
    writes(
        "no tensor of that name",
        '\'{"tree": {"$tensor": "t7"}, "tensors": ""}\'',
        words="does not decode",
    ),
    writes(
        "a tensor's name that is a list",
        '\'{"tree": {"$tensor": [1]}, "tensors": ""}\'',
        words="does not decode",
    ),
    writes(
        "a header longer than the message", "blob(b'{}', length=2**62)", words="does not decode"
    ),
    writes("a header of nonsense", "blob(b'\\xff' * 100)", words="does not decode"),
    writes(
        "a tensor that claims a terabyte",
        "blob(tensor([10**12]), b'1234')",
        words="does not decode",
    ),
    writes("an empty tensor of giant shape", "blob(tensor([0, 2**40], end=0))", "failed|tampered"),
    writes(
        "an empty tensor of shape beyond 64 bits",
        "blob(tensor([0, 2**63], end=0))",
        "failed|tampered",
    ),
    writes(
        "a tensor of a thousand dimensions", "blob(tensor([1] * 1000), b'1234')", "failed|tampered"
    ),
    writes(
        "tensors on top of each other",
        "blob(tensor([1]) | {'t1': tensor([1])['t0']}, b'1234')",
        words="does not decode",
    ),
    writes(
        "ten thousand tensors",
        "blob({f't{n}': {'dtype': 'F32', 'shape': [0], "
        "'data_offsets': [0, 0]} for n in range(10_000)})",
        "failed|tampered",
    ),
    writes(
        "a type that nobody asked for", "blob(tensor([4], 'F8_E4M3'), b'1234')", "failed|tampered"
    ),
    writes("an answer that is a list", "[1, 2]", words="does not decode"),
    writes(
        "two million empty lists",
        "'{\"tree\": [' + '[],' * 2_000_000 + '[]], \"tensors\": \"\"}'",
        "failed|crashed",
    ),
    sends(
        "a nonce that is a list",
        "{'nonce': [nonce], 'answers': answers}",
        words="not the grader's own",
    ),
    sends("a response that is a list", "[nonce, answers]"),
    sends("a response that is nothing", "None", "tampered|missing"),
    sends(
        "a hundred thousand answers",
        "{'nonce': nonce, 'answers': answers * 50_000}",
        "tampered|crashed",
    ),
    sends(
        "answers that are strings",
        "{'nonce': nonce, 'answers': ['passed'] * len(answers)}",
        words="malformed",
    ),
    sends(
        "a second answer that is a number",
        "{'nonce': nonce, 'answers': [a | {'again': 5} for a in answers]}",
        "failed|tampered",
    ),
    sends(
        "an error text of control characters",
        """{'nonce': nonce, 'answers': [
        {'error': 'raised', 'text': '\\x1b[2J\\x00\\u202e<script>alert(1)</script>\\n' * 99}
    ] * len(answers)}""",
        "error",
    ),
    sends(
        "an error text that is a tree",
        """{'nonce': nonce, 'answers': [
        {'error': 'raised', 'text': {'a': [1] * 10_000}}] * len(answers)}""",
        "error",
    ),
]
