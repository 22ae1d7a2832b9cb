"""
Pictures from words, drawn by Pillow alone.

`paint()` reads a prompt, lays out a scene (hour, ground, what grows and passes by) and paints it in one of
the `STYLES`. The same prompt, style, seed and size give the same picture, down to the bytes of its PNG.
`frame()` hangs a finished picture: a mat, a moulding, an engraved plate.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from painting.abstract import paint_abstract
from painting.finish import develop
from painting.framing import frame
from painting.landscape import Progress, paint_landscape
from painting.manners import ink, oil, pixel, watercolor
from painting.neon import paint_neon
from painting.poster import paint_poster
from painting.scene import Scene, View, rng_for, view_of
from painting.words import read_prompt

__all__ = ["STYLES", "frame", "paint", "png_bytes", "style_named"]

Manner = Callable[[Image.Image, Scene, View], Image.Image]
Painter = Callable[[Scene, View, Progress], Image.Image]


def in_manner(manner: Manner) -> Painter:
    """A landscape that is painted first and then treated."""

    def painter(scene: Scene, view: View, progress: Progress) -> Image.Image:
        picture = paint_landscape(scene, view, lambda part, layer: progress(part * 0.75, layer))
        finished = manner(picture, scene, view)
        progress(1.0, "finish")
        return finished

    return painter


STYLES: dict[str, Painter] = {
    "realistic": in_manner(develop),
    "watercolor": in_manner(watercolor),
    "oil": in_manner(oil),
    "ink": in_manner(ink),
    "pixel": in_manner(pixel),
    "minimal": paint_poster,
    "neon": paint_neon,
    "abstract": paint_abstract,
}

SYNONYMS = {
    "realistic": "photo photographic photorealistic realism cinematic natural detailed default",
    "watercolor": "watercolour aquarelle gouache wash pastel",
    "oil": "impressionist impressionism impasto painterly gogh monet painting acrylic",
    "ink": "sumi sumie calligraphy charcoal pencil sketch drawing monochrome",
    "pixel": "pixelart retro 8bit 16bit arcade game",
    "minimal": "minimalist minimalism flat poster vector illustration cartoon anime",
    "neon": "synthwave vaporwave cyberpunk outrun futuristic 80s",
    "abstract": "expressionist flow generative cubist surreal modern",
}


def style_named(name: str) -> str:
    """The style a name stands for; a name nobody knows always stands for the same one."""
    words = name.lower().replace("-", " ").replace("_", " ").split()
    for word in words:
        for style, synonyms in SYNONYMS.items():
            if word == style or word in synonyms.split():
                return style
    return rng_for("style", *words).choice(list(STYLES)) if words else "realistic"


def paint(
    prompt: str,
    style: str = "realistic",
    seed: int = 0,
    width: int = 1024,
    height: int = 1024,
    progress: Callable[[int, str], None] = lambda percent, layer: None,
) -> Image.Image:
    """
    Paint the prompt. `progress` is called with a percentage and the layer just finished; it may raise to
    stop the painting.
    """
    scene = read_prompt(prompt, seed)
    painter = STYLES[style_named(style)]
    return painter(
        scene, view_of(scene, width, height), lambda part, layer: progress(round(part * 100), layer)
    )


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
