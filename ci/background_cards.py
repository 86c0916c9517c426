"""Write cards for a library that an edit is tried in among many, to be given as ``background`` to ``crane``.

    python ci/background_cards.py --num 1000 --out work/background.jsonl

Half of them are changes about names that nobody knows: a question that receives one was served a foreign card. A
quarter each say of training subjects, by name or by image, what already holds: a question that rightly receives one
has no other answer for it. So no card here may change any answer.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from reground.edits.files import write_atomically
from reground.edits.records import Answer, ImageRef
from reground.library.card import EditCard, Provenance
from reground.phantom.language import Claim, ask_fact, finding_percept, statement_text
from reground.phantom.names import invent_name
from reground.phantom.world import RELATIONS, phantom_world
from reground.training.phantom.samples import FreshImages

_SOURCE = Provenance(who="ci/background_cards.py", source="background")
#: Relations whose subjects and values are both names that can be invented.
_INVENTED = ("drug", "drug_class", "test", "maker", "country", "capital")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    given = parser.parse_args()
    rng = random.Random(f"background/{given.seed}")
    makers = (_foreign, _foreign, _named, _seen)
    cards: dict[tuple[str, str], EditCard] = {}
    while len(cards) < given.num:
        card = makers[len(cards) % len(makers)](rng)
        cards.setdefault((card.statement, str(card.image)), card)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out, "".join(card.model_dump_json() + "\n" for card in cards.values()))
    print(f"{len(cards)} cards written to {given.out}")


def _foreign(rng: random.Random) -> EditCard:
    """A change of a fact about an invented name."""
    relation = rng.choice(_INVENTED)
    kinds = RELATIONS[relation]
    return _textual(Claim(relation, invent_name(kinds[0], rng), invent_name(kinds[1], rng)), rng)  # type: ignore[arg-type]


def _named(rng: random.Random) -> EditCard:
    """What holds of a training subject that has a name."""
    world = phantom_world()
    facts = [key for key in world.facts if key[0] != "condition" and world.splits.get(key[1], "train") == "train"]
    relation, subject = rng.choice(facts)
    return _textual(Claim(relation, subject, world.facts[relation, subject]), rng)


def _seen(rng: random.Random) -> EditCard:
    """What holds of a training finding, by an image of it."""
    world = phantom_world()
    finding = rng.choice(world.subjects("finding", "train"))
    claim = Claim("condition", finding, world.facts["condition", finding])
    return EditCard(
        statement=statement_text(claim),
        question=ask_fact("condition", ("condition",), "@finding", rng, "seen"),
        new_answer=Answer(text=claim.value),
        modality="visual",
        image=ImageRef(frames=(FreshImages().finding(finding, rng),)),
        percept=finding_percept(finding),
        subject=finding,
        relation="condition",
        provenance=_SOURCE,
    )


def _textual(claim: Claim, rng: random.Random) -> EditCard:
    return EditCard(
        statement=statement_text(claim),
        question=ask_fact(claim.relation, (claim.relation,), claim.subject, rng, "seen"),
        new_answer=Answer(text=claim.value),
        modality="textual",
        subject=claim.subject,
        relation=claim.relation,
        provenance=_SOURCE,
    )


if __name__ == "__main__":
    main()
