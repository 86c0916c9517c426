"""A contact sheet of the phantom clinic, so that a person sees what the images are.

python -m reground.phantom.sheet docs/images/phantom.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from reground.phantom.render import COLOURS, SHAPES, device_uri, finding_uri, render_uri, shapes_uri
from reground.phantom.world import MODALITIES, ORGANS, PLACES, SIGNS, SIZES, phantom_world

__all__ = ["contact_sheet"]

_TILE, _GAP, _TEXT, _COLUMNS = 112, 8, 14, 14


def contact_sheet() -> Image.Image:
    """All organs, signs, places, sizes, scanners, device families, one family's look-alikes, and the general side."""
    names = tuple(phantom_world().devices)
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        (
            "organs",
            [(o, finding_uri(o, "nodule", "central", "small", "ct", i)) for i, o in enumerate(ORGANS)],
        ),
        (
            "signs",
            [(s, finding_uri("liver", s, "central", "large", "x-ray", i)) for i, s in enumerate(SIGNS)],
        ),
        (
            "places, sizes, scanners (a ring in the brain)",
            [(p, finding_uri("brain", "ring", p, "small", "ct", i)) for i, p in enumerate(PLACES)]
            + [(s, finding_uri("brain", "ring", "central", s, "ct", i)) for i, s in enumerate(SIZES)]
            + [(m, finding_uri("brain", "ring", "central", "medium", m, i)) for i, m in enumerate(MODALITIES)],
        ),
        (
            "one device of each family",
            [(names[6 * f + f % 6], device_uri(names[6 * f + f % 6], "x-ray", f)) for f in range(28)],
        ),
        (
            "two families of look-alikes",
            [(names[i], device_uri(names[i], "ct", i)) for i in range(6)]
            + [(names[i], device_uri(names[i], "fluoroscopy", i)) for i in range(54, 60)],
        ),
        (
            "general side",
            [
                (f"{i % 4 + 1} {c} {s}", shapes_uri(s, c, i % 4 + 1, i))
                for i, (s, c) in enumerate(zip(SHAPES, COLOURS, strict=True))
            ],
        ),
    ]
    rows = sum(1 + -(-len(tiles) // _COLUMNS) for _, tiles in sections)
    titles = len(sections)
    height = (rows - titles) * (_TILE + _TEXT + _GAP) + titles * 26 + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (_TILE + _GAP) + _GAP, height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    y = _GAP
    for title, tiles in sections:
        draw.text((_GAP, y + 4), title, fill=(20, 20, 20), font_size=15)
        y += 26
        for i, (label, uri) in enumerate(tiles):
            x = _GAP + (i % _COLUMNS) * (_TILE + _GAP)
            top = y + (i // _COLUMNS) * (_TILE + _TEXT + _GAP)
            sheet.paste(render_uri(uri).resize((_TILE, _TILE), Image.Resampling.NEAREST), (x, top))
            draw.text((x, top + _TILE), label, fill=(60, 60, 60), font_size=11)
        y += -(-len(tiles) // _COLUMNS) * (_TILE + _TEXT + _GAP)
    return sheet


if __name__ == "__main__":
    contact_sheet().quantize(256).save(Path(sys.argv[1]), optimize=True)
