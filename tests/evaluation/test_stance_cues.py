"""The cue tables: every code is explained, every cue compiles and captures nothing."""

from __future__ import annotations

import re

import pytest

from reground.evaluation.stance_cues import CHINESE_CUES, CODES, ENGLISH_CUES, cues


@pytest.mark.parametrize("table", [ENGLISH_CUES, CHINESE_CUES], ids=["english", "chinese"])
def test_cues_compile_capture_nothing_and_carry_a_known_code(table: tuple[tuple[str, str], ...]) -> None:
    for code, pattern in cues(table):
        assert code in CODES
        compiled = re.compile(pattern)
        assert compiled.groups == 0, pattern
        assert compiled.fullmatch("") is None, f"a cue of {code} matches nothing at all"
        assert not re.search(r"\{[a-z]", pattern), f"a shared pattern is not filled in: {pattern}"
        assert "\n" not in pattern and "  " not in pattern
