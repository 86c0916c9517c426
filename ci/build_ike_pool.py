"""Write the demonstration pool that ships with `ike`: edits of the phantom clinic's training subjects.

python ci/build_ike_pool.py          write
python ci/build_ike_pool.py --check  fail if the file says something else

No scored subject is named in it: a fact is left out if the subject, an answer or a question's answer belongs to another
split. Questions are worded as in the models' training; the wordings that generality probes hold out do not occur.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.records import Edit
from reground.methods.ike.pool import SHIPPED_POOLS, PoolFact
from reground.phantom.language import PATHS, ask_fact
from reground.phantom.world import phantom_world

POOL = Path(__file__).parent.parent / "src" / "reground" / "methods" / "ike" / SHIPPED_POOLS["phantom"]

#: For each relation, others about the same subject, asked where nothing may change.
OTHERS = {
    "condition": ("urgency", "referral", "drug"),
    "name": ("mri_status", "maker"),
    "drug": ("referral", "urgency"),
    "referral": ("urgency", "drug"),
    "urgency": ("referral", "drug"),
    "maker": ("mri_status",),
    "mri_status": ("maker",),
}


def pool_facts() -> Iterator[PoolFact]:
    """One fact for each training edit of a relation whose subject has another one."""
    for edit in PhantomBenchmark().edits("train"):
        if edit.relation in OTHERS:
            fact = _fact(edit, random.Random(f"ike/{edit.id}"))
            if fact is not None:
                yield fact


def _fact(edit: Edit, rng: random.Random) -> PoolFact | None:
    world = phantom_world()
    assert edit.prior_answer is not None
    pointer = {"condition": "@finding", "name": "@device"}.get(edit.relation, edit.subject)
    path = PATHS[edit.relation] if pointer.startswith("@") else (edit.relation,)
    rephrase = next(
        text
        for text in (_sentence(ask_fact(edit.relation, path, pointer, rng)) for _ in range(100))
        if text != edit.question
    )
    about = edit.prior_answer.text if edit.relation == "condition" else edit.subject
    other = rng.choice(OTHERS[edit.relation])
    answer = world.value(other, about)
    named = (edit.subject, about, edit.new_answer.text, edit.prior_answer.text, answer)
    if any(world.splits.get(name, "train") != "train" for name in named):
        return None
    return PoolFact(
        subject=edit.subject,
        relation=edit.relation,
        question=edit.question,
        new_answer=edit.new_answer.text,
        prior_answer=edit.prior_answer.text,
        statement=edit.statement,
        rephrase=rephrase,
        other_question=_sentence(ask_fact(other, (other,), about, rng)),
        other_answer=answer,
        source="phantom train",
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def main() -> int:
    new = "".join(fact.model_dump_json() + "\n" for fact in pool_facts())
    if "--check" in sys.argv:
        return 0 if POOL.exists() and POOL.read_text(encoding="utf-8") == new else 1
    POOL.write_text(new, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
