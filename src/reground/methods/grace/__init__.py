"""A codebook of keys, values and radii at one layer, which answers for the inputs that fall within a radius."""

__all__: list[str] = []
