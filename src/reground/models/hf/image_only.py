"""Stock processors without their video part, which needs torchvision."""

from __future__ import annotations

from typing import Any

__all__ = ["image_only"]


def image_only(processor: type[Any]) -> type[Any]:
    """A processor class without its video part; Reground asks about images alone.

    What is saved is named after the class, and a checkpoint must not depend on this package: so the name stays.

    Args:
        processor: A stock class of ``transformers``.
    """

    def attributes(_: type[Any]) -> list[str]:
        return [name for name in processor.get_attributes() if name != "video_processor"]

    return type(processor.__name__, (processor,), {"get_attributes": classmethod(attributes), "__module__": __name__})
