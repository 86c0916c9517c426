"""What is known of a trained policy: which model it is for, how it was trained, on what, and what it can do.

A policy is a folder with a low-rank adapter as peft writes it (``adapter_config.json``, ``adapter_model.safetensors``)
and ``policy.json``, the card. Nothing here needs torch, so that a plan can tell whether there is one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reground.edits.files import write_atomically
from reground.edits.records import Record, content_id
from reground.errors import ArtifactError

__all__ = ["ADAPTER_FILE", "CARD_FILE", "KindScore", "PolicyCard", "PolicyStage", "file_digest"]

CARD_FILE = "policy.json"
ADAPTER_FILE = "adapter_model.safetensors"

#: Supervised training, or reinforcement after it.
PolicyStage = Literal["sft", "grpo"]


class KindScore(Record):
    """How a policy deals with one kind of sample, greedily.

    Attributes:
        kind: Kind of sample.
        n: Samples.
        reward: Mean reward; the terms beside it are means too.
        terms: By name; ``format`` among them.
    """

    kind: str
    n: int
    reward: float
    terms: dict[str, float]


class PolicyCard(Record):
    """Everything but tensors that is kept of a policy.

    Attributes:
        format: Version of this file.
        stage: What it was trained by last.
        settings: All settings of that training.
        model: Name of the model the adapter belongs to.
        base: SHA-256 of the weights the adapter stands on.
        adapter: SHA-256 of the adapter's file.
        started_from: Id of the policy it went on from.
        data: Which samples: split, seed, number, kinds and their weights.
        subjects: Every finding and device that training could show, sorted.
        versions: Of the packages that made it.
        wall_s: Seconds of training, of the last session if it was interrupted.
        earlier_s: Seconds of the trainings it went on from.
        curve: What was logged on the way, step by step.
        measured: On the calibration split, by kind.
    """

    format: Literal[1] = 1
    stage: PolicyStage
    settings: dict[str, Any]
    model: str
    base: str
    adapter: str
    started_from: str | None = None
    data: dict[str, Any]
    subjects: tuple[str, ...]
    versions: dict[str, str]
    wall_s: float
    earlier_s: float = 0.0
    curve: tuple[dict[str, float], ...]
    measured: tuple[KindScore, ...]

    @property
    def id(self) -> str:
        """Short hash of what was asked for and what came out of it."""
        return content_id("p", [self.stage, self.settings, self.data, self.base, self.adapter])

    @property
    def fit_s(self) -> float:
        """Seconds of all trainings that led to it."""
        return self.earlier_s + self.wall_s

    @property
    def curve_rows(self) -> list[dict[str, float]]:
        """The curve without what is the same for all trainings: of the loss, of rewards and of their terms."""
        wanted = {
            "loss": "loss",
            "mean_token_accuracy": "token accuracy",
            "reward": "reward",
            "reward_std": "spread",
            "kl": "kl",
            **{f"terms/{name}": name for name in ("answer", "routing", "grounding", "intermediates", "copying")},
        }
        return [
            {"step": int(point["step"])} | {name: round(point[key], 4) for key, name in wanted.items() if key in point}
            for point in self.curve
            if "loss" in point
        ]

    def write(self, folder: Path) -> None:
        """Write the card into ``folder``, whole or not at all."""
        write_atomically(folder / CARD_FILE, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> PolicyCard:
        """The card in ``folder``.

        Raises:
            ArtifactError: No such card, not readable, or without its adapter.
        """
        try:
            card = cls.model_validate_json((folder / CARD_FILE).read_text(encoding="utf-8"))
            is_whole = file_digest(folder / ADAPTER_FILE) == card.adapter
            cause = None
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            is_whole, cause = False, error
        if not is_whole:
            unfinished = any(folder.glob("checkpoint-*"))
            raise ArtifactError(
                f"no policy can be read from {str(folder)!r}"
                + (": its training is not finished." if unfinished else "."),
                f"a folder with {CARD_FILE} and the {ADAPTER_FILE} that belongs to it, as `reground train` writes them",
                "run the same `reground train` command again; it goes on where it stopped."
                if unfinished
                else "run `reground train sft crane-sft --out DIR`, then `reground train grpo crane-grpo`.",
            ) from cause
        return card


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
