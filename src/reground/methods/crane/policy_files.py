"""Where the adapter of a policy lies. Importing this needs no torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from reground.errors import ArtifactError
from reground.training.policy_card import CARD_FILE

if TYPE_CHECKING:
    from reground.methods.crane.config import CraneConfig

__all__ = ["policy_folder", "shipped_policy"]


def shipped_policy(policy: str, model_name: str) -> Path:
    """Where the package keeps an adapter for a built-in model, whether there is one or not."""
    return Path(str(resources.files("reground") / "methods" / "artifacts" / "crane" / model_name / policy))


def policy_folder(method: str, config: CraneConfig, model_name: str) -> Path:
    """Folder of the adapter that the settings name; nothing in it is read.

    Args:
        method: Registered name of the method, for messages.
        config: Its settings, with a policy.
        model_name: Name of the model.

    Raises:
        ArtifactError: None ships for the model.
    """
    if config.artifact is not None:
        return Path(config.artifact)
    folder = shipped_policy(config.policy, model_name)
    if not (folder / CARD_FILE).is_file():
        raise ArtifactError(
            f"method {method!r} reads cards with a trained policy, and no policy {config.policy!r} ships for "
            f"{model_name!r}.",
            "artifact=DIR with a folder that `reground train` wrote; or the method 'crane-prompt', which needs none",
            "run `reground train sft crane-sft --out DIR`, then set artifact=DIR.",
        )
    return folder
