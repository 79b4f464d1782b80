"""Judging: from answers to verdicts, in the grader's own process.

Rooms: `judge` (the answer key of a lab), `lab_code` (its solved names and its judges), `cases`
(what a judge asks with), `diagnosis` (a lab's known mistakes), `examples` (cases for visible
checks), `proof` (the lab's own solution passes), `verdicts` (what comes out).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cases": ["Case", "randn"],
        "diagnosis": ["Catalogue", "diagnosis_of"],
        "examples": ["examples_of", "write_examples"],
        "judge": ["AnswerKey", "JudgeError"],
        "lab_code": ["Judge", "driver_source", "namespace_of", "read_judge"],
        "proof": ["failures"],
        "verdicts": ["CAUSES", "STATUSES", "Challenge", "Finding", "Verdict"],
    },
)
