"""What is worked out anew of a recorded submission at every run, and runs no notebook.

Extra time, exemptions, points and the late policy may have changed since it was graded, and so may
what a person has given for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps.api import NbGraderAPI

from labsupport.errors import CourseError
from labsupport.grading.ledger.exemptions import exempt_cells, leave_out
from labsupport.grading.ledger.hand_grades import recall
from labsupport.grading.ledger.kept import Pair
from labsupport.grading.ledger.penalties import LatePenalties
from labsupport.grading.ledger.standing import LATE_FILE


class Settling:
    """One run's settling of accounts; ``gradebook`` is this run's own session."""

    def __init__(self, api: NbGraderAPI, folder: Path, gradebook: Gradebook):
        self.gradebook, self._folder = gradebook, folder
        self._exempt = exempt_cells(folder)
        self._penalties = LatePenalties(api, folder)

    def settle(self, pair: Pair) -> list[str]:
        """Work out anew what can be without running anything; what there is to say about it.

        Raises CourseError, one line, where the course's late policy fails.
        """
        self.gradebook.db.expire_all()  # others write too
        try:
            submission = self.gradebook.find_submission(*pair)
        except MissingEntry:
            return []
        said = []
        exempt = self._exempt.get(pair, set())
        if changed := recall(self._folder, self.gradebook, pair, exempt):
            names = ", ".join(name.partition("-")[2] for name in changed)
            said.append(
                f"{len(changed)} graded by hand before and changed since, to be looked at again: "
                f"{names}"
            )
        if self._time_is_unknown(pair):
            submission.timestamp = None  # nbgrader keeps that of an earlier hand-in
        leave_out(self.gradebook, submission, exempt)
        try:
            told = self._penalties.work_out(self.gradebook, pair)
        except Exception as error:
            self.gradebook.db.rollback()
            text = (str(error).strip().splitlines() or [""])[0]
            raise CourseError(
                f"the course's late policy fails: {type(error).__name__}: {text[:200]}; mend it, "
                "then run again"
            ) from error
        return [*said, told] if told else said

    def _time_is_unknown(self, pair: Pair) -> bool:
        place = self._folder / "submitted" / pair[1] / pair[0]
        return (place / LATE_FILE).exists() and not (place / "timestamp.txt").exists()


@contextmanager
def settling(api: NbGraderAPI, folder: Path) -> Iterator[Settling]:
    """``Settling`` with a session on the course's gradebook."""
    with Gradebook(api.coursedir.db_url, api.coursedir.course_id) as gradebook:
        yield Settling(api, folder, gradebook)
