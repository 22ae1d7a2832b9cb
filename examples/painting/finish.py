"""What is done to a picture as a whole: developed like a photograph, or washed onto paper."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from painting.fields import ColourField, Field, distance, noise, white_noise
from painting.scene import Scene, blend, bytes_of, rgb, rng_for


def toned(picture: Image.Image, curve: Callable[[float], float]) -> Image.Image:
    """Send every value (0-1) through a curve."""
    table = [min(255, max(0, round(255 * curve(value / 255)))) for value in range(256)]
    return picture.point(table * len(picture.getbands()))


def brightened(picture: Image.Image, amount: Field) -> Image.Image:
    """Add `amount` to all three channels, in steps of 1/255; it may be negative."""
    grey = (amount + 128.5).image.convert("L")
    return ImageChops.add(picture, Image.merge("RGB", (grey,) * 3), 1, -128)


def bloom(picture: Image.Image, reach: float, strength: float, start: float = 0.55) -> Image.Image:
    """Let what is brighter than `start` shine over its surroundings, as far as `reach` pixels."""
    bright = toned(picture, lambda value: (value - start) / (1 - start) * strength)
    factor = 4 if reach > 12 else 1
    soft = bright.reduce(factor).filter(ImageFilter.GaussianBlur(reach / factor))
    return ImageChops.screen(picture, soft.resize(picture.size, Image.Resampling.BICUBIC))


def vignette(picture: Image.Image, strength: float) -> Image.Image:
    """Darken the corners."""
    width, height = picture.size
    away = distance(picture.size, width / 2, height / 2, width / height)
    dark = away.rise(0.324 * height, 0.828 * height) * strength
    picture.paste((8, 8, 18), (0, 0, *picture.size), dark.mask())
    return picture


def grain(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Film grain: the sum of two dice, the same on all three channels."""
    return brightened(picture, (white_noise(rng, picture.size) + white_noise(rng, picture.size)) * 3.3)


def develop(picture: Image.Image, scene: Scene) -> Image.Image:
    """Finish a picture the way a photograph is: glow, contrast, a darker rim and a little grain."""
    unit = math.sqrt(picture.width * picture.height)
    picture = bloom(picture, unit * 0.02, 0.5 if scene.is_night or scene.hour == "dusk" else 0.22)
    picture = picture.filter(ImageFilter.UnsharpMask(radius=unit * 0.0016, percent=70, threshold=2))
    picture = ImageEnhance.Color(picture).enhance(1.10)
    picture = toned(picture, lambda value: value * 0.72 + value * value * (3 - 2 * value) * 0.28)
    return grain(vignette(picture, 0.22), scene.rng("grain"))


def warped(
    picture: Image.Image, source: Callable[[int, int], tuple[float, float]], cell: tuple[int, int]
) -> Image.Image:
    """Take every place from where `source` says, exact at the corners of cells and even between them."""
    width, height = picture.size

    def inside(x: int, y: int) -> tuple[float, float]:
        from_x, from_y = source(min(x, width - 1), min(y, height - 1))
        return min(max(from_x, 0.5), width - 1.0), min(max(from_y, 0.5), height - 1.0)

    mesh = []
    for top in range(0, height, cell[1]):
        for left in range(0, width, cell[0]):
            right, bottom = min(left + cell[0], width), min(top + cell[1], height)
            corners = (inside(left, top), inside(left, bottom), inside(right, bottom), inside(right, top))
            mesh.append(((left, top, right, bottom), tuple(part for corner in corners for part in corner)))
    return picture.transform(picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def watercolor(picture: Image.Image, scene: Scene) -> Image.Image:
    """Washes that run together, darker where they dried, on rough paper with a ragged white border."""
    size, unit = picture.size, math.sqrt(picture.width * picture.height)
    gamma = 0.62 if scene.is_night else 0.74
    washes = toned(bloom(picture, unit * 0.02, 0.2), lambda value: value**gamma)
    washes = ImageEnhance.Color(washes).enhance(1.4).reduce(max(1, round(unit / 620)))
    for _ in range(2):  # medians keep the edges and drop the details
        washes = washes.filter(ImageFilter.MedianFilter(3))
    rng = scene.rng("brush")
    aside, down = ((noise(rng, size, (unit * 0.05,) * 2, 3, 0.6) * (unit * 0.0042)).lines() for _ in "xy")
    cell = (max(6, round(unit / 110)),) * 2
    washes = warped(washes.resize(size), lambda x, y: (x + aside[y][x], y + down[y][x]), cell)
    washes = Image.blend(washes, washes.filter(ImageFilter.GaussianBlur(unit * 0.005)), 0.3)
    grey = washes.convert("L")
    dried = ImageChops.subtract(grey.filter(ImageFilter.GaussianBlur(unit * 0.005)), grey)
    edges = toned(dried, lambda value: 1 - min(0.43, value * 5))
    washes = ImageChops.multiply(washes, edges.convert("RGB"))
    thin = noise(rng, size, (unit * 0.3,) * 2, 6, 0.62).rise(-0.5, 1.3) * 0.55
    washes = ImageChops.screen(washes, thin.mask().convert("RGB"))  # the paper shines through
    sheet = Image.new("RGB", size, (250, 246, 236))
    sheet.paste(washes, (0, 0), ragged_border(rng, size, unit))
    tooth = noise(rng, size, (unit * 0.006,) * 2, 3, 0.7)
    return brightened(sheet, (tooth.step(1, 0) + tooth.step(0, 1)) * 13.0)


def ragged_border(rng: random.Random, size: tuple[int, int], unit: float) -> Image.Image:
    """A mask that leaves the edge of the sheet white, with a brush's uneven outline."""
    across, down = ([-min(i, side - 1 - i) / (0.045 * unit) for i in range(side)] for side in size)
    outside = Field.row(across, size[1]).at_least(Field.column(down, size[0]))
    ragged = outside - noise(rng, size, (unit * 0.12,) * 2, 6, 0.6) * 0.55
    return ragged.rise(-0.94, -1.06).mask()


# Colours of shadow, body and light.
MOULDINGS = {"gold": ("4a3210", "b8892f", "fbe6a2"), "ebony": ("08080a", "26242a", "77727c")}


def frame(picture: Image.Image, title: str = "", moulding: str | None = None) -> Image.Image:
    """Put a mat and a moulding around the picture; without a moulding's name the title decides which."""
    rng = rng_for("frame", title, *picture.size)
    name = moulding if moulding in MOULDINGS else rng.choice(list(MOULDINGS))
    unit = (picture.width * picture.height) ** 0.5
    wood, bevel = max(8, round(unit * 0.082)), max(2, round(unit * 0.006))
    margin = wood + max(6, round(unit * 0.085))
    size = (picture.width + 2 * margin, picture.height + 2 * margin)
    tooth = noise(rng, size, (6, 6), 3, 0.7) * 0.012 + 1.0
    framed = ColourField.flat(size, rgb("f3eee2")).times(tooth).picture(rng)
    # The mat is cut at a slant: its upper and left edges lie in shade, the others catch the light.
    near, (right, bottom) = margin - bevel, (side - margin + bevel for side in size)
    framed.paste((196, 190, 178), (near, near, right, bottom))
    ImageDraw.Draw(framed).polygon([(right, near), (right, bottom), (near, bottom)], (253, 251, 246))
    framed.paste(picture.convert("RGB"), (margin, margin))
    cast_shadow(framed, margin, unit * 0.004, 70)
    cast_shadow(framed, wood, unit * 0.012, 150)
    add_moulding(framed, name, wood)
    if title.strip():
        screw_plate(framed, " ".join(title.upper().split()), wood)
    return framed


def cast_shadow(framed: Image.Image, inset: int, reach: float, strength: int) -> None:
    """The shadow that an upper edge throws inwards, from the upper left."""
    box = (inset, inset, framed.width - inset, framed.height - inset)
    shade, lit = Image.new("L", framed.size, strength), inset + round(reach)
    shade.paste(0, (lit, lit, *framed.size))
    framed.paste((20, 14, 10), box, shade.filter(ImageFilter.GaussianBlur(reach)).crop(box))


def add_moulding(framed: Image.Image, name: str, wood: int) -> None:
    """In section a great wave with beads on it: line after line, each lit by which way its slope faces."""
    draw, (dark, body, light) = ImageDraw.Draw(framed), map(rgb, MOULDINGS[name])
    right, bottom = framed.width - 1, framed.height - 1
    waves = [math.sin(math.pi * (i / wood) ** 0.7) * 0.6 for i in range(wood + 1)]
    heights = [wave + abs(math.sin(3 * math.pi * i / wood)) * 0.2 for i, wave in enumerate(waves)]
    for i, (outer, inner) in enumerate(pairwise(heights)):
        corners = [(i, i), (right - i, i), (right - i, bottom - i), (i, bottom - i), (i, i)]
        for side, facing in zip(pairwise(corners), (1.0, -0.55, -1.0, 0.55), strict=True):
            tone = (inner - outer) * wood * 0.24 * facing + (outer - 0.35) * 0.4
            draw.line(side, bytes_of(blend(body, light if tone > 0 else dark, min(0.95, abs(tone)))))


def screw_plate(framed: Image.Image, title: str, wood: int) -> None:
    """A brass plate in the middle of the lower moulding, as wide as the title cut into it."""
    tall = max(8, wood // 2)
    text, font = fitted(title, framed.width * 0.62, max(6.0, tall * 0.42))
    wide = round(font.getlength(text) + tall * 1.9)
    sheen = Field.row([0.9 - abs(x / wide - 0.5) * 1.1 for x in range(wide)], tall)
    plate = ColourField.flat((wide, tall), rgb("8a6a2c")).mix(rgb("e9cf8a"), sheen).picture(rng_for("brass"))
    draw, rim = ImageDraw.Draw(plate), max(2, tall // 11)
    draw.rectangle((0, 0, wide - 1, tall - 1), outline=(90, 66, 22))
    draw.rectangle((rim, rim, wide - 1 - rim, tall - 1 - rim), outline=(122, 90, 34))
    for offset, colour in ((1, (255, 243, 204)), (0, (46, 32, 8))):  # cut in: a light lower edge
        draw.text((wide / 2, tall / 2 + offset), text, colour, font, anchor="mm")
    left, top = (framed.width - wide) // 2, framed.height - (wood + tall) // 2
    framed.paste((24, 16, 6), (left + 1, top + 1, left + wide + 2, top + tall + 2))  # its shadow
    framed.paste(plate, (left, top))


def fitted(title: str, room: float, size: float) -> tuple[str, ImageFont.FreeTypeFont]:
    """The title in a size that fits the room; what is still too long is cut."""
    while True:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        if font.getlength(title) <= room:
            return title, font
        title, size = (title, size * 0.94) if size > 7 else (title[:-2] + "…", size)
