"""Audit of the grading itself: put mistakes into a lab's solutions and see which are caught.

``mutants`` makes the mistakes, ``jailed`` and ``isolated`` run each one behind the wall that
submissions run behind, ``workers`` judges it as a student's answer would be judged,
``equivalents`` reads which of them are no mistakes, ``report`` and ``picture`` show what came out;
``run.audit_lab`` does all of it. A mistake is caught when it loses points, be it those of a part.
"""
