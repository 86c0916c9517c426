"""The docs say what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_pages_show_the_committed_results() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "ci" / "write_results.py"), "--check"], check=False, timeout=60)
    assert done.returncode == 0, "run `python ci/write_results.py`"


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_commands_in_the_readme_exist() -> None:
    from typer.main import get_command

    from reground.cli.main import app

    root = get_command(app)
    for line in re.findall(r"^reground (.+?)(?:\s+#.*)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M):
        command = root
        for word in line.split():
            children = getattr(command, "commands", {})
            if word not in children:
                break
            command = children[word]
        assert not getattr(command, "commands", {}), f"`reground {line}` is no command"
