"""Null-space constrained editing: updates that leave the keys of a corpus alone."""

__all__: list[str] = []
