"""A scene is all that is decided before the first stroke; a view is where it falls on a canvas."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, replace

from painting.colours import Light
from painting.fields import Colour


def rng_for(*parts: object) -> random.Random:
    """A random source that depends on the parts alone, the same in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Scene:
    """What is to be painted. Places and sizes are in parts of the picture, never in pixels."""

    prompt: str
    seed: int
    hour: str  # a key of colours.LIGHTS
    light: Light
    ground: str  # a key of land.GROUNDS
    has_water: bool
    horizon: float
    sun_x: float
    sun_radius: float
    moon_phase: float  # where the shadow's middle lies, in radii; 0 is a full moon
    clouds: float  # part of the sky they cover
    snow: float  # 0 none, 1 down to the valley
    tree: str | None  # a key of trees.SPECIES
    leaf: Colour
    petals: tuple[str, ...]
    turf: tuple[str, str]  # lush and dry
    nebula: tuple[Colour, Colour] | None
    aurora: tuple[Colour, Colour]
    tint: Colour | None  # the first colour the prompt names
    accents: frozenset[str]  # keys of words.ACCENTS
    has_sun: bool = True
    has_planet: bool = False
    has_aurora: bool = False
    is_flat: bool = False  # paper cut-outs: no detail

    @property
    def focus(self) -> float:
        """Where across the picture its one building or boat belongs: over against the sun."""
        return 0.5 + (0.5 - self.sun_x) * 0.75

    def rng(self, layer: str) -> random.Random:
        """Every layer has its own source: changing one leaves the others as they were."""
        return rng_for(self.prompt, self.seed, layer)


@dataclass(frozen=True)
class View:
    """Where things fall on a canvas of this size, in pixels."""

    width: int
    height: int
    unit: float  # the picture's side, were it square; all sizes derive from it
    horizon: float
    sun: tuple[float, float]
    light_side: int  # -1: the light comes from the left
    light_rise: float  # how steeply it falls on the land
    eye: float = 1.0  # height above the ground

    def drop(self, depth: float) -> float:
        """Where the flat ground at this depth meets the canvas."""
        return self.horizon + self.eye * self.unit / depth

    def halved(self) -> View:
        """The same view at half the resolution."""
        width, height = max(1, self.width // 2), max(1, self.height // 2)
        sun = (self.sun[0] / 2, self.sun[1] / 2)
        return replace(
            self, width=width, height=height, unit=self.unit / 2, horizon=self.horizon / 2, sun=sun
        )


def view_of(scene: Scene, width: int, height: int) -> View:
    horizon = round(scene.horizon * height)
    sun = (scene.sun_x * width, horizon * (1 - scene.light.sun_height))
    light_rise = 0.22 if scene.ground == "desert" else 0.28 + 0.4 * max(0.0, scene.light.sun_height)
    light_side = -1 if scene.sun_x < 0.5 else 1
    return View(width, height, math.sqrt(width * height), horizon, sun, light_side, light_rise)
