"""Audit of the grading itself, both sides: mistakes that must lose, right answers that must not.

``mutants`` puts mistakes into a lab's solutions; ``rewrites`` and ``wrappers`` write solutions
otherwise, and ``agreement`` says which of these kept the meaning. ``jailed`` and ``isolated`` run
each one behind the wall that submissions run behind, ``workers`` has it judged as a student's
answer would be, and asks the visible check too. ``equivalents`` reads which mutants are no
mistakes, ``results`` counts, ``report`` and ``picture`` show; ``run.audit_lab`` does all of it. A
mistake is caught when it loses points, be it those of a part.
"""
