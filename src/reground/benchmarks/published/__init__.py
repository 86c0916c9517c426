"""Loaders for the data sets the field publishes, one file each."""

__all__: list[str] = []
