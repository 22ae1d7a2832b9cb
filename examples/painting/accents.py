"""What passes by: birds, a sailing boat, rain, snow, lightning."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from painting.colours import blend, bytes_of, rgb, scale
from painting.land import Land, haze_at
from painting.scene import Scene, View


class Boat:
    """One sailing boat on open water."""

    def __init__(self, scene: Scene, view: View, land: Land) -> None:
        self.scene, self.land, self.slice, self.x = scene, land, -1, 0.5
        if "boat" not in scene.accents or not scene.has_water:
            return
        rng = scene.rng("boat")
        heights = land.heights.lines()
        self.x = scene.focus + rng.uniform(-0.08, 0.08)
        column = int(self.x * len(heights[0]))
        afloat = [i for i, depth in enumerate(land.depths) if 5.5 < depth < 10 and heights[i][column] < 0]
        if afloat:
            self.slice = rng.choice(afloat)

    def stand(self, picture: Image.Image, view: View, i: int, mirrored: bool) -> None:
        if i != self.slice:
            return
        side = round(0.95 * view.unit / self.land.depths[i])
        boat = self.drawn(side)
        corner = (round(self.x * view.width - side / 2), round(view.drop(self.land.depths[i])))
        if mirrored:
            boat = ImageOps.flip(boat)
        else:
            corner = (corner[0], corner[1] - side)
        picture.paste(boat, corner, boat)

    def drawn(self, side: int) -> Image.Image:
        big = side * 4
        boat = Image.new("RGBA", (big, big))
        draw = ImageDraw.Draw(boat)

        def shape(points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
            draw.polygon([(x * big, y * big) for x, y in points], (*colour, 255))

        light = self.scene.light
        air, veil = haze_at(self.scene, self.land.depths[self.slice])
        canvas = blend(scale(rgb(light.direct), 0.30 if light.is_night else 0.95), rgb(light.ambient), 0.2)
        hull = blend(scale(rgb(light.ambient), 0.35), air, veil * 0.5)
        sail = [(0.50, 0.06), (0.53, 0.35), (0.60, 0.62), (0.74, 0.84), (0.51, 0.84)]
        shape(sail, bytes_of(canvas))
        shape([(0.485, 0.14), (0.40, 0.50), (0.24, 0.82), (0.485, 0.84)], bytes_of(scale(canvas, 0.82)))
        shape([(0.488, 0.03), (0.505, 0.03), (0.51, 0.9), (0.485, 0.9)], bytes_of(hull))
        shape([(0.16, 0.88), (0.82, 0.88), (0.74, 0.985), (0.70, 1.0), (0.28, 1.0)], bytes_of(hull))
        return boat.reduce(4)


def add_accents(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """What lies before everything else."""
    if "lightning" in scene.accents:
        picture = add_lightning(picture, scene, view)
    if "birds" in scene.accents:
        picture = add_birds(picture, scene, view)
    if "rain" in scene.accents:
        picture = add_rain(picture, scene, view)
    if "snowfall" in scene.accents:
        picture = add_snowfall(picture, scene, view)
    return picture


def add_birds(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """A loose flock, in flight between the sun and the free side."""
    rng = scene.rng("birds")
    mask = Image.new("L", (picture.width * 2, picture.height * 2))
    draw = ImageDraw.Draw(mask)
    x0, y0 = view.width * (1 - scene.sun_x) * 0.9 + view.width * 0.05, view.horizon * rng.uniform(0.35, 0.62)
    for _ in range(rng.randint(5, 11)):
        x, y = 2 * (x0 + rng.gauss(0, 0.085) * view.unit), 2 * (y0 + rng.gauss(0, 0.035) * view.unit)
        span, lift = view.unit * rng.uniform(0.012, 0.024), rng.uniform(0.25, 0.6)
        tilt = rng.uniform(-0.25, 0.25)
        for side in (-1, 1):
            wing = []
            for step in range(7):
                t = step / 6
                wing.append(
                    (x + side * span * t, y - span * (lift * math.sin(math.pi * t * 0.72) + side * tilt * t))
                )
            lower = [(px, py + span * 0.10 * (1 - step / 6)) for step, (px, py) in enumerate(wing)]
            draw.polygon([*wing, *reversed(lower)], 235)
    dark = scale(rgb(scene.light.ambient), 0.4)
    picture = picture.copy()
    picture.paste(bytes_of(dark), (0, 0, *picture.size), mask.reduce(2))
    return picture


def add_rain(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    rng = scene.rng("rain")
    streaks = Image.new("L", picture.size)
    draw = ImageDraw.Draw(streaks)
    slant = rng.uniform(-0.22, 0.22)
    for _ in range(int(1500 * view.width * view.height / view.unit**2)):
        x, y = rng.uniform(-0.1, 1.1) * view.width, rng.uniform(-0.1, 1.0) * view.height
        length = view.unit * rng.uniform(0.015, 0.06)
        draw.line(
            (x, y, x + slant * length, y + length), rng.randint(25, 90), max(1, round(view.unit / 1100))
        )
    streaks = streaks.filter(ImageFilter.GaussianBlur(view.unit * 0.0006))
    picture = picture.copy()
    picture.paste(bytes_of(blend(rgb(scene.light.sky[-1]), (1, 1, 1), 0.4)), (0, 0, *picture.size), streaks)
    return picture


def add_snowfall(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """Flakes in three distances, the nearest large and out of focus."""
    rng = scene.rng("snowfall")
    picture = picture.copy()
    for count, radius, blur, strength in (
        (900, 0.0009, 0.0004, 200),
        (260, 0.0020, 0.0012, 190),
        (40, 0.0060, 0.0040, 120),
    ):
        flakes = Image.new("L", picture.size)
        draw = ImageDraw.Draw(flakes)
        for _ in range(count):
            x, y = rng.random() * view.width, rng.random() * view.height
            size = view.unit * radius * rng.uniform(0.6, 1.4)
            draw.ellipse((x - size, y - size, x + size, y + size), strength)
        picture.paste(
            (250, 252, 255), (0, 0, *picture.size), flakes.filter(ImageFilter.GaussianBlur(view.unit * blur))
        )
    return picture


def add_lightning(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """A forked bolt from the clouds to the horizon, and its light on them."""
    rng = scene.rng("lightning")
    bolt = Image.new("L", picture.size)
    draw = ImageDraw.Draw(bolt)
    x = view.width * (1 - scene.sun_x) + rng.uniform(-0.08, 0.08) * view.width
    strike(draw, rng, (x, view.horizon * rng.uniform(0.08, 0.2)), view.horizon, view.unit * 0.0042, view.unit)
    glow = bolt.filter(ImageFilter.GaussianBlur(view.unit * 0.012)).point(
        [min(255, v * 2) for v in range(256)]
    )
    wide = bolt.filter(ImageFilter.GaussianBlur(view.unit * 0.06)).point(
        [min(150, v * 6) for v in range(256)]
    )
    for mask, colour in ((wide, (150, 165, 235)), (glow, (190, 200, 255)), (bolt, (255, 255, 255))):
        light = Image.new("RGB", picture.size, colour)
        picture = ImageChops.screen(picture, ImageChops.multiply(light, Image.merge("RGB", (mask,) * 3)))
    return picture


def strike(
    draw: ImageDraw.ImageDraw,
    rng: random.Random,
    start: tuple[float, float],
    end: float,
    width: float,
    unit: float,
) -> None:
    x, y = start
    drift = rng.uniform(-0.4, 0.4)
    while y < end and width > 0.4:
        step = unit * rng.uniform(0.008, 0.03)
        to = (x + step * (drift + rng.gauss(0, 0.8)), min(end, y + step))
        draw.line((x, y, *to), 255, max(1, round(width)))
        x, y = to
        if rng.random() < 0.10 and width > 1.2:
            strike(draw, rng, (x, y), y + unit * rng.uniform(0.05, 0.2), width * 0.45, unit)
