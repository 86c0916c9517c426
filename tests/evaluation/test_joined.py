"""Summaries of several runs as one, against cases worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from reground.evaluation.joined import join_summaries
from reground.evaluation.results import Comparison, Example, Score, Summary
from reground.reports.tables import markdown_table

WHERE: dict[str, Any] = {"benchmark": "clinic", "schedule": "single", "checkpoint": 1}


def score(value: float | None, *, model: str = "m", **changes: Any) -> Score:
    fields: dict[str, Any] = {
        "method": "ft",
        "metric": "grounded",
        "level": "exact",
        "stratum": "all",
        "low": None if value is None else value - 0.1,
        "high": None if value is None else value + 0.1,
        "n": 0 if value is None else 10,
        "num_unscored": 10 if value is None else 1,
        "reason": "no chain" if value is None else None,
        "unscored_reasons": {"no chain": 10} if value is None else {"cut off": 1},
    }
    return Score(model=model, value=value, **WHERE, **(fields | changes))


def summary(*scores: Score, model: str = "m", difference: float = 0.5) -> Summary:
    return Summary(
        protocol_version="1",
        package_version="1",
        reader="r",
        run="r1",
        methods=("ft",),
        num_failed_steps=1,
        num_edits=3,
        num_probes=12,
        strata={model: {"unknown": 3}},
        notes=("a note",),
        scores=scores,
        comparisons=(
            Comparison(
                a="ft", b="none", model=model, metric="grounded", level="exact", value=difference, low=0, high=1,
                num_edits=3, **WHERE,
            ),
        ),
        examples=(
            Example(
                method="ft", model=model, label="wrong", count=2, edit_id="e", probe_id="p", level="exact",
                question="q", expected="x", raw=str(difference), **WHERE,
            ),
        ),
    )  # fmt: skip


def test_figures_are_averaged_over_seeds() -> None:
    joined = join_summaries([summary(score(0.2), difference=0.1), summary(score(0.6), difference=0.4)], run="g")
    (found,) = joined.scores
    assert found.value == pytest.approx(0.4)
    assert found.seed_sd == pytest.approx(0.2828, abs=1e-4)  # sqrt((0.2² + 0.2²) / 1)
    assert (found.low, found.high, found.n, found.num_unscored, found.num_seeds) == (None, None, 20, 2, 2)
    assert found.unscored_reasons == {"cut off": 2}
    (compared,) = joined.comparisons
    assert (compared.value, compared.low, compared.high, compared.num_edits) == (pytest.approx(0.25), None, None, 6)
    (example,) = joined.examples
    assert (example.count, example.raw) == (4, "0.1")
    assert (joined.num_failed_steps, joined.num_edits, joined.num_probes) == (2, 6, 24)
    assert joined.strata == {"m": {"unknown": 6}}
    assert joined.notes[0] == "a note"
    assert "means over 2 seeds" in joined.notes[1]
    assert "0.40 ±0.28" in markdown_table(joined)


def test_a_seed_without_a_figure_is_left_out_of_the_mean() -> None:
    (found,) = join_summaries([summary(score(0.2)), summary(score(None))], run="g").scores
    assert (found.value, found.num_seeds, found.seed_sd, found.reason) == (0.2, 1, None, None)
    assert found.unscored_reasons == {"cut off": 1, "no chain": 10}
    (found,) = join_summaries([summary(score(None)), summary(score(None))], run="g").scores
    assert (found.value, found.num_seeds, found.reason) == (None, 0, "no chain")


def test_models_stand_side_by_side_with_their_intervals() -> None:
    one, other = score(0.2), score(0.6, model="n")
    joined = join_summaries([summary(one), summary(other, model="n")], run="g")
    assert joined.scores == (one, other)
    assert len(joined.comparisons) == 2
    assert joined.notes == ("a note",)
    assert "num_seeds" not in joined.scores[0].model_dump()
