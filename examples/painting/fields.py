"""Planes of float numbers with arithmetic and noise: the little of numpy that painting needs, on Pillow alone."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from PIL import Image, ImageMath

Colour = tuple[float, float, float]

BAND = 4  # rows over which depth is taken to change evenly


class Field:
    """A float32 image ("F") that can be added, multiplied and mixed like a number."""

    __slots__ = ("image",)

    def __init__(self, image: Image.Image) -> None:
        self.image = image

    @classmethod
    def row(cls, values: Sequence[float], height: int = 1) -> Field:
        """Repeat one row of values downwards."""
        line = Image.frombytes("F", (len(values), 1), array("f", values).tobytes())
        return cls(line if height == 1 else line.resize((len(values), height), Image.Resampling.NEAREST))

    @classmethod
    def column(cls, values: Sequence[float], width: int = 1) -> Field:
        """Repeat one column of values sideways."""
        line = Image.frombytes("F", (1, len(values)), array("f", values).tobytes())
        return cls(line if width == 1 else line.resize((width, len(values)), Image.Resampling.NEAREST))

    @classmethod
    def flat(cls, size: tuple[int, int], value: float = 0.0) -> Field:
        return cls(Image.new("F", size, value))

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    def _with(self, other: Field | float, operation: Callable[[Any, Any], Any]) -> Field:
        operand = other.image if isinstance(other, Field) else float(other)
        return Field(
            ImageMath.lambda_eval(lambda names: operation(names["a"], names["b"]), a=self.image, b=operand)
        )

    def _scaled(self, factor: float, offset: float) -> Field:
        """One pass over the plane; several times faster than arithmetic with a constant plane."""
        return Field(self.image.point(lambda value: value * factor + offset))

    def __add__(self, other: Field | float) -> Field:
        return self._with(other, lambda a, b: a + b) if isinstance(other, Field) else self._scaled(1.0, other)

    def __sub__(self, other: Field | float) -> Field:
        return (
            self._with(other, lambda a, b: a - b) if isinstance(other, Field) else self._scaled(1.0, -other)
        )

    def __rsub__(self, other: float) -> Field:
        return self._scaled(-1.0, other)

    def __mul__(self, other: Field | float) -> Field:
        return self._with(other, lambda a, b: a * b) if isinstance(other, Field) else self._scaled(other, 0.0)

    def __truediv__(self, other: Field | float) -> Field:
        return (
            self._with(other, lambda a, b: a / b)
            if isinstance(other, Field)
            else self._scaled(1.0 / other, 0.0)
        )

    def __pow__(self, power: float) -> Field:
        return self._with(power, lambda a, b: a**b)

    def __abs__(self) -> Field:
        return self._with(0.0, lambda a, b: abs(a - b))

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> Field:
        return self._with(math.e, lambda a, b: b**a)

    def clamp(self, low: float = 0.0, high: float = 1.0) -> Field:
        return Field(
            ImageMath.lambda_eval(
                lambda names: names["min"](names["max"](names["a"], low), high), a=self.image
            )
        )

    def at_least(self, other: Field | float) -> Field:
        operand = other.image if isinstance(other, Field) else float(other)
        return Field(
            ImageMath.lambda_eval(lambda names: names["max"](names["a"], names["b"]), a=self.image, b=operand)
        )

    def rise(self, low: float, high: float) -> Field:
        """Smoothstep: 0 below `low`, 1 above `high` (the other way round when low > high)."""
        t = ((self - low) / (high - low)).clamp()
        return t * t * (3.0 - 2.0 * t)

    def mix(self, other: Field | float, amount: Field | float) -> Field:
        difference = other - self
        return self + difference * amount

    def step_right(self) -> Field:
        """How much each value exceeds its left neighbour; the first column repeats the second's."""
        width, height = self.size
        steps = Field(self.image.crop((1, 0, width, height))) - Field(
            self.image.crop((0, 0, width - 1, height))
        )
        padded = Image.new("F", self.size)
        padded.paste(steps.image, (0, 0))
        padded.paste(steps.image, (1, 0))
        return Field(padded)

    def step_down(self, rows: int = 1) -> Field:
        """How much each value exceeds the one `rows` above; the first rows repeat the next's."""
        width, height = self.size
        steps = Field(self.image.crop((0, rows, width, height))) - Field(
            self.image.crop((0, 0, width, height - rows))
        )
        padded = Image.new("F", self.size)
        padded.paste(steps.image, (0, 0))
        padded.paste(steps.image, (0, rows))
        return Field(padded)

    def resized(self, size: tuple[int, int]) -> Field:
        return Field(self.image.resize(size, Image.Resampling.BICUBIC))

    def extremes(self) -> tuple[float, float]:
        """The least and the greatest value."""
        low, high = self.image.getextrema()
        assert not isinstance(low, tuple)
        assert not isinstance(high, tuple)
        return low, high

    def quantile(self, part: float) -> float:
        """The value that `part` of the field lies below."""
        few = self.image.resize((64, 64), Image.Resampling.NEAREST)
        return sorted(array("f", few.tobytes()))[min(4095, max(0, int(part * 4096)))]

    def lines(self) -> list[array[float]]:
        """The rows as arrays of floats, top first."""
        values = array("f", self.image.tobytes())
        width = self.size[0]
        return [values[start : start + width] for start in range(0, len(values), width)]

    def mask(self) -> Image.Image:
        """0–1 as an 8-bit mask; what lies outside is clipped."""
        return (self * 255.0 + 0.5).image.convert("L")


class ColourField:
    """Red, green and blue planes, 0–1, in which light can be added without banding."""

    def __init__(self, red: Field, green: Field, blue: Field) -> None:
        self.planes = (red, green, blue)

    @classmethod
    def flat(cls, size: tuple[int, int], colour: Colour) -> ColourField:
        return cls(*(Field.flat(size, value) for value in colour))

    def mix(self, colour: Colour | ColourField, amount: Field | float) -> ColourField:
        if isinstance(colour, ColourField):
            return ColourField(*(a.mix(b, amount) for a, b in zip(self.planes, colour.planes, strict=True)))
        return ColourField(*(a.mix(b, amount) for a, b in zip(self.planes, colour, strict=True)))

    def add(self, colour: Colour, amount: Field) -> ColourField:
        return ColourField(*(a + b * amount for a, b in zip(self.planes, colour, strict=True)))

    def times(self, other: ColourField | Field) -> ColourField:
        others = other.planes if isinstance(other, ColourField) else (other,) * 3
        return ColourField(*(a * b for a, b in zip(self.planes, others, strict=True)))

    def exposed(self) -> ColourField:
        """Film's answer to light: the bright end is compressed instead of burnt out."""
        return ColourField(*((1.0 - (plane * -1.4).exp()) * 1.08 for plane in self.planes))

    def rounded(self) -> Image.Image:
        """As an RGB picture, each value rounded."""
        return Image.merge("RGB", [(plane * 255.0 + 0.5).image.convert("L") for plane in self.planes])

    def image(self, rng: random.Random) -> Image.Image:
        """As an RGB picture, dithered by less than one step."""
        size = self.planes[0].size
        dither = Field(white_noise(rng, size).convert("F")) / 256.0
        return Image.merge("RGB", [(plane * 255.0 + dither).image.convert("L") for plane in self.planes])


def white_noise(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def lattice(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Random values from -1 to 1, the seed of value noise."""
    return (Field(white_noise(rng, size).convert("F")) / 127.5 - 1.0).image


def distance(size: tuple[int, int], x: float, y: float, stretch: float = 1.0) -> Field:
    """Distance in pixels from the point (x, y); `stretch` > 1 makes the circles lie flat."""
    width, height = size
    across = Field.row([((i + 0.5 - x) / stretch) ** 2 for i in range(width)], height)
    down = Field.column([(j + 0.5 - y) ** 2 for j in range(height)], width)
    return (across + down) ** 0.5


def noise(
    rng: random.Random, size: tuple[int, int], cell: tuple[float, float], octaves: int = 5, gain: float = 0.5
) -> Field:
    """Fractal value noise, about -1 to 1; `cell` is the size in pixels of its largest features."""
    total, amount, reach = Field.flat(size), 1.0, 0.0
    for octave in range(octaves):
        cells = [max(0.02, extent / max(c / 2**octave, 1.0)) for extent, c in zip(size, cell, strict=True)]
        grid = lattice(rng, (math.ceil(cells[0]) + 4, math.ceil(cells[1]) + 4))
        left, top = 1 + rng.random(), 1 + rng.random()
        box = (left, top, left + cells[0], top + cells[1])
        total = total + Field(grid.resize(size, Image.Resampling.BICUBIC, box=box)) * amount
        reach += amount * amount
        amount *= gain
    return total / (1.6 * math.sqrt(reach))


def plane_noise(
    rng: random.Random,
    width: int,
    depths: Sequence[float],
    spread: float,
    period: float,
    octaves: int = 6,
    gain: float = 0.5,
    stretch: float = 1.0,
    shape: Callable[[Field], Field] = lambda octave: octave,
) -> Field:
    """
    Fractal noise on a plane seen in perspective: row i lies `depths[i]` away and is `2 * spread` times as
    wide. The largest features are `period` deep and `stretch` times as wide; `shape` bends every octave.
    Octaves finer than two pixels or two rows fade out, so that the distance does not glitter.
    """
    size = (width, len(depths))
    gaps = [max(abs(a - b), 1e-6) for a, b in pairwise(depths)]
    gaps.append(gaps[-1])
    total, amount, reach = Field.flat(size), 1.0, 0.0
    for octave in range(octaves):
        cell = period / 2**octave
        pixels = [cell * stretch * width / (2 * spread * depth) for depth in depths]
        visible = [
            min(1.0, max(0.0, p / 2 - 0.6)) * min(1.0, max(0.0, cell / (2.6 * gap) - 0.6))
            for p, gap in zip(pixels, gaps, strict=True)
        ]
        far = max((d for d, v in zip(depths, visible, strict=True) if v > 0), default=0.0)
        if far == 0.0:
            break
        sheet = _perspective(rng, width, [min(d, far) for d in depths], spread, cell, stretch)
        total = total + shape(sheet) * Field.column(visible, width) * amount
        reach += amount * amount
        amount *= gain
    return total / (1.6 * math.sqrt(reach)) if reach else total


def _perspective(
    rng: random.Random, width: int, depths: Sequence[float], spread: float, cell: float, stretch: float
) -> Field:
    """One octave: a lattice turned by a random angle (or squares would show) and looked at along the plane."""
    angle = rng.uniform(0, math.tau) if stretch == 1 else rng.uniform(-0.15, 0.15)
    cos, sin = math.cos(angle) / cell, math.sin(angle) / cell

    def edge(depth: float) -> list[tuple[float, float]]:
        half = depth * spread / stretch
        return [(side * half * cos - depth * sin, side * half * sin + depth * cos) for side in (-1, 1)]

    corners = [*edge(max(depths)), *edge(min(depths))]
    left, top = min(x for x, _ in corners) - 3, min(y for _, y in corners) - 3
    right, bottom = max(x for x, _ in corners) + 3, max(y for _, y in corners) + 3
    grid = lattice(rng, (math.ceil(right - left), math.ceil(bottom - top)))
    bands = []
    for row in range(0, len(depths), BAND):
        below = min(row + BAND, len(depths))
        (nw, ne), (sw, se) = edge(depths[row]), edge(depths[min(below, len(depths) - 1)])
        quad = [part for x, y in (nw, sw, se, ne) for part in (x - left, y - top)]
        bands.append(((0, row, width, below), quad))
    return Field(grid.transform((width, len(depths)), Image.Transform.MESH, bands, Image.Resampling.BICUBIC))
