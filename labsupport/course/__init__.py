"""From a lab's one source file to its notebooks."""

import sys

# jsonschema, on which nbformat builds, makes a grammar of internationalised addresses when it is
# imported: a second in each process, for a format that no notebook schema has. None stands for
# "not installed", which it takes well.
sys.modules.setdefault("rfc3987_syntax", None)
