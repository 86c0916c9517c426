"""Benchmarks built from published question sets, by their papers' recipes."""
