"""What routing costs a question that receives no card, against answering it without a library, in the same run.

    python perf/routing.py
    python ci/background_cards.py --num 1000 --out background.jsonl
    python perf/routing.py --background background.jsonl

The questions are far ones of the ReasonEdit suite, half of them with an image. Each batch is asked of the model alone
and of the model with one edit's card beside it (and those of a file), in turn which comes first, after one batch that
is not timed. The share is what routing the questions and looking up the sentences of their chains took, over what the
model alone took. Bar: 5 %.

Prints one JSON object; ends with code 1 if the bar is missed, a question received a card, or an answer differs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from reground.benchmarks.reasonedit import ReasonEditBenchmark
from reground.methods.crane.model import CraneModel
from reground.methods.registry import create_editor
from reground.models.base import Model, Query, probe_query
from reground.models.registry import load_model

_BAR = 0.05
_MAX_NEW_TOKENS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=256, help="questions")
    parser.add_argument("--batch", type=int, default=32, help="questions of one call")
    parser.add_argument("--background", help="file of further cards")
    parser.add_argument("--text-encoder", help="spec of the library's text encoder")
    given = parser.parse_args()
    model = load_model("phantom-med")
    queries = _far(given.queries + given.batch)
    edit = ReasonEditBenchmark().edits("test", 1)[0]
    settings = {"background": given.background, "text_encoder": given.text_encoder}
    with create_editor("crane", settings).apply(model, [edit]) as edited:
        assert isinstance(edited, CraneModel)
        batches = [queries[start : start + given.batch] for start in range(0, len(queries), given.batch)]
        rows = [_compared(model, edited, batch, is_first=bool(number % 2)) for number, batch in enumerate(batches)][1:]
        num_cards = sum(1 for _ in edited.cards.library.cards())
    alone, routing, beside = (sum(row[name] for row in rows) for name in ("alone_s", "routing_s", "beside_s"))
    report = {
        "num_queries": sum(row["num_queries"] for row in rows),
        "num_cards": num_cards,
        "text_encoder": given.text_encoder or "default",
        "batch": given.batch,
        "load_average": round(os.getloadavg()[0], 2),
        "alone_s": round(alone, 3),
        "beside_s": round(beside, 3),
        "routing_s": round(routing, 3),
        "share": round(routing / alone, 4),
        "num_given": sum(row["num_given"] for row in rows),
        "num_different": sum(row["num_different"] for row in rows),
    }
    print(json.dumps(report, indent=2))
    sys.exit(1 if report["share"] > _BAR or report["num_given"] or report["num_different"] else 0)


def _far(count: int) -> list[Query]:
    """Far questions without and with an image, each once, in turn."""
    benchmark = ReasonEditBenchmark()
    found: dict[bool, dict[Query, None]] = {False: {}, True: {}}
    for edit in benchmark.edits("test"):
        for probe in benchmark.probes(edit):
            if probe.distance == "far":
                found[probe.image is not None][probe_query(probe)] = None
        if min(map(len, found.values())) >= count // 2:
            break
    return [query for pair in zip(*found.values(), strict=False) for query in pair][:count]


def _compared(model: Model, edited: CraneModel, batch: Sequence[Query], *, is_first: bool) -> dict[str, Any]:
    """Seconds of one batch on both, and how many answers differ."""
    seconds, texts = {}, {}
    before = (edited.usage.routing_s, edited.usage.num_given + edited.usage.num_inserted)
    for asked in (edited, model) if is_first else (model, edited):
        start = time.perf_counter()
        texts[asked is model] = [one.text for (one,) in asked.generate(batch, max_new_tokens=_MAX_NEW_TOKENS)]
        seconds[asked is model] = time.perf_counter() - start
    return {
        "num_queries": len(batch),
        "alone_s": seconds[True],
        "beside_s": seconds[False],
        "routing_s": edited.usage.routing_s - before[0],
        "num_given": edited.usage.num_given + edited.usage.num_inserted - before[1],
        "num_different": sum(one != other for one, other in zip(texts[True], texts[False], strict=True)),
    }


if __name__ == "__main__":
    main()
