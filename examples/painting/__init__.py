"""
Pictures from words, drawn by Pillow alone.

`paint()` reads a prompt, lays out a scene and paints it in one of the `STYLES`. The same prompt, style, seed
and size give the same picture, down to the bytes of its PNG. `frame()` hangs a finished picture.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from painting.fields import Colour, Field, noise
from painting.finish import bloom, develop, frame, grain, vignette, watercolor
from painting.land import paint_land, survey
from painting.scene import Light, Scene, View, blend, bytes_of, read_prompt, rgb, rng_for, scale
from painting.sky import gradient, paint_sky, water
from painting.standing import raised

__all__ = ["STYLES", "frame", "paint", "png_bytes", "style_named"]

Progress = Callable[[int, str], None]


def style_named(name: str) -> str:
    """The style a name stands for; a name nobody knows always stands for the same one."""
    known = [style for style in STYLES if style in name.lower()] or list(STYLES)
    return rng_for("style", name.lower()).choice(known) if name.strip() else "realistic"


def paint(
    prompt: str, style: str = "realistic", seed: int = 0, width: int = 1024, height: int = 1024,
    progress: Progress = lambda percent, layer: None,
) -> Image.Image:  # fmt: skip
    """
    Paint the prompt. `progress` is called with a percentage and the layer just finished; it may raise to
    stop the painting.
    """
    picture = STYLES[style_named(style)](read_prompt(prompt, seed), (width, height), progress)
    progress(100, "finish")
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def landscape(scene: Scene, size: tuple[int, int], progress: Progress) -> Image.Image:
    """From far to near: sky, water with the world in it, land, what stands on it."""
    view, canvas = View(scene, *size), Image.new("RGB", size)
    canvas.paste(paint_sky(scene, view))
    progress(15, "sky")
    land = survey(scene, view)
    things = raised(scene, view, land)
    progress(40, "lie of the land")
    if scene.has_water:
        mirror, below = canvas.copy(), View(scene, *size, eye=-1.0)
        for i in paint_land(mirror, land, below, finer=1):
            for thing in things.get(i, ()):
                thing.put(mirror, below, land.depths[i])
        canvas.paste(water(mirror, scene, view), (0, view.horizon))
    progress(60, "water")
    for i in paint_land(canvas, land, view, finer=1 if scene.manner == "wired" else 2):
        for thing in things.get(i, ()):
            thing.put(canvas, view, land.depths[i])
        if i % 32 == 0:
            progress(60 + 35 * i // len(land.depths), "land")
    return canvas


def paint_realistic(scene: Scene, size: tuple[int, int], progress: Progress) -> Image.Image:
    return develop(landscape(scene, size, progress), scene)


def paint_watercolor(scene: Scene, size: tuple[int, int], progress: Progress) -> Image.Image:
    return watercolor(landscape(scene, size, progress), scene)


def paint_minimal(scene: Scene, size: tuple[int, int], progress: Progress) -> Image.Image:
    """Flat silhouettes one behind the other under a disc four times as large, and nothing else."""
    light = replace(scene.light, sun_height=max(0.2, min(0.42, scene.light.sun_height)))
    scene = replace(scene, light=light, sun_radius=0.115, manner="flat")
    picture = landscape(scene, size, progress)
    return grain(picture.filter(ImageFilter.SMOOTH), scene.rng("grain"))


# Two colours of glass each: one for what is far and high, one for what is near.
TUBES = (("ff2fa0", "28e0ff"), ("ff5a3c", "b050ff"), ("30ffc0", "7a5cff"), ("ffb020", "ff3080"))


def paint_neon(scene: Scene, size: tuple[int, int], progress: Progress) -> Image.Image:
    """The land as a glowing grid under a striped sun, painted at twice the size: lines want clean edges."""
    warm, cool = (rgb(code) for code in scene.rng("tubes").choice(TUBES))
    warm = blend(warm, scene.tint, 0.8) if scene.tint else warm
    dark, glow = rgb("06021a"), blend(scale(warm, 0.75), scale(cool, 0.4), 0.35)
    sky = (dark, dark, blend(dark, glow, 0.08), blend(dark, glow, 0.25), scale(glow, 0.55), warm)
    light = Light(sky, warm, cool, rgb("1a0f3a"), rgb("150a2e"), dark, 0.26, 45.0, 0.0)
    scene = replace(
        scene,
        light=light,
        sun_radius=0.15,
        manner="wired",
        has_water=scene.has_water and scene.ground != "ocean",
    )
    picture = landscape(scene, (size[0] * 2, size[1] * 2), progress).reduce(2)
    unit = math.sqrt(size[0] * size[1])
    for reach, strength in ((0.0016, 0.7), (0.006, 0.55), (0.024, 0.5)):
        picture = bloom(picture, reach * unit, strength, start=0.235)
    scan = Field.column([1.0 if y % 3 else 0.90 for y in range(size[1])], size[0]).mask()
    return ImageChops.multiply(vignette(picture, 0.35), scan.convert("RGB"))


def paint_abstract(scene: Scene, size: tuple[int, int], progress: Progress) -> Image.Image:
    """Satin ribbons in the colours of the hour that stream around a disc, painted at twice the size."""
    rng, light, (width, height) = scene.rng("ribbons"), scene.light, (size[0] * 2, size[1] * 2)
    unit, x, y = math.sqrt(width * height), scene.sun_x * width, rng.uniform(0.32, 0.45) * height
    radius, sway = rng.uniform(0.10, 0.15) * unit, noise(rng, (128, 128), (64, 64), 3, 0.42).lines()
    picture = gradient(scene, (width, height), height).picture(rng)
    draw = ImageDraw.Draw(picture)
    colours = [*light.sky, light.direct, light.sun, scene.tint or rgb("2f9f95")]

    def course(at_x: float, at_y: float) -> float:
        """Which way it flows: with the field's sway, and past the disc as water passes a pillar."""
        column, row = (min(max(int(128 * part), 0), 127) for part in (at_x / width, at_y / height))
        free, dx, dy = 2.2 * sway[row][column], at_x - x, at_y - y
        phi, ratio = math.atan2(dy, dx) - free, min(1.0, radius**2 / max(dx * dx + dy * dy, 1.0))
        return math.atan2(-math.sin(phi) * (1 + ratio), math.cos(phi) * (1 - ratio)) + phi + free

    for number in range(700):
        front = number / 700  # what lies in front is finer and brighter
        at = (rng.uniform(-0.12, 1.02) * width, rng.uniform(-0.05, 1.05) * height)
        place = min(0.999, max(0.0, at[1] / height + rng.gauss(0, 0.16)))
        path = [at]
        for _ in range(rng.randint(60, 130)):
            way = course(*at)
            at = (at[0] + math.cos(way) * 0.006 * unit, at[1] + math.sin(way) * 0.006 * unit)
            path.append(at)
        colour = blend(colours[int(place * 6)], rng.choice(colours), rng.choice((0.0, 0.3, 0.9)))
        girth = min(0.045, (0.018 - 0.012 * front) * rng.paretovariate(2.6)) * unit
        ribbon(draw, path, girth, scale(colour, (0.62 + 0.4 * front) * rng.uniform(0.8, 1.1)))
        if number % 100 == 0:
            progress(round(90 * front), "ribbons")
    for part, colour in ((0.97, scale(light.sky[0], 0.3)), (0.9, light.sun)):
        draw.circle((x, y), radius * part, bytes_of(colour))
    return grain(vignette(ImageEnhance.Color(picture.reduce(2)).enhance(1.3), 0.25), scene.rng("grain"))


def ribbon(draw: ImageDraw.ImageDraw, path: list[tuple[float, float]], girth: float, colour: Colour) -> None:
    """It swells and tapers, its tone follows the direction, one edge shines and the other lies in shade."""
    left, right, tones = [], [], []
    for step, ((x0, y0), (x1, y1)) in enumerate(pairwise(path)):
        way, half = math.atan2(y1 - y0, x1 - x0), girth * math.sin(math.pi * (step + 0.5) / len(path)) ** 0.7
        left.append((x0 - math.sin(way) * half, y0 + math.cos(way) * half))
        right.append((x0 + math.sin(way) * half, y0 - math.cos(way) * half))
        tones.append(scale(colour, 0.9 + 0.26 * math.cos(2 * way + 1.8)))
    for (a0, a1), (b0, b1), tone in zip(pairwise(left), pairwise(right), tones, strict=False):
        draw.polygon((a0, a1, b1, b0), bytes_of(tone))
    draw.line(left, bytes_of(blend(colour, (1, 1, 1), 0.35)), max(1, round(girth * 0.08)))
    draw.line(right, bytes_of(scale(colour, 0.35)), max(1, round(girth * 0.06)))


STYLES: dict[str, Callable[[Scene, tuple[int, int], Progress], Image.Image]] = {
    "realistic": paint_realistic,
    "watercolor": paint_watercolor,
    "minimal": paint_minimal,
    "neon": paint_neon,
    "abstract": paint_abstract,
}
