"""What Gemma 3 and PaliGemma share: a generation from embeddings, which their classes can do and do not say.

``generate`` asks the signature of ``prepare_inputs_for_generation`` whether embeddings are taken; these two take them
among their further settings.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

__all__ = ["declare_embeddings"]


def declare_embeddings(module: Any) -> None:
    """Have a loaded module say that its generation may start from embeddings."""
    # A bound method, so that a copy of the module gets one of its own.
    module.prepare_inputs_for_generation = MethodType(_prepare_inputs, module)


# ``generate`` also asks whether further settings are taken, and knows them by the name ``kwargs`` alone.
def _prepare_inputs(module: Any, input_ids: Any, inputs_embeds: Any = None, **kwargs: Any) -> Any:
    stock = type(module).prepare_inputs_for_generation
    return stock(module, input_ids, inputs_embeds=inputs_embeds, **kwargs)
