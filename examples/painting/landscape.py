"""A landscape from far to near: sky, water with the world in it, land, what stands on it, what passes by."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from painting.accents import Boat, add_accents
from painting.city import City
from painting.colours import bytes_of, rgb
from painting.growth import grow
from painting.land import survey
from painting.landmarks import Landmarks
from painting.march import Standing, paint_land
from painting.scene import Scene, View
from painting.sky import paint_sky
from painting.water import paint_water

Progress = Callable[[float, str], None]


def paint_landscape(scene: Scene, view: View, progress: Progress) -> Image.Image:
    """Paint the scene; `progress` is told the part done (0-1) after every layer and may raise to stop."""
    picture = Image.new("RGB", (view.width, view.height), bytes_of(rgb(scene.light.haze)))
    picture.paste(paint_sky(scene, view), (0, 0))
    progress(0.12, "sky")
    land = survey(scene, view)
    progress(0.35, "lie of the land")
    built: list[Standing] = [part(scene, view, land) for part in (City, Landmarks, Boat)]
    standing = [*built, *grow(scene, view, land)]
    progress(0.40, "what grows and stands")
    if scene.has_water:
        paint_water(picture, scene, view, land, standing)
        progress(0.60, "water")
    paint_land(picture, land, view, standing, lambda part: progress(0.60 + 0.36 * part, "land"))
    picture = add_accents(picture, scene, view)
    progress(1.0, "what passes by")
    return picture
