"""What every error message keeps: three lines, and nothing in them that steers a terminal."""

from __future__ import annotations

import pytest

from reground.errors import InputError, UnknownNameError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tarvexin – ü 中", "tarvexin – ü 中"),
        ("two\n\tlines", "two\n\tlines"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_what_would_steer_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_message_has_three_lines_and_no_escape_sequences() -> None:
    """A file name or a library's words could clear the screen, or break a message into further lines."""
    error = InputError("cannot read \x1b[2J:\n  line 1, column 2.", "a file\r\nof text", "look.")
    assert str(error).splitlines() == [
        r"cannot read \x1b[2J: line 1, column 2.",
        "  Accepted: a file of text",
        "  Next: look.",
    ]
    assert "\x1b" not in str(UnknownNameError("model", "a\x1b", ["b"]))
