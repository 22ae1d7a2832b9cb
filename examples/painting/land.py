"""The land as slices of height seen in perspective, and the light that falls on it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from painting.colours import blend, rgb, scale
from painting.fields import Colour, ColourField, Field, plane_noise
from painting.scene import Scene, View

MOST_SLICES = 640
FAR = 90.0


@dataclass(frozen=True)
class Land:
    """Row i is the slice at `depths[i]`, the farthest first; columns are the canvas's."""

    depths: list[float]
    heights: Field
    colours: ColourField
    forest: Field  # 0-1: where trees stand
    turf: Field  # 0-1: where grass grows
    patches: Field  # 0-1: where flowers flock
    strand: Field  # 0-1: where the water's edge is stony


def depths_of(view: View) -> list[float]:
    """Slices from the far end to just below the lower edge, closer together near the eye."""
    near = 0.92 * view.eye * view.unit / max(view.height - view.horizon, 1)
    middle, far_share = 9.0, 0.62
    slices = min(MOST_SLICES, max(140, round(view.unit * 0.65)))
    close = round(slices * (1 - far_share))
    ranges = ((FAR, middle, slices - close), (middle, near, close))
    return [start * (end / start) ** (i / count) for start, end, count in ranges for i in range(count)]


def columns_of(view: View) -> int:
    """The land is computed at half the canvas's resolution: silhouettes come out smooth, and it is fast."""
    return max(64, view.width // 2)


def survey(scene: Scene, view: View, depths: list[float] | None = None) -> Land:
    """Raise the ground the scene asks for and light it, at the given depths (far to near)."""
    depths = depths or depths_of(view)
    terrain = Terrain(scene, view, depths)
    heights = GROUNDS[scene.ground](terrain)
    if scene.has_water and scene.ground not in ("ocean", "islands", "city"):
        heights = terrain.flooded(heights)
    elif not scene.has_water:
        heights = heights.at_least(terrain.noise("floor", 2.5, 4) * 0.03 + 0.04)
    lambert, flatness = illumination(heights, depths, view)
    albedo = ALBEDOS.get(scene.ground, grassy)(terrain, heights, flatness)
    light = scene.light
    up = flatness * 0.35 + 0.65
    lit = ColourField.flat(heights.size, (0, 0, 0))
    lit = lit.add(rgb(light.ambient), up * 1.05).add(
        rgb(light.direct), lambert * (0.42 if light.is_night else 1.05)
    )
    colours = hazed(scene, view, depths, heights, albedo.times(lit).exposed())
    turf = heights.rise(0.02, 0.08) * flatness.rise(0.6, 0.8)
    strand = (
        heights.rise(-0.01, 0.01) * heights.rise(0.13, 0.02) * terrain.noise("strand", 2.0, 4).rise(-0.3, 0.6)
    )
    patches = terrain.noise("flowers", 2.6, 5).rise(-0.1, 0.5)
    return Land(depths, heights, colours, forest_of(terrain, heights, flatness), turf, patches, strand)


class Terrain:
    """Noise on this scene's ground, and places measured in it."""

    def __init__(self, scene: Scene, view: View, depths: list[float]) -> None:
        self.scene, self.view, self.depths = scene, view, depths
        self.spread = view.width / view.unit / 2
        self.columns = columns_of(view)
        self.size = (self.columns, len(depths))

    def noise(
        self,
        layer: str,
        period: float,
        octaves: int = 6,
        gain: float = 0.5,
        stretch: float = 1.0,
        shape: Callable[[Field], Field] = lambda octave: octave,
    ) -> Field:
        rng = self.scene.rng("land-" + layer)
        return plane_noise(rng, self.columns, self.depths, self.spread, period, octaves, gain, stretch, shape)

    def ridges(self, layer: str, period: float, octaves: int = 7, gain: float = 0.5) -> Field:
        """Sharp crests with gullies between, 0 to about 1."""
        return self.noise(layer, period, octaves, gain, shape=lambda n: 1.0 - abs(n) * 2.2) * 0.5 + 0.4

    def by_depth(self, start: float, end: float) -> Field:
        """0 nearer than `start`, 1 beyond `end`."""
        return Field.column([_smooth((d - start) / (end - start)) for d in self.depths], self.columns)

    def sideways(self) -> Field:
        """Distance to the right of the line of sight, in units of the ground."""
        columns = [(2 * (x + 0.5) / self.columns - 1) * self.spread for x in range(self.columns)]
        return Field.row(columns, len(self.depths)) * Field.column(self.depths, self.columns)

    def across(self, centre: float = 0.0) -> Field:
        """Distance to either side of the line of sight, in units of the ground."""
        columns = [abs(2 * (x + 0.5) / self.columns - 1 - centre) * self.spread for x in range(self.columns)]
        return Field.row(columns, len(self.depths)) * Field.column(self.depths, self.columns)

    def rock(self, place: float, depth: float) -> Field:
        """A rough islet at this place across the picture."""
        aside = (self.sideways() - (2 * place - 1) * self.spread * depth) / 1.7
        behind = Field.column([(d - depth) / 1.5 for d in self.depths], self.columns)
        hump = ((aside * aside + behind * behind) * -1.0).exp()
        return hump * (self.noise("rock", 1.6, 6, 0.55) * 0.5 + 1.25)

    def flooded(self, heights: Field) -> Field:
        """Sink a lake or a bay into the near ground; it winds and narrows with distance."""
        rng = self.scene.rng("lake")
        reach = rng.uniform(14, 24)
        shore = self.noise("shore", 5.0, 5) * 1.6
        basin = 1.0 - self.by_depth(reach * 0.6, reach * 1.15)
        side = self.across(rng.uniform(-0.25, 0.25)) + shore
        width = Field.column([1.2 + 0.30 * d for d in self.depths], self.columns)
        sunk = basin * (1.0 - (side / width).rise(0.65, 1.15))
        return heights - (heights + 0.5).at_least(0.5) * sunk


def _smooth(t: float) -> float:
    t = min(1.0, max(0.0, t))
    return t * t * (3 - 2 * t)


def mountains(t: Terrain) -> Field:
    rng = t.scene.rng("massif")
    massif = t.ridges("massif", 26.0, 8, 0.48)
    swell = t.noise("swell", 40.0, 2).rise(-0.7, 0.5)
    valley = (t.across(rng.uniform(-0.3, 0.3)) / 26.0).clamp(0, 1) * 0.5 + 0.5
    high = massif * (swell * 0.65 + 0.35) * valley * t.by_depth(9, 46) * 27.0
    foothills = t.noise("foothills", 8.0, 6, 0.5) * t.by_depth(2.5, 9) * 0.75
    return high + foothills + 0.12


def hills(t: Terrain) -> Field:
    rolling = t.noise("rolling", 9.0, 3, 0.32) * 1.25 * t.by_depth(1.5, 8)
    far = t.noise("far", 26.0, 5, 0.42).at_least(-0.2) * t.by_depth(16, 60) * 7.0
    return rolling + far + t.noise("tufts", 0.35, 3) * 0.015 + 0.08


def meadow(t: Terrain) -> Field:
    far = t.noise("far", 24.0, 6, 0.45).at_least(-0.1) * t.by_depth(18, 50) * 7.5
    return t.noise("swell", 7.0, 3, 0.3) * 0.28 + far + t.noise("tufts", 0.3, 4) * 0.02


def forest(t: Terrain) -> Field:
    return (
        t.noise("rolling", 11.0, 5, 0.42) * 1.5 * t.by_depth(2, 12)
        + t.noise("far", 30.0, 6, 0.45).at_least(-0.1) * t.by_depth(20, 60) * 12.0
    )


def ocean(t: Terrain) -> Field:
    headland = t.noise("headland", 30.0, 6, 0.5).rise(0.35, 1.0) * t.by_depth(40, 60) * 8.0
    if "lighthouse" in t.scene.accents:
        headland = headland.at_least(t.rock(t.scene.focus, 10.5))
    return headland - 0.4


def islands(t: Terrain) -> Field:
    """Steep green islands out at sea, and the corner of a beach where one stands."""
    crests = t.ridges("islands", 15.0, 7) * 0.55 + t.noise("peaks", 22.0, 3) * 0.75 - 0.42
    rocks = crests.clamp(-0.2, 2.0) * t.by_depth(9, 24) * 9.0 - 0.05
    slant = [-0.1 - 0.34 * (d - 2) for d in t.depths]
    corner = (
        t.sideways() * float(-t.view.light_side)
        + Field.column(slant, t.columns)
        + t.noise("beach", 3.0, 4) * 0.4
    )
    beach = (corner * 0.16).clamp(-0.3, 0.3) * (1.0 - t.by_depth(5, 7)) - t.by_depth(4, 6) * 0.3
    return rocks.at_least(beach)


def desert(t: Terrain) -> Field:
    def crest(n: Field) -> Field:
        return 0.8 - abs(n) * 1.9

    dunes = (t.noise("dunes", 9.0, 2, 0.3, 1.8, crest) + 0.15).at_least(0.0) * t.by_depth(1.6, 7) * 1.9
    great = (t.noise("great", 24.0, 3, 0.3, 1.5, crest) + 0.1).at_least(0.0) * t.by_depth(9, 36) * 6.5
    return dunes + great + t.noise("ripples", 0.45, 3, 0.5, 4.0) * 0.02


def canyon(t: Terrain) -> Field:
    """Mesas and buttes: a slope of rubble, a cliff in steps, a flat top."""
    mass = t.noise("mesas", 17.0, 5, 0.42) - (1.0 - t.by_depth(10, 19)) * 1.2
    rubble = mass.rise(-0.05, 0.24) * 1.5
    cliffs = mass.rise(0.22, 0.27) * 2.6 + mass.rise(0.30, 0.34) * 1.4 + mass.rise(0.48, 0.53) * 1.8
    return (
        rubble + cliffs + t.noise("rough", 2.0, 5) * 0.10 + t.noise("flats", 9.0, 3) * 0.2 * t.by_depth(1, 6)
    )


def city(t: Terrain) -> Field:
    far = t.noise("far", 30.0, 5, 0.45).at_least(-0.2) * t.by_depth(45, 75) * 8.0
    quay = Field.column([0.07 if d > 7.2 else -0.5 for d in t.depths], t.columns)
    return quay + far


GROUNDS: dict[str, Callable[[Terrain], Field]] = {
    "mountains": mountains, "hills": hills, "meadow": meadow, "forest": forest, "ocean": ocean,
    "islands": islands, "desert": desert, "canyon": canyon, "city": city,
}  # fmt: skip


def illumination(heights: Field, depths: list[float], view: View) -> tuple[Field, Field]:
    """How much direct light each place gets (slope and cast shadow), and how flat it lies; both 0-1."""
    width, count = heights.size
    across = [2 * d * (width / view.unit / 2) / width for d in depths]
    slope_x = heights.step_right() / Field.column(across, width)
    gaps = [depths[max(i - 1, 0)] - depths[max(i, 1)] for i in range(count)]
    slope_z = heights.step_down() * -1.0 / Field.column(gaps, width)
    length = (slope_x * slope_x + slope_z * slope_z + 1.0) ** 0.5
    x, y, z = 0.78 * view.light_side, view.light_rise, -0.26
    facing = ((1.0 * y - slope_x * x - slope_z * z) / length).clamp()
    return facing * sunlit(heights, across, view.light_side, view.light_rise), length**-1.0


def sunlit(heights: Field, across: list[float], light_side: int, rise: float) -> Field:
    """Soft shadows: walk away from the light, and what stands lower than the sinking ray is dark."""
    rows: list[float] = []
    for line, step in zip(heights.lines(), across, strict=True):
        fall, ray = step * rise, -1e9
        walk = reversed(line) if light_side > 0 else line
        shadow = []
        for height in walk:
            ray = max(ray - fall, height)
            shadow.append(ray - height)
        rows.extend(reversed(shadow) if light_side > 0 else shadow)
    shade = Field(Image.frombytes("F", heights.size, array("f", rows).tobytes()))
    return 1.0 - shade.rise(0.0, 0.5)


def hazed(scene: Scene, view: View, depths: list[float], heights: Field, colours: ColourField) -> ColourField:
    """The farther and the lower, the more of the air's colour; warmer below the sun."""
    width = heights.size[0]
    light = scene.light
    veil = Field.column([1 - math.exp(-((max(0.0, d - 3) / light.reach) ** 1.15)) for d in depths], width)
    low = (heights.at_least(0) * -0.16).exp()
    amount = (veil * (low * 0.45 + 0.62)).clamp(0, 0.97)
    pixel, sun = view.width / width / view.unit, view.sun[0] / view.unit
    glow = Field.row([math.exp(-(((x * pixel - sun) / 0.3) ** 2)) for x in range(width)], len(depths))
    air = ColourField.flat(heights.size, rgb(light.haze))
    if scene.has_sun and not light.is_night:
        air = air.mix(blend(rgb(light.sky[-1]), rgb(light.sun), 0.3), glow * 0.7)
    return colours.mix(air, amount)


def grassy(t: Terrain, heights: Field, flatness: Field) -> ColourField:
    patches = t.noise("patches", 3.0, 9, 0.6).rise(-0.6, 0.6)
    lush, dry = (rgb(code) for code in t.scene.turf)
    ground = ColourField.flat(heights.size, lush).mix(dry, patches)
    ground = ground.mix(blend(dry, rgb("7d8a3f"), 0.5), t.noise("turf", 6.0, 4).rise(0.1, 0.9) * 0.4)
    rock = ColourField.flat(heights.size, rgb("77706a")).mix(rgb("9a9086"), patches)
    mixed = rock.mix(ground, flatness.rise(0.62, 0.8))
    if t.scene.has_water:
        mixed = mixed.mix(rgb("9c8b6c"), heights.rise(0.07, 0.01))
    return snowed(t, heights, flatness, mixed)


def alpine(t: Terrain, heights: Field, flatness: Field) -> ColourField:
    grain = t.noise("grain", 2.5, 9, 0.6)
    rock = ColourField.flat(heights.size, rgb("5f5a5c")).mix(rgb("948a84"), grain.rise(-0.5, 0.6))
    turf = ColourField.flat(heights.size, rgb("3f5a34")).mix(rgb("7a8248"), grain.rise(-0.5, 0.5))
    line = (heights + grain * 1.4).rise(4.2, 2.0)
    mixed = rock.mix(turf, line * flatness.rise(0.55, 0.75))
    if t.scene.has_water:
        mixed = mixed.mix(rgb("7d7468"), heights.rise(0.06, 0.01))
    return snowed(t, heights, flatness, mixed)


def snowed(t: Terrain, heights: Field, flatness: Field, ground: ColourField) -> ColourField:
    """Snow above a ragged line, where it is not too steep to lie."""
    if t.scene.snow <= 0:
        return ground
    line = 9.0 * (1 - t.scene.snow) ** 1.3 - (2.0 if t.scene.snow > 0.95 else 0.0)
    ragged = heights + t.noise("snow", 3.0, 5) * (0.4 + line * 0.22)
    lies = ragged.rise(line - 0.2, line + 1.2) * flatness.rise(0.34, 0.56)
    return ground.mix((0.97, 0.98, 1.0), lies)


def sandy(t: Terrain, heights: Field, flatness: Field) -> ColourField:
    tone = t.noise("tone", 6.0, 4).rise(-0.7, 0.7)
    base = t.scene.tint or rgb("d9a066")
    return ColourField.flat(heights.size, blend(rgb("d9a066"), base, 0.5)).mix(
        blend(rgb("eec48a"), base, 0.2), tone
    )


def layered(t: Terrain, heights: Field, flatness: Field) -> ColourField:
    """Strata: bands by height on the walls, dust on the flats."""
    waver = heights + t.noise("waver", 4.0, 3) * 0.18
    size = heights.size
    walls = ColourField.flat(size, rgb("a85a38"))
    for level, colour in (
        (0.6, "b8683f"),
        (1.6, "c9784a"),
        (2.0, "8f4630"),
        (2.5, "d99560"),
        (3.0, "a04c30"),
        (3.7, "e0a878"),
        (4.2, "95452f"),
        (5.2, "c07850"),
    ):
        walls = walls.mix(rgb(colour), waver.rise(level - 0.1, level + 0.1))
    dust = ColourField.flat(size, rgb("c98f5f")).mix(
        rgb("8f8a55"), t.noise("scrub", 1.2, 5).rise(0.1, 0.6) * 0.6
    )
    return walls.mix(dust, flatness.rise(0.72, 0.9))


def shore(t: Terrain, heights: Field, flatness: Field) -> ColourField:
    green = ColourField.flat(heights.size, rgb("3f6b34")).mix(
        rgb("7f9648"), t.noise("patches", 2.5, 5).rise(-0.5, 0.5)
    )
    rock = ColourField.flat(heights.size, rgb("6f675f"))
    mixed = rock.mix(green, flatness.rise(0.5, 0.7))
    return mixed.mix(rgb("e8d3a4"), heights.rise(0.32, 0.12))


ALBEDOS: dict[str, Callable[[Terrain, Field, Field], ColourField]] = {
    "mountains": alpine, "desert": sandy, "canyon": layered, "islands": shore, "ocean": alpine,
}  # fmt: skip


def forest_of(t: Terrain, heights: Field, flatness: Field) -> Field:
    """How thickly trees stand: on dry, gentle, not too high ground, in clumps."""
    if t.scene.tree is None:
        return Field.flat(heights.size, 0.0)
    clumps = t.noise("clumps", 5.0, 4)
    sparse = {"forest": -0.45, "meadow": 0.35, "hills": 0.12}.get(t.scene.ground, -0.15)
    thick = clumps.rise(sparse, sparse + 0.6)
    return thick * heights.rise(0.03, 0.10) * heights.rise(3.2, 1.6) * flatness.rise(0.55, 0.75)


_ = scale


def haze_at(scene: Scene, depth: float) -> tuple[Colour, float]:
    """The air's colour and how much of it lies before things at this depth."""
    return rgb(scene.light.haze), min(
        0.97, (1 - math.exp(-((max(0.0, depth - 3) / scene.light.reach) ** 1.15))) * 0.95
    )
