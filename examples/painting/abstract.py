"""Abstract: ribbons that follow a field of flow; the prompt's hour gives the colours, its ground the movement."""

from __future__ import annotations

import colorsys
import math
import random
from array import array
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw, ImageFilter

from painting.colours import blend, bytes_of, rgb, scale, turn
from painting.fields import Colour, noise
from painting.finish import grain, vignette
from painting.landscape import Progress
from painting.scene import Scene, View
from painting.sky import gradient

RIBBONS = 620
STEPS = 130
STRIDE = 0.0062

# How strongly each ground draws the ribbons to a direction (radians), and how much the field sways.
MOVEMENTS = {
    "mountains": (-0.75, 0.35, 1.3), "hills": (0.0, 0.6, 0.8), "meadow": (-1.2, 0.5, 0.9), "forest": (-1.57, 0.75, 0.55),
    "ocean": (0.0, 0.45, 1.6), "islands": (0.3, 0.3, 1.8), "desert": (0.25, 0.8, 0.5), "canyon": (0.0, 0.6, 0.6),
    "city": (0.0, 0.2, 1.2),
}  # fmt: skip


@dataclass
class Flow:
    """Angles on the whole canvas, bent around the disc."""

    scene: Scene
    view: View
    sway: list[array[float]]
    disc: tuple[float, float, float]

    def angle(self, x: float, y: float) -> float:
        row = self.sway[min(max(int(y * len(self.sway) / self.view.height), 0), len(self.sway) - 1)]
        turn_ = row[min(max(int(x * len(row) / self.view.width), 0), len(row) - 1)]
        heading, pull, sway = MOVEMENTS[self.scene.ground]
        angle = heading * pull + turn_ * sway * 2.4 * (1 - pull * 0.5)
        if self.scene.ground == "city":
            angle = round(angle / (math.pi / 4)) * (math.pi / 4)
        return self.around(x, y, angle)

    def around(self, x: float, y: float, angle: float) -> float:
        """How a stream with this heading passes a pillar where the disc is (potential flow)."""
        dx, dy = x - self.disc[0], y - self.disc[1]
        radius, phi = math.hypot(dx, dy), math.atan2(dy, dx) - angle
        ratio = min(1.0, (self.disc[2] / max(radius, 1.0)) ** 2)
        outward, onward = math.cos(phi) * (1 - ratio), -math.sin(phi) * (1 + ratio)
        return math.atan2(onward, outward) + phi + angle

    def is_open(self, x: float, y: float) -> bool:
        return math.hypot(x - self.disc[0], y - self.disc[1]) > self.disc[2] * 1.02


def paint_abstract(scene: Scene, view: View, progress: Progress) -> Image.Image:
    """Paint at twice the size, from the quiet ribbons at the back to the bright ones in front."""
    rng = scene.rng("ribbons")
    picture = backdrop(scene, view)
    progress(0.15, "ground")
    sway = noise(scene.rng("sway"), (160, 160), (78, 78), 3, 0.42).lines()
    x, y = scene.sun_x * view.width, view.height * rng.uniform(0.32, 0.45)
    flow = Flow(scene, view, sway, (x, y, view.unit * rng.uniform(0.10, 0.15)))
    big = picture.resize((view.width * 2, view.height * 2), Image.Resampling.BICUBIC)
    colours = palette(scene)
    for layer in range(3):
        drawn = (ribbon(rng, flow, view, layer) for _ in range(RIBBONS // 3))
        ribbons = [(path, width) for path, width in drawn if len(path) > 8]
        shadow(big, ribbons, view)
        if layer == 1:
            disc(big, flow, scene)
        draw = ImageDraw.Draw(big)
        for path, width in ribbons:
            paint_ribbon(draw, path, width, colour_of(rng, colours, path, view, layer), layer)
        progress(0.15 + 0.27 * (layer + 1), ("back", "middle", "front")[layer] + " ribbons")
    picture = big.resize(picture.size, Image.Resampling.BOX)
    progress(1.0, "varnish")
    return grain(vignette(picture, view, 0.25), scene, 6.0)


def palette(scene: Scene) -> list[Colour]:
    light = scene.light
    colours = [rgb(code) for code in light.sky]
    colours += [rgb(light.direct), rgb(light.sun), scene.tint or scene.leaf]
    accent = turn(colours[3], 0.42)
    if scene.has_aurora:
        colours += [*scene.aurora]
    if scene.nebula:
        colours += [*scene.nebula]
    return [vivid(colour) for colour in (*colours, accent)]


def vivid(colour: Colour) -> Colour:
    """Further from grey, and never so bright that it has no colour left."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*colour)
    return colorsys.hls_to_rgb(hue, min(lightness, 0.80), min(1.0, saturation * 1.25 + 0.08))


def backdrop(scene: Scene, view: View) -> Image.Image:
    size = (view.width, view.height)
    sky = gradient(scene, replace(view, horizon=view.height, sun=(-9e9, 0.0)), size)
    stain = noise(scene.rng("stain"), size, (view.unit * 0.5,) * 2, 6, 0.55)
    return sky.times((stain * 0.16 + 0.72).clamp(0, 1.2)).image(scene.rng("ground"))


Path = list[tuple[float, float]]


def ribbon(rng: random.Random, flow: Flow, view: View, layer: int) -> tuple[Path, float]:
    x, y = rng.uniform(-0.12, 1.02) * view.width, rng.uniform(-0.05, 1.05) * view.height
    path = []
    for _ in range(int(STEPS * rng.uniform(0.45, 1.0))):
        if not flow.is_open(x, y):
            break
        path.append((x, y))
        angle = flow.angle(x, y)
        x += math.cos(angle) * STRIDE * view.unit
        y += math.sin(angle) * STRIDE * view.unit
    width = view.unit * (0.016, 0.011, 0.006)[layer] * rng.paretovariate(2.6)
    return path, min(width, 0.045 * view.unit)


def outline(path: Path, width: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The two edges of a ribbon that swells and tapers, in the doubled canvas."""
    edges = []
    last = len(path) - 1
    for step, (x, y) in enumerate(path):
        (x0, y0), (x1, y1) = path[max(step - 1, 0)], path[min(step + 1, last)]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        half = width * math.sin(math.pi * (step + 0.2) / (last + 0.4)) ** 0.7
        nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
        edges.append(((2 * (x + nx), 2 * (y + ny)), (2 * (x - nx), 2 * (y - ny))))
    return edges


def shadow(big: Image.Image, ribbons: list[tuple[Path, float]], view: View) -> None:
    """What this layer throws on the layers behind it."""
    small = Image.new("L", (view.width // 2, view.height // 2))
    draw = ImageDraw.Draw(small)
    offset = view.unit * 0.006
    for path, width in ribbons:
        edges = outline(path, width)
        polygon = [a for a, _ in edges] + [b for _, b in reversed(edges)]
        draw.polygon([((px / 2 + offset) / 2, (py / 2 + offset * 1.4) / 2) for px, py in polygon], 110)
    soft = small.filter(ImageFilter.GaussianBlur(view.unit * 0.004)).resize(
        big.size, Image.Resampling.BILINEAR
    )
    big.paste((6, 6, 20), (0, 0, *big.size), soft)


def disc(big: Image.Image, flow: Flow, scene: Scene) -> None:
    x, y, radius = (2 * part for part in flow.disc)
    radius *= 0.8
    colour = bytes_of(rgb(scene.light.sun))
    halo = Image.new("L", (big.width // 4, big.height // 4))
    ImageDraw.Draw(halo).ellipse([v / 4 for v in (x - radius, y - radius, x + radius, y + radius)], 190)
    soft = halo.filter(ImageFilter.GaussianBlur(radius / 9)).resize(big.size, Image.Resampling.BILINEAR)
    big.paste(colour, (0, 0, *big.size), soft)
    ImageDraw.Draw(big).ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def colour_of(rng: random.Random, colours: list[Colour], path: Path, view: View, layer: int) -> Colour:
    """Mostly what the sky has at this height, sometimes anything from the palette."""
    place = min(0.999, max(0.0, path[0][1] / view.height + rng.gauss(0, 0.16)))
    near = colours[int(place * 6)]
    other = rng.choice(colours)
    colour = blend(near, other, rng.choice((0.0, 0.3, 0.9)))
    return scale(colour, (0.66, 0.86, 1.0)[layer] * rng.uniform(0.78, 1.08))


def paint_ribbon(draw: ImageDraw.ImageDraw, path: Path, width: float, colour: Colour, layer: int) -> None:
    """Satin: the tone follows the direction, and a thread of light runs along one edge."""
    edges = outline(path, width)
    for step in range(len(edges) - 1):
        (a0, b0), (a1, b1) = edges[step], edges[step + 1]
        angle = math.atan2(a1[1] - a0[1], a1[0] - a0[0])
        shine = 0.86 + 0.22 * math.cos(2 * (angle + 0.9)) + 0.10 * step / len(edges)
        draw.polygon((a0, a1, b1, b0), bytes_of(scale(colour, shine)))
    thread = bytes_of(blend(scale(colour, 1.15), (1.0, 1.0, 1.0), 0.28 if layer else 0.12))
    draw.line([a for a, _ in edges[2:-2]], thread, max(1, round(width * 0.10)))
