"""Grade submissions: execution is untrusted, judging is not.

``run`` executes a notebook and knows nothing of gradebooks; ``judge`` compares answers in the
grader's own process; ``preprocessors`` puts both into nbgrader's autograde.
"""

import labsupport.course  # noqa: F401  (before nbgrader: it makes that faster to import)
