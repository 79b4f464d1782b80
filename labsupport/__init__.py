"""Helpers of the efficient-vision-transformer labs.

Floors, from above; a module imports only from its own floor or from those below, see
docs/architecture.md:

- `cli`: the `labs` command
- `grading` (a class's submissions) · `experiments` (long runs)
- `course`: a lab's source, and what is built of it
- `labs`: what one lab's notebook uses and no other
- `notebook`: visible checks, figures, widgets
- `answers`: how a student's code is asked, and answers are compared
- `training` · `metrics` · `profiling`
- `models`: networks
- `data`: images and captions
- `errors`: what a user can mend, in one line
"""

__version__ = "0.1.0"
