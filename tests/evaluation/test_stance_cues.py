"""The cue tables: every code is explained, every cue compiles and captures nothing."""

from __future__ import annotations

import re

import pytest

from reground.evaluation.stance import _cue_pattern, labelled_chains
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


def test_looking_for_cues_together_finds_what_looking_for_each_finds() -> None:
    """The reader tries no Chinese cue at an ASCII character, and no English one inside a word."""
    together, codes = _cue_pattern()
    english, chinese = list(cues(ENGLISH_CUES)), list(cues(CHINESE_CUES))
    groups = [rf"((?<![\w'])(?:{pattern})(?!\w))" for _, pattern in english]
    groups += [f"({pattern})" for _, pattern in chinese]
    apart = re.compile("|".join(groups))
    num_cues = len(english) + len(chinese)
    found = set()
    for chain in labelled_chains("dev"):
        text = chain.chain.lower()
        at = 0
        for match in together.finditer(text):  # what is no cue is a word, and may hold none
            one = apart.match(text, match.start())
            assert (one.span(), one.lastindex) == (match.span(), match.lastindex) if one else match.lastindex > num_cues
            assert all(apart.match(text, place) is None for place in range(at, match.start()))
            at = match.end()
            found.add(codes[match.lastindex - 1])
    assert len(found) > 25
