"""Each method's page states its settings and their defaults as the code has them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from reground.methods.registry import METHODS

PAGES = Path(__file__).parents[2] / "docs" / "methods"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_page_has_every_setting_with_its_default(name: str) -> None:
    entry = METHODS[name]
    folder = entry.config.partition(":")[0].split(".")[2]
    page = (PAGES / f"{folder}.md").read_text()
    assert f"`{name}`" in page
    configs = [(entry.config, entry.preset)] + ([(entry.fit.config, entry.fit.preset)] if entry.fit else [])
    fields = {}
    for path, preset in configs:
        module, _, attribute = path.partition(":")
        known = getattr(importlib.import_module(module), attribute).model_fields
        fields |= {field: (info, field in preset) for field, info in known.items()}
    for field, (info, is_fixed) in fields.items():
        if is_fixed:
            continue
        default = list(info.default) if isinstance(info.default, tuple) else info.default
        assert f"| `{field}` | `{default}` |" in page, field
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {row.split("`")[1] for row in rows}
    assert named <= set(fields) | _fields_of_page(folder), "the page names settings that do not exist"


def _fields_of_page(folder: str) -> set[str]:
    """Settings of every method that shares a page."""
    paths = [entry.config for entry in METHODS.values() if entry.config.split(".")[2] == folder]
    fields: set[str] = set()
    for path in paths:
        module, _, attribute = path.partition(":")
        fields |= set(getattr(importlib.import_module(module), attribute).model_fields)
    return fields
