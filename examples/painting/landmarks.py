"""Houses, a lighthouse, a castle: small buildings that give a landscape its story."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageOps

from painting.colours import bytes_of, rgb, scale
from painting.fields import Colour
from painting.land import Land, haze_at
from painting.scene import Scene, View

LAMP = rgb("ffd27a")
SIDE = 240


class Pencil:
    """Draws on a square of side 1, lit from one side, in the light of the scene."""

    def __init__(self, scene: Scene, light_side: int) -> None:
        self.sheet = Image.new("RGBA", (SIDE, SIDE))
        self.draw = ImageDraw.Draw(self.sheet)
        self.scene, self.light_side = scene, light_side
        self.is_dark = scene.light.is_night or scene.hour in ("dusk", "storm")

    def shape(self, points: list[tuple[float, float]], colour: Colour, lit: bool) -> None:
        self.draw.polygon(
            [(x * SIDE, y * SIDE) for x, y in points], (*bytes_of(self.shaded(colour, lit)), 255)
        )

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """An upright block: its half towards the light is bright."""
        middle = left + (right - left) * (0.36 if self.light_side < 0 else 0.64)
        for x0, x1, lit in ((left, middle, self.light_side < 0), (middle, right, self.light_side > 0)):
            self.shape([(x0, top), (x1, top), (x1, bottom), (x0, bottom)], colour, lit)

    def window(self, x: float, y: float, width: float, height: float) -> None:
        glass = LAMP if self.is_dark else scale(rgb(self.scene.light.ambient), 0.45)
        box = tuple(part * SIDE for part in (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        self.draw.rectangle(box, (*bytes_of(glass), 255))

    def shaded(self, colour: Colour, lit: bool) -> Colour:
        light = self.scene.light
        ambient, direct = rgb(light.ambient), rgb(light.direct)
        strength = (0.35 if light.is_night else 0.95) if lit else 0.0
        red, green, blue = (
            c * (a * 0.75 + d * strength) for c, a, d in zip(colour, ambient, direct, strict=True)
        )
        return (red, green, blue)


def house(pencil: Pencil, rng: random.Random) -> None:
    wall = rgb(rng.choice(("e8dcc4", "d8c0a0", "b87a5a", "c8ccc8", "9a5a44")))
    roof = rgb(rng.choice(("8a3a2a", "5a4038", "6a4a3a", "4a4a52")))
    left, right, eaves, ridge = 0.12, 0.88, 0.66, rng.uniform(0.42, 0.48)
    gable = 0.40 if pencil.light_side < 0 else 0.60
    pencil.box(left, eaves, right, 1.0, wall)
    lit = pencil.light_side < 0
    pencil.shape([(left, eaves), (gable / 2 + left / 2, ridge), (gable, eaves)], wall, lit)
    pencil.box(0.66, ridge - 0.08, 0.72, eaves - 0.05, scale(wall, 0.8))
    peak = gable / 2 + left / 2
    pencil.shape(
        [(peak, ridge), (right - 0.12, ridge), (right + 0.06, eaves + 0.02), (gable + 0.02, eaves + 0.02)],
        roof,
        not lit,
    )
    pencil.window(left / 2 + gable / 2, 0.80, 0.08, 0.11)
    for x in (gable + 0.14, gable + 0.30):
        if x < right - 0.05:
            pencil.window(x, 0.80, 0.09, 0.11)


def lighthouse(pencil: Pencil, rng: random.Random) -> None:
    white, red = rgb("f0ece2"), rgb("c03a30")
    for band in range(6):
        top, bottom = 0.24 + band * 0.122, 0.24 + (band + 1) * 0.122
        inset = 0.42 - 0.07 * (band + 1) / 6
        pencil.box(inset, top, 1 - inset, bottom + 0.01, red if band % 2 else white)
    pencil.box(0.16, 0.86, 0.40, 1.0, white)
    pencil.shape([(0.13, 0.87), (0.28, 0.78), (0.43, 0.87)], red, True)
    pencil.box(0.39, 0.215, 0.61, 0.24, rgb("4a4a50"))
    pencil.window(0.5, 0.17, 0.13, 0.09)
    pencil.shape([(0.41, 0.125), (0.5, 0.05), (0.59, 0.125)], red, True)


def castle(pencil: Pencil, rng: random.Random) -> None:
    stone, slate = rgb("b0a698"), rgb("5a6478")
    pencil.box(0.18, 0.62, 0.82, 1.0, stone)
    for x, wide, top in (
        (0.5, 0.20, 0.34),
        (0.2, 0.14, 0.50),
        (0.8, 0.14, 0.46),
        (0.36, 0.10, 0.42),
        (0.65, 0.10, 0.52),
    ):
        pencil.box(x - wide / 2, top, x + wide / 2, 1.0, scale(stone, rng.uniform(0.85, 1.0)))
        lit = pencil.light_side < 0
        pencil.shape([(x - wide * 0.62, top), (x, top - wide * 1.25), (x, top)], slate, lit)
        pencil.shape([(x + wide * 0.62, top), (x, top - wide * 1.25), (x, top)], slate, not lit)
        for storey in range(2):
            pencil.window(x, top + 0.09 + storey * 0.14, 0.025, 0.05)


Drawing = Callable[[Pencil, random.Random], None]
KINDS: dict[str, tuple[Drawing, float, tuple[int, int]]] = {
    "house": (house, 0.55, (1, 1)),
    "village": (house, 0.46, (9, 14)),
    "lighthouse": (lighthouse, 1.7, (1, 1)),
    "castle": (castle, 2.4, (1, 1)),
}  # name: how it is drawn, how tall it is, how many there are


class Landmarks:
    """Buildings on dry, level ground in the middle distance."""

    def __init__(self, scene: Scene, view: View, land: Land) -> None:
        self.scene, self.land = scene, land
        self.standing: dict[int, list[tuple[float, float, float, Image.Image]]] = {}
        for name in sorted(set(KINDS) & scene.accents):
            self.build(name, view)

    def build(self, name: str, view: View) -> None:
        drawing, tall, (least, most) = KINDS[name]
        rng = self.scene.rng(name)
        heights = self.land.heights.lines()
        for i, x, foot in self.places(rng, heights, rng.randint(least, most)):
            pencil = Pencil(self.scene, view.light_side)
            drawing(pencil, rng)
            self.standing.setdefault(i, []).append(
                (x, foot, tall * rng.uniform(0.85, 1.15), self.veiled(pencil.sheet, i))
            )

    def places(
        self, rng: random.Random, heights: list[array[float]], count: int
    ) -> list[tuple[int, float, float]]:
        """Dry spots near the focus, the highest of a few tries each."""
        found = []
        slices = [i for i, depth in enumerate(self.land.depths) if 6.5 < depth < (22 if count == 1 else 15)]
        for _ in range(count):
            tries = []
            for _ in range(40 if count == 1 else 10):
                i, x = rng.choice(slices), min(0.95, max(0.05, rng.gauss(self.scene.focus, 0.13)))
                foot = heights[i][int(x * len(heights[i]))]
                if foot > 0.05:
                    tries.append((foot, i, x))
            if tries:
                foot, i, x = max(tries) if count == 1 else min(tries)
                found.append((i, x, foot))
        return found

    def veiled(self, sheet: Image.Image, i: int) -> Image.Image:
        air, veil = haze_at(self.scene, self.land.depths[i])
        seen = Image.blend(sheet.convert("RGB"), Image.new("RGB", sheet.size, bytes_of(air)), veil)
        seen.putalpha(sheet.getchannel("A"))
        return seen

    def stand(self, picture: Image.Image, view: View, i: int, mirrored: bool) -> None:
        pixels = view.unit / self.land.depths[i]
        for x, foot, tall, sheet in self.standing.get(i, ()):
            side = max(3, round(tall * pixels))
            small = sheet.resize((side, side), Image.Resampling.BOX)
            base = view.drop(self.land.depths[i]) + (foot - 0.02 if mirrored else 0.02 - foot) * pixels
            if mirrored:
                small = ImageOps.flip(small)
            picture.paste(
                small, (round(x * view.width - side / 2), round(base if mirrored else base - side)), small
            )
