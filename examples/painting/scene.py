"""What the words of a prompt ask for: known words choose, unknown ones steer by their hash."""

from __future__ import annotations

import hashlib
import math
import random
import re
from dataclasses import dataclass

from painting.fields import Colour

HOURS = {
    "sunset": "sunset sundown evening ember fire",
    "dawn": "dawn sunrise morning spring",
    "golden": "golden autumn fall harvest warm",
    "day": "day noon sunny bright summer midday",
    "dusk": "dusk twilight nightfall gloaming",
    "night": "night midnight moon moonlight moonlit star starry nocturne",
    "storm": "storm stormy thunder thunderstorm rain rainy tempest",
    "mist": "mist misty fog foggy haze hazy cloudy dream",
    "aurora": "aurora borealis polar",
}
GROUNDS = {
    "mountains": "mountain alp alpine peak summit fjord cliff",
    "hills": "hill countryside valley meadow field farm village pasture prairie lavender",
    "forest": "forest wood woodland pine fir spruce grove taiga jungle",
    "ocean": "ocean sea wave seascape beach coast shore island sail ship",
    "desert": "desert dune sahara sand oasis",
    "city": "city skyline metropolis town downtown skyscraper street building",
}
TRAITS = {
    "water": "lake river water reflection pond fjord bay harbour harbor lagoon loch mirror canal",
    "winter": "winter snow snowy arctic ice frozen christmas blizzard",
    "autumn": "autumn fall maple october harvest",
}
COLOURS = {
    "red": "d7263d", "orange": "f5822a", "amber": "ffb000", "yellow": "f9d64b", "green": "3f9b4f",
    "emerald": "1f9d6b", "teal": "1d8f8f", "turquoise": "2fbfb3", "blue": "2f6fd0", "violet": "7a4fd0",
    "purple": "8a3fb8", "pink": "f08fb0", "rose": "e8708f", "lavender": "9a7fd8", "copper": "b87040",
}  # fmt: skip

# Six colours of the sky from the zenith to the horizon; the sun (at night the moon), the light it throws on
# the land, the light in the shadows, haze, the clouds' dark side. Then the sun's height in parts of the sky,
# how far one sees before haze takes over, and how much of the sky the clouds cover.
LIGHTS = {
    "sunset": ("1c2754 4a3f7d 9c4f7f e2705f f9a35c ffd58a fff0c0 ff9a56 4b4273 e08468 6d4a78", 0.1, 55, 0.4),
    "dawn": ("3d5a8c 7488b0 b3a4bd edbfb4 fad2a6 fde3b8 fff8e0 ffcf9e 64739c f0cdbb 9d95b3", 0.14, 45, 0.45),
    "golden": ("3a6ea8 6a93bf a8b8c6 e0c4a4 f7c283 ffdda0 fffbe0 ffc27c 5a6a8a e9d6b0 9aa3b0", 0.24, 75, 0.4),
    "day": ("1a57a6 3477c2 5f9cd6 8fbfe4 b9d8ea d3e6ee ffffff fff2dc 6b8fb8 bdd7e6 a9bccd", 0.72, 90, 0.45),
    "dusk": ("10173a 1f2656 3f3a77 7d5590 c27a94 f0a991 ffe2c8 c890a8 3a3c70 98708f 474272", -0.06, 45, 0.4),
    "night": ("04070f 081022 0d1a36 14264a 1d355c 2b4a70 f4f1de 9fb6d8 18284a 22395c 16233f", 0.62, 45, 0.25),
    "storm": ("1a222c 27323d 394650 56646b 7b888a a3aca6 dfe6e0 a8b4b4 3d4a55 75827f 2b353f", 0.30, 35, 0.95),
    "mist": ("7d93a8 9aacbb b9c3c9 d6d3cd e9dccb f4e6d0 fffdf0 eedcc4 8093a6 dcd5cb b3bac0", 0.26, 18, 0.30),
    "aurora": ("03060f 06101f 091b30 0c2a40 11394c 1c4c58 eaf6ee 8fd8c0 12304a 174250 0c2033", 0.60, 45, 0.0),
}  # fmt: skip


@dataclass(frozen=True)
class Light:
    """What an hour or a weather looks like; the order is that of LIGHTS."""

    sky: tuple[Colour, ...]
    sun: Colour
    direct: Colour
    ambient: Colour
    haze: Colour
    cloud: Colour
    sun_height: float
    reach: float
    clouds: float


@dataclass(frozen=True)
class Scene:
    """All that is decided before the first stroke. Places and sizes are in parts of the picture."""

    prompt: str
    seed: int
    hour: str  # a key of LIGHTS
    ground: str  # a key of GROUNDS
    light: Light
    horizon: float
    sun_x: float
    sun_radius: float
    has_water: bool
    is_winter: bool
    is_autumn: bool
    tint: Colour | None  # the first colour the prompt names
    manner: str = "lit"  # or "flat": paper cut-outs; or "wired": lines of light

    @property
    def is_night(self) -> bool:
        return self.hour in ("night", "aurora")

    @property
    def has_sun(self) -> bool:
        return self.manner != "lit" or self.hour not in ("aurora", "storm")

    def rng(self, layer: str) -> random.Random:
        """Every layer has its own source: changing one leaves the others as they were."""
        return rng_for(self.prompt, self.seed, layer)


class View:
    """Where things fall on a canvas of this size, in pixels. An `eye` at -1 sees what still water shows."""

    def __init__(self, scene: Scene, width: int, height: int, eye: float = 1.0) -> None:
        self.width, self.height, self.eye = width, height, eye
        self.unit = math.sqrt(width * height)  # the side, were the picture square; sizes derive from it
        self.spread = width / self.unit / 2
        self.horizon = round(scene.horizon * height)
        self.sun = (scene.sun_x * width, self.horizon * (1 - scene.light.sun_height))
        self.light_side = -1 if scene.sun_x < 0.5 else 1

    def drop(self, depth: float) -> float:
        """Where the level of the water at this depth meets the canvas."""
        return self.horizon + self.eye * self.unit / depth


def rng_for(*parts: object) -> random.Random:
    """A random source that depends on the parts alone, the same in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def rgb(code: str) -> Colour:
    """`"f4a261"` as three numbers from 0 to 1."""
    return (int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255)


def blend(a: Colour, b: Colour, amount: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def scale(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def bytes_of(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(part * 255))) for part in colour)
    return (red, green, blue)


def words_of(prompt: str) -> list[str]:
    """Lower-case words, plurals without their s."""
    return [re.sub(r"(?<=\w\w[^s])s$", "", word) for word in re.findall(r"\w+", prompt.lower())]


def pick(words: list[str], table: dict[str, str]) -> str | None:
    """The entry that most words speak for; the first named wins a draw."""
    votes = [name for word in words for name, known in table.items() if word in known.split()]
    return max(votes, key=votes.count) if votes else None


def read_prompt(prompt: str, seed: int) -> Scene:
    """Decide what to paint."""
    words = words_of(prompt)
    rng = rng_for(prompt, seed, "composition")
    hour = pick(words, HOURS) or rng.choice(("sunset", "dawn", "golden", "day", "dusk", "night", "mist"))
    hour = "aurora" if "aurora" in words else hour  # whatever else the night brings
    traits = {name for name, known in TRAITS.items() if set(words) & set(known.split())}
    inland = ("mountains", "hills", "forest")
    is_inland = bool(traits) or hour == "aurora"
    ground = pick(words, GROUNDS) or rng.choice(inland if is_inland else (*inland, "ocean", "desert"))
    named = [COLOURS[word] for word in words if word in COLOURS]
    if not named and not pick(words, HOURS) and not pick(words, GROUNDS):
        named = [rng.choice(list(COLOURS.values()))]
    tint = rgb(named[0]) if named else None
    return Scene(
        prompt,
        seed,
        hour,
        ground,
        light=light_for(hour, tint),
        horizon=rng.uniform(0.52, 0.62),
        sun_x=rng.choice((rng.uniform(0.24, 0.4), rng.uniform(0.6, 0.76))),
        sun_radius=rng.uniform(0.026, 0.044),
        has_water=ground in ("ocean", "city") or "water" in traits,
        is_winter="winter" in traits,
        is_autumn="autumn" in traits,
        tint=tint,
    )


def light_for(hour: str, tint: Colour | None) -> Light:
    """The hour's light, seen through tinted glass if there is a tint."""
    codes, sun_height, reach, clouds = LIGHTS[hour]
    colours = [rgb(code) for code in codes.split()]
    if tint:
        colours = [blend(colour, scale(tint, 0.35 + 0.65 * max(colour)), 0.24) for colour in colours]
    sun, direct, ambient, haze, cloud = colours[6:]
    return Light(tuple(colours[:6]), sun, direct, ambient, haze, cloud, sun_height, reach, clouds)
