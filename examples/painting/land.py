"""The land as slices of height in perspective, the light on it, and the painter's walk over it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw

from painting.fields import ColourField, Field, plane_noise
from painting.scene import Scene, View, blend, rgb, scale

# Lush ground, dry ground, bare rock.
SOILS = {"desert": ("d99a62", "efbd88", "d99a62"), "mountains": ("3f5a34", "7a8248", "7a736f")}
AUTUMN, SUMMER = ("8f7433", "c9a650", "8a7f74"), ("4f6e33", "878f48", "8a7f74")


@dataclass(frozen=True)
class Land:
    """Row i is the slice at `depths[i]`, the farthest first."""

    depths: list[float]
    heights: Field  # above the water, in units of the eye's height
    colours: Image.Image
    woods: Field  # 0-1: how thickly trees stand


class Terrain:
    """Noise on this scene's ground, and places measured in it. Half the canvas's columns will do."""

    def __init__(self, scene: Scene, view: View) -> None:
        self.scene, self.view, self.columns = scene, view, max(32, view.width // 2)
        count = min(560, max(140, round(view.unit * 0.6)))
        near = 0.92 * view.unit / max(view.height - view.horizon, 1)
        ranges = ((90.0, 9.0, round(count * 0.62)), (9.0, near, round(count * 0.38)))
        self.depths = [
            start * (end / start) ** (i / rows) for start, end, rows in ranges for i in range(rows)
        ]
        self.depth = Field.column(self.depths, self.columns)

    def noise(
        self, layer: str, period: float, octaves: int, gain: float = 0.5, stretch: float = 1.0,
        shape: Callable[[Field], Field] = lambda octave: octave,
    ) -> Field:  # fmt: skip
        rng, spread = self.scene.rng(layer), self.view.spread
        return plane_noise(rng, self.columns, self.depths, spread, period, octaves, gain, stretch, shape)


def raised(t: Terrain) -> Field:
    """The heights that the scene asks for."""
    ground = t.scene.ground
    if ground == "ocean":
        return t.noise("headland", 30.0, 6).rise(0.35, 1.0) * t.depth.rise(40, 60) * 8.0 - 0.4
    if ground == "city":
        far = t.noise("far", 30.0, 5, 0.45).at_least(-0.2) * t.depth.rise(45, 75) * 8.0
        return t.depth.rise(7.15, 7.2) * 0.57 - 0.5 + far
    if ground == "desert":
        dunes = t.noise("dunes", 9.0, 2, 0.3, 1.8, lambda n: 0.9 - abs(n) * 1.9) * t.depth.rise(1.6, 7) * 1.9
        great = t.noise("great", 24.0, 3, 0.3, 1.5, lambda n: 0.9 - abs(n) * 1.9) * t.depth.rise(9, 36) * 6.5
        return dunes.at_least(0.0) + great.at_least(0.0) + t.noise("ripples", 0.45, 3, 0.5, 4.0) * 0.02
    if ground == "mountains":  # sharp crests with gullies between them, lower where the aurora needs the sky
        crests = t.noise("massif", 26.0, 8, 0.48, shape=lambda n: 1.0 - abs(n) * 2.2) * 0.5 + 0.4
        swell = t.noise("swell", 40.0, 2).rise(-0.7, 0.5) * 0.65 + 0.35
        high = crests * swell * t.depth.rise(9, 46) * (12.0 if t.scene.hour == "aurora" else 21.0)
        return high + t.noise("foothills", 8.0, 6) * t.depth.rise(2.5, 9) * 0.75 + 0.12
    far = t.noise("far", 28.0, 6, 0.45).at_least(-0.1) * t.depth.rise(18, 60) * 9.0
    return t.noise("rolling", 10.0, 4, 0.38) * t.depth.rise(1.5, 10) * 1.3 + far + 0.08


def flooded(t: Terrain, heights: Field) -> Field:
    """Sink a lake into the near ground; it winds and narrows with distance."""
    rng = t.scene.rng("lake")
    reach, middle = rng.uniform(14, 24), t.columns * rng.uniform(0.38, 0.62)
    aside = [abs(x - middle) * 2 * t.view.spread / t.columns for x in range(t.columns)]
    banks = Field.row(aside, len(t.depths)) * t.depth + t.noise("shore", 5.0, 5) * 1.6
    lake = (banks / (t.depth * 0.30 + 1.2)).rise(1.15, 0.65) * t.depth.rise(reach * 1.15, reach * 0.6)
    return heights - (heights + 0.5).at_least(0.5) * lake


def survey(scene: Scene, view: View) -> Land:
    """Raise the ground and colour it in the scene's manner."""
    t = Terrain(scene, view)
    heights = raised(t)
    if not scene.has_water:
        heights = heights.at_least(t.noise("floor", 2.5, 4) * 0.03 + 0.04)
    elif scene.ground not in ("ocean", "city"):
        heights = flooded(t, heights)
    lambert, flatness = illumination(t, heights)
    sparse = {"forest": -0.45, "hills": 0.12, "mountains": -0.15}.get(scene.ground, 9.0)
    woods = t.noise("clumps", 5.0, 4).rise(sparse, sparse + 0.6) * flatness.rise(0.55, 0.75)
    woods = woods * heights.rise(0.03, 0.10) * heights.rise(3.2, 1.6)
    if scene.manner == "lit":
        light = scene.light
        falling = ColourField.flat(heights.size, (0, 0, 0)).add(light.ambient, flatness * 0.37 + 0.68)
        falling = falling.add(light.direct, lambert * (0.42 if scene.is_night else 1.05))
        colours = hazed(t, heights, soil(t, heights, flatness).times(falling).exposed())
    else:
        colours = sheets(t) if scene.manner == "flat" else grid(t)
    return Land(t.depths, heights, colours.picture(scene.rng("soil")), woods)


def illumination(t: Terrain, heights: Field) -> tuple[Field, Field]:
    """How much direct light each place gets (by its slope), and how flat it lies; both 0-1."""
    across = [depth * t.view.spread / t.columns for depth in t.depths]
    slope_x = heights.step(1, 0) / Field.column(across, t.columns)
    gaps = [far - near for far, near in pairwise([t.depths[0] * 2 - t.depths[1], *t.depths])]
    slope_z = heights.step(0, 1) / Field.column(gaps, t.columns)
    flatness = (slope_x * slope_x + slope_z * slope_z + 1.0) ** -0.5
    rise, side = 0.24 + 0.4 * max(0.0, t.scene.light.sun_height), t.view.light_side
    facing = (rise - slope_z * 0.26 - slope_x * (0.78 * side)) * flatness
    return facing.clamp(), flatness


def soil(t: Terrain, heights: Field, flatness: Field) -> ColourField:
    """Grass on gentle slopes up to a ragged line, rock where it is steep, stones ashore, snow above."""
    scene = t.scene
    codes = SOILS.get(scene.ground, AUTUMN if scene.is_autumn else SUMMER)
    lush, dry, rock = (rgb(code) for code in codes)
    patches = t.noise("patches", 3.0, 9, 0.6)
    ground = ColourField.flat(heights.size, scale(rock, 0.85)).mix(scale(rock, 1.15), patches.rise(-0.5, 0.6))
    turf = ColourField.flat(heights.size, lush).mix(dry, patches.rise(-0.6, 0.6))
    ground = ground.mix(turf, (heights + patches * 1.4).rise(4.2, 2.0) * flatness.rise(0.58, 0.78))
    if scene.has_water:
        ground = ground.mix(rgb("8c7f6c"), heights.rise(0.06, 0.01))
    line = -2.0 if scene.is_winter else 3.0 if scene.ground == "mountains" else 99.0
    snow = (heights + patches * 1.2).rise(line - 0.2, line + 1.2) * flatness.rise(0.34, 0.56)
    return ground.mix((0.97, 0.98, 1.0), snow)


def veil_at(scene: Scene, depth: float) -> float:
    """How much of what lies at this depth the air hides."""
    return 1 - math.exp(-((max(0.0, depth - 3) / scene.light.reach) ** 1.15))


def hazed(t: Terrain, heights: Field, colours: ColourField) -> ColourField:
    """The farther and the lower, the more of the air's colour."""
    veil = Field.column([veil_at(t.scene, depth) for depth in t.depths], t.columns)
    thickness = (heights.at_least(0) * -0.16).exp() * 0.45 + 0.62
    return colours.mix(t.scene.light.haze, (veil * thickness).clamp(0, 0.97))


def sheets(t: Terrain) -> ColourField:
    """Coloured paper instead of light and shade: one colour for a stretch of depth."""
    light, is_desert = t.scene.light, t.scene.ground == "desert"
    warm = blend(light.sky[2], rgb("b5562f") if is_desert else light.ambient, 0.5)
    dark = blend(scale(light.ambient, 0.4), rgb("4a1f1a"), 0.6 if is_desert else 0.0)
    parts = [(i * 7 // len(t.depths)) / 6 for i in range(len(t.depths))]
    rows = [blend(light.haze, warm, p * 2) if p < 0.5 else blend(warm, dark, p * 2 - 1) for p in parts]
    return ColourField.column(rows, t.columns)


def grid(t: Terrain) -> ColourField:
    """Lines of light on black, along every tenth slice and away from the eye."""
    lines, light = Image.new("L", t.depth.size), t.scene.light
    draw = ImageDraw.Draw(lines)
    for row in range(len(t.depths) - 1, 0, -10):
        draw.line((0, row, t.columns, row), 255)
    for metre in range(-110, 111):
        places = [0.5 + metre * 0.275 / (depth * t.view.spread) for depth in t.depths]
        draw.line([(place * t.columns, row) for row, place in enumerate(places)], 255)
    glow = [scale(blend(light.direct, light.sun, min(1.0, d / 34)), min(1.0, 0.45 + 7 / d)) for d in t.depths]
    black = ColourField.flat(t.depth.size, rgb("0a0420"))
    return black.mix(ColourField.column(glow, t.columns), Field(lines.convert("F")) / 255.0)


def paint_land(picture: Image.Image, land: Land, view: View, finer: int) -> Iterator[int]:
    """Paint every slice, far to near, each over the last; it yields i when slice i may get what is on it."""
    size = (view.width, len(land.depths) * finer)
    heights = land.heights.image.resize(size, Image.Resampling.BILINEAR)
    colours = land.colours.resize(size, Image.Resampling.BILINEAR)
    depths = Field.column(land.depths).image.resize((1, size[1]), Image.Resampling.BILINEAR)
    # Coverage of a pixel is 255 * (its row - the silhouette) + 128, clipped; the half that all share:
    ramp = Field.column([255.0 * (y + 0.5) + 128.0 for y in range(view.height)], view.width).image
    for row, (depth, nearer) in enumerate(pairwise(array("f", depths.tobytes()))):
        line = (0, row, view.width, row + 1)
        rise = Field(heights.crop(line))
        above = rise.clamp(-1.0, 0.0) * 300.0 + rise  # what lies under water drops out of sight
        tops = above * (-view.unit / depth) + view.drop(depth)
        top = max(0, math.floor(min(tops.lines()[0])))
        bottom = min(view.height, math.ceil(max(view.drop(depth), view.drop(nearer))) + 1)
        if top < bottom:
            band = (view.width, bottom - top)
            silhouette = Field((tops * -255.0).image.resize(band, Image.Resampling.NEAREST))
            inside = Field(ramp.crop((0, top, view.width, bottom))) + silhouette
            tones = colours.crop(line).resize(band, Image.Resampling.NEAREST)
            picture.paste(tones, (0, top), inside.image.convert("L"))
        if row % finer == finer - 1:
            yield row // finer
