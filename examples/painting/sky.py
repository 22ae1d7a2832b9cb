"""The sky in each manner, and the water that mirrors it."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from painting.fields import ColourField, Field, distance, noise, plane_noise
from painting.finish import warped
from painting.scene import Scene, View, blend, bytes_of, rgb, scale


def paint_sky(scene: Scene, view: View) -> Image.Image:
    """Paint the sky from the top edge to a little below the horizon."""
    sky = gradient(scene, (view.width, min(view.height, view.horizon + 2)), view.horizon)
    if scene.hour == "aurora":
        sky = add_aurora(scene, view, sky)
    if scene.manner == "lit" and scene.has_sun:
        sky = add_glow(scene, view, sky)
    picture = sky.picture(scene.rng("sky"))
    if scene.is_night or scene.hour == "dusk" or scene.manner == "wired":
        picture = add_stars(scene, view, picture)
    if scene.manner != "lit":
        return add_disc(scene, view, picture)
    return add_clouds(scene, view, picture) if scene.light.clouds else picture


def gradient(scene: Scene, size: tuple[int, int], end: float) -> ColourField:
    """The light's colours from the zenith down to `end`."""
    stops, rows = scene.light.sky, []
    for y in range(size[1]):
        place = min(1.0, max(0.0, y / end)) ** 1.25 * (len(stops) - 1)
        index = min(int(place), len(stops) - 2)
        part = place - index
        rows.append(blend(stops[index], stops[index + 1], part * (1 + part * (3 - 2 * part)) / 2))
    return ColourField.column(rows, size[0])


def add_glow(scene: Scene, view: View, sky: ColourField) -> ColourField:
    """The sun and the light around it, or a full moon with its seas."""
    light, away, edge = scene.light, distance(sky.size, *view.sun) / view.unit, 1.0 / view.unit
    disc = away.rise(scene.sun_radius + edge, scene.sun_radius - edge)
    if scene.is_night:
        seas = noise(scene.rng("moon"), sky.size, (scene.sun_radius * view.unit,) * 2).rise(-0.1, 0.6)
        return sky.add(light.sun, (away * -9.0).exp() * 0.3).mix(light.sun, disc * (1.0 - seas * 0.3))
    broad = distance(sky.size, *view.sun, stretch=2.2) / (0.42 * view.unit)
    sky = sky.mix(blend(light.sky[-1], light.sun, 0.2), (broad * broad * -1.0).exp() * 0.38)
    sky = sky.mix(blend(light.sun, light.sky[-1], 0.5), (away * -9.0).exp() * 0.6)
    return sky.mix(light.sun, (away * -22.0).exp()).mix(blend(light.sun, (1.0, 1.0, 1.0), 0.5), disc)


def add_aurora(scene: Scene, view: View, sky: ColourField) -> ColourField:
    """Curtains: a wandering lower edge, rays of uneven length above it, another colour at the tips."""
    rng, (width, height) = scene.rng("aurora"), sky.size
    low, high = scene.tint or rgb(rng.choice(("3fe08f", "4fe8b0", "8fe860"))), rgb("8a5fe0")
    down = Field.column([float(y) for y in range(height)], width)

    def along(cell: float, octaves: int, gain: float = 0.5) -> Field:
        """Noise that only changes sideways."""
        return noise(rng, (width, 1), (cell * view.unit, 1), octaves, gain).resized((width, height))

    for curtain in range(4):
        level = height * (0.84 - 0.17 * curtain + rng.uniform(-0.04, 0.04))
        above = (along(0.55, 3, 0.45) * (0.17 * height) + level - down) / view.unit
        rays = (along(0.05, 4, 0.7) * 0.5 + 0.55).clamp(0.05, 1.2)
        falling = (above.clamp() * -1.0 / (rays * 0.16 + 0.05)).exp() * above.rise(-0.006, 0.022)
        strength = falling * rays * along(0.4, 2).rise(-0.6, 0.35) * (0.95 - 0.16 * curtain)
        tips = above.rise(0.06, 0.34)
        sky = sky.add(low, strength * (1.0 - tips)).add(high, strength * tips * 1.2)
    return sky


def add_stars(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """Many faint and few bright stars, tinted, fewer towards the horizon."""
    rng, brightness = scene.rng("stars"), 0.35 if scene.hour == "dusk" or scene.manner == "flat" else 1.0
    points, discs = Image.new("RGB", picture.size), Image.new("RGB", picture.size)
    draw_point, draw_disc = ImageDraw.Draw(points).point, ImageDraw.Draw(discs).circle
    for _ in range(int(1500 * brightness * picture.height * view.width / view.unit**2)):
        place = (rng.random() * view.width, rng.random() ** 1.3 * picture.height)
        size, tint = rng.paretovariate(2.2), rng.choice(("ffffff", "cfe0ff", "fff0d8", "ffd9c0"))
        fade = max(0.0, 1 - place[1] / view.horizon) ** 0.5 * min(1.0, 0.2 + brightness)
        colour = scale(rgb(tint), min(1.0, 0.16 * size + 0.05) * fade)
        draw_point(place, bytes_of(colour))
        if size > 3.6:
            draw_disc(place, min(size, 8) * 0.00027 * view.unit, bytes_of(scale(colour, 1.6)))
    for stars in (points, *(discs.filter(ImageFilter.GaussianBlur(view.unit * r)) for r in (0.0007, 0.004))):
        picture = ImageChops.add(picture, stars)
    return picture


def add_disc(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """A large flat sun: in rings of light, or striped from yellow to a tube's colour."""
    light, (width, height) = scene.light, picture.size
    radius, edge = scene.sun_radius * view.unit, 0.8
    away = distance(picture.size, *view.sun)
    inside = away.rise(radius + edge, radius - edge)
    if scene.manner == "wired":
        down = [(y - view.sun[1]) / (2 * radius) + 0.5 for y in range(height)]
        gaps = [1.0 if part < 0.42 or (part * 11) % 1.0 > (part - 0.34) * 0.85 else 0.0 for part in down]
        tones = [blend(rgb("fff06a"), light.sun, min(1.0, max(0.0, part * 1.15))) for part in down]
        disc = ColourField.column(tones, width).picture(scene.rng("disc"))
        picture.paste(disc, (0, 0), (inside * Field.column(gaps, width)).mask())
        return picture
    for number in range(4, 0, -1):
        ring = radius * (1 + 0.55 * number)
        veil = away.rise(ring + edge, ring - edge) * (0.10 if scene.is_night else 0.17)
        picture.paste(bytes_of(blend(light.sun, light.sky[-1], 0.5)), (0, 0), veil.mask())
    picture.paste(bytes_of(light.sun), (0, 0), inside.mask())
    return picture


def add_clouds(scene: Scene, view: View, picture: Image.Image) -> Image.Image:
    """Clouds on a plane overhead, so that they grow flat and close towards the horizon; lit from the sun."""
    light, rng, size = scene.light, scene.rng("clouds"), (view.width // 2, view.horizon // 2)
    rise = [max(0.035, (size[1] - y - 0.5) / size[1]) for y in range(size[1])]
    depths, spread = [1.0 / part for part in rise], 0.45 * size[0] / size[1]
    if light.sun_height > 0.5:  # by day heaps with round tops, at a low sun long streaks
        mass = plane_noise(rng, size[0], depths, spread, 2.6, 7, 0.58, 1.15, lambda n: abs(n) * 1.8 - 0.62)
    else:
        mass = plane_noise(rng, size[0], depths, spread, 3.0, 7, 0.55, rng.uniform(1.3, 2.4))
    mass = mass + noise(rng, size, (0.13 * view.unit, 0.05 * view.unit), 6, 0.55) * 0.4
    cover = 0.45 - 0.9 * light.clouds + rng.uniform(-0.1, 0.1)
    density = mass.rise(cover - 0.04, cover + (0.24 if light.sun_height > 0.5 else 0.42))
    away = distance(size, view.sun[0] / 2, min(view.sun[1] / 2, size[1]), 1.5) / (view.unit / 2)
    near_sun = (away * -3.0).exp() * (1.0 if scene.has_sun else 0.0)
    towards_light = mass.step(0, max(2, round(size[1] * 0.018)))
    brightness = towards_light * 1.7 + 0.58 - (mass - cover).clamp() * 0.62 + near_sun * 0.4
    if scene.is_night:
        brightness = brightness.clamp() * (near_sun * 0.9 + 0.16)
    colours = ColourField.flat(size, light.cloud).mix(blend(light.direct, light.sun, 0.4), brightness.clamp())
    colours = colours.mix(light.sky[-2], Field.column([max(0.0, 0.70 - r * 3.2) for r in rise], size[0]))
    veil = density * Field.column([min(1.0, r * 9) for r in rise], size[0]) * (0.95 - near_sun * 0.25)
    full = (view.width, view.horizon)
    layer = colours.picture(rng).resize(full, Image.Resampling.BICUBIC)
    picture.paste(layer, (0, 0), veil.resized(full).mask())
    return picture


def water(mirror: Image.Image, scene: Scene, view: View) -> Image.Image:
    """All below the horizon as moving water; `mirror` is what an eye below its level sees above."""
    surface = ImageOps.flip(mirror.crop((0, 2 * view.horizon - view.height, view.width, view.horizon)))
    width, height = surface.size
    depths = [view.unit / (y + 0.7) for y in range(height)]
    rough = 1.0 if scene.hour == "storm" else 0.6 if scene.ground == "ocean" else 0.18

    def waves(layer: str, period: float, octaves: int, gain: float) -> Field:
        rng = scene.rng(layer)
        field = plane_noise(rng, width // 2, depths, view.spread, period, octaves, gain, 3.2)
        return field.resized(surface.size)

    swell = waves("waves", 0.4 + 0.8 * rough, 6, 0.62)
    reach = [0.055 * rough**0.7 * height * min(1.0, 0.10 + 1.6 / depth) for depth in depths]
    slopes = (swell * Field.column(reach, width)).lines()  # they tell where to look in the mirror
    cell = (max(4, width // 72), max(2, height // 130))
    surface = warped(surface, lambda x, y: (x + slopes[y][x] * 0.35, y + slopes[y][x]), cell)
    # Near the eye one looks into the water, far off along it; the waves' backs are darker.
    deep = scale(blend(scene.light.ambient, rgb("0f4a5a"), 0.55), 0.42 if scene.is_night else 0.75)
    into = Field.column([0.70 - 0.62 * min(1.0, depth / 14) ** 0.6 for depth in depths], width)
    shade = into * (0.75 + 0.25 * rough) + swell.rise(-0.2, 0.9) * (0.10 + 0.35 * rough)
    surface.paste(bytes_of(deep), (0, 0), shade.clamp(0.0, 0.92).mask())
    if scene.has_sun:  # its path of light
        aside = Field.row([(x - view.sun[0]) / view.unit for x in range(width)], height)
        aside = aside / Field.column([0.03 + 0.10 * y / height for y in range(height)], width)
        sparkle = (waves("glitter", 0.22, 4, 0.8) * 0.8 + swell * 0.5).rise(0.12, 0.75) * 0.9 + 0.12
        path = (aside * aside * -1.0).exp() * sparkle * (0.55 if scene.is_night else 0.9)
        surface.paste(bytes_of(blend(scene.light.sun, scene.light.sky[-1], 0.3)), (0, 0), path.mask())
    return surface
