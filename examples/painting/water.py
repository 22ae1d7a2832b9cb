"""Still and moving water: the world upside down, broken by waves."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageOps

from painting.colours import blend, bytes_of, rgb, scale
from painting.fields import Field, plane_noise
from painting.land import FAR, Land
from painting.march import Standing, paint_land
from painting.scene import Scene, View


def paint_water(
    picture: Image.Image, scene: Scene, view: View, land: Land, standing: Sequence[Standing]
) -> None:
    """Fill everything below the horizon with water that mirrors the sky painted above and the land to come."""
    top = int(view.horizon)
    if top >= view.height:
        return
    mirror = upside_down(picture, view, top)
    half = view.halved()
    small = mirror.resize((half.width, half.height), Image.Resampling.BILINEAR)
    paint_land(small, land, half, standing, mirrored=True)
    surface = small.resize(mirror.size, Image.Resampling.BICUBIC).crop((0, top, view.width, view.height))
    depths = [min(FAR * 1.5, view.eye * view.unit / (y + 0.7)) for y in range(surface.height)]
    waves = swell(scene, view, depths)
    surface = rippled(surface, waves, depths, scene)
    surface = deepened(surface, scene, view, waves, depths)
    if scene.has_sun:
        surface = glittering(surface, scene, view, waves, depths)
    picture.paste(surface, (0, top))


def upside_down(picture: Image.Image, view: View, top: int) -> Image.Image:
    sky = ImageOps.flip(picture.crop((0, 0, view.width, top)))
    if sky.height < view.height - top:
        sky = sky.resize((view.width, view.height - top), Image.Resampling.BICUBIC)
    mirror = picture.copy()
    mirror.paste(sky, (0, top))
    return mirror


def swell(scene: Scene, view: View, depths: list[float]) -> Field:
    rough = roughness(scene)
    period = 1.1 if rough > 0.5 else 0.55
    spread = view.width / view.unit / 2
    waves = plane_noise(scene.rng("waves"), view.width // 2, depths, spread, period, 6, 0.62, 3.2)
    return waves.resized((view.width, len(depths)))


def roughness(scene: Scene) -> float:
    return (
        1.0
        if scene.hour == "storm"
        else 0.6
        if scene.ground == "ocean"
        else 0.4
        if scene.ground == "islands"
        else 0.18
    )


def rippled(surface: Image.Image, waves: Field, depths: list[float], scene: Scene) -> Image.Image:
    """Look up the mirror image where the waves' slopes point to."""
    width, height = surface.size
    step, rows = max(4, width // 72), max(2, height // 130)
    lines = waves.lines()
    reach = [0.055 * roughness(scene) ** 0.7 * height * min(1.0, 0.10 + 1.6 / depth) for depth in depths]

    def source(x: int, y: int) -> tuple[float, float]:
        row = min(y, height - 1)
        wave = lines[row][min(x, width - 1)]
        return (
            min(max(x + wave * reach[row] * 0.35, 1), width - 1),
            min(max(y + wave * reach[row], 1), height - 1),
        )

    cells = []
    for y in range(0, height, rows):
        for x in range(0, width, step):
            right, below = min(x + step, width), min(y + rows, height)
            corners = (source(x, y), source(x, below), source(right, below), source(right, y))
            cells.append(((x, y, right, below), tuple(part for corner in corners for part in corner)))
    return surface.transform((width, height), Image.Transform.MESH, cells, Image.Resampling.BILINEAR)


def deepened(
    surface: Image.Image, scene: Scene, view: View, waves: Field, depths: list[float]
) -> Image.Image:
    """Near the eye one looks into the water, far off along it; the waves' backs are darker."""
    deep = scale(blend(rgb(scene.light.ambient), rgb("0f4a5a"), 0.55), 0.42 if scene.light.is_night else 0.75)
    if scene.ground == "islands" and scene.hour in ("day", "golden", "dawn"):
        deep = rgb("1b9aa5")
    into = Field.column([0.70 - 0.62 * min(1.0, depth / 14) ** 0.6 for depth in depths], surface.width)
    backs = waves.rise(-0.2, 0.9) * (0.10 + 0.35 * roughness(scene))
    amount = (into * (0.75 + 0.25 * roughness(scene)) + backs).clamp(0, 0.92)
    surface = surface.copy()
    surface.paste(bytes_of(deep), (0, 0, *surface.size), amount.mask())
    return surface


def glittering(
    surface: Image.Image, scene: Scene, view: View, waves: Field, depths: list[float]
) -> Image.Image:
    """The path of light under the sun or the moon."""
    width, height = surface.size
    across = Field.row([(x - view.sun[0]) / view.unit for x in range(width)], height)
    wide = Field.column([0.03 + 0.10 * y / height for y in range(height)], width)
    path = ((across / wide) * (across / wide) * -1.0).exp()
    fine = plane_noise(
        scene.rng("glitter"), width // 2, depths, view.width / view.unit / 2, 0.22, 4, 0.8, 3.5
    )
    sparkle = (fine.resized((width, height)) * 0.8 + waves * 0.5).rise(0.12, 0.75)
    strength = 0.55 if scene.light.is_night else 0.9
    surface = surface.copy()
    colour = blend(rgb(scene.light.sun), rgb(scene.light.sky[-1]), 0.3)
    surface.paste(
        bytes_of(colour), (0, 0, *surface.size), (path * (sparkle * 0.9 + 0.12) * strength).clamp().mask()
    )
    return surface
