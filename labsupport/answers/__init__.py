"""Answers of a student's code: how it is asked, and how an answer is compared with another.

Visible checks and the grader ask and compare with the same functions; in a student's kernel, while
it is graded, runs nothing else. Nothing here knows a right answer.

Rooms: `respond` (asks the code and hands its answers over), `plain_values` (an answer as values
that can be sent), `student_errors` (what an exception means for the student), `wire` (values as
text), `tolerance`, `compare` (an answer and the expected one), `seen` (how they differ, in words)
and `seen_numbers` (the same of numbers, over all cases), `findings` (what came of each
case), `mistakes` (which known mistake explains an answer), `examples` (what a visible check asks),
`text` (a student's, fit to be shown).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["Difference", "compare", "difference"],
        "examples": ["Examples", "load_examples"],
        "findings": ["Finding", "Rules", "finding"],
        "mistakes": ["Mistake", "explain"],
        "plain_values": ["plain"],
        "respond": ["MIME", "LabNamespace", "Missing", "answer_cases", "fill_parameters"],
        "seen": ["seen"],
        "text": ["one_line"],
        "tolerance": ["Tolerance"],
        "wire": ["WireError", "decode", "encode"],
    },
)
