"""A skyline on the far shore: towers with faces in light and shade, and windows that are lit after sunset."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

from painting.colours import blend, bytes_of, rgb, scale
from painting.fields import Colour
from painting.land import Land, haze_at
from painting.scene import Scene, View

TOWERS = 190
LIT = {"night": 0.5, "dusk": 0.42, "sunset": 0.22, "storm": 0.3, "aurora": 0.4, "space": 0.5}
LAMPS = ("ffd98a", "ffe9b8", "ffc46a", "dfeaff")
NEON = ("ff4fa0", "40e0ff", "a060ff", "ffd98a")


@dataclass(frozen=True)
class Tower:
    x: float  # 0-1 across the picture
    wide: float  # in units of the ground
    tall: float
    seed: int


class City:
    def __init__(self, scene: Scene, view: View, land: Land) -> None:
        self.scene, self.view, self.land = scene, view, land
        self.towers: dict[int, list[Tower]] = {}
        if scene.ground == "city":
            self.build()

    def build(self) -> None:
        """Low along the quay and at the edges, high in one or two centres."""
        rng = self.scene.rng("city")
        centres = [rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.9)]
        slices = [i for i, depth in enumerate(self.land.depths) if 7.6 < depth < 30]
        for _ in range(TOWERS):
            i = slices[int(len(slices) * rng.random() ** 0.8)]
            x = rng.uniform(-0.04, 1.04)
            pull = math.exp(-(((x - centres[0]) / 0.17) ** 2)) + 0.6 * math.exp(
                -(((x - centres[1]) / 0.12) ** 2)
            )
            back = min(1.0, (self.land.depths[i] - 7) / 9)
            tall = 0.35 + rng.uniform(0.1, 0.8) + pull * back * rng.uniform(0.6, 5.2)
            wide = rng.uniform(0.35, 0.85) * (1.0 + 0.02 * self.land.depths[i])
            self.towers.setdefault(i, []).append(Tower(x, wide, tall, rng.getrandbits(32)))

    def stand(self, picture: Image.Image, view: View, i: int, mirrored: bool) -> None:
        depth = self.land.depths[i]
        for tower in self.towers.get(i, ()):
            patch = self.drawn(tower, view, depth)
            foot = view.drop(depth) - (0 if mirrored else 0.05 * view.unit / depth)
            left = round(tower.x * view.width - patch.width / 2)
            if mirrored:
                patch = ImageOps.flip(patch)
            picture.paste(patch, (left, round(foot if mirrored else foot - patch.height)), patch)

    def drawn(self, tower: Tower, view: View, depth: float) -> Image.Image:
        """A tower at twice its size, then reduced, seen through the air before it."""
        rng = random.Random(tower.seed)
        pixels = 2 * view.unit / depth
        wide, tall = max(6, round(tower.wide * pixels)), max(8, round(tower.tall * pixels))
        mast = round(tall * rng.uniform(0.08, 0.2)) if tower.tall > 2.6 and rng.random() < 0.5 else 0
        patch = Image.new("RGBA", (wide, tall + mast))
        draw = ImageDraw.Draw(patch)
        split = round(wide * rng.uniform(0.55, 0.8))
        front, side = self.faces(rng)
        if view.light_side > 0:
            front, side = side, front
        for inset, top in self.storeys(rng, wide, tall, mast):
            middle = min(max(split, inset + 1), wide - inset - 1)
            draw.rectangle((inset, top, middle, tall + mast), (*bytes_of(front), 255))
            draw.rectangle((middle, top, wide - inset, tall + mast), (*bytes_of(side), 255))
            self.glaze(draw, rng, (inset, top, wide - inset, tall + mast), middle, (front, side), pixels)
        if mast:
            draw.line((wide // 2, 0, wide // 2, mast), (*bytes_of(scale(side, 0.8)), 255), max(2, wide // 24))
        air, veil = haze_at(self.scene, depth * 1.3)
        veiled = Image.blend(patch.convert("RGB"), Image.new("RGB", patch.size, bytes_of(air)), veil)
        veiled.putalpha(patch.getchannel("A"))
        return veiled.reduce(2)

    def faces(self, rng: random.Random) -> tuple[Colour, Colour]:
        light = self.scene.light
        stone = rgb(rng.choice(("8f8a86", "a39a8c", "7c8794", "6c7684", "b0a498", "9a7f70", "5f6b7a")))
        shade = blend(scale(rgb(light.ambient), 0.8), scale(stone, 0.6 if not light.is_night else 0.16), 0.4)
        lit = blend(shade, blend(stone, rgb(light.direct), 0.35), 0.18 if light.is_night else 0.62)
        return shade, lit

    def storeys(self, rng: random.Random, wide: int, tall: int, mast: int) -> list[tuple[int, int]]:
        """Setbacks: (inset, top) of each block, the widest and lowest first."""
        blocks = rng.choice((1, 1, 2, 3))
        step = wide // 9
        tops = [mast + round(tall * part) for part in (0.32, 0.14, 0.0)[3 - blocks :]]
        return [(step * n, top) for n, top in enumerate(tops)]

    def glaze(
        self, draw: ImageDraw.ImageDraw, rng: random.Random, box: tuple[int, int, int, int], split: int,
        faces: tuple[Colour, Colour], pixels: float,
    ) -> None:  # fmt: skip
        """Rows of windows: lamps behind some at night, glass that mirrors the sky by day."""
        if self.scene.is_flat:
            return
        left, top, right, bottom = box
        cell_x, cell_y = max(4, round(0.042 * pixels)), max(5, round(0.062 * pixels))
        share = LIT.get(self.scene.hour, 0.0)
        lamps = NEON if "neon" in self.scene.accents else LAMPS
        glass = blend(rgb(self.scene.light.sky[2]), rgb(self.scene.light.sky[-2]), 0.4)
        for y in range(top + cell_y // 2, bottom - cell_y, cell_y):
            dark_floor = rng.random() < 0.25
            for x in range(left + cell_x // 2, right - cell_x + 1, cell_x):
                face = faces[0] if x < split else faces[1]
                if rng.random() < share * (0.25 if dark_floor else 1.0):
                    colour = blend(rgb(rng.choice(lamps)), face, rng.uniform(0.0, 0.45))
                else:
                    colour = blend(
                        face, glass if not self.scene.light.is_night else (0, 0, 0.03), rng.uniform(0.15, 0.4)
                    )
                draw.rectangle((x, y, x + cell_x * 0.55, y + cell_y * 0.5), (*bytes_of(colour), 255))
