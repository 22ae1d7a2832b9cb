"""What stands on the land, trees and towers: a few masks drawn once, coloured and put up by the hundred."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from PIL import Image, ImageDraw

from painting.fields import Colour
from painting.land import Land, veil_at
from painting.scene import Scene, View, blend, bytes_of, rgb, scale

SIDE = 384
Masks = tuple[Image.Image, ...]  # the whole, what the light falls on, what shines


@dataclass(frozen=True)
class Thing:
    row: int  # the slice of land it stands on
    x: float  # 0-1 across the picture
    foot: float  # above the water, in units of the eye's height
    tall: float
    masks: Masks
    colours: tuple[Colour, ...]  # one for each of the first masks

    def put(self, picture: Image.Image, view: View, depth: float) -> None:
        side = max(2, round(self.tall * view.unit / depth))
        left = round(self.x * view.width - side / 2)
        top = round(view.drop(depth) - self.foot * view.unit / depth) - side
        for mask, colour in zip(self.masks, self.colours, strict=False):
            small = mask.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=1.0)
            picture.paste(bytes_of(colour), (left, top, left + side, top + side), small)


def raised(scene: Scene, view: View, land: Land) -> dict[int, list[Thing]]:
    """All that stands on the land, by its row."""
    kinds = {"city": towers, "mountains": trees, "hills": trees, "forest": trees}
    things: dict[int, list[Thing]] = {}
    for thing in kinds[scene.ground](scene, view, land) if scene.ground in kinds else ():
        things.setdefault(thing.row, []).append(thing)
    return things


def blank(count: int) -> tuple[Masks, list[ImageDraw.ImageDraw]]:
    masks = tuple(Image.new("L", (SIDE, SIDE)) for _ in range(count))
    return masks, [ImageDraw.Draw(mask) for mask in masks]


def conifer(rng: random.Random, light_side: int) -> Masks:
    masks, (body, lit) = blank(2)
    middle, tiers, width = SIDE / 2, rng.randint(19, 26), SIDE * rng.uniform(0.16, 0.23)
    body.polygon([(middle - SIDE * 0.015, SIDE), (middle, SIDE * 0.6), (middle + SIDE * 0.015, SIDE)], 255)
    for tier in range(tiers):
        part = (tier + 1) / tiers
        y, droop = SIDE * (0.02 + 0.90 * part), SIDE * 0.045 * rng.uniform(0.6, 1.3)
        for side in (-1, 1):
            reach = side * width * part**0.85 * rng.uniform(0.68, 1.15)
            tip, inner = (middle + reach, y + droop), (middle + reach * 0.5, y - droop * 0.25)
            under = [(middle + reach * back, y + droop * rng.uniform(0.2, 0.7)) for back in (0.75, 0.5, 0.25)]
            body.polygon([(middle, y - SIDE * 0.09), inner, tip, *under, (middle, y + droop * 0.5)], 255)
            if side == light_side or rng.random() < 0.25:
                lit.polygon([(middle, y - SIDE * 0.05), inner, tip, under[2]], rng.randint(90, 215))
    return masks


def tower(rng: random.Random, tall: float) -> Masks:
    """Up to three blocks, one on the other, with rows of windows; the taller, the slimmer."""
    masks, (body, lit, shining) = blank(3)
    half, cell = SIDE * min(0.48, rng.uniform(0.2, 0.4) / tall), max(4.0, SIDE * 0.055 / tall)
    for inset, roof in ((0.0, 0.32), (0.2, 0.14), (0.4, 0.0))[rng.choice((0, 0, 1, 2)) :]:
        wide, top = half * (1 - inset), SIDE * roof
        body.rectangle((SIDE / 2 - wide, top, SIDE / 2 + wide, SIDE), 255)
        lit.rectangle((SIDE / 2 + wide * 0.3, top, SIDE / 2 + wide, SIDE), 255)
        for row in range(int((SIDE - top) / cell) - 1):
            for column in range(int(2 * wide / cell)):
                x, y = SIDE / 2 - wide + (column + 0.3) * cell, top + (row + 0.5) * cell
                shining.rectangle((x, y, x + cell * 0.5, y + cell * 0.45), rng.choice((20, 30, 60, 140, 255)))
    return masks


def trees(scene: Scene, view: View, land: Land) -> Iterator[Thing]:
    """Trees where the land has woods, and a few tall ones close to the eye, away from the sun."""
    rng, heights, chances = scene.rng("trees"), land.heights.lines(), land.woods.lines()
    kinds = [conifer(rng, view.light_side) for _ in range(7)]
    sites = [
        (i, rng.random(), rng.uniform(0.45, 0.95), False)
        for i, (depth, nearer) in enumerate(pairwise(land.depths))
        for _ in range(int(9 * view.spread * depth * (depth - nearer) + rng.random()))
        if 2.4 < depth < 50
    ]
    for i in rng.sample([i for i, depth in enumerate(land.depths) if 2.5 < depth < 4.2], 4):
        sites.append((i, 0.5 - view.light_side * rng.uniform(0.33, 0.5), rng.uniform(1.1, 1.7), True))
    for i, x, tall, is_close in sites:
        column = int(x * len(heights[i]))
        if heights[i][column] > 0.02 and (is_close or rng.random() < chances[i][column]):
            colours = leaves(scene, rng, land.colours.getpixel((column, i)), land.depths[i])
            yield Thing(i, x, heights[i][column], tall, rng.choice(kinds), colours)


def leaves(scene: Scene, rng: random.Random, ground: Any, depth: float) -> tuple[Colour, ...]:
    """The leaves in the shade and in the light, seen through the air."""
    light, veil = scene.light, 0.95 * veil_at(scene, depth)
    if scene.manner == "flat":
        return (scale((ground[0] / 255, ground[1] / 255, ground[2] / 255), 0.86),)
    if scene.manner == "wired":
        return rgb("0a0420"), scale(light.sun, rng.uniform(0.7, 1.0))
    green = rgb(
        rng.choice(("d9762b", "c9542b", "d99a3a") if scene.is_autumn else ("2c5836", "35603a", "4a6b38"))
    )
    sunny = blend(scale(light.ambient, 1.2), scale(light.direct, 0.6 if scene.is_night else 1.7), 0.6)
    leaf = (0.95, 0.97, 1.0) if scene.is_winter else green
    shade = (green[0] * light.ambient[0], green[1] * light.ambient[1], green[2] * light.ambient[2])
    lit = (leaf[0] * sunny[0], leaf[1] * sunny[1], leaf[2] * sunny[2])
    return blend(scale(shade, rng.uniform(0.5, 0.7)), light.haze, veil), blend(lit, light.haze, veil)


def towers(scene: Scene, view: View, land: Land) -> Iterator[Thing]:
    """A skyline: low along the quay and at the edges, high in one or two centres."""
    rng = scene.rng("towers")
    kinds = [tower(rng, 0.6 * 1.13**kind) for kind in range(20)]
    centres = (rng.uniform(0.25, 0.75), 0.17), (rng.uniform(0.1, 0.9), 0.12)
    slices = [i for i, depth in enumerate(land.depths) if 7.6 < depth < 30]
    for _ in range(190):
        i, x = slices[int(len(slices) * rng.random() ** 0.8)], rng.uniform(-0.04, 1.04)
        pull = sum(math.exp(-(((x - centre) / wide) ** 2)) for centre, wide in centres)
        tall = rng.uniform(0.45, 1.15) + pull * min(1.0, (land.depths[i] - 7) / 9) * rng.uniform(0.6, 5.2)
        kind = min(19, max(0, round(math.log(tall / 0.6, 1.13))))
        yield Thing(i, x, 0.05, tall, kinds[kind], walls(scene, rng, land.depths[i]))


def walls(scene: Scene, rng: random.Random, depth: float) -> tuple[Colour, ...]:
    """A tower's face in the shade, its face in the light, and its windows: lamps, or the sky in them."""
    light, veil = scene.light, 0.95 * veil_at(scene, depth * 1.3)
    if scene.manner == "wired":
        return rgb("0a0420"), rgb("1c0c40"), rng.choice((light.sun, light.direct, rgb("ffd98a")))
    stone = rgb(rng.choice(("8f8a86", "a39a8c", "7c8794", "6c7684", "b0a498", "9a7f70", "5f6b7a")))
    shade = blend(scale(light.ambient, 0.8), scale(stone, 0.26 if scene.is_night else 0.6), 0.4)
    lit = blend(shade, blend(stone, light.direct, 0.35), 0.18 if scene.is_night else 0.62)
    is_dark = scene.is_night or scene.hour in ("dusk", "sunset", "storm")
    glass = rgb(rng.choice(("ffd98a", "ffe9b8", "ffc46a", "dfeaff"))) if is_dark else light.sky[3]
    seen = tuple(blend(colour, light.haze, veil) for colour in (shade, lit, glass))
    return seen[:2] if scene.manner == "flat" else seen
