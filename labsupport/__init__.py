"""Helpers of the efficient-vision-transformer labs.

Three floors; a module imports only from its own floor or from those below:

- science: ``data``, ``models`` -- know nothing of notebooks
- notebook: ``checks``, ``figures``, ``widgets``, ``training``, ``profiling``, ``profiles``,
  ``wire``, ``respond`` -- what a lab calls
- instructor (extra ``grading``): ``course``, ``grading``, ``experiments``, ``cli``
"""

__version__ = "0.1.0"
