"""The painter's walk from the far end to the eye: one slice of land after the other, each over the last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from PIL import Image

from painting.fields import Field
from painting.land import Land
from painting.scene import View


class Standing(Protocol):
    """Something that stands on the land: trees, houses, a boat."""

    def stand(self, picture: Image.Image, view: View, i: int, mirrored: bool) -> None:
        """Put up what stands on slice i; mirrored is how still water shows it."""


def paint_land(
    picture: Image.Image, land: Land, view: View, standing: Sequence[Standing],
    progress: Callable[[float], None] = lambda part: None, mirrored: bool = False,
) -> None:  # fmt: skip
    """
    Paint every slice, far to near, and what stands on it; tell `progress` the part done (0-1). Mirrored is
    how still water shows it: every second slice will do.
    """
    stride = 2 if mirrored and len(land.depths) > 200 else 1
    depths = land.depths[::stride]
    size = (land.heights.size[0], len(depths))
    heights = land.heights.image.resize(size, Image.Resampling.NEAREST)
    colours = land.colours.rounded().resize(size, Image.Resampling.NEAREST)
    # Coverage of a pixel is 255 * (its row - the silhouette) + 128, clipped; the half that is the same for all:
    ramp = Field.column([255.0 * (y + 0.5) + 128.0 for y in range(view.height)], view.width)
    ramp = ramp * -1.0 + 256.0 if mirrored else ramp
    columns = size[0]
    for i, (depth, nearer) in enumerate(pairwise(depths)):
        pair = heights.crop((0, i, columns, i + 2))
        if Field(pair).extremes()[1] > 0:
            steps = steps_between(pair, view, depth, nearer)
            band = (0, 0.5, columns, 1.5) if steps > 1 else (0, 0, columns, 1)
            rises = pair.resize((view.width, steps), Image.Resampling.BILINEAR, band)
            tones = colours.crop((0, i, columns, i + 2)).resize(
                (view.width, steps), Image.Resampling.BILINEAR, band
            )
            marks = [depth + (nearer - depth) * step / steps for step in range(steps + 1)]
            for step, gap in enumerate(pairwise(marks)):
                line = (0, step, view.width, step + 1)
                paint_slice(picture, view, gap, Field(rises.crop(line)), tones.crop(line), ramp, mirrored)
        for number in range(i * stride, (i + 1) * stride):
            for thing in standing:
                thing.stand(picture, view, number, mirrored)
        if i % 64 == 63:
            progress(i / len(depths))


def steps_between(pair: Image.Image, view: View, depth: float, nearer: float) -> int:
    """Slopes that face the eye are cut finer, or one would see the slices."""
    far, near = (Field(pair.crop((0, j, pair.width, j + 1))) for j in (0, 1))
    falls = far * (view.unit / depth) - near * (view.unit / nearer)
    deepest = falls.extremes()[1] + view.drop(nearer) - view.drop(depth)
    return min(6, max(1, math.ceil(deepest / (0.0042 * view.unit))))


def paint_slice(
    picture: Image.Image, view: View, gap: tuple[float, float], rise: Field, tones: Image.Image,
    ramp: Field, mirrored: bool,
) -> None:  # fmt: skip
    """Fill from the silhouette down to the foot of the next slice; what lies under water stays open."""
    base, foot = view.drop(gap[0]), view.drop(gap[1])
    above = rise.clamp(-1.0, 0.0) * 300.0 + rise
    tops = above * ((view.unit if mirrored else -view.unit) / gap[0]) + base
    low, high = tops.extremes()
    first, last = (base, high) if mirrored else (low, foot)
    top, bottom = max(0, math.floor(first) - 1), min(picture.height, math.ceil(last) + 1)
    if top >= bottom:
        return
    size = (picture.width, bottom - top)
    silhouette = Field((tops * (255.0 if mirrored else -255.0)).image.resize(size, Image.Resampling.NEAREST))
    inside = Field(ramp.image.crop((0, top, picture.width, bottom))) + silhouette
    picture.paste(tones.resize(size, Image.Resampling.NEAREST), (0, top), inside.image.convert("L"))
