"""A frame for a picture: moulding in wood or gold, a mat with a bevelled window, an engraved plate."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from painting.colours import blend, bytes_of, rgb, scale
from painting.fields import Colour, ColourField, Field, noise
from painting.scene import rng_for

# Each moulding: colours of shadow, body and light, and how much grain the wood shows.
MOULDINGS: dict[str, tuple[str, str, str, float]] = {
    "gold": ("4a3210", "b8892f", "fbe6a2", 0.10),
    "walnut": ("1c0f08", "5a3620", "a87850", 0.55),
    "oak": ("5a3c1e", "b88a55", "ecd0a0", 0.45),
    "ebony": ("08080a", "26242a", "77727c", 0.20),
}

# The moulding's cross-section from the outer to the inner edge: (place, height); light falls on its slopes.
PROFILE = ((0.0, 0.30), (0.05, 0.62), (0.14, 0.78), (0.20, 0.70), (0.25, 0.74), (0.55, 0.98), (0.70, 0.90),
           (0.76, 0.72), (0.80, 0.76), (0.86, 0.60), (0.94, 0.34), (1.0, 0.20))  # fmt: skip


def frame(picture: Image.Image, title: str = "", moulding: str | None = None) -> Image.Image:
    """Put a frame around the picture; without a moulding's name the title decides which."""
    rng = rng_for("frame", title, *picture.size)
    name = moulding if moulding in MOULDINGS else rng.choice(list(MOULDINGS))
    unit = (picture.width * picture.height) ** 0.5
    mat, wood = max(6, round(unit * 0.085)), max(8, round(unit * 0.082))
    margin = mat + wood
    size = (picture.width + 2 * margin, picture.height + 2 * margin)
    framed = Image.new("RGB", size, (244, 240, 230))
    lay_mat(framed, rng, wood)
    cut_window(framed, picture.size, margin, unit)
    framed.paste(picture.convert("RGB"), (margin, margin))
    cast_shadow(framed, (margin, margin, size[0] - margin, size[1] - margin), unit * 0.004, 70)
    cast_shadow(framed, (wood, wood, size[0] - wood, size[1] - wood), unit * 0.012, 150)
    add_moulding(framed, rng, name, wood)
    if title.strip():
        screw_plate(framed, title.strip(), wood, unit)
    return framed


def lay_mat(framed: Image.Image, rng: random.Random, wood: int) -> None:
    """Board with a faint tooth."""
    tooth = noise(rng, framed.size, (6, 6), 3, 0.7) * 0.012 + 1.0
    framed.paste(ColourField.flat(framed.size, rgb("f3eee2")).times(tooth).rounded(), (0, 0))


def cut_window(framed: Image.Image, size: tuple[int, int], margin: int, unit: float) -> None:
    """The mat's bevel: its upper and left faces lie in shade, the others catch the light."""
    bevel = max(2, round(unit * 0.006))
    draw = ImageDraw.Draw(framed)
    left, top, right, bottom = margin, margin, margin + size[0], margin + size[1]
    outer = (left - bevel, top - bevel, right + bevel, bottom + bevel)
    corners = [(outer[0], outer[1]), (outer[2], outer[1]), (outer[2], outer[3]), (outer[0], outer[3])]
    inner = [(left, top), (right, top), (right, bottom), (left, bottom)]
    for side, colour in enumerate(((190, 184, 172), (250, 248, 242), (255, 254, 250), (206, 200, 188))):
        following = (side + 1) % 4
        draw.polygon([corners[side], corners[following], inner[following], inner[side]], colour)


def cast_shadow(framed: Image.Image, box: tuple[int, int, int, int], reach: float, strength: int) -> None:
    """The shadow an upper edge throws inwards on what lies in the box, from the upper left."""
    size = (box[2] - box[0], box[3] - box[1])
    shade = Image.new("L", size, strength)
    shift = round(reach)
    ImageDraw.Draw(shade).rectangle((shift, shift, size[0] + shift, size[1] + shift), 0)
    pad = Image.new("L", (size[0] + 4 * shift, size[1] + 4 * shift), strength)
    pad.paste(0, (3 * shift, 3 * shift, pad.width, pad.height))
    soft = pad.filter(ImageFilter.GaussianBlur(reach)).crop(
        (2 * shift, 2 * shift, 2 * shift + size[0], 2 * shift + size[1])
    )
    framed.paste((20, 14, 10), box, soft)


def add_moulding(framed: Image.Image, rng: random.Random, name: str, wood: int) -> None:
    """Four lengths, mitred: each is lit by which way its slopes face."""
    width, height = framed.size
    for side, (length, facing) in enumerate(((width, 1.0), (height, -0.55), (width, -1.0), (height, 0.55))):
        strip = length_of_wood(rng, name, length, wood, facing)
        mitre = Image.new("L", strip.size)
        ImageDraw.Draw(mitre).polygon([(0, 0), (length, 0), (length - wood, wood), (wood, wood)], 255)
        for turn in range(side):
            strip, mitre = (part.transpose(Image.Transpose.ROTATE_270) for part in (strip, mitre))
            del turn
        corner = ((0, 0), (width - wood, 0), (0, height - wood), (0, 0))[side]
        framed.paste(strip, corner, mitre)


def length_of_wood(rng: random.Random, name: str, length: int, wood: int, facing: float) -> Image.Image:
    """A horizontal length, outer edge up; `facing` 1 lies towards the light, -1 away from it."""
    dark, body, light, grain = (*map(rgb, MOULDINGS[name][:3]), MOULDINGS[name][3])
    heights = [height_at((row + 0.5) / wood) for row in range(wood + 1)]
    slopes = [(b - a) * wood for a, b in zip(heights, heights[1:], strict=False)]
    shine = [
        max(-1.0, min(1.0, slope * 0.24 * facing)) + (height - 0.6) * 0.35
        for slope, height in zip(slopes, heights, strict=False)
    ]
    glow = Field.column(shine, length)
    fibres = noise(rng, (length, wood), (wood * 4.0, wood * 0.09), 5, 0.65) * grain
    wear = noise(rng, (length, wood), (wood * 1.5, wood * 1.5), 5, 0.6) * 0.10
    tone = glow + fibres * 0.5 + wear
    colours = (
        ColourField.flat((length, wood), body)
        .mix(dark, (tone * -1.0).clamp(0, 0.92))
        .mix(light, tone.clamp(0, 0.95))
    )
    return colours.rounded()


def height_at(place: float) -> float:
    for (x0, y0), (x1, y1) in zip(PROFILE, PROFILE[1:], strict=False):
        if place <= x1:
            part = (place - x0) / (x1 - x0)
            return y0 + (y1 - y0) * part * part * (3 - 2 * part)
    return PROFILE[-1][1]


def screw_plate(framed: Image.Image, title: str, wood: int, unit: float) -> None:
    """A brass plate in the middle of the lower moulding, its letters cut in."""
    tall = max(8, round(wood * 0.50))
    text, font, spacing = fitted(title.upper(), framed.width * 0.62, tall * 0.42)
    wide = round(text_width(text, font, spacing) + tall * 1.9)
    size = (wide, tall)
    brass = ColourField.flat(size, rgb("8a6a2c")).mix(rgb("e9cf8a"), sheen(size))
    plate = brass.rounded()
    draw = ImageDraw.Draw(plate)
    draw.rectangle((0, 0, wide - 1, tall - 1), outline=bytes_of(rgb("5a4216")))
    draw.line((1, 1, wide - 2, 1), bytes_of(rgb("fff0c0")))
    inset = max(2, round(tall * 0.09))
    draw.rectangle((inset, inset, wide - 1 - inset, tall - 1 - inset), outline=bytes_of(rgb("7a5a22")))
    radius = max(1, round(tall * 0.075))
    for x in (round(tall * 0.42), wide - 1 - round(tall * 0.42)):
        draw.ellipse(
            (x - radius, tall // 2 - radius, x + radius, tall // 2 + radius), bytes_of(rgb("6a4e1c"))
        )
    engrave(plate, text, font, spacing)
    left, top = (framed.width - wide) // 2, framed.height - wood + (wood - tall) // 2
    shadow = Image.new("L", framed.size)
    offset = max(1, round(tall * 0.06))
    ImageDraw.Draw(shadow).rectangle(
        (left + offset, top + offset, left + wide + offset, top + tall + offset), 150
    )
    box = (left - tall, top - tall, left + wide + tall, min(framed.height, top + 2 * tall))
    framed.paste((10, 6, 2), box, shadow.crop(box).filter(ImageFilter.GaussianBlur(max(1.0, tall * 0.05))))
    framed.paste(plate, (left, top))


def sheen(size: tuple[int, int]) -> Field:
    """Brushed metal: bright in a slanting band."""
    across = Field.row([x / size[0] for x in range(size[0])], size[1])
    down = Field.column([0.22 * y / size[1] for y in range(size[1])], size[0])
    band = abs(across + down - 0.58) * 2.2
    brushed = noise(rng_for("brass"), size, (size[0] * 0.5, 1.5), 3, 0.7) * 0.10
    return (0.86 - band * 0.55 + brushed).clamp()


def engrave(plate: Image.Image, text: str, font: ImageFont.FreeTypeFont, spacing: float) -> None:
    """Dark letters with a light lower edge."""
    draw = ImageDraw.Draw(plate)
    start = (plate.width - text_width(text, font, spacing)) / 2
    for offset, colour in ((1, rgb("fff3cc")), (0, rgb("2e2008"))):
        x = start
        for letter in text:
            draw.text((x, plate.height / 2 + offset), letter, bytes_of(colour), font, anchor="lm")
            x += font.getlength(letter) + spacing


def text_width(text: str, font: ImageFont.FreeTypeFont, spacing: float) -> float:
    return sum(font.getlength(letter) + spacing for letter in text) - spacing


def fitted(text: str, room: float, size: float) -> tuple[str, ImageFont.FreeTypeFont, float]:
    """The text in a size that fits the room; what is still too long ends in an ellipsis."""
    text = " ".join(text.split())
    size = max(6.0, size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    while text_width(text, font, size * 0.14) > room and size > 7:
        size *= 0.94
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
    while text_width(text, font, size * 0.14) > room and len(text) > 2:
        text = text[:-2].rstrip() + "…"
    return text, font, size * 0.14


_: tuple[object, ...] = (blend, scale, Colour)
