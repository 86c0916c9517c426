"""The weights of the built-in models, each in a folder of its own with the card that says how it was made."""

from __future__ import annotations

from pathlib import Path

from reground.errors import ModelError

__all__ = ["weights_folder"]


def weights_folder(name: str) -> Path:
    """The checkpoint folder of a built-in model.

    Raises:
        ModelError: The installed package holds no weights of that name.
    """
    folder = Path(__file__).parent / name
    if not (folder / "model.safetensors").is_file():
        raise ModelError(
            f"the built-in model {name!r} has no weights in {folder}.",
            "an installation that carries them, or weights trained by `reground train phantom`",
            f"reinstall reground, or run `reground train phantom {name}`.",
        )
    return folder
