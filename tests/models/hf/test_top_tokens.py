"""The most likely tokens beside a teacher-forced score are those of the logits it was computed from."""

from __future__ import annotations

import torch

from reground.models.base import NUM_TOP_TOKENS, Query
from reground.models.hf.adapter import HfModel


def test_the_first_of_the_top_tokens_decides_the_share(tiny_model: HfModel) -> None:
    target = "drantic fever"
    (score,) = tiny_model.score([Query(question="which condition is it?")], [target])
    assert len(score.target_ids) == len(score.top_ids) == score.num_tokens
    assert all(len(set(top)) == NUM_TOP_TOKENS for top in score.top_ids)
    hits = [top[0] == token for top, token in zip(score.top_ids, score.target_ids, strict=True)]
    assert sum(hits) / len(hits) == score.top1_share
    assert tiny_model.processor.tokenizer.decode(list(score.target_ids)).strip() == target


def test_top_tokens_follow_the_logits_of_a_plain_pass(tiny_model: HfModel) -> None:
    query, target = Query(question="which condition is it?"), "drantic fever"
    (score,) = tiny_model.score([query], [target])
    batch = tiny_model.training_batch([query], [target], ends=False)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits_TV = tiny_model.module(**batch).logits[0]
    first = int((labels[0] != -100).nonzero()[0])
    ranked = logits_TV[first - 1].argsort(descending=True)[:NUM_TOP_TOKENS].tolist()
    assert tuple(ranked) == score.top_ids[0]
