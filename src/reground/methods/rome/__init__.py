"""Rank-one model editing of one MLP layer of the text model."""

__all__: list[str] = []
