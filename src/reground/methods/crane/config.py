"""Settings of the method that retrieves edit cards."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from reground.methods.artifact import Learned, TrainedConfig
from reground.methods.base import MethodConfig

__all__ = ["CraneConfig", "CranePromptConfig"]

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class CranePromptConfig(MethodConfig):
    """How cards are kept, found and read.

    Attributes:
        library: Address of the library: a folder, or any address LanceDB takes. None: one in memory, for these edits
            alone.
        background: File of cards, or folder of ``reground library export``: they are in force beside those of the
            edits, in a library in memory. It shows what becomes of an edit where there are many.
        text_encoder: Spec of the library's text encoder; None: the best that is installed.
        image_encoder: Spec of its image encoder.
        calibration: Thresholds: the name of a shipped calibration, or a file that ``reground library calibrate``
            wrote. None: the shipped one that was made with the same encoders.
        retrieval: ``routed``: each query receives the cards that concern it. ``gold``: every query receives every
            card in force.
        abstains: Whether a query may receive no card; False: each receives the nearest.
        num_sides: 2: a text side and an image side. 1: one side for all cards.
        keeps_percept: Whether a card says what the unedited model sees in its image.
        percept_question: What the unedited model is asked about a card's image; its answer is the percept. None: the
            card's own question, and the first sentence of the chain is the percept.
        looks_up: Whether sentences of the chain are looked up as it is written.
        max_lookups: Sentences of a chain that are looked up at most; beside what each brings the rest is written anew.
        max_cards: Cards that a chain which is given further ones goes on beside: those that it has stated make room,
            then those that came while it was written. What the question received and is not yet stated stays, and so
            does all that one sentence brings, even if it is more.
        tells_called: Whether a card says so where question or chain calls it by its name; without a policy this does
            nothing.
        releases: Whether the policy lets go of a chain that has said what a card does, so that the unedited model goes
            on with it; without a policy this does nothing.
        hands_back: Whether a question whose output says what none of its cards does is answered by the unedited model.
        corrects: Whether a chain that leaves a card it was given, and plainly says what that took back, is gone on with
            from there, what holds now in the place of what was taken back.
        instruction: A line before the cards, for models that were not trained to read them.
    """

    library: _Name | None = None
    background: _Name | None = None
    text_encoder: _Name | None = None
    image_encoder: _Name = "phantom-med"
    calibration: _Name | None = None
    retrieval: Literal["routed", "gold"] = "routed"
    abstains: bool = True
    num_sides: Literal[1, 2] = 2
    keeps_percept: bool = True
    percept_question: _Name | None = None
    looks_up: bool = True
    max_lookups: int = Field(default=8, ge=1)
    max_cards: int = Field(default=2, ge=1)
    tells_called: bool = True
    releases: bool = True
    hands_back: bool = True
    corrects: bool = True
    instruction: _Name | None = None

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.retrieval == "gold" and not self.abstains:
            raise ValueError("retrieval: gold gives every card; abstains: false is for routed retrieval")
        if self.library is not None and self.background is not None:
            raise ValueError("background is for a library in memory; a library at an address has its own cards")
        if not self.abstains and self.calibration is not None:
            raise ValueError("without abstention there is nothing that a calibration could hold back")
        return self


class CraneConfig(CranePromptConfig, TrainedConfig):
    """The same with a policy that was trained to read cards.

    Attributes:
        policy: Which of the shipped adapters: after supervised training (``sft``), after reinforcement as well
            (``grpo``), or after reinforcement alone (``grpo-alone``); ``grpo-seed-2`` and ``grpo-seed-3`` were trained
            as ``grpo`` was but for the seed; ``none``: the model as it is.
        artifact: Folder that ``reground train`` wrote; None: the adapter that ships with the package for the model.
    """

    policy: Literal["grpo", "sft", "grpo-alone", "grpo-seed-2", "grpo-seed-3", "none"] = "grpo"
    artifact: str | None = None

    @model_validator(mode="after")
    def _no_policy_has_no_adapter(self) -> Self:
        if self.policy == "none" and self.artifact is not None:
            raise ValueError("policy: none has no adapter")
        return self

    def learned(self, method: str, model_name: str) -> Learned | None:
        """What is known of the adapter; None for ``policy: none``.

        Raises:
            ArtifactError: There is none.
        """
        from reground.methods.crane.policy_files import policy_folder
        from reground.training.policy_card import PolicyCard

        return None if self.policy == "none" else PolicyCard.read(policy_folder(method, self, model_name))
