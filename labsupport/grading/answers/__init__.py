"""Answers of a student's code: all that runs in a student's kernel while it is graded.

Rooms: `respond` (asks the code and hands its answers over), `plain_values` (an answer as values
that can be sent), `student_errors` (what an exception means for the student), `wire` (values as
text). Nothing here knows a right answer, or imports anything of the rest of grading.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "plain_values": ["plain"],
        "respond": ["MIME", "LabNamespace", "Missing", "answer_cases", "fill_parameters"],
        "wire": ["WireError", "decode", "encode"],
    },
)
