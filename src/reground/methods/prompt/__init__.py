"""The edit stated in every prompt, relevant or not."""

__all__: list[str] = []
