"""Planes of float numbers with arithmetic and noise: the little of numpy that painting needs."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from PIL import Image, ImageMath

Colour = tuple[float, float, float]
Size = tuple[int, int]


def operator(operation: Callable[[Any, Any], Any]) -> Callable[[Field, Field | float], Field]:
    """A method that combines a field with another one or, in one quick pass, with a number."""

    def method(self: Field, other: Field | float) -> Field:
        if isinstance(other, Field):
            planes = {"a": self.image, "b": other.image}
            return Field(ImageMath.lambda_eval(lambda it: operation(it["a"], it["b"]), **planes))
        return Field(self.image.point(lambda value: operation(value, float(other))))

    return method


class Field:
    """A float32 image ("F") that can be added, multiplied and mixed like a number."""

    __add__ = operator(lambda a, b: a + b)
    __sub__ = operator(lambda a, b: a - b)
    __rsub__ = operator(lambda a, b: b - a)
    __mul__ = operator(lambda a, b: a * b)
    __truediv__ = operator(lambda a, b: a / b)

    def __init__(self, image: Image.Image) -> None:
        self.image, self.size = image, image.size

    @classmethod
    def row(cls, values: Sequence[float], height: int = 1) -> Field:
        """Repeat one row of values downwards."""
        line = Image.frombytes("F", (len(values), 1), array("f", values).tobytes())
        return cls(line.resize((len(values), height), Image.Resampling.NEAREST))

    @classmethod
    def column(cls, values: Sequence[float], width: int = 1) -> Field:
        """Repeat one column of values sideways."""
        line = Image.frombytes("F", (1, len(values)), array("f", values).tobytes())
        return cls(line.resize((width, len(values)), Image.Resampling.NEAREST))

    @classmethod
    def flat(cls, size: Size, value: float = 0.0) -> Field:
        return cls(Image.new("F", size, value))

    def _computed(self, formula: Callable[[Any, Any], Any]) -> Field:
        return Field(ImageMath.lambda_eval(lambda it: formula(it, it["a"]), a=self.image))

    def __pow__(self, power: float) -> Field:
        return self._computed(lambda it, a: a**power)

    def __abs__(self) -> Field:
        return self._computed(lambda it, a: abs(a))

    def exp(self) -> Field:
        return self._computed(lambda it, a: math.e**a)

    def clamp(self, low: float = 0.0, high: float = 1.0) -> Field:
        return self._computed(lambda it, a: it["min"](it["max"](a, low), high))

    def at_least(self, low: Field | float) -> Field:
        return (self - low).clamp(0.0, 1e9) + low

    def rise(self, low: float, high: float) -> Field:
        """Smoothstep: 0 below `low`, 1 above `high` (the other way round when low > high)."""
        t = ((self - low) / (high - low)).clamp()
        return t * t * (3.0 - t * 2.0)

    def mix(self, other: Field | float, amount: Field | float) -> Field:
        return self + (other - self) * amount

    def step(self, right: int, down: int) -> Field:
        """How much each value exceeds the one so far to its left or above it; 0 along the edge."""
        moved = self.image.copy()
        moved.paste(self.image, (right, down))
        return self - Field(moved)

    def resized(self, size: Size) -> Field:
        return Field(self.image.resize(size, Image.Resampling.BICUBIC))

    def lines(self) -> list[array[float]]:
        """The rows as arrays of floats, top first."""
        values, width = array("f", self.image.tobytes()), self.size[0]
        return [values[start : start + width] for start in range(0, len(values), width)]

    def mask(self) -> Image.Image:
        """0-1 as an 8-bit mask; what lies outside is clipped."""
        return (self * 255.0 + 0.5).image.convert("L")


class ColourField:
    """Red, green and blue planes, 0-1, in which light can be added without banding."""

    def __init__(self, red: Field, green: Field, blue: Field) -> None:
        self.planes, self.size = (red, green, blue), red.size

    @classmethod
    def flat(cls, size: Size, colour: Colour) -> ColourField:
        return cls(*(Field.flat(size, value) for value in colour))

    @classmethod
    def column(cls, colours: Sequence[Colour], width: int) -> ColourField:
        return cls(*(Field.column(channel, width) for channel in zip(*colours, strict=True)))

    def mix(self, colour: Colour | ColourField, amount: Field | float) -> ColourField:
        others: Sequence[Any] = colour.planes if isinstance(colour, ColourField) else colour
        return ColourField(*(a.mix(b, amount) for a, b in zip(self.planes, others, strict=True)))

    def add(self, colour: Colour, amount: Field) -> ColourField:
        return ColourField(*(a + amount * b for a, b in zip(self.planes, colour, strict=True)))

    def times(self, other: ColourField | Field) -> ColourField:
        others = other.planes if isinstance(other, ColourField) else (other,) * 3
        return ColourField(*(a * b for a, b in zip(self.planes, others, strict=True)))

    def exposed(self) -> ColourField:
        """Film's answer to light: the bright end is compressed instead of burnt out."""
        return ColourField(*((1.0 - (plane * -1.4).exp()) * 1.08 for plane in self.planes))

    def picture(self, rng: random.Random) -> Image.Image:
        """As RGB, dithered by less than one step."""
        dither = white_noise(rng, self.size) * 0.49 + 0.5
        return Image.merge("RGB", [(plane * 255.0 + dither).image.convert("L") for plane in self.planes])


def white_noise(rng: random.Random, size: Size) -> Field:
    """Independent values from -1 to 1."""
    dice = Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))
    return Field(dice.convert("F")) / 127.5 - 1.0


def distance(size: Size, x: float, y: float, stretch: float = 1.0) -> Field:
    """Distance in pixels from the point (x, y); `stretch` > 1 makes the circles lie flat."""
    across = Field.row([((i + 0.5 - x) / stretch) ** 2 for i in range(size[0])], size[1])
    return (across + Field.column([(j + 0.5 - y) ** 2 for j in range(size[1])], size[0])) ** 0.5


def noise(
    rng: random.Random, size: Size, cell: tuple[float, float], octaves: int = 5, gain: float = 0.5
) -> Field:
    """Fractal value noise, about -1 to 1; `cell` is the size in pixels of its largest features."""
    total = Field.flat(size)
    for octave in range(octaves):
        cells = [max(0.02, extent / max(c / 2**octave, 1.0)) for extent, c in zip(size, cell, strict=True)]
        grid = white_noise(rng, (math.ceil(cells[0]) + 4, math.ceil(cells[1]) + 4)).image
        left, top = 1 + rng.random(), 1 + rng.random()
        box = (left, top, left + cells[0], top + cells[1])
        total = total + Field(grid.resize(size, Image.Resampling.BICUBIC, box=box)) * gain**octave
    return total / (1.6 * math.sqrt(sum(gain ** (2 * octave) for octave in range(octaves))))


def plane_noise(
    rng: random.Random, width: int, depths: Sequence[float], spread: float, period: float, octaves: int = 6,
    gain: float = 0.5, stretch: float = 1.0, shape: Callable[[Field], Field] = lambda octave: octave,
) -> Field:  # fmt: skip
    """
    Fractal noise on a plane seen in perspective: row i lies `depths[i]` away and is `2 * spread` times as
    wide. The largest features are `period` deep and `stretch` times as wide; `shape` bends every octave.
    Octaves finer than two pixels or two rows fade out, so that the distance does not glitter.
    """
    gaps = [max(abs(a - b), 1e-6) for a, b in pairwise([*depths, 2 * depths[-1] - depths[-2]])]
    total = Field.flat((width, len(depths)))
    for octave in range(octaves):
        cell = period / 2**octave
        sharp = [cell * stretch * width / (4 * spread * depth) for depth in depths]
        fine = [cell / (2.6 * gap) for gap in gaps]
        shares = zip(sharp, fine, strict=True)
        visible = [min(1.0, max(0.0, s - 0.6)) * min(1.0, max(0.0, f - 0.6)) for s, f in shares]
        far = max((d for d, v in zip(depths, visible, strict=True) if v > 0), default=0.0)
        if far > 0.0:  # what nobody sees is not computed
            sheet = perspective(rng, width, [min(d, far) for d in depths], spread, cell, stretch)
            total = total + shape(sheet) * Field.column(visible, width) * gain**octave
    return total / (1.6 * math.sqrt(sum(gain ** (2 * octave) for octave in range(octaves))))


def perspective(
    rng: random.Random, width: int, depths: Sequence[float], spread: float, cell: float, stretch: float
) -> Field:
    """One octave: a lattice, turned at random or squares would show, looked at along the plane."""
    angle = rng.uniform(0, math.tau) if stretch == 1 else rng.uniform(-0.15, 0.15)
    cos, sin = math.cos(angle) / cell, math.sin(angle) / cell

    def edge(depth: float) -> list[tuple[float, float]]:
        half = depth * spread / stretch
        return [(side * half * cos - depth * sin, side * half * sin + depth * cos) for side in (-1, 1)]

    corners = [*edge(max(depths)), *edge(min(depths))]
    left, top = (min(corner[axis] for corner in corners) - 3 for axis in (0, 1))
    right, bottom = (max(corner[axis] for corner in corners) + 3 for axis in (0, 1))
    grid = white_noise(rng, (math.ceil(right - left), math.ceil(bottom - top))).image
    bands = []
    for row in range(0, len(depths), 4):  # over four rows depth is taken to change evenly
        below = min(row + 4, len(depths))
        (nw, ne), (sw, se) = edge(depths[row]), edge(depths[below - (below == len(depths))])
        quad = [part for x, y in (nw, sw, se, ne) for part in (x - left, y - top)]
        bands.append(((0, row, width, below), quad))
    return Field(grid.transform((width, len(depths)), Image.Transform.MESH, bands, Image.Resampling.BICUBIC))
