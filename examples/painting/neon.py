"""Neon: the land as a glowing grid under a striped sun."""

from __future__ import annotations

import random
from dataclasses import replace

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from painting.city import City
from painting.colours import LIGHTS, blend, bytes_of, rgb, scale
from painting.fields import Colour, ColourField, Field, distance
from painting.finish import vignette
from painting.growth import Growth
from painting.land import FAR, Land, survey
from painting.landscape import Progress
from painting.march import Standing, paint_land
from painting.scene import Scene, View, view_of
from painting.sky import add_planet, add_stars
from painting.water import paint_water

TUBES = (
    ("ff2fa0", "28e0ff"),
    ("ff5a3c", "b050ff"),
    ("30ffc0", "7a5cff"),
    ("ffb020", "ff3080"),
    ("40a0ff", "ff40d0"),
)
SLICES = 60
METRES = 34  # grid lines across


def paint_neon(scene: Scene, view: View, progress: Progress) -> Image.Image:
    """Painted at twice the size: lines want clean edges."""
    warm, cool = tubes_of(scene)
    light = replace(
        LIGHTS["night"][1], sun=warm_code(warm), haze="150a2e", ambient="1a0f3a", sun_height=0.26, stars=0.8
    )
    scene = replace(
        scene, light=light, has_sun=True, sun_radius=0.15, nebula=None, accents=scene.accents | {"neon"},
        snow=0.0, horizon=min(scene.horizon, 0.58), has_water=scene.has_water and scene.ground != "ocean",
    )  # fmt: skip
    view, large = view_of(scene, view.width, view.height), view_of(scene, view.width * 2, view.height * 2)
    picture = Image.new("RGB", (view.width, view.height))
    picture.paste(neon_sky(scene, view, warm, cool), (0, 0))
    progress(0.20, "sky")
    land = wired(scene, large)
    standing: list[Standing] = [
        Grid(large, land, warm, cool),
        *grown(scene, large, land, warm),
        City(scene, large, land),
    ]
    progress(0.35, "grid")
    if scene.has_water:
        paint_water(picture, scene, view, land, standing)
        progress(0.60, "water")
    picture = picture.resize((large.width, large.height), Image.Resampling.BICUBIC)
    paint_land(picture, land, large, standing, lambda part: progress(0.60 + 0.30 * part, "lines"))
    picture = picture.resize((view.width, view.height), Image.Resampling.BOX)
    for radius, strength in ((0.0016, 0.7), (0.006, 0.55), (0.024, 0.5)):
        halo = picture.point([max(0, round((v - 60) * 255 / 195 * strength)) for v in range(256)] * 3)
        picture = ImageChops.screen(picture, halo.filter(ImageFilter.GaussianBlur(view.unit * radius)))
    progress(1.0, "glow")
    return scanlines(vignette(picture, view, 0.35))


def tubes_of(scene: Scene) -> tuple[Colour, Colour]:
    warm, cool = (rgb(code) for code in scene.rng("tubes").choice(TUBES))
    return (blend(warm, scene.tint, 0.8), cool) if scene.tint else (warm, cool)


def warm_code(colour: Colour) -> str:
    return "".join(f"{part:02x}" for part in bytes_of(colour))


def neon_sky(scene: Scene, view: View, warm: Colour, cool: Colour) -> Image.Image:
    size = (view.width, int(view.horizon) + 2)
    rows = [min(1.0, y / view.horizon) for y in range(size[1])]
    night, glow = rgb("06021a"), blend(scale(warm, 0.75), scale(cool, 0.4), 0.35)
    sky = ColourField.flat(size, night).mix(scale(glow, 0.55), Field.column([r**2.2 for r in rows], size[0]))
    sky = sky.mix(warm, Field.column([r**14 * 0.75 for r in rows], size[0]))
    picture = add_stars(scene, view, sky.image(scene.rng("sky-dither")))
    if scene.has_planet:
        return add_planet(scene, view, picture)
    return striped_sun(picture, scene, view, warm)


def striped_sun(picture: Image.Image, scene: Scene, view: View, warm: Colour) -> Image.Image:
    """A disc from yellow to the warm tube's colour, cut by gaps that widen downwards."""
    size, radius = picture.size, scene.sun_radius * view.unit
    x, y = view.sun
    disc = distance(size, x, y).rise(radius + 1, radius - 1)
    down = [(row - (y - radius)) / (2 * radius) for row in range(size[1])]
    gaps = [1.0 if part < 0.42 or (part * 11) % 1.0 > (part - 0.34) * 0.85 else 0.0 for part in down]
    tones = ColourField.flat(size, rgb("fff06a")).mix(
        warm, Field.column([min(1, max(0, d * 1.15)) for d in down], size[0])
    )
    picture.paste(tones.rounded(), (0, 0), (disc * Field.column(gaps, size[0])).mask())
    return picture


def wired(scene: Scene, view: View) -> Land:
    """A coarse survey: the land as its grid will show it, in near-black."""
    near = 0.92 * view.eye * view.unit / max(view.height - view.horizon, 1)
    far, count = FAR * 0.75, SLICES * 2
    depths = [far * (near / far) ** (i / (count - 1)) for i in range(count)]
    land = survey(scene, view, depths)
    land = replace(
        land, depths=depths[::2], heights=every_second(land.heights), forest=every_second(land.forest)
    )
    depths = land.depths
    dark = ColourField.flat(land.heights.size, rgb("0a0420")).mix(
        rgb("1c0c40"), Field.column([d / FAR for d in depths], land.heights.size[0])
    )
    return replace(land, colours=dark)


def every_second(field: Field) -> Field:
    width, height = field.size
    return Field(
        field.image.resize((width, height // 2), Image.Resampling.NEAREST, (0, 0, width, height - 1))
    )


class Grid:
    """The lines along every slice and from slice to slice."""

    def __init__(self, view: View, land: Land, warm: Colour, cool: Colour) -> None:
        self.land, self.warm, self.cool = land, warm, cool
        self.heights = land.heights.lines()
        self.spread = view.width / view.unit / 2

    def stand(self, picture: Image.Image, view: View, i: int, mirrored: bool) -> None:
        draw = ImageDraw.Draw(picture)
        depth = self.land.depths[i]
        fade = min(1.0, 0.45 + 7 / depth)
        colour = bytes_of(scale(blend(self.cool, self.warm, min(1.0, depth / 34)), fade))
        width = max(1, round(view.unit * 0.0022 * min(1.0, 0.35 + 2.5 / depth)))
        columns = len(self.heights[0])
        line = [(c * view.width / columns, *self.at(view, i, c, mirrored)) for c in range(0, columns, 2)]
        for (x0, y0, dry0), (x1, y1, dry1) in zip(line, line[1:], strict=False):
            if dry0 and dry1:
                draw.line((x0, y0, x1, y1), colour, width)
        for metre in range(-METRES * 3, METRES * 3 + 1):
            x = metre * 0.55
            here, there = (self.column(x, self.land.depths[j]) for j in (i, i + 1))
            if 0 <= here < columns and 0 <= there < columns:
                (y0, dry0), (y1, dry1) = (
                    self.at(view, i, here, mirrored),
                    self.at(view, i + 1, there, mirrored),
                )
                if dry0 and dry1:
                    draw.line(
                        (here * view.width / columns, y0, there * view.width / columns, y1), colour, width
                    )

    def column(self, x: float, depth: float) -> int:
        return int((x / (depth * self.spread) + 1) / 2 * len(self.heights[0]))

    def at(self, view: View, i: int, column: int, mirrored: bool) -> tuple[float, bool]:
        """Where the grid crosses, and whether it lies above the water there."""
        height = self.heights[i][column]
        pixels = view.unit / self.land.depths[i]
        return view.drop(self.land.depths[i]) + (height if mirrored else -height) * pixels, height > 0


def grown(scene: Scene, view: View, land: Land, tube: Colour) -> list[Growth]:
    if scene.tree is None:
        return []

    def leaf(rng: random.Random, ground: Colour) -> tuple[Colour, Colour]:
        return rgb("0a0420"), scale(tube, rng.uniform(0.7, 1.0))

    trees = Growth(scene, view, land, scene.tree)
    trees.is_hazed = False
    trees.plant(land.forest, 1.2, (0.5, 1.0), (3.0, 26.0), leaf)
    return [trees]


def scanlines(picture: Image.Image) -> Image.Image:
    lines = Field.column([1.0 if y % 3 else 0.90 for y in range(picture.height)], picture.width).mask()
    return ImageChops.multiply(picture, Image.merge("RGB", (lines,) * 3))
