"""Settings under which every method runs on a tiny model within seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reground.edits.records import Answer, Edit
from reground.methods.registry import METHODS, method_entry
from training_world import needs_artifact

ALL_METHODS = sorted(METHODS)
#: Closed-form methods spare the keys of a corpus, and a tiny checkpoint comes with none.
CORPUS = str(Path(__file__).with_name("corpus.txt"))
#: Random weights learn nothing from two dozen small steps; these settings move them far enough.
LEARNING: dict[str, dict[str, Any]] = {
    "ft": {"learning_rate": 1e-2, "num_steps": 60},
    "ft-chain": {"learning_rate": 1e-2, "num_steps": 60},
    "ft-l": {"learning_rate": 1e-2, "num_steps": 60},
    "ft-vision": {"learning_rate": 1e-2, "num_steps": 60},
    "ft-projector": {"learning_rate": 1e-2, "num_steps": 60},
    "lora": {"learning_rate": 2e-2, "num_steps": 60},
    "lora-chain": {"learning_rate": 2e-2, "num_steps": 60},
    "grace": {"num_steps": 100},
    "wise": {"learning_rate": 2e-2, "num_steps": 60, "num_irrelevant": 4},
    "rome": {"corpus": CORPUS, "num_contexts": 1},
    "memit": {"corpus": CORPUS, "num_contexts": 1},
    "alphaedit": {"corpus": CORPUS, "num_contexts": 1, "threshold": 0.1},
}
#: Demonstrations of whole sentences are long in a tokenizer that knows few words.
CONTEXT: dict[str, dict[str, float]] = {"ike": {"max_words": 60}, "ike-gold": {"max_words": 60}}
#: Enough to change the model, where it does not matter whether it learned.
QUICK = {name: {**settings, "num_steps": 2} for name, settings in LEARNING.items()} | CONTEXT
#: What they train lies before the text model: they take visual edits alone, and run the tower at every step.
VISION_METHODS = ("ft-projector", "ft-vision")


def settings_of(name: str, family: str, fitted: Callable[[str, str], Path], *, learns: bool = False) -> dict[str, Any]:
    """A method's settings on a family's tiny model, with what it learned before if it needs that."""
    chosen: dict[str, Any] = dict((LEARNING if learns else QUICK).get(name, {}))
    if needs_artifact(name):
        chosen["artifact"] = str(fitted(name, family))
    if "target" in method_entry(name).preset:
        chosen["max_chain_tokens"] = 8
    return chosen


def four_edits(name: str, edits: list[Edit]) -> list[Edit]:
    """From a visual and a textual edit, four that a method takes and that differ in what they teach."""
    visual, textual = edits
    answers = ["drantic fever", "osquine disease", "tarvexin", "kidney"]
    bases = [visual] * 4 if name in VISION_METHODS else [visual, textual, textual, visual]
    return [
        base.model_copy(update={"new_answer": Answer(text=answer), "statement": f"it means {answer}."})
        for base, answer in zip(bases, answers, strict=True)
    ]
