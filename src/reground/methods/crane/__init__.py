"""Edits as cards in a library, given to the questions that concern them; a trained policy reads them."""

__all__: list[str] = []
