"""Write the two heads with which a library compares images of the built-in world, from the tower and training subjects.

python ci/fit_image_key.py        about two minutes on one core
"""

from __future__ import annotations

import json
from pathlib import Path

from reground.models.registry import load_model
from reground.training.phantom.image_key import fit_image_key

FILE = Path(__file__).parent.parent / "src" / "reground" / "library" / "phantom_image_key.safetensors"

if __name__ == "__main__":
    print(json.dumps(fit_image_key(load_model("phantom-med", device="cpu"), FILE)))
