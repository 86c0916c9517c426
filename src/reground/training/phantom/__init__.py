"""Training of the built-in models from scratch: first the image tower alone, then the language model around it."""
