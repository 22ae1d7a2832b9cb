"""Manners of painting: what a finished view looks like in watercolour, oil, ink or on an old screen."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from painting.colours import bytes_of
from painting.fields import Colour, Field, noise
from painting.finish import bloom
from painting.scene import Scene, View

PAPER = (250, 246, 236)


def watercolor(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """Washes that run together, darker where they dried, on rough paper with a ragged white border."""
    gamma = 0.62 if scene.light.is_night else 0.74
    picture = bloom(picture, view, 0.2).point([round(255 * (v / 255) ** gamma) for v in range(256)] * 3)
    picture = ImageEnhance.Color(picture).enhance(1.4)
    washes = wobbled(flattened(picture, view, 3), scene, view, 0.0042)
    washes = Image.blend(washes, washes.filter(ImageFilter.GaussianBlur(view.unit * 0.005)), 0.3)
    washes = dried_edges(washes, view)
    pale = noise(scene.rng("pigment"), washes.size, (view.unit * 0.3,) * 2, 6, 0.62).rise(-0.5, 1.3)
    glaze = Image.merge("RGB", ((pale * 0.55).mask(),) * 3)
    washes = ImageChops.screen(washes, ImageChops.multiply(glaze, Image.new("RGB", washes.size, PAPER)))
    border = ragged_border(scene, view)
    sheet = Image.new("RGB", washes.size, PAPER)
    sheet.paste(washes, (0, 0), border)
    return on_paper(sheet, scene, view, 0.10)


def flattened(picture: Image.Image, view: View, size: int) -> Image.Image:
    """Fewer details: medians at a coarse scale keep the edges."""
    factor = max(1, round(view.unit / 620))
    small = picture.reduce(factor)
    for _ in range(2):
        small = small.filter(ImageFilter.MedianFilter(size))
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def wobbled(picture: Image.Image, scene: Scene, view: View, amount: float) -> Image.Image:
    """Edges as a wet brush leaves them."""
    rng = scene.rng("wobble")
    step = max(6, round(view.unit / 110))
    across, down = (noise(rng, picture.size, (view.unit * 0.05,) * 2, 3, 0.6).lines() for _ in range(2))
    reach = amount * view.unit
    right_most, lowest = picture.width - 1, picture.height - 1

    def source(x: int, y: int) -> tuple[float, float]:
        row, column = min(y, lowest), min(x, right_most)
        dx, dy = across[row][column] * reach, down[row][column] * reach
        return min(max(x + dx, 0), right_most), min(max(y + dy, 0), lowest)

    cells = []
    for y in range(0, picture.height, step):
        for x in range(0, picture.width, step):
            right, below = min(x + step, picture.width), min(y + step, picture.height)
            corners = (source(x, y), source(x, below), source(right, below), source(right, y))
            cells.append(((x, y, right, below), tuple(part for corner in corners for part in corner)))
    return picture.transform(picture.size, Image.Transform.MESH, cells, Image.Resampling.BILINEAR)


def dried_edges(picture: Image.Image, view: View) -> Image.Image:
    """Pigment gathers at the edge of a wash, on its darker side."""
    grey = picture.convert("L")
    soft = grey.filter(ImageFilter.GaussianBlur(view.unit * 0.005))
    edges = ImageChops.subtract(soft, grey).point([255 - min(110, v * 5) for v in range(256)])
    edges = edges.filter(ImageFilter.GaussianBlur(view.unit * 0.0008))
    return ImageChops.multiply(picture, Image.merge("RGB", (edges,) * 3))


def ragged_border(scene: Scene, view: View) -> Image.Image:
    """A mask that leaves the edge of the sheet white, with a brush's uneven outline."""
    size, margin = (view.width, view.height), 0.045 * view.unit
    x = Field.row([min(i, view.width - 1 - i) / margin for i in range(view.width)], view.height)
    y = Field.column([min(j, view.height - 1 - j) / margin for j in range(view.height)], view.width)
    inside = (
        Field(
            ImageChops.darker(
                *(f.clamp(0, 3).image.point(lambda v: v * 80 + 0).convert("L") for f in (x, y))
            ).convert("F")
        )
        / 80.0
    )
    ragged = noise(scene.rng("border"), size, (view.unit * 0.12, view.unit * 0.12), 6, 0.6) * 0.55
    return (inside + ragged).rise(0.94, 1.06).mask()


def on_paper(picture: Image.Image, scene: Scene, view: View, depth: float) -> Image.Image:
    """The tooth of rough paper, lit from the upper left."""
    fine = noise(scene.rng("paper"), picture.size, (view.unit * 0.006,) * 2, 3, 0.7)
    relief = (fine.step_right() + fine.step_down()) * depth * 255.0 * 0.5 + 128.0
    tooth = relief.image.convert("L")
    return ImageChops.add(picture, Image.merge("RGB", (tooth,) * 3), 1, -128)


def oil(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """Impressionist strokes, broad below and fine on top, that follow the forms; thick paint catches the light."""
    picture = ImageEnhance.Color(bloom(picture, view, 0.25)).enhance(1.35)
    picture = ImageEnhance.Contrast(picture).enhance(1.08)
    rng = scene.rng("strokes")
    canvas = picture.filter(ImageFilter.GaussianBlur(view.unit * 0.02))
    relief = Image.new("L", picture.size, 128)
    flow = directions(picture, scene, view)
    detail = details(picture, view)
    for width, spacing, least in (
        (0.022, 0.016, -1),
        (0.012, 0.0095, -1),
        (0.0065, 0.0060, 14),
        (0.0038, 0.0042, 34),
    ):
        source = picture.filter(ImageFilter.GaussianBlur(view.unit * width * 0.35))
        layer_of_strokes(
            rng, canvas, relief, source, flow, detail, least, width * view.unit, spacing * view.unit
        )
    return impasto(canvas, relief, view)


def directions(picture: Image.Image, scene: Scene, view: View) -> list[list[float]]:
    """Angles along the contours on a coarse grid, swayed by slow noise where the picture is smooth."""
    cells = (max(2, view.width // 12), max(2, view.height // 12))
    grey = picture.convert("L").resize(cells, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1.5))
    field = Field(grey.convert("F"))
    right, down = field.step_right().lines(), field.step_down().lines()
    sway = noise(scene.rng("sway"), cells, (cells[0] * 0.35,) * 2, 3).lines()
    angles = []
    for row_x, row_y, row_sway in zip(right, down, sway, strict=True):
        line = []
        for dx, dy, turn in zip(row_x, row_y, row_sway, strict=True):
            strength = min(1.0, math.hypot(dx, dy) / 9)
            contour = math.atan2(dx, -dy)
            if contour > math.pi / 2:
                contour -= math.pi
            elif contour < -math.pi / 2:
                contour += math.pi
            line.append(contour * strength + (turn * 1.3) * (1 - strength))
        angles.append(line)
    return angles


def details(picture: Image.Image, view: View) -> Image.Image:
    """How much goes on around each place, 0-255."""
    grey = picture.convert("L")
    soft = grey.filter(ImageFilter.GaussianBlur(view.unit * 0.006))
    return (
        ImageChops.difference(grey, soft)
        .filter(ImageFilter.BoxBlur(view.unit * 0.006))
        .point([min(255, v * 5) for v in range(256)])
    )


def layer_of_strokes(
    rng: random.Random, canvas: Image.Image, relief: Image.Image, source: Image.Image, flow: list[list[float]],
    detail: Image.Image, least: int, width: float, spacing: float,
) -> None:  # fmt: skip
    draw, draw_relief = ImageDraw.Draw(canvas), ImageDraw.Draw(relief)
    colours, busy = source.load(), detail.load()
    assert colours is not None
    assert busy is not None
    places = [
        (x * spacing + rng.uniform(-0.5, 0.5) * spacing, y * spacing + rng.uniform(-0.5, 0.5) * spacing)
        for y in range(int(canvas.height / spacing) + 1)
        for x in range(int(canvas.width / spacing) + 1)
    ]
    rng.shuffle(places)
    for x, y in places:
        column, row = min(max(int(x), 0), canvas.width - 1), min(max(int(y), 0), canvas.height - 1)
        calm = busy[column, row]
        assert isinstance(calm, int)
        if calm < least:
            continue
        angle = flow[row * len(flow) // canvas.height][column * len(flow[0]) // canvas.width] + rng.gauss(
            0, 0.12
        )
        length = width * rng.uniform(1.2, 2.6)
        dx, dy = math.cos(angle) * length, math.sin(angle) * length
        pixel = colours[column, row]
        assert isinstance(pixel, tuple)
        shift = rng.gauss(0, 7)
        colour = (
            int(pixel[0] + shift + rng.gauss(0, 4)),
            int(pixel[1] + shift),
            int(pixel[2] + shift + rng.gauss(0, 4)),
        )
        stroke(
            draw, (x - dx, y - dy, x + dx, y + dy), (clip(colour[0]), clip(colour[1]), clip(colour[2])), width
        )
        stroke(draw_relief, (x - dx, y - dy, x + dx, y + dy), rng.randint(70, 190), width)
        bristle = width * rng.uniform(-0.3, 0.3)
        ox, oy = -math.sin(angle) * bristle, math.cos(angle) * bristle
        draw_relief.line(
            (x - dx + ox, y - dy + oy, x + dx + ox, y + dy + oy),
            rng.randint(60, 200),
            max(1, round(width * 0.18)),
        )


def clip(value: int) -> int:
    return min(255, max(0, value))


def stroke(
    draw: ImageDraw.ImageDraw,
    line: tuple[float, float, float, float],
    colour: tuple[int, int, int] | int,
    width: float,
) -> None:
    """A line with round ends."""
    draw.line(line, colour, max(1, round(width)))
    radius = width / 2 - 0.5
    if radius >= 1:
        for x, y in (line[:2], line[2:]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def impasto(canvas: Image.Image, relief: Image.Image, view: View) -> Image.Image:
    height = Field(relief.filter(ImageFilter.GaussianBlur(view.unit * 0.0007)).convert("F"))
    light = ((height.step_right() + height.step_down()) * -0.34 + 128.0).image.convert("L")
    return ImageChops.add(canvas, Image.merge("RGB", (light,) * 3), 1, -128)


INK: Colour = (0.09, 0.10, 0.14)


def ink(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """Brush and ink: few greys that bleed into warm paper, a red seal in the corner."""
    grey = flattened(picture, view, 5).convert("L")
    low, high = spread_of(grey)
    grey = grey.point([clip(round((v - low) * 255 / (high - low))) for v in range(256)])
    if scene.light.is_night:
        grey = grey.point([clip(round(255 * (v / 255) ** 0.62)) for v in range(256)])
    wash = wobbled(grey.convert("RGB"), scene, view, 0.004).convert("L")
    wet = wash.filter(ImageFilter.GaussianBlur(view.unit * 0.010))
    wash = Image.blend(wash, wet, 0.45)
    lines = dried_edges(wash.convert("RGB"), view).convert("L")
    pooled = noise(scene.rng("pool"), grey.size, (view.unit * 0.25,) * 2, 6, 0.6) * 0.13
    dark = (1.0 - Field(lines.convert("F")) / 255.0).clamp() ** 1.25 + pooled * 0.6
    fade = ragged_border(scene, view)
    amount = (dark * 0.98).clamp() * (Field(fade.convert("F")) / 255.0)
    sheet = Image.new("RGB", picture.size, (243, 235, 218))
    sheet.paste(bytes_of(INK), (0, 0, *picture.size), amount.mask())
    return on_paper(sealed(sheet, scene, view), scene, view, 0.05)


def spread_of(grey: Image.Image) -> tuple[int, int]:
    """The grey values at 2 % and 90 %."""
    counts, total = grey.histogram(), grey.width * grey.height
    low = high = running = 0
    for value, count in enumerate(counts):
        running += count
        low = value if running < total * 0.02 else low
        high = value if running < total * 0.90 else high
    return low, max(high, low + 1)


def sealed(sheet: Image.Image, scene: Scene, view: View) -> Image.Image:
    """The painter's seal: a mirrored pattern of cuts, different for every picture."""
    rng = scene.rng("seal")
    side = max(12, round(view.unit * 0.05))
    seal = Image.new("L", (side * 4, side * 4))
    draw = ImageDraw.Draw(seal)
    draw.rounded_rectangle((0, 0, side * 4 - 1, side * 4 - 1), side * 0.5, 235)
    cell = side * 4 / 7
    for row in range(1, 6):
        for column in range(1, 4):
            if rng.random() < 0.52:
                for mirrored in (column, 6 - column):
                    draw.rectangle((mirrored * cell, row * cell, (mirrored + 1) * cell, (row + 1) * cell), 20)
    mask = seal.reduce(4)
    corner = (
        round(view.width - 0.11 * view.unit - side / 2),
        round(view.height - 0.12 * view.unit - side / 2),
    )
    sheet.paste((178, 40, 34), corner, mask)
    return sheet


def pixel(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """As on an old screen: large dots, few colours, ordered dither."""
    dots = max(2, round(view.unit / 205))
    picture = ImageEnhance.Color(bloom(picture, view, 0.2)).enhance(1.35)
    small = picture.resize((max(1, view.width // dots), max(1, view.height // dots)), Image.Resampling.BOX)
    small = small.filter(ImageFilter.UnsharpMask(1, 80, 2))
    pattern = Image.new("L", (4, 4))
    pattern.putdata([v * 16 for v in (0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5)])
    tiled = Image.new("L", small.size)
    for y in range(0, small.height, 4):
        for x in range(0, small.width, 4):
            tiled.paste(pattern, (x, y))
    screen = (Field(tiled.convert("F")) / 256.0 - 0.47) * 15.0 + 128.0
    dithered = ImageChops.add(small, Image.merge("RGB", (screen.image.convert("L"),) * 3), 1, -128)
    palette = small.quantize(40, Image.Quantize.MEDIANCUT)
    few = dithered.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")
    return few.resize(picture.size, Image.Resampling.NEAREST)
