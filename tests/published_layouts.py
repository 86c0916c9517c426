"""Small files in the layouts the field publishes, with invented content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = [
    "cckeb_record",
    "comprehended_record",
    "evoke_question",
    "evoke_text",
    "fine_record",
    "image_fact",
    "med_record",
    "mmedit_record",
    "mmke_record",
    "second_fact",
    "text_fact",
    "write_json",
    "write_lines",
]


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


def cckeb_record(**changes: Any) -> dict[str, Any]:
    """VLKEB's keys, a textual edit about the new name, and the question that needs both edits."""
    composed = [
        {
            "port_type": "comp",
            "Q&A": {"Question": "Which river flows through the town shown?", "Answer": "the Wend", "Query": "..."},
        }
    ]
    textual = {
        "src": "Which river flows through Newford?",
        "rephrase": "What river runs through Newford?",
        "pred": ["the Ouzel"],
        "alt": ["the Wend"],
        "loc": "nq question: who built the pier",
        "loc_ans": "Ada Quill",
        "port_new": composed,
    }
    whole = {"src_q": "Image Level: ...", "port_new": composed, "textual_edit": textual}
    return mmedit_record(**whole) | changes


def med_record(**changes: Any) -> dict[str, Any]:
    """MultiMedBench's record, with its own spelling of the rewording's key."""
    return {
        "id": 7,
        "question": "What does the scan show?",
        "rephase_question": "What is seen on this scan?",
        "options": {"A": "a ring", "B": "a cleft", "C": "a band"},
        "label_ans": "B",
        "images": ["a_1.jpg", "a_2.jpg"],
        "t_loc_q": "who wrote the tide tables",
        "t_loc_ans": "Ada Quill",
        "m_loc_img": "COCO_val2014_000000000001.jpg",
        "m_loc_q": "What is on the table?",
        "m_loc_ans": "a kettle",
    } | changes


def text_fact(**changes: Any) -> dict[str, Any]:
    """MC-MKE's edit of a fact told in text (SRO)."""
    return {
        "s": "Westland",
        "r": "capital",
        "o": "Old Harbour",
        "new_o": "Newford",
        "question": "What is the capital of Westland?",
        "cloze": "The capital of Westland is",
        "new_o_alias": ["New Ford"],
        "sro_edit_input_idx": 0,
        "locality_test": [7],
        "para_question": "\n\n            Can you name the capital of Westland? ",
    } | changes


def image_fact(**changes: Any) -> dict[str, Any]:
    """MC-MKE's edit of a fact about what an image shows (IRO)."""
    return {
        "s": "Westland",
        "r": "capital",
        "o": "Old Harbour",
        "new_o": "Newford",
        "images": ["/home/author/images/1.jpg"],
        "iro_question": "What is the capital of the country in the picture?",
        "iro_cloze": "The capital of the country in the picture is",
        "iro_edit_input_idx": 0,
        "new_o_alias": [],
    } | changes


def mmke_record(**changes: Any) -> dict[str, Any]:
    """MMKE-Bench's record of an entity."""
    return (
        mmedit_record(
            pred="",
            alt="The Long Span is a bridge of 1923. It was designed by Ada Quill and spans the Wend.",
            knowledge_type="entity_level",
            rel_1="Who designed the Long Span?",
            rel_1_ans="Ada Quill",
            rel_2="When was the Long Span built?",
            rel_ans_2="1923",
            m_rel_1="Who designed the bridge shown?",
            m_rel_ans_1="Ada Quill",
            m_rel_2="What does the bridge shown span?",
            m_rel_2_ans="the Wend",
            port_new=[{"port_type": "1-hop", "Q&A": {"Question": "Where does its river end?", "Answer": "Newford"}}],
        )
        | changes
    )


def fine_record(**changes: Any) -> dict[str, Any]:
    """FGVEdit's record."""
    return {
        "src": "What is the dog on the left called?",
        "rephrase": "What is the name of the dog on the left?",
        "alt": "Quill",
        "image": "val2014/COCO_val2014_000000000001.jpg",
        "loc": "nq question: who wrote the tide tables",
        "loc_ans": "Ada Quill",
        "fg_gen_q": "Who owns the dog on the left?",
        "fg_gen_a": "Ada",
        "fg_loc_q": "What is the dog on the right called?",
        "fg_loc_a": "Wend",
    } | changes


def comprehended_record(**changes: Any) -> dict[str, Any]:
    """ComprehendEdit's record."""
    return {
        "pid": 12,
        "image": "tallyqa/1.jpg",
        "question": "How many boats are there?",
        "rephrase": "What is the number of boats?",
        "answer": 3,
        "source": "TallyQA",
        "Category": "object counting",
        "locality_prompt": "who wrote the tide tables",
        "locality_ground_truth": "Ada Quill",
        "multimodal_locality_image": "val2014/2.jpg",
        "multimodal_locality_prompt": "What sport is this?",
        "multimodal_locality_ground_truth": "rowing",
    } | changes


def evoke_question(**changes: Any) -> dict[str, Any]:
    """One line of EVOKE's evaluation file."""
    return {
        "question_id": 1,
        "image": "eval_imgs/Long Span bridge_0.jpg",
        "text": "'How long is the bridge in the image?'\nAnswer the question using a single word or phrase.",
        "category": "default",
        "answer": "'two miles'",
        "type": "bridge",
        "cnn_wiki_type": "wiki",
    } | changes


def evoke_text(**changes: Any) -> dict[str, Any]:
    """One element of EVOKE's injection file."""
    return {
        "image": "injection_imgs/Long Span bridge_3.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nTell me about the bridge."},
            {"from": "gpt", "value": "The Long Span is a bridge of two miles."},
        ],
    } | changes


def write_json(path: Path, records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path
