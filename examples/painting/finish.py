"""From the easel to the wall: glow, contrast, a darker rim and a little grain."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from painting.fields import Field, distance, white_noise
from painting.scene import Scene, View


def develop(picture: Image.Image, scene: Scene, view: View) -> Image.Image:
    """Finish a picture the way a photograph is developed."""
    picture = bloom(picture, view, 0.5 if scene.light.is_night or scene.hour == "dusk" else 0.22)
    picture = picture.filter(ImageFilter.UnsharpMask(radius=view.unit * 0.0016, percent=70, threshold=2))
    picture = ImageEnhance.Color(picture).enhance(1.10)
    picture = picture.point(CONTRAST * 3)
    return grain(vignette(picture, view, 0.22), scene, 7.0)


CONTRAST = [round(255 * ((v / 255) * 0.72 + 0.28 * ((v / 255) ** 2 * (3 - 2 * v / 255)))) for v in range(256)]


def bloom(picture: Image.Image, view: View, strength: float) -> Image.Image:
    """Let the brightest places shine over their surroundings."""
    bright = picture.point([max(0, round((v - 140) * 255 / 115 * strength)) for v in range(256)] * 3)
    small = bright.reduce(4).filter(ImageFilter.GaussianBlur(view.unit * 0.005))
    return ImageChops.screen(picture, small.resize(picture.size, Image.Resampling.BICUBIC))


def vignette(picture: Image.Image, view: View, strength: float) -> Image.Image:
    away = distance(picture.size, view.width / 2, view.height / 2, view.width / view.height) / (
        view.height * 0.72
    )
    dark = (away.rise(0.45, 1.15) * strength).mask()
    picture = picture.copy()
    picture.paste((8, 8, 18), (0, 0, *picture.size), dark)
    return picture


def grain(picture: Image.Image, scene: Scene, strength: float) -> Image.Image:
    """Film grain: the sum of two dice, the same on all three channels."""
    rng = scene.rng("grain")
    first, second = (Field(white_noise(rng, picture.size).convert("F")) for _ in range(2))
    speckle = (first + second - 255.0) * (strength / 255.0) + 128.0
    noise = speckle.image.convert("L")
    return ImageChops.add(picture, Image.merge("RGB", (noise,) * 3), 1, -128)
