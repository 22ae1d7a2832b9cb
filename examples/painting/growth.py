"""What grows where: forests, lone trees that frame the view, grass and flowers near the eye."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from PIL import Image

from painting.colours import blend, rgb, scale
from painting.fields import Colour, Field
from painting.land import Land, haze_at
from painting.scene import Scene, View
from painting.trees import SPECIES

KINDS = 7


@dataclass(frozen=True)
class Plant:
    x: float  # 0-1 across the picture
    foot: float  # above the water, in units of the ground
    height: float
    kind: int
    shade: Colour
    lit: Colour


class Growth:
    """One species' plants, sorted into the slices they stand on."""

    def __init__(self, scene: Scene, view: View, land: Land, species: str) -> None:
        self.scene, self.view, self.land, self.species = scene, view, land, species
        rng = scene.rng("sprites-" + species)
        self.upright = [SPECIES[species](rng, view.light_side) for _ in range(KINDS)]
        self.flipped = [sprite.mirrored() for sprite in self.upright]
        self.plants: dict[int, list[Plant]] = {}
        self.is_hazed = species in ("conifer", "broadleaf", "palm")

    def plant(
        self, thickness: Field, per_unit: float, sizes: tuple[float, float], reach: tuple[float, float],
        leaf: Callable[[random.Random, Colour], tuple[Colour, Colour]],
    ) -> None:  # fmt: skip
        """Scatter plants where `thickness` (0-1) lets them, `per_unit` to a square unit where it is 1."""
        rng = self.scene.rng("plants-" + self.species)
        heights, chances = self.land.heights.lines(), thickness.lines()
        ground = self.land.colours.rounded()
        # Farther than this even the tallest would be less than two pixels high.
        farthest = min(reach[1], sizes[1] * self.view.unit / 2)
        for i, (depth, nearer) in enumerate(pairwise(self.land.depths)):
            if not reach[0] < depth < farthest:
                continue
            count = self.view.width / self.view.unit * depth * (depth - nearer) * per_unit
            for _ in range(int(count) + (rng.random() < count % 1)):
                column = rng.randrange(ground.width)
                if rng.random() < chances[i][column] and heights[i][column] > 0:
                    x = (column + rng.random()) / ground.width
                    shade, lit = leaf(rng, colour_at(ground, column, i))
                    tall, kind = rng.uniform(*sizes), rng.randrange(KINDS)
                    plant = Plant(x, heights[i][column], tall, kind, shade, lit)
                    self.plants.setdefault(i, []).append(self.hazed(plant, depth))

    def hazed(self, plant: Plant, depth: float) -> Plant:
        if not self.is_hazed:
            return plant
        air, veil = haze_at(self.scene, depth)
        return Plant(
            plant.x,
            plant.foot,
            plant.height,
            plant.kind,
            blend(plant.shade, air, veil),
            blend(plant.lit, air, veil),
        )

    def frame(self, leaf: Callable[[random.Random, Colour], tuple[Colour, Colour]]) -> None:
        """A few tall trees close to the eye, on the side away from the sun."""
        rng = self.scene.rng("frame")
        heights = self.land.heights.lines()
        side = -self.view.light_side
        for _ in range(rng.randint(3, 5)):
            depth = rng.uniform(2.5, 4.2)
            i = min(range(len(self.land.depths)), key=lambda j: abs(self.land.depths[j] - depth))
            x = 0.5 + side * rng.uniform(0.33, 0.52)
            foot = heights[i][min(max(int(x * len(heights[i])), 0), len(heights[i]) - 1)]
            if foot > 0.02:
                shade, lit = leaf(rng, (0, 0, 0))
                tall = rng.uniform(1.1, 1.7)
                self.plants.setdefault(i, []).append(
                    Plant(x, foot - 0.02, tall, rng.randrange(KINDS), shade, lit)
                )

    def stand(self, picture: Image.Image, view: View, i: int, mirrored: bool) -> None:
        pixels = view.unit / self.land.depths[i]
        base = view.drop(self.land.depths[i])
        for plant in self.plants.get(i, ()):
            side = max(2, round(plant.height * pixels))
            foot = base + (plant.foot if mirrored else -plant.foot) * pixels
            corner = (round(plant.x * view.width - side / 2), round(foot if mirrored else foot - side))
            sprites = self.flipped if mirrored else self.upright
            sprites[plant.kind].paste(picture, corner, side, plant.shade, plant.lit)


def colour_at(picture: Image.Image, x: int, y: int) -> Colour:
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return (pixel[0] / 255, pixel[1] / 255, pixel[2] / 255)


def grow(scene: Scene, view: View, land: Land) -> list[Growth]:
    """Everything that grows in this scene."""
    growths = []
    if scene.tree is not None:
        trees = Growth(scene, view, land, scene.tree)
        dense = 5.5 if scene.ground == "forest" else 4.5
        sizes = (0.35, 0.6) if scene.tree == "palm" else (0.45, 0.95)
        trees.plant(land.forest, dense, sizes, (2.4, 55.0), lambda rng, _: tree_leaf(scene, rng))
        if scene.ground in ("forest", "mountains", "hills", "islands"):
            trees.frame(lambda rng, _: tree_leaf(scene, rng))
        growths.append(trees)
    if scene.has_water and scene.ground in ("mountains", "hills", "forest", "canyon"):
        stones = Growth(scene, view, land, "stone")
        stones.plant(land.strand, 34.0, (0.03, 0.13), (0.0, 12.0), stone_faces)
        growths.append(stones)
    if scene.ground in ("meadow", "hills", "forest", "mountains") and scene.snow < 0.95:
        grass = Growth(scene, view, land, "grass")
        grass.plant(land.turf, 110.0, (0.05, 0.13), (0.0, 6.5), grass_leaf)
        growths.append(grass)
    if "flowers" in scene.accents and scene.ground in ("meadow", "hills", "forest", "mountains"):
        flowers = Growth(scene, view, land, "flower")
        flowers.plant(
            land.turf * land.patches,
            170.0,
            (0.05, 0.11),
            (0.0, 15.0),
            lambda rng, ground: petal(scene, rng, ground),
        )
        growths.append(flowers)
    return growths


def tree_leaf(scene: Scene, rng: random.Random) -> tuple[Colour, Colour]:
    """Shaded and sunlit leaves in this light; in winter the sunlit ones carry snow."""
    light = scene.light
    leaf = blend(scene.leaf, rgb("1f4a38"), 0.6) if scene.tree == "conifer" else scene.leaf
    leaf = scale(blend(leaf, rng.choice((rgb("8a8f3a"), rgb("c9542b"), leaf)), 0.14), rng.uniform(0.85, 1.15))
    ambient, direct = rgb(light.ambient), rgb(light.direct)
    strength = 0.45 if light.is_night else 1.25
    shade = mixed(leaf, scale(ambient, 0.62))
    lit = mixed(leaf, blend(scale(ambient, 1.2), scale(direct, strength * 1.35), 0.6))
    if scene.snow > 0.95:
        snow = scale(blend(direct, (0.92, 0.96, 1.0), 0.6), 0.5 if light.is_night else 0.97)
        lit = blend(lit, snow, 0.85)
    return shade, lit


def mixed(a: Colour, b: Colour) -> Colour:
    return (a[0] * b[0], a[1] * b[1], a[2] * b[2])


def grass_leaf(rng: random.Random, ground: Colour) -> tuple[Colour, Colour]:
    return scale(ground, rng.uniform(0.62, 0.85)), scale(ground, rng.uniform(1.0, 1.35))


def stone_faces(rng: random.Random, ground: Colour) -> tuple[Colour, Colour]:
    grey = (ground[0] + ground[1] + ground[2]) / 3
    tone = blend(ground, (grey, grey, grey), 0.6)
    return scale(tone, rng.uniform(0.34, 0.5)), scale(tone, rng.uniform(0.9, 1.2))


def petal(scene: Scene, rng: random.Random, ground: Colour) -> tuple[Colour, Colour]:
    light = scene.light
    colour = rgb(rng.choice(scene.petals))
    day = blend(rgb(light.ambient), rgb(light.direct), 0.65)
    return scale(ground, 0.8), blend(mixed(colour, scale(day, 0.6 if light.is_night else 1.15)), ground, 0.1)
