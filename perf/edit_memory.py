"""What an edit takes of memory on a model of real width, beside what its weights and its optimiser take.

    python perf/edit_memory.py
    python perf/edit_memory.py --method ft --method rome --layers 4

The model is a Qwen2-VL with the widths of its release of 2 billion parameters, random weights, fewer layers and a small
vocabulary. Each method makes one edit with a picture of some 250 patches for a few steps; what it gathers once (statistics
of a corpus) is gathered before. The bound is twice the weights that the edit acts on, and the optimiser's two moments of
what is trained. Prints one JSON object; ends with 1 if a method takes more.
"""
