"""Images of the phantom clinic, drawn on demand from an address; the same address always gives the same pixels.

Addresses (all keys required, in any order):

    phantom:finding?organ=kidney&sign=ring&place=upper&size=small&modality=ct&seed=7
    phantom:device?name=<device>&modality=x-ray&seed=7
    phantom:shapes?shape=circle&colour=red&count=3&seed=7
    phantom:blank

Shapes are drawn at four times the final 64 x 64 pixels and averaged down. Pose, shading and noise come from the seed.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from urllib.parse import parse_qsl, quote_plus

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from reground.errors import ImageError
from reground.phantom.world import MODALITIES, ORGANS, PLACES, SIGNS, SIZES, phantom_world

__all__ = [
    "COLOURS",
    "IMAGE_SIZE",
    "SHAPES",
    "device_uri",
    "finding_uri",
    "render_uri",
    "shapes_uri",
    "uri_keys",
]

IMAGE_SIZE = 64
_SCALE = 4
_CANVAS = IMAGE_SIZE * _SCALE

SHAPES = ("circle", "triangle", "square", "pentagon", "heart", "moon", "plus", "ellipse")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 40, 40),
    "green": (40, 160, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 215, 50),
    "purple": (140, 60, 170),
    "orange": (240, 140, 30),
    "pink": (245, 150, 190),
    "white": (250, 250, 250),
}
_SIZE_PX = {"small": 14.0, "medium": 18.5, "large": 24.5}
_PLACE_OFFSET = {
    "upper": (0.0, -9.0),
    "lower": (0.0, 9.0),
    "left": (-9.0, 0.0),
    "right": (9.0, 0.0),
    "central": (0.0, 0.0),
}

Points = list[tuple[float, float]]
Gray = npt.NDArray[np.float32]


def finding_uri(organ: str, sign: str, place: str, size: str, modality: str, seed: int) -> str:
    """Address of an image of a sign in an organ."""
    looks = {"organ": organ, "sign": sign, "place": place, "size": size, "modality": modality}
    return f"phantom:finding?{_encoded({**looks, 'seed': seed})}"


def device_uri(name: str, modality: str, seed: int) -> str:
    """Address of an image of a device."""
    return f"phantom:device?{_encoded({'name': name, 'modality': modality, 'seed': seed})}"


def shapes_uri(shape: str, colour: str, count: int, seed: int) -> str:
    """Address of an image of ``count`` (1 to 4) equal shapes of one colour."""
    return f"phantom:shapes?{_encoded({'shape': shape, 'colour': colour, 'count': count, 'seed': seed})}"


def _encoded(query: Mapping[str, str | int]) -> str:
    return "&".join([f"{key}={_quoted(str(value))}" for key, value in query.items()])


#: Addresses are made of few words, over and over.
_quoted = lru_cache(maxsize=4096)(quote_plus)


def uri_keys(uri: str) -> dict[str, str]:
    """What an address says about its image, by key; ``organ``, ``modality``, ``seed`` and so on."""
    return dict(_uri_pairs(uri))


@lru_cache(maxsize=4096)
def _uri_pairs(uri: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(uri.partition("?")[2]))


def render_uri(uri: str, jitter: float = 1.0) -> Image.Image:
    """The image at a ``phantom:`` address, RGB, 64 x 64.

    Args:
        uri: See the module's docstring.
        jitter: Multiplies rotation and shift of the pose; 1 is what the benchmark shows. Training starts below it and
            ends above it.

    Raises:
        ImageError: The address names something that does not exist.
    """
    scheme, _, rest = uri.partition(":")
    kind, keys = rest.partition("?")[0], uri_keys(uri)
    rng = random.Random(f"render/{uri}")
    noise = np.random.default_rng(int.from_bytes(hashlib.sha256(uri.encode()).digest()[:8], "little"))
    if scheme == "phantom" and kind == "blank" and not keys:
        return Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), (110, 110, 110))
    choices: dict[str, dict[str, Sequence[str]]] = {
        "finding": {"organ": ORGANS, "sign": SIGNS, "place": PLACES, "size": SIZES, "modality": MODALITIES},
        "device": {"name": tuple(phantom_world().devices), "modality": MODALITIES},
        "shapes": {"shape": SHAPES, "colour": tuple(COLOURS), "count": ("1", "2", "3", "4")},
    }
    if scheme != "phantom" or kind not in choices or set(keys) != {*choices[kind], "seed"}:
        raise ImageError(
            f"cannot render the address {uri!r}.",
            "phantom:finding?..., phantom:device?... or phantom:shapes?... with all keys and a seed, or phantom:blank",
            "see the docstring of reground.phantom.render, or `reground benchmarks show phantom`.",
        )
    for key, allowed in choices[kind].items():
        if keys[key] not in allowed:
            shown = ", ".join(allowed[:14]) + (", ..." if len(allowed) > 14 else "")
            raise ImageError(
                f"cannot render {uri!r}: {key}={keys[key]!r} does not exist.",
                shown,
                f"correct {key!r} in the address.",
            )
    if kind == "finding":
        gray = _draw_finding(keys["organ"], keys["sign"], keys["place"], keys["size"], rng, jitter)
        return _through_modality(gray, keys["modality"], rng, noise)
    if kind == "device":
        family, member = phantom_world().devices[keys["name"]]
        gray = _draw_device(family, member, rng, jitter)
        return _through_modality(gray, keys["modality"], rng, noise)
    return _draw_shapes(keys["shape"], keys["colour"], int(keys["count"]), rng, noise)


# ---------------------------------------------------------------------------------------------------------------------
# Drawing. Coordinates are final pixels with the origin in the centre of the image, y downwards.


class _Pen:
    """Draws in a posed frame on a grey canvas: rotate by ``angle`` (degrees), then shift by (``dx``, ``dy``) pixels."""

    def __init__(self, canvas: Image.Image, angle: float, dx: float, dy: float, scale: float = 1.0) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._cos, self._sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
        self._dx, self._dy, self._zoom = dx, dy, scale

    def point(self, x: float, y: float) -> tuple[float, float]:
        px, py = self._cos * x - self._sin * y + self._dx, self._sin * x + self._cos * y + self._dy
        return (px * _SCALE + _CANVAS / 2, py * _SCALE + _CANVAS / 2)

    def area(self, points: Points, value: int) -> None:
        self._draw.polygon([self.point(x, y) for x, y in points], fill=value)

    def line(self, points: Points, width: float, value: int) -> None:
        placed = [self.point(x, y) for x, y in points]
        thick = max(1, round(width * self._zoom * _SCALE))
        self._draw.line(placed, fill=value, width=thick, joint="curve")
        for end in (placed[0], placed[-1]):
            r = thick / 2
            self._draw.ellipse((end[0] - r, end[1] - r, end[0] + r, end[1] + r), fill=value)


def _oval(cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 360, n: int = 36) -> Points:
    angles = [math.radians(start + (stop - start) * i / (n - 1)) for i in range(n)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _organ_parts(organ: str) -> list[Points]:
    """Filled outlines of an organ, about 44 pixels across."""
    if organ == "lung":
        return [_oval(-12, 0, 10, 21), _oval(12, 0, 10, 21)]
    if organ == "heart":
        angles = [2 * math.pi * i / 60 for i in range(60)]
        return [
            [
                (
                    1.35 * 16 * math.sin(a) ** 3,
                    -1.3 * (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)),
                )
                for a in angles
            ]
        ]
    if organ == "liver":
        return [[(-23, -12), (-8, -17), (10, -15), (24, -8), (8, 2), (-4, 12), (-16, 18), (-23, 8)]]
    if organ == "kidney":
        return [[*_oval(0, 0, 14, 22, 40, 320), (4, -9), (2, 0), (4, 9)]]
    if organ == "stomach":
        return [
            [
                (6, -23),
                (16, -20),
                (20, -6),
                (18, 10),
                (8, 20),
                (-8, 21),
                (-22, 12),
                (-20, 5),
                (-8, 9),
                (0, 5),
                (3, -8),
            ]
        ]
    if organ == "spleen":
        return [
            [
                (-18, 14),
                (-20, 2),
                (-12, -12),
                (2, -20),
                (18, -18),
                (22, -10),
                (12, -6),
                (6, 4),
                (-2, 14),
                (-10, 19),
            ]
        ]
    if organ == "brain":
        outer = [2 * math.pi * i / 90 for i in range(90)]
        return [
            [((20 + 2.2 * math.cos(11 * a)) * math.cos(a), (20 + 2.2 * math.cos(11 * a)) * math.sin(a)) for a in outer]
        ]
    if organ == "bladder":
        return [_oval(0, -3, 19, 16), [(-5, 10), (5, 10), (3, 24), (-3, 24)]]
    if organ == "pancreas":
        return [
            [
                (-24, 2),
                (-22, -9),
                (-12, -13),
                (-2, -9),
                (12, -8),
                (25, -12),
                (24, -5),
                (12, 2),
                (-2, 5),
                (-12, 11),
                (-21, 10),
            ]
        ]
    if organ == "thyroid":
        return [
            [(-3, -4), (-10, -20), (-18, -16), (-20, 0), (-14, 14), (-6, 12), (-3, 4)],
            [(3, -4), (10, -20), (18, -16), (20, 0), (14, 14), (6, 12), (3, 4)],
            [(-5, -4), (5, -4), (5, 5), (-5, 5)],
        ]
    if organ == "femur":
        return [
            _oval(-6, -19, 8, 6),
            _oval(6, -18, 7, 6),
            [(-7, -20), (7, -20), (7, 20), (-7, 20)],
            _oval(-7, 19, 8, 6),
            _oval(7, 19, 8, 6),
        ]
    if organ == "bowel":
        return []
    raise AssertionError(organ)


_BOWEL: Points = [
    (-19, -17),
    (18, -17),
    (20, -9),
    (16, -5),
    (-16, -5),
    (-20, 1),
    (-16, 7),
    (16, 7),
    (20, 13),
    (16, 19),
    (-18, 19),
]


def _draw_sign(pen: _Pen, sign: str, cx: float, cy: float, d: float, value: int) -> None:
    """A sign of diameter ``d`` pixels centred at (cx, cy)."""
    r, w = d / 2, max(2.0, d * 0.17)

    def at(points: Points) -> Points:
        return [(cx + x * r, cy + y * r) for x, y in points]

    if sign == "ring":
        pen.line(_oval(cx, cy, r * 0.85, r * 0.85), w, value)
    elif sign == "nodule":
        pen.area(_oval(cx, cy, r * 0.85, r * 0.85), value)
    elif sign == "star":
        pen.area(
            at(
                [
                    (
                        math.sin(i * math.pi / 5) * (1.15 if i % 2 == 0 else 0.42),
                        -math.cos(i * math.pi / 5) * (1.15 if i % 2 == 0 else 0.42),
                    )
                    for i in range(10)
                ]
            ),
            value,
        )
    elif sign == "cross":
        pen.line(at([(-0.85, -0.85), (0.85, 0.85)]), w, value)
        pen.line(at([(-0.85, 0.85), (0.85, -0.85)]), w, value)
    elif sign == "band":
        pen.area(at([(-1.3, -0.3), (1.3, -0.3), (1.3, 0.3), (-1.3, 0.3)]), value)
    elif sign == "crescent":
        pen.area(at(_oval(0, 0, 1, 1, 50, 310)) + at(_oval(0.45, 0, 0.8, 0.72, 295, 65)), value)
    elif sign == "cluster":
        for x, y in ((-0.7, -0.7), (0.7, -0.7), (0, 0), (-0.7, 0.7), (0.7, 0.7)):
            pen.area(_oval(cx + x * r, cy + y * r, r * 0.3, r * 0.3), value)
    elif sign == "wedge":
        pen.area(at([(0, -1.05), (1.05, 0.85), (-1.05, 0.85)]), value)
    elif sign == "spiral":
        turns = [i / 47 * 4.2 * math.pi for i in range(48)]
        pen.line(at([(t / 13.2 * 1.1 * math.cos(t), t / 13.2 * 1.1 * math.sin(t)) for t in turns]), w * 0.75, value)
    elif sign == "mesh":
        for t in (-0.8, 0.0, 0.8):
            pen.line(at([(t, -1), (t, 1)]), w * 0.6, value)
            pen.line(at([(-1, t), (1, t)]), w * 0.6, value)
    elif sign == "zigzag":
        pen.line(at([(-1.3, 0.5), (-0.65, -0.6), (0, 0.5), (0.65, -0.6), (1.3, 0.5)]), w * 0.9, value)
    elif sign == "block":
        pen.area(at([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]), value)
    elif sign == "fork":
        pen.line(at([(0, 1.1), (0, 0.05)]), w, value)
        pen.line(at([(-0.9, -1), (0, 0.05), (0.9, -1)]), w, value)
    elif sign == "arrow":
        pen.line(at([(-1.1, 0), (0.5, 0)]), w, value)
        pen.area(at([(0.2, -0.8), (1.25, 0), (0.2, 0.8)]), value)
    else:
        raise AssertionError(sign)


def _pose(
    rng: random.Random, jitter: float, degrees: float = 5.0, pixels: float = 1.8
) -> tuple[float, float, float, float]:
    return (
        rng.uniform(-degrees, degrees) * jitter,
        rng.uniform(-pixels, pixels) * jitter,
        rng.uniform(-pixels, pixels) * jitter,
        1 + rng.uniform(-0.043, 0.043) * jitter,
    )


def _body(rng: random.Random) -> Image.Image:
    """A canvas with the faint outline of a body."""
    canvas = Image.new("L", (_CANVAS, _CANVAS), 10)
    pen = _Pen(canvas, rng.uniform(-4, 4), rng.uniform(-2, 2), rng.uniform(-2, 2))
    pen.area(_oval(0, 0, 30 + rng.uniform(-1, 2), 29 + rng.uniform(-2, 2)), rng.randint(42, 58))
    return canvas


def _draw_finding(organ: str, sign: str, place: str, size: str, rng: random.Random, jitter: float) -> Gray:
    canvas = _body(rng)
    angle, dx, dy, zoom = _pose(rng, jitter)
    pen = _Pen(canvas, angle, dx, dy, zoom)
    tissue = rng.randint(98, 122)
    for part in _organ_parts(organ):
        pen.area(part, tissue)
    if organ == "bowel":
        pen.line(_BOWEL, 7.5, tissue)
    if organ == "brain":
        pen.line([(0, -19), (0, 19)], 1.2, 80)
    ox, oy = _PLACE_OFFSET[place]
    wobble = 1.07 * jitter
    _draw_sign(
        pen,
        sign,
        ox + rng.uniform(-wobble, wobble),
        oy + rng.uniform(-wobble, wobble),
        _SIZE_PX[size],
        rng.randint(215, 245),
    )
    return _shrink(canvas)


@cache
def _family_skeleton(family: int) -> tuple[tuple[tuple[tuple[float, float], ...], float], ...]:
    """Strokes of a family's body: points and width. Seven kinds of body in four variants each."""
    kind, variant = family % 7, family // 7
    strokes: list[tuple[Points, float]] = []
    if kind == 0:  # plates: bent down, bent up, straight and wide, two in parallel
        if variant < 2:
            bend = 11.0 if variant == 0 else -11.0
            strokes.append(([(-21, 0), (0, bend), (21, 0)], 9.0))
        elif variant == 2:
            strokes.append(([(-18, 0), (18, 0)], 15.0))
        else:
            strokes += [([(-20, -8), (20, -8)], 7.0), ([(-20, 8), (20, 8)], 7.0), ([(0, -8), (0, 8)], 5.0)]
    elif kind == 1:  # hoops, open to one of four sides
        gap = 90.0 * variant
        strokes.append((_oval(0, 0, 17, 17, gap + 38, gap + 322), 6.5))
    elif kind == 2:  # a fork, a trident, a double fork, an anchor
        if variant < 2:
            strokes += [
                ([(0, 20), (0, -2)], 6.5),
                ([(-14, -19), (-14, -6), (0, 0), (14, -6), (14, -19)], 5.5),
            ]
            if variant == 1:
                strokes.append(([(0, 0), (0, -20)], 5.0))
        elif variant == 2:
            strokes += [([(0, 12), (0, -12)], 6.5)]
            strokes += [([(-13, 22 * e), (0, 8 * e), (13, 22 * e)], 5.5) for e in (-1, 1)]
        else:
            strokes += [([(0, -21), (0, 16)], 6.5), (_oval(0, 0, 18, 18, 20, 160), 5.5)]
    elif kind == 3:  # waves: one, one and a half, two periods, and one mirrored
        periods, sign = (1.0, 1.5, 2.0, 1.0)[variant], -1 if variant == 3 else 1
        wave = [(-21 + 42 * i / 29, sign * 11 * math.sin(2 * math.pi * periods * i / 29)) for i in range(30)]
        strokes.append((wave, 6.5))
    elif kind == 4:  # frames with three to six corners and a bar
        n = 3 + variant
        corners = [(19 * math.sin(2 * math.pi * i / n), -19 * math.cos(2 * math.pi * i / n)) for i in range(n + 1)]
        strokes += [(corners, 5.5), ([(-7, 2), (7, 2)], 6.0)]
    elif kind == 5:  # T, L, H, U
        letters: list[list[Points]] = [
            [[(-19, -16), (19, -16)], [(0, -16), (0, 20)]],
            [[(-14, -20), (-14, 17), (18, 17)]],
            [[(-15, -20), (-15, 20)], [(15, -20), (15, 20)], [(-15, 0), (15, 0)]],
            [[(-16, -20), (-16, 14), (16, 14), (16, -20)]],
        ]
        strokes += [(bar, 7.0) for bar in letters[variant]]
    else:  # rods: a lightning bolt, a Z, a W, a question mark's hook
        rods: list[Points] = [
            [(6, -22), (-10, 2), (10, -2), (-6, 22)],
            [(-17, -16), (17, -16), (-17, 16), (17, 16)],
            [(-22, -15), (-11, 15), (0, -10), (11, 15), (22, -15)],
            [*_oval(0, -9, 12, 11, 180, 450), (0, 21)],
        ]
        strokes.append((rods[variant], 6.5))
    return tuple((tuple(points), width) for points, width in strokes)


def _draw_device(family: int, member: int, rng: random.Random, jitter: float) -> Gray:
    """A family's body with the member's marks: one to three holes, with or without a square cap."""
    canvas = _body(rng)
    for i in range(3):  # ribs, so that a device is not on an empty field
        y = -16 + 16 * i + rng.uniform(-3, 3)
        _Pen(canvas, rng.uniform(-6, 6), 0, y).line([(-26, 3), (0, -2), (26, 3)], 2.2, 72)
    angle, dx, dy, zoom = _pose(rng, jitter)
    pen = _Pen(canvas, angle, dx, dy, zoom)
    metal = rng.randint(205, 240)
    strokes = _family_skeleton(family)
    for points, width in strokes:
        pen.line(list(points), width * 1.2, metal)
    holes, has_cap = member % 3 + 1, member >= 3
    path = list(strokes[0][0])
    for x, y in _spread(path, holes):
        pen.area(_oval(x, y, 3.4, 3.4), 20)
    if has_cap:
        x, y = path[-1]
        pen.area([(x - 7.5, y - 7.5), (x + 7.5, y - 7.5), (x + 7.5, y + 7.5), (x - 7.5, y + 7.5)], metal)
        pen.area([(x - 3.5, y - 3.5), (x + 3.5, y - 3.5), (x + 3.5, y + 3.5), (x - 3.5, y + 3.5)], 60)
    return _shrink(canvas)


def _spread(path: Points, count: int) -> Points:
    """``count`` points at even shares of the length of ``path``, its ends left free."""
    lengths = [math.dist(a, b) for a, b in itertools.pairwise(path)]
    total = sum(lengths)
    out: Points = []
    for k in range(count):
        rest = total * (0.5 if count == 1 else 0.14 + 0.62 * k / (count - 1))
        for (a, b), length in zip(itertools.pairwise(path), lengths, strict=True):
            if rest <= length:
                share = rest / length
                out.append((a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share))
                break
            rest -= length
    return out


def _shrink(canvas: Image.Image) -> Gray:
    return np.asarray(canvas.reduce(_SCALE), dtype=np.float32) / 255.0


def _through_modality(gray: Gray, modality: str, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    """What a scanner of the given kind makes of the drawn densities (values in [0, 1])."""
    yy, xx = np.mgrid[-1 : 1 : IMAGE_SIZE * 1j, -1 : 1 : IMAGE_SIZE * 1j].astype(np.float32)
    tilt = 1 + 0.12 * (rng.uniform(-1, 1) * xx + rng.uniform(-1, 1) * yy)
    grain = noise.standard_normal(gray.shape).astype(np.float32)
    radius = np.sqrt(xx**2 + yy**2)
    if modality == "x-ray":
        values = gray**0.9 * tilt + 0.035 * grain
        rgb = np.stack([values * 0.88, values * 0.95, values * 1.06], -1)
    elif modality == "ct":
        bone = np.exp(-(((radius - 0.93) / 0.035) ** 2)) * 0.8
        values = np.maximum(gray * tilt, bone) + 0.03 * grain
        rgb = np.stack([values] * 3, -1)
    elif modality == "mri":
        values = (0.82 - 0.75 * gray) * tilt * (radius < 0.95) + 0.03 * grain
        rgb = np.stack([values] * 3, -1)
    elif modality == "ultrasound":
        fan = (np.abs(np.arctan2(xx, yy + 1.5)) < 0.62) & (np.hypot(xx, yy + 1.5) < 2.42)
        coarse = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1) + np.roll(grain, (1, 1), (0, 1))) / 2
        values = gray * tilt * np.clip(1 + 0.2 * coarse, 0.4, 1.6) * fan
        rgb = np.stack([values] * 3, -1)
    elif modality == "pet":
        values = np.clip(gray * tilt + 0.025 * grain, 0, 1)
        rgb = np.stack([values * 2.2, values * 2.2 - 0.75, values * 3 - 2.1], -1)
    elif modality == "fluoroscopy":
        values = np.where(radius < 0.97, (0.95 - 0.85 * gray) * tilt, 0.0) + 0.03 * grain
        rgb = np.stack([values * 0.85, values * 1.0, values * 0.85], -1)
    else:
        raise AssertionError(modality)
    return Image.fromarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))


def _draw_shapes(shape: str, colour: str, count: int, rng: random.Random, noise: np.random.Generator) -> Image.Image:
    ground = rng.choice(((60, 60, 70), (95, 85, 75), (70, 95, 90), (40, 40, 40)))
    canvas = Image.new("RGB", (_CANVAS, _CANVAS), ground)
    slots = [(-15.0, -15.0), (15.0, -15.0), (-15.0, 15.0), (15.0, 15.0)]
    rng.shuffle(slots)
    tint = tuple(max(0, min(255, c + rng.randint(-14, 14))) for c in COLOURS[colour])
    for cx, cy in slots[:count]:
        angle = rng.uniform(-12, 12)
        x, y, d = cx + rng.uniform(-3, 3), cy + rng.uniform(-3, 3), rng.uniform(17, 23)
        pen = _Pen(canvas, angle, x, y)
        pen.area(_shape_outline(shape, d / 2), tint)  # type: ignore[arg-type]
    values = np.asarray(canvas.reduce(_SCALE), dtype=np.float32) + 4 * noise.standard_normal(
        (IMAGE_SIZE, IMAGE_SIZE, 3)
    )
    return Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))


def _shape_outline(shape: str, r: float) -> Points:
    if shape == "circle":
        return _oval(0, 0, r, r)
    if shape == "ellipse":
        return _oval(0, 0, r * 1.25, r * 0.6)
    if shape == "triangle":
        return [(0, -r), (r, r * 0.8), (-r, r * 0.8)]
    if shape == "square":
        return [(-r * 0.85, -r * 0.85), (r * 0.85, -r * 0.85), (r * 0.85, r * 0.85), (-r * 0.85, r * 0.85)]
    if shape == "pentagon":
        return [(r * 1.05 * math.sin(2 * math.pi * i / 5), -r * 1.05 * math.cos(2 * math.pi * i / 5)) for i in range(5)]
    if shape == "heart":
        return [(p[0] * r / 22, p[1] * r / 20) for p in _organ_parts("heart")[0]]
    if shape == "moon":
        return _oval(0, 0, r, r, 50, 310) + _oval(r * 0.45, 0, r * 0.8, r * 0.72, 295, 65)
    if shape == "plus":
        a, b = r, r * 0.36
        return [
            (-b, -a),
            (b, -a),
            (b, -b),
            (a, -b),
            (a, b),
            (b, b),
            (b, a),
            (-b, a),
            (-b, b),
            (-a, b),
            (-a, -b),
            (-b, -b),
        ]
    raise AssertionError(shape)
