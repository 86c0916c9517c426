"""Fine-tuning of chosen layers, on the new answer or on a chain that carries it."""

__all__: list[str] = []
