"""Small files in the layouts the field publishes, with invented content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["mmedit_record", "second_fact", "write_json", "write_lines"]


def mmedit_record(**changes: Any) -> dict[str, Any]:
    """The eleven keys of MMEdit, which VLKEB and others extend."""
    return {
        "src": "Which town is shown?",
        "rephrase": "What is the town in the picture called?",
        "pred": "Old_Harbour,_Westland",
        "alt": "Newford, Eastland",
        "image": "m.0aa1/bing_0.jpg",
        "image_rephrase": "m.0aa1/bing_1.jpg",
        "loc": "nq question: who wrote the tide tables",
        "loc_ans": "Ada Quill",
        "m_loc": "m.0zz9/google_4.jpg",
        "m_loc_q": "Which bridge is shown?",
        "m_loc_a": "Long Span",
    } | changes


def second_fact() -> dict[str, Any]:
    return {
        "port_edit_q": "Which river flows through Newford?",
        "port_edit_a": "the Ouzel",
        "port_q": "Which river flows through the town shown?",
        "port_a": "the Ouzel",
    }


def write_json(path: Path, records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path
