"""How strong the grading itself is: put mistakes into a lab's solutions and see who is caught.

``mutants`` makes the mistakes, ``isolated`` and ``workers`` judge each one as a student's answer
would be judged, ``equivalents`` reads which of them are no mistakes, ``report`` and ``picture``
show what came out; ``run.audit_lab`` does all of it.
"""
