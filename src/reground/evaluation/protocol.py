"""The settings of the evaluation protocol that a recipe may change; see ``docs/protocol.md``."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from reground.edits.records import Record

__all__ = ["ProtocolSettings"]

_Share = Annotated[float, Field(gt=0, lt=1)]


class ProtocolSettings(Record):
    """How probes are decoded, how beliefs are sampled and how uncertainty is computed.

    The defaults are protocol version ``reground.PROTOCOL_VERSION``. A number obtained under other settings is
    still a number of that version, but names the settings beside it; they travel in the run's manifest.

    Attributes:
        max_new_tokens: Token budget of one output; an output that reaches it is ``truncated``.
        temperature: Sampling temperature of probes; 0 is greedy.
        chain_tokens: Token budget of a probe's chain: None: the chain is the model's own; 0: an empty chain; else the
            chain is closed at the end of the sentence that uses up so many tokens. Beliefs are sampled with the
            model's own.
        belief_samples: Answers sampled from the unedited model per edit to find its stratum (the protocol's *k*).
        belief_temperature: Temperature of those samples.
        bootstrap_resamples: Resamples behind each interval; 0 turns intervals off.
        bootstrap_seed: Seed of the resampling. The same rows and seed give the same interval on every machine.
        confidence: Share of the resamples inside the interval.
        keeps_forced_tokens: Feed the texts that lenses compare, and keep the most likely tokens at each of their
            places in the rows; one more teacher-forced pass over locality and multiple-choice probes. No score of
            the protocol reads them.
    """

    # Infinity and NaN have no place in JSON: a manifest could not say what the run was done with.
    model_config = ConfigDict(allow_inf_nan=False, strict=True)

    max_new_tokens: int = Field(default=96, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    chain_tokens: Annotated[int, Field(ge=0)] | None = None
    belief_samples: int = Field(default=8, ge=1)
    belief_temperature: float = Field(default=1.0, gt=0)
    bootstrap_resamples: int = Field(default=2000, ge=0)
    bootstrap_seed: int = Field(default=0, ge=0)
    confidence: _Share = 0.95
    keeps_forced_tokens: bool = False
