"""Methods are listed, and their settings read, without torch."""

from __future__ import annotations

import subprocess
import sys

from reground.methods.registry import METHODS


def test_settings_of_all_methods_and_context_editors_import_without_torch() -> None:
    modules = {entry.config.partition(":")[0] for entry in METHODS.values()}
    modules |= {entry.fit.config.partition(":")[0] for entry in METHODS.values() if entry.fit is not None}
    modules |= {entry.editor.partition(":")[0] for entry in METHODS.values() if "weights" not in entry.needs}
    code = f"""
import importlib, sys
for name in {sorted(modules)!r}:
    importlib.import_module(name)
heavy = {{'torch', 'transformers', 'peft', 'scipy'}} & set(sys.modules)
sys.exit(', '.join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
