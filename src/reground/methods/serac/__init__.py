"""A memory of edits, a classifier that says which query each concerns, and a second model that answers those."""

__all__: list[str] = []
