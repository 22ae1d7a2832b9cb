"""Minimal: flat silhouettes one behind the other, a great disc, nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

from PIL import Image, ImageFilter

from painting.accents import Boat, add_birds
from painting.city import City
from painting.colours import blend, bytes_of, rgb, scale
from painting.fields import Colour, ColourField, Field, distance
from painting.finish import grain
from painting.growth import Growth
from painting.land import Land, survey
from painting.landscape import Progress
from painting.march import Standing, paint_land
from painting.scene import Scene, View, view_of
from painting.sky import add_stars, gradient
from painting.water import paint_water

SHEETS = 7


def paint_poster(scene: Scene, view: View, progress: Progress) -> Image.Image:
    light = replace(
        scene.light, sun_height=max(0.2, min(0.42, scene.light.sun_height)), stars=scene.light.stars * 0.4
    )
    scene = replace(scene, light=light, has_sun=True, sun_radius=0.115, clouds=0.0, is_flat=True)
    view = view_of(scene, view.width, view.height)
    picture = Image.new("RGB", (view.width, view.height), bytes_of(rgb(light.haze)))
    picture.paste(poster_sky(scene, view), (0, 0))
    progress(0.15, "sky")
    land = cut_out(scene, survey(scene, view))
    progress(0.40, "paper cut to shape")
    standing: list[Standing] = [*grown(scene, view, land), City(scene, view, land), Boat(scene, view, land)]
    if scene.has_water:
        paint_water(picture, scene, view, land, standing)
        progress(0.60, "water")
    paint_land(picture, land, view, standing, lambda part: progress(0.60 + 0.35 * part, "sheets"))
    if "birds" in scene.accents:
        picture = add_birds(picture, scene, view)
    progress(1.0, "done")
    return grain(picture.filter(ImageFilter.SMOOTH), scene, 5.0)


def poster_sky(scene: Scene, view: View) -> Image.Image:
    """The gradient, rings of light and the disc."""
    size = (view.width, int(view.horizon) + 2)
    sky = gradient(scene, replace(view, sun=(-9e9, 0)), size)
    away = distance(size, *view.sun) / view.unit
    disc = rgb(scene.light.sun)
    ring = blend(disc, rgb(scene.light.sky[-1]), 0.5)
    edge = 0.8 / view.unit
    for number in range(4, 0, -1):
        radius = scene.sun_radius * (1 + 0.55 * number)
        sky = sky.mix(
            ring, away.rise(radius + edge, radius - edge) * (0.10 if scene.light.is_night else 0.17)
        )
    picture = sky.image(scene.rng("sky-dither"))
    if scene.light.stars:
        picture = add_stars(scene, view, picture)
    picture.paste(
        bytes_of(disc), (0, 0, *size), away.rise(scene.sun_radius + edge, scene.sun_radius - edge).mask()
    )
    return picture


def cut_out(scene: Scene, land: Land) -> Land:
    """Sheets of coloured paper instead of light and shade: one colour for a stretch of depth."""
    light = scene.light
    warm = blend(rgb(light.sky[2]), rgb(light.ambient), 0.5)
    dark = scale(blend(rgb(light.ambient), rgb(light.sky[0]), 0.4), 0.45 if not light.is_night else 0.35)
    if scene.ground in ("desert", "canyon"):
        warm, dark = blend(warm, rgb("b5562f"), 0.55), blend(dark, rgb("4a1f1a"), 0.6)
    if scene.snow > 0.95:
        dark = blend(dark, rgb("c8d4e0"), 0.25)
    colours = []
    for i in range(len(land.depths)):
        part = (i * SHEETS // len(land.depths)) / (SHEETS - 1)
        near = blend(rgb(light.haze), warm, part * 2) if part < 0.5 else blend(warm, dark, part * 2 - 1)
        colours.append(near)
    planes = (
        Field.column([colour[channel] for colour in colours], land.heights.size[0]) for channel in range(3)
    )
    return replace(land, colours=ColourField(*planes))


def grown(scene: Scene, view: View, land: Land) -> list[Growth]:
    """Trees in the colour of the sheet they stand on, a shade darker."""
    if scene.tree is None:
        return []

    def leaf(rng: random.Random, ground: Colour) -> tuple[Colour, Colour]:
        return scale(ground, 0.86), scale(ground, 0.86)

    trees = Growth(scene, view, land, scene.tree)
    trees.is_hazed = False
    trees.plant(land.forest, 2.2, (0.5, 1.0), (2.4, 30.0), leaf)
    return [trees]
