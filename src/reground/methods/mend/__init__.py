"""A small network, trained beforehand, that turns the gradient of an edit into the change of the weights."""

__all__: list[str] = []
