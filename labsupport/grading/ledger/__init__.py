"""Records of a class: course directory, gradebook, grades.

Rooms: ``course_directory`` (made, configured, released), ``grades`` (what ``labs grade`` does),
``handed_in`` (what is not even opened), ``preprocessors`` (our steps in nbgrader's pipeline),
``recording`` (grades into the gradebook, feedback pages), ``feedback`` (what such a page calls an
exercise), ``gradebook`` (where it is), ``store`` (results that are done stay done). A name is
imported when it is first used: nbgrader takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "course_directory": ["init_course", "load_config", "release"],
        "grades": ["export", "grade_course"],
        "preprocessors": ["ExecuteAndJudge", "Realign"],
    },
)
