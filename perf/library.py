"""How long an edit and a lookup take in a library, and what a quick lookup misses.

    python perf/library.py                    an edit, and lookups among 100,000 cards
    python perf/library.py --million          and among 1,000,000 (about 5 GB of disk and minutes of building)

An edit is one card entered on disk: its texts embedded, its image if it has one, and the batch written, in a library of
1,000 cards. A lookup is one query vector among cards whose vectors lie in clusters, as embedded texts do; recall is
against every inner product taken. Bars, on two cores: an edit 25 ms, a lookup 10 ms and 25 ms, all p50; recall 0.98.

Prints one JSON object; ends with code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from reground.benchmarks.phantom import PhantomBenchmark
from reground.edits.records import Answer, ImageRef
from reground.library.card import EditCard, card_of
from reground.library.encoders import default_text_encoder, open_encoders
from reground.library.index import Entry, open_index
from reground.library.routing import Router
from reground.library.store import Library
from reground.models.base import Query

_EDIT_BAR_MS = 25.0
_LOOKUP_BARS_MS = {100_000: 10.0, 1_000_000: 25.0}
_RECALL_BAR = 0.98
_LIMIT = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--million", action="store_true", help="look up among 1,000,000 cards as well")
    parser.add_argument("--text-encoder", default=default_text_encoder(), help="spec of the text encoder")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder if absent")
    given = parser.parse_args()
    counts = [100_000, 1_000_000] if given.million else [100_000]
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        edits = _edits(Path(scratch) / "edits", given.text_encoder)
        size = open_encoders(given.text_encoder, None).text.num_dimensions
        lookups = {count: _lookups(Path(scratch) / str(count), count, size) for count in counts}
    missed = [name for name in ("textual_ms_p50", "visual_ms_p50") if edits[name] > _EDIT_BAR_MS]
    for count, found in lookups.items():
        missed += [f"lookup among {count}"] if found["ms_p50"] > _LOOKUP_BARS_MS[count] else []
        missed += [f"recall among {count}"] if found["recall"] < _RECALL_BAR else []
    report = {"text_encoder": given.text_encoder, "num_dimensions": size, "edits": edits, "lookups": lookups}
    print(json.dumps({**report, "missed": missed}, indent=2))
    sys.exit(1 if missed else 0)


def _edits(folder: Path, text_encoder: str) -> dict[str, Any]:
    """Seconds of single edits and of routes, in a library of 1,000 cards."""
    library = Library.open(str(folder), encoders=open_encoders(text_encoder, "phantom-med"))
    library.add([_textual(f"filling {number}") for number in range(1000)])
    visual = [card_of(edit) for edit in PhantomBenchmark().edits("train") if edit.modality == "visual"]
    # The first calls load what is loaded once a process.
    library.add(visual[:2])
    seconds: dict[str, list[float]] = {"textual": [], "visual": [], "route": []}
    for number in range(40):
        for kind, card in (("textual", _textual(f"measured {number}")), ("visual", visual[2 + number])):
            started = time.perf_counter()
            library.add([card])
            seconds[kind].append(time.perf_counter() - started)
    router = Router(library)
    images: list[ImageRef] = [card.image for card in visual[60:100] if card.image is not None]
    for number, image in enumerate(images):
        query = Query(question=f"What is shown here, number {number}?", image=image)
        started = time.perf_counter()
        router.route([query])
        seconds["route"].append(time.perf_counter() - started)
    return {
        "num_cards": len(library),
        **{
            f"{kind}_ms_{name}": value
            for kind, all_s in seconds.items()
            for name, value in _milliseconds(all_s).items()
        },
    }


def _textual(name: str) -> EditCard:
    return EditCard(
        statement=f"Patients with {name} must now receive tarvexin first.",
        question=f"What is the first drug for {name}?",
        new_answer=Answer(text="tarvexin"),
        modality="textual",
        subject=name,
        relation="drug",
    )


def _lookups(folder: Path, num_cards: int, num_dimensions: int) -> dict[str, Any]:
    """Seconds and recall of lookups on the text side of an index."""
    index = open_index(str(folder), {"text": num_dimensions, "image": num_dimensions})
    assert index is not None
    random = np.random.default_rng(0)
    centres = random.normal(size=(max(1000, num_cards // 100), num_dimensions)).astype(np.float32)
    queries_BD = next(_clustered(random, centres, 100, 100))
    best: list[list[tuple[float, str]]] = [[] for _ in queries_BD]
    started, written = time.perf_counter(), 0
    for vectors_ND in _clustered(random, centres, num_cards, 20_000):
        names = [f"c{written + row}" for row in range(len(vectors_ND))]
        index.add([Entry(name, "{}", vectors={"text": one}) for name, one in zip(names, vectors_ND, strict=True)])
        written += len(names)
        for of_query, scores_N in zip(best, queries_BD @ vectors_ND.T, strict=True):
            top = np.argpartition(-scores_N, _LIMIT)[:_LIMIT]
            of_query[:] = sorted([*of_query, *((float(scores_N[row]), names[row]) for row in top)], reverse=True)[
                :_LIMIT
            ]
    inserted_s, started = time.perf_counter() - started, time.perf_counter()
    index.maintain()
    built_s = time.perf_counter() - started
    for query_D in queries_BD[:20]:
        index.search("text", query_D[None], _LIMIT)
    seconds, hits = [], 0
    for query_D, of_query in zip(queries_BD, best, strict=True):
        started = time.perf_counter()
        (matches,) = index.search("text", query_D[None], _LIMIT)
        seconds.append(time.perf_counter() - started)
        hits += len({match.id for match in matches} & {name for _, name in of_query})
    return {
        "num_cards": num_cards,
        "insert_s": round(inserted_s, 1),
        "build_s": round(built_s, 1),
        **{f"ms_{name}": value for name, value in _milliseconds(seconds).items()},
        "recall": round(hits / (_LIMIT * len(queries_BD)), 4),
    }


def _clustered(random: np.random.Generator, centres: Any, count: int, batch: int) -> Iterator[Any]:
    """Unit vectors around centres, in batches."""
    for start in range(0, count, batch):
        size = min(batch, count - start)
        noise = random.normal(size=(size, centres.shape[1])).astype(np.float32)
        vectors = centres[random.integers(0, len(centres), size)] + np.float32(0.7) * noise
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(seconds, share)) * 1e3, 2) for share in (50, 95)}


if __name__ == "__main__":
    main()
