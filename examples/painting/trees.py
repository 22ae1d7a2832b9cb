"""Plants as small pictures: masks of the whole and of its sunlit parts, drawn once and used by the thousand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw, ImageOps

from painting.colours import bytes_of
from painting.fields import Colour

SIDE = 448
SMALL = 64


@dataclass(frozen=True)
class Sprite:
    body: Image.Image
    lit: Image.Image
    small_body: Image.Image
    small_lit: Image.Image

    @classmethod
    def of(cls, body: Image.Image, lit: Image.Image) -> Sprite:
        small = (SMALL, SMALL)
        return cls(
            body, lit, body.resize(small, Image.Resampling.BOX), lit.resize(small, Image.Resampling.BOX)
        )

    def mirrored(self) -> Sprite:
        return Sprite(*map(ImageOps.flip, (self.body, self.lit, self.small_body, self.small_lit)))

    def paste(
        self, picture: Image.Image, corner: tuple[int, int], side: int, shade: Colour, lit: Colour
    ) -> None:
        """Put it on the picture in two colours, `side` pixels large."""
        body, light = (self.body, self.lit) if side > SMALL else (self.small_body, self.small_lit)
        size, how = (side, side), Image.Resampling.BILINEAR
        picture.paste(bytes_of(shade), (*corner, corner[0] + side, corner[1] + side), body.resize(size, how))
        if side > 4:
            picture.paste(
                bytes_of(lit), (*corner, corner[0] + side, corner[1] + side), light.resize(size, how)
            )


class Sheet:
    """Two masks under the pencil."""

    def __init__(self) -> None:
        self.body, self.lit = Image.new("L", (SIDE, SIDE)), Image.new("L", (SIDE, SIDE))
        self.draw, self.draw_lit = ImageDraw.Draw(self.body), ImageDraw.Draw(self.lit)

    def sprite(self) -> Sprite:
        return Sprite.of(self.body, self.lit)


def conifer(rng: random.Random, light_side: int) -> Sprite:
    sheet = Sheet()
    middle, lean = SIDE / 2, rng.uniform(-6, 6)
    sheet.draw.polygon(
        [(middle - 6, SIDE), (middle - 3, SIDE * 0.6), (middle + 3, SIDE * 0.6), (middle + 6, SIDE)], 255
    )
    width, tiers = SIDE * rng.uniform(0.16, 0.23), rng.randint(19, 26)
    for tier in range(tiers):
        part = (tier + 1) / tiers
        x, y = middle + lean * (1 - part), SIDE * (0.02 + 0.90 * part)
        for side in (-1, 1):
            reach = width * part**0.85 * rng.uniform(0.68, 1.15)
            droop = SIDE * 0.045 * rng.uniform(0.6, 1.3)
            tip = (x + side * reach, y + droop)
            inner = (x + side * reach * 0.5, y - droop * 0.25)
            under = [
                (x + side * reach * part, y + droop * rng.uniform(0.2, 0.7)) for part in (0.75, 0.5, 0.25)
            ]
            sheet.draw.polygon([(x, y - SIDE * 0.09), inner, tip, *under, (x, y + droop * 0.5)], 255)
            if side == light_side or rng.random() < 0.25:
                back = (x + side * reach * 0.3, y + droop * 0.05)
                sheet.draw_lit.polygon([(x, y - SIDE * 0.05), inner, tip, back], rng.randint(90, 215))
    return sheet.sprite()


def broadleaf(rng: random.Random, light_side: int) -> Sprite:
    sheet = Sheet()
    middle = SIDE / 2
    sheet.draw.polygon(
        [(middle - 13, SIDE), (middle - 6, SIDE * 0.5), (middle + 6, SIDE * 0.5), (middle + 13, SIDE)], 255
    )
    for limb in (-1, 1):
        sheet.draw.line((middle, SIDE * 0.74, middle + limb * SIDE * 0.2, SIDE * 0.5), 255, 8)
    wide, tall = SIDE * rng.uniform(0.31, 0.38), SIDE * rng.uniform(0.31, 0.36)
    puffs = []
    for _ in range(380):
        angle, far = rng.uniform(0, math.tau), math.sqrt(rng.random())
        x, y = middle + math.cos(angle) * far * wide, SIDE * 0.40 + math.sin(angle) * far * tall
        puffs.append((x, y, rng.uniform(0.016, 0.046) * SIDE * (1.25 - 0.5 * far)))
    for x, y, radius in puffs:
        sheet.draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    for x, y, radius in sorted(puffs, key=lambda puff: puff[0] * light_side - puff[1]):
        toward = ((x - middle) * light_side / wide - (y - SIDE * 0.4) / tall) / 2
        shine = int(min(255, max(0, 80 + toward * 190 + rng.uniform(-55, 55))))
        size, left, top = radius * 0.72, x + light_side * radius * 0.3, y - radius * 0.35
        sheet.draw_lit.ellipse((left - size, top - size, left + size, top + size), shine)
    return sheet.sprite()


def palm(rng: random.Random, light_side: int) -> Sprite:
    sheet = Sheet()
    bend = rng.uniform(0.06, 0.2) * rng.choice((-1, 1)) * SIDE
    trunk = [
        (SIDE / 2 - bend * 0.6 + bend * t * t, SIDE * (1 - 0.70 * t)) for t in (i / 12 for i in range(13))
    ]
    for (x0, y0), (x1, y1) in pairwise(trunk):
        sheet.draw.line((x0, y0, x1, y1), 255, 9)
        sheet.draw_lit.line((x0 + 3 * light_side, y0, x1 + 3 * light_side, y1), 130, 3)
    for frond in range(15):
        angle = math.pi * (0.92 + 1.16 * frond / 14) + rng.uniform(-0.12, 0.12)
        length = SIDE * rng.uniform(0.24, 0.33)
        spine = [
            (
                trunk[-1][0] + math.cos(angle) * length * t,
                trunk[-1][1] + (math.sin(angle) * length * 0.9 + SIDE * 0.2 * t) * t,
            )
            for t in (step / 12 for step in range(13))
        ]
        for step, ((x0, y0), (x1, y1)) in enumerate(pairwise(spine)):
            hang = SIDE * 0.075 * math.sin(math.pi * (step + 1.5) / 14)
            sheet.draw.line((x0, y0, x1, y1), 255, 4)
            for across in (-0.35, 0.0, 0.35):
                sheet.draw.line((x0, y0, x0 + (x1 - x0) * 1.4 + across * hang, y0 + hang), 255, 2)
            if math.cos(angle) * light_side > -0.4:
                sheet.draw_lit.line((x0, y0, x1, y1), 200, 3)
    return sheet.sprite()


def grass(rng: random.Random, light_side: int) -> Sprite:
    sheet = Sheet()
    for _ in range(22):
        foot = SIDE * rng.uniform(0.3, 0.7)
        lean, tall = rng.gauss(0, 0.16) * SIDE, SIDE * rng.uniform(0.45, 0.98)
        width = SIDE * 0.014
        knee = (foot + lean * 0.35, SIDE - tall * 0.6)
        blade = [
            (foot - width, SIDE),
            (knee[0] - width * 0.8, knee[1]),
            (foot + lean, SIDE - tall),
            (knee[0] + width * 0.8, knee[1]),
            (foot + width, SIDE),
        ]
        sheet.draw.polygon(blade, 255)
        sheet.draw_lit.polygon(blade, rng.randint(0, 230))
    return sheet.sprite()


def flower(rng: random.Random, light_side: int) -> Sprite:
    """A stem with a loose head: the head is the lit part."""
    sheet = Sheet()
    middle = SIDE / 2 + rng.uniform(-30, 30)
    sheet.draw.line((SIDE / 2, SIDE, middle, SIDE * 0.3), 255, 9)
    for _ in range(9):
        x, y = middle + rng.gauss(0, 0.09) * SIDE, SIDE * 0.26 + rng.gauss(0, 0.08) * SIDE
        radius = SIDE * rng.uniform(0.06, 0.12)
        sheet.draw_lit.ellipse((x - radius, y - radius, x + radius, y + radius), rng.randint(170, 255))
    return sheet.sprite()


def stone(rng: random.Random, light_side: int) -> Sprite:
    """A boulder: an uneven outline, flatter below, facets towards the light."""
    sheet = Sheet()
    middle, base = SIDE / 2, SIDE * 0.99
    wide, tall = SIDE * rng.uniform(0.36, 0.48), SIDE * rng.uniform(0.35, 0.62)
    ring = []
    for corner in range(14):
        angle = math.pi * corner / 13
        reach = rng.uniform(0.84, 1.08)
        ring.append(
            (middle - math.cos(angle) * wide * reach, base - max(0.0, math.sin(angle)) ** 0.7 * tall * reach)
        )
    sheet.draw.polygon(ring, 255)
    crown = (middle + light_side * wide * 0.2, base - tall * rng.uniform(0.45, 0.65))
    for a, b in pairwise(ring):
        toward = ((a[0] + b[0]) / 2 - middle) * light_side / wide + ((base - a[1]) / tall - 0.5) * 0.9
        sheet.draw_lit.polygon([a, b, crown], int(min(235, max(0, 80 + toward * 120 + rng.uniform(-30, 30)))))
    return sheet.sprite()


SPECIES: dict[str, Callable[[random.Random, int], Sprite]] = {
    "conifer": conifer, "broadleaf": broadleaf, "palm": palm, "grass": grass, "flower": flower,
    "stone": stone,
}  # fmt: skip
