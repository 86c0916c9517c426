"""The edit library: cards in an index, found again by what is asked and what is seen, or not at all."""

__all__: list[str] = []
