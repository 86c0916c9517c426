"""Mass-editing memory: many edits at once, over a few MLP layers of the text model."""

__all__: list[str] = []
