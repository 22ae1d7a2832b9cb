"""The sky: gradient, sun or moon, stars, nebula, aurora and clouds in perspective."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from painting.colours import blend, bytes_of, rgb, scale
from painting.fields import Colour, ColourField, Field, distance, noise, plane_noise
from painting.scene import Scene, View


def paint_sky(scene: Scene, view: View) -> Image.Image:
    """Paint the sky from the top edge to a little below the horizon."""
    size = (view.width, min(view.height, math.ceil(view.horizon) + 2))
    sky = gradient(scene, view, size)
    if scene.nebula:
        sky = add_nebula(scene, view, sky, scene.nebula)
    if scene.has_aurora:
        sky = add_aurora(scene, view, sky)
    if scene.has_sun:
        sky = add_glow(scene, view, sky)
    picture = sky.image(scene.rng("sky-dither"))
    if scene.light.stars:
        picture = add_stars(scene, view, picture)
    if scene.has_planet:
        picture = add_planet(scene, view, picture)
    if scene.light.is_night and scene.has_sun:
        picture = add_moon(scene, view, picture)
    if scene.clouds > 0:
        picture = add_clouds(scene, view, picture)
    return picture


def gradient(scene: Scene, view: View, size: tuple[int, int]) -> ColourField:
    """The light's colours from the zenith to the horizon, the warm end reaching higher below the sun."""
    stops = [rgb(code) for code in scene.light.sky]
    columns: list[list[float]] = [[], [], []]
    for y in range(size[1]):
        place = min(1.0, max(0.0, y / view.horizon)) ** 1.25 * (len(stops) - 1)
        index = min(int(place), len(stops) - 2)
        part = place - index
        colour = blend(stops[index], stops[index + 1], part * part * (3 - 2 * part) * 0.5 + part * 0.5)
        for column, value in zip(columns, colour, strict=True):
            column.append(value)
    sky = ColourField(*(Field.column(column, size[0]) for column in columns))
    if not scene.has_sun or scene.light.is_night:
        return sky
    reach = distance(size, view.sun[0], view.sun[1], 2.2) / (0.42 * view.unit)
    return sky.mix(blend(stops[-1], rgb(scene.light.sun), 0.2), (reach * reach * -1.0).exp() * 0.38)


def add_glow(scene: Scene, view: View, sky: ColourField) -> ColourField:
    """The sun's disc and the light around it (at night the moon's halo alone)."""
    size = sky.planes[0].size
    away = distance(size, *view.sun) / view.unit
    colour = rgb(scene.light.sun)
    if scene.light.is_night:
        return sky.add(scale(colour, 0.30), (away * -9.0).exp())
    warm = blend(colour, rgb(scene.light.sky[-1]), 0.55)
    high = min(1.0, scene.light.sun_height * 1.6)
    sky = sky.mix(warm, (away * (-6.5 - 6.0 * high)).exp() * (0.75 - 0.3 * high))
    sky = sky.mix(colour, (away * -22.0).exp())
    radius = scene.sun_radius
    edge = 1.2 / view.unit
    return sky.mix(blend(colour, (1.0, 1.0, 1.0), 0.5), away.rise(radius + edge, radius - edge))


def add_stars(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """Many faint and few bright stars, tinted, fewer towards the horizon."""
    rng = scene.rng("stars")
    width, height = picture.size
    layer = Image.new("RGB", picture.size)
    draw = ImageDraw.Draw(layer)
    bright = Image.new("RGB", picture.size)
    bright_draw = ImageDraw.Draw(bright)
    tints = [rgb(code) for code in ("ffffff", "cfe0ff", "fff0d8", "ffd9c0", "dfe8ff")]
    for _ in range(int(1500 * scene.light.stars * height * width / view.unit**2)):
        x, y = rng.random() * width, rng.random() ** 1.3 * height
        size = rng.paretovariate(2.2)
        fade = max(0.0, 1 - y / view.horizon) ** 0.5
        colour = scale(
            rng.choice(tints), min(1.0, 0.16 * size + 0.05) * fade * min(1.0, scene.light.stars + 0.2)
        )
        draw.point((x, y), bytes_of(colour))
        if size > 3.6:
            radius = min(size, 8) * 0.00027 * view.unit
            bright_draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius), bytes_of(scale(colour, 1.6))
            )
    soft = bright.filter(ImageFilter.GaussianBlur(view.unit * 0.0007))
    halo = bright.filter(ImageFilter.GaussianBlur(view.unit * 0.004))
    for stars in (layer, soft, halo):
        picture = ImageChops.add(picture, stars)
    return picture


def add_nebula(scene: Scene, view: View, sky: ColourField, dust: tuple[Colour, Colour]) -> ColourField:
    """A band of glowing dust across the sky: two colours, dark lanes."""
    size = sky.planes[0].size
    rng = scene.rng("nebula")
    slope, offset = rng.uniform(0.5, 1.1) * rng.choice((-1, 1)), rng.uniform(-0.1, 0.1)
    centre = 0.45 + offset
    across = Field.row([slope * (x / view.unit - size[0] / view.unit / 2) for x in range(size[0])], size[1])
    band = (
        Field.column([y / view.unit - centre * size[1] / view.unit for y in range(size[1])], size[0]) - across
    )
    cloud = noise(rng, size, (0.5 * view.unit,) * 2, 7, 0.56)
    wander = band + noise(rng, size, (0.6 * view.unit,) * 2, 3) * 0.18
    glow = (wander * wander * -14.0).exp() * (cloud * 0.75 + 0.62).clamp(0.0, 1.6)
    lanes = (
        noise(rng, size, (0.35 * view.unit,) * 2, 6, 0.6).rise(0.05, 0.55) * (wander * wander * -40.0).exp()
    )
    hue = noise(rng, size, (0.55 * view.unit,) * 2, 4).rise(-0.5, 0.5)
    mixed = ColourField.flat(size, dust[0]).mix(dust[1], hue)
    strength = 0.3 if scene.hour == "night" else 0.75
    glow = (glow * (1.0 - lanes * 0.8)) ** 1.6
    sky = ColourField(*(a + b * glow * strength for a, b in zip(sky.planes, mixed.planes, strict=True)))
    return sky.add((1.0, 0.93, 0.86), (glow**3.0) * 0.30)


def add_aurora(scene: Scene, view: View, sky: ColourField) -> ColourField:
    """Curtains: a wandering lower edge, rays of uneven length above it, green below and violet at the tips."""
    size = sky.planes[0].size
    rng = scene.rng("aurora")
    width, height = size
    down = Field.column([float(y) for y in range(height)], width)
    for curtain in range(4):
        base = noise(rng, (width, 1), (0.55 * view.unit, 1), 3, 0.45)
        fine = noise(rng, (width, 1), (0.05 * view.unit, 1), 4, 0.7)
        level = height * (0.84 - 0.17 * curtain + rng.uniform(-0.04, 0.04))
        edge = Field(base.image.resize(size)) * (0.17 * height) + level
        rays = (Field(fine.image.resize(size)) * 0.5 + 0.55).clamp(0.05, 1.2)
        patches = noise(rng, (width, 1), (0.4 * view.unit, 1), 2).rise(-0.6, 0.35)
        above = (edge - down) / view.unit
        fall = (above.clamp() * -1.0 / (rays * 0.16 + 0.05)).exp() * above.rise(-0.006, 0.022)
        strength = fall * rays * Field(patches.image.resize(size)) * (0.95 - 0.16 * curtain)
        tips = above.rise(0.06, 0.34)
        low, high = scene.aurora
        sky = sky.add(low, strength * (1.0 - tips)).add(high, strength * tips * 1.2)
    return sky


def add_moon(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """A moon with seas, in one of its phases."""
    x, y = view.sun
    radius = scene.sun_radius * view.unit
    disc = (2 * math.ceil(radius) + 4,) * 2
    middle = disc[0] / 2
    away = distance(disc, middle, middle)
    seas = noise(scene.rng("moon"), disc, (radius * 0.9,) * 2, 5, 0.55).rise(-0.1, 0.6) * 0.26
    limb = 1.0 - (away / radius).clamp() ** 4.0 * 0.18
    face = ColourField.flat(disc, rgb(scene.light.sun)).times((1.0 - seas) * limb)
    lit = away.rise(radius + 0.8, radius - 0.8)
    if scene.moon_phase:
        shadow = distance(disc, middle + scene.moon_phase * radius, middle - 0.15 * radius)
        lit = lit * shadow.rise(radius * 0.93, radius * 1.0)
    picture = picture.copy()
    corner = (round(x - middle), round(y - middle))
    picture.paste(face.image(scene.rng("moon-dither")), corner, lit.mask())
    return picture


def add_planet(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """A great banded planet lit from one side, with an atmosphere and sometimes a ring."""
    rng = scene.rng("planet")
    radius = view.unit * rng.uniform(0.13, 0.24)
    x, y = view.width * rng.choice((0.29, 0.71)), view.horizon * rng.uniform(0.36, 0.55)
    side = 2 * math.ceil(radius * 2.3)
    size, middle = (side, side), side / 2
    away = distance(size, middle, middle) / radius
    first, second = scene.nebula or (rgb("e0a070"), rgb("7090c0"))
    rows = Field.column([float(j) for j in range(side)], side)
    bands = noise(rng, size, (radius * 3, radius * 0.28), 5, 0.6) + noise(rng, size, (radius,) * 2, 5) * 0.25
    body = ColourField.flat(size, blend(first, (1, 0.92, 0.8), 0.45)).mix(second, bands.rise(-0.7, 0.8))
    across = Field.row([(i - middle) / radius for i in range(side)], side) * -view.light_side
    deep = (1.0 - (away * away).clamp()) ** 0.5
    lambert = (across * -0.72 - (rows - middle) * (0.38 / radius) + deep * 0.5).clamp() ** 0.8
    shaded = body.times(lambert * 1.05 + 0.015).add((0.5, 0.7, 1.0), (away**8.0).clamp() * lambert * 0.5)
    picture = picture.copy()
    corner = (round(x - middle), round(y - middle))
    halo = (away.at_least(1.0) - 1.0) * -9.0
    air = Image.new("RGB", size, bytes_of(blend(second, (0.7, 0.85, 1.0), 0.5)))
    facing = (across * -0.6 - (rows - middle) * (0.35 / radius) + 0.35).clamp()
    picture.paste(air, corner, (halo.exp() * facing * away.rise(1.75, 1.1) * 0.55).mask())
    edge = 1.2 / radius
    picture.paste(shaded.image(rng), corner, away.rise(1 + edge, 1 - edge).mask())
    if rng.random() < 0.6:
        add_ring(rng, picture, corner, radius, size, blend(first, (1, 1, 1), 0.5))
    return picture


def add_ring(
    rng: random.Random,
    picture: Image.Image,
    corner: tuple[int, int],
    radius: float,
    size: tuple[int, int],
    colour: Colour,
) -> None:
    """A tilted ring, hidden where it passes behind the planet."""
    middle = size[0] / 2
    flat = distance(size, middle, middle, 5.0) * (5.0 / radius)
    profile = (
        flat.rise(1.25, 1.4) * flat.rise(2.2, 2.1) * (1.0 - flat.rise(1.72, 1.76) * flat.rise(1.84, 1.8))
    )
    front = Field.column([1.0 if j > middle else 0.0 for j in range(size[1])], size[0])
    outside = distance(size, middle, middle).rise(radius - 1, radius + 1)
    turned = (
        (profile * (front + outside).clamp() * 0.62)
        .mask()
        .rotate(rng.uniform(-22, 22), Image.Resampling.BICUBIC)
    )
    picture.paste(Image.new("RGB", size, bytes_of(colour)), corner, turned)


def add_clouds(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """Clouds on a plane overhead, so that they grow flat and close towards the horizon; lit from the sun."""
    width, height = math.ceil(picture.width / 2), math.ceil(view.horizon / 2)
    rng = scene.rng("clouds")
    rise = [max(0.035, (height - y - 0.5) / height) for y in range(height)]
    mass = cloud_mass(scene, view, rng, rise, width)
    cover = mass.quantile(1 - scene.clouds)
    density = mass.rise(cover - 0.04, cover + (0.24 if scene.light.sun_height > 0.5 else 0.42))
    away = distance((width, height), view.sun[0] / 2, min(view.sun[1] / 2, height), 1.5) / (view.unit / 2)
    near_sun = (away * -3.0).exp() if scene.has_sun else Field.flat((width, height))
    towards_light = mass.step_down(max(2, round(height * 0.018)))
    brightness = 0.58 + towards_light * 1.7 - (mass - cover).clamp() * 0.62 + near_sun * 0.4
    if scene.light.is_night:
        brightness = brightness.clamp() * (near_sun * 0.9 + 0.16)
    shade, lit = rgb(scene.light.cloud_shade), rgb(scene.light.cloud_lit)
    colours = ColourField.flat((width, height), shade).mix(lit, brightness.clamp())
    colours = colours.mix(rgb(scene.light.sun), (near_sun - 0.25).clamp() * towards_light.rise(-0.05, 0.4))
    low = Field.column([min(1.0, 0.30 + r * 3.2) for r in rise], width)
    colours = colours.mix(rgb(scene.light.sky[-2]), 1.0 - low)
    veil = density * Field.column([min(1.0, r * 9) for r in rise], width) * (0.95 - near_sun * 0.25)
    full = (picture.width, int(view.horizon))
    picture = picture.copy()
    layer = colours.image(rng).resize(full, Image.Resampling.BICUBIC)
    picture.paste(layer, (0, 0), veil.resized(full).mask())
    return picture


def cloud_mass(scene: Scene, view: View, rng: random.Random, rise: list[float], width: int) -> Field:
    """By day heaps with round tops, at a low sun long streaks."""
    depths, spread = [1.0 / r for r in rise], 0.45 * width / len(rise)
    billow = noise(rng, (width, len(rise)), (0.13 * view.unit, 0.05 * view.unit), 6, 0.55)
    if scene.light.sun_height > 0.5:
        heaps = plane_noise(rng, width, depths, spread, 2.6, 7, 0.58, 1.15, lambda n: abs(n) * 1.8 - 0.62)
        return heaps + billow * 0.42
    return plane_noise(rng, width, depths, spread, 3.0, 7, 0.55, rng.uniform(1.3, 2.4)) + billow * 0.40
