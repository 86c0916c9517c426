"""Put the committed quickstart result into the README, as the command line prints it.

python ci/write_readme.py          write
python ci/write_readme.py --check  fail if the README says something else
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from reground.evaluation.results import read_summary
from reground.reports.tables import print_summary

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "docs" / "results" / "quickstart" / "summary.json"
BLOCK = re.compile(r"(<!-- quickstart -->\n).*?(<!-- /quickstart -->)", re.DOTALL)


def quickstart_block() -> str:
    """What `reground quickstart` prints at the end, in a window of 120 columns."""
    paper = io.StringIO()
    print_summary(read_summary(RESULT), Console(file=paper, width=120, no_color=True, legacy_windows=False))
    lines = "\n".join(line.rstrip() for line in paper.getvalue().strip().splitlines())
    source = f"[{RESULT.relative_to(ROOT)}]({RESULT.relative_to(ROOT)})"
    return f"```text\n{lines}\n```\n\nThis is {source}, as the recipe `quickstart` wrote it.\n"


def main() -> int:
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = BLOCK.sub(lambda match: match[1] + quickstart_block() + match[2], old)
    if "--check" in sys.argv:
        return 0 if new == old else 1
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
