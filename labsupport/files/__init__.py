"""Files, whatever is in them: written whole or not at all (``whole``), and where the course's own
data are (``locate``). Imports nothing that takes time."""

from labsupport.files.locate import data_path, data_root
from labsupport.files.whole import write_whole

__all__ = ["data_path", "data_root", "write_whole"]
