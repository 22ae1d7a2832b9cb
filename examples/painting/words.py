"""What the words of a prompt ask for. Known words choose; unknown ones steer by their hash."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from painting.colours import LIGHTS, Light, rgb
from painting.fields import Colour
from painting.scene import Scene, rng_for

HOURS = {
    "sunset": "sunset sundown evening ember fire",
    "dawn": "dawn sunrise morning spring blossom sakura pastel",
    "golden": "golden autumn fall harvest warm savanna savannah",
    "day": "day noon sunny bright summer tropical midday",
    "dusk": "dusk twilight nightfall gloaming",
    "night": "night midnight moon moonlight moonlit starry star nocturne neon cyberpunk",
    "storm": "storm stormy thunder thunderstorm rain rainy lightning tempest",
    "mist": "mist misty fog foggy haze hazy overcast cloudy ghost dream",
    "aurora": "aurora borealis polaris",
    "space": "space galaxy nebula cosmos cosmic planet universe alien astronaut mars interstellar",
}

GROUNDS = {
    "mountains": "mountain alp alpine peak summit fjord himalaya glacier everest cliff",
    "hills": "hill countryside valley tuscany vineyard farm village pasture ireland",
    "meadow": "meadow field flower prairie plain savanna savannah lavender wheat garden poppy",
    "forest": "forest wood woodland pine jungle taiga grove redwood blossom sakura autumn",
    "ocean": "ocean sea wave seascape lighthouse ship sail sailing sailboat whale",
    "islands": "island beach tropical lagoon coast shore archipelago palm caribbean",
    "desert": "desert dune sahara sand camel oasis mars",
    "canyon": "canyon mesa butte gorge badland arizona utah",
    "city": "city skyline metropolis town downtown skyscraper street cyberpunk manhattan tokyo building",
}

TREES = {
    "conifer": "pine fir spruce conifer taiga christmas alpine redwood winter northern",
    "broadleaf": "oak maple birch blossom sakura cherry autumn fall orchard grove jungle spring tree garden",
    "palm": "palm tropical beach lagoon oasis caribbean island",
}
USUAL_TREES = {
    "mountains": "conifer", "forest": "conifer", "islands": "palm", "hills": "broadleaf", "meadow": "broadleaf",
}  # fmt: skip

ACCENTS = {
    "birds": "bird gull seagull geese crane swallow flock",
    "boat": "boat sail sailing sailboat ship yacht regatta",
    "rain": "rain rainy storm stormy thunderstorm tempest",
    "snowfall": "snowfall snowing snowy blizzard christmas",
    "flowers": "flower meadow poppy lavender wildflower garden tulip sunflower spring",
    "lightning": "lightning thunder thunderstorm",
    "village": "village hamlet farm countryside",
    "house": "house cottage cabin hut home barn",
    "lighthouse": "lighthouse beacon",
    "castle": "castle fortress palace kingdom fairy",
    "neon": "neon cyberpunk tokyo",
}

WATERS = {
    "lake",
    "river",
    "water",
    "reflection",
    "pond",
    "fjord",
    "bay",
    "harbour",
    "harbor",
    "lagoon",
    "loch",
    "mirror",
    "canal",
}
WINTER = {
    "winter",
    "snow",
    "snowy",
    "snowfall",
    "snowing",
    "arctic",
    "ice",
    "iceberg",
    "christmas",
    "blizzard",
    "frozen",
}
DRY = {"wheat", "harvest", "savanna", "savannah", "prairie", "steppe", "autumn", "golden"}

PETALS = {
    "lavender": ("7a5fc0", "9a7fd8", "6a4fb0"),
    "poppy": ("d8302a", "e84a30", "c02020"),
    "sunflower": ("f5b820", "f0a010", "ffd040"),
    "tulip": ("e0305a", "f5a020", "f0e0d0", "b03080"),
}
MIXED_PETALS = (
    ("f2f0e6", "f5d040", "e86a9a"),
    ("e04a3a", "f2f0e6", "7a6fd0"),
    ("f5c030", "f08a30", "f5f0dc"),
)

COLOURS = {
    "red": "d7263d", "crimson": "b3122f", "scarlet": "e8311f", "orange": "f5822a", "amber": "ffb000",
    "yellow": "f9d64b", "lime": "a4d13a", "green": "3f9b4f", "emerald": "1f9d6b", "teal": "1d8f8f",
    "turquoise": "2fbfb3", "cyan": "2fc8e0", "blue": "2f6fd0", "azure": "3f9be8", "indigo": "3f3fa8",
    "violet": "7a4fd0", "purple": "8a3fb8", "magenta": "d43fa8", "pink": "f08fb0", "rose": "e8708f",
    "copper": "b87040", "sepia": "a8835a",
}  # fmt: skip

NEBULAE = (("d0427a", "3a6fe0"), ("e07a3a", "2f9fb8"), ("7a3fe0", "20b8c8"), ("e0508a", "f0a040"))
AURORAE = (("3fe08f", "8a5fe0"), ("4fe8b0", "e05fb0"), ("8fe860", "3fa0e0"))


def words_of(prompt: str) -> list[str]:
    """Lower-case words; a plural is followed by its singular."""
    return [
        form for word in re.findall(r"\w+", prompt.lower()) for form in dict.fromkeys((word, singular(word)))
    ]


def singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and re.search("[^s]s$", word) else word


def pick(words: list[str], table: dict[str, str]) -> str | None:
    """The entry most words speak for; its own name counts twice, the first named wins a draw."""
    votes: dict[str, int] = {}
    for word in words:
        for name, known in table.items():
            if word in known.split():
                votes[name] = votes.get(name, 0) + (2 if word == name.removesuffix("s") else 1)
    return max(votes, key=lambda name: votes[name]) if votes else None


def read_prompt(prompt: str, seed: int) -> Scene:
    """Decide what to paint."""
    words = words_of(prompt)
    rng = rng_for(prompt, seed, "composition")
    hour = pick(words, HOURS) or rng.choice(("sunset", "dawn", "golden", "day", "dusk", "night", "mist"))
    tint = next((rgb(COLOURS[word]) for word in words if word in COLOURS), None)
    ground = pick(words, GROUNDS) or rng.choice(usual_grounds(words, hour))
    accents = accents_of(words, hour, ground, rng)
    light = light_for(words, hour, accents, tint, rng)
    return Scene(
        prompt=prompt,
        seed=seed,
        hour=hour,
        light=light,
        ground=ground,
        has_water=has_water(words, ground, rng),
        horizon=rng.uniform(0.50, 0.64) if ground == "ocean" else rng.uniform(0.52, 0.62),
        sun_x=rng.choice((rng.uniform(0.24, 0.4), rng.uniform(0.6, 0.76))),
        sun_radius=rng.uniform(0.026, 0.044),
        moon_phase=rng.choice((0.0, 0.0, -0.55, 0.6, 0.85)),
        clouds=min(1.0, max(0.05, light.clouds + rng.uniform(-0.12, 0.15))) if light.clouds else 0.0,
        snow=snow_for(words, ground, rng),
        tree=pick(words, TREES) or USUAL_TREES.get(ground),
        leaf=leaf_for(words),
        petals=next((PETALS[word] for word in words if word in PETALS), rng.choice(MIXED_PETALS)),
        turf=("8f7433", "c9a650") if DRY & set(words) else ("4f6e33", "878f48"),
        nebula=nebula_for(hour, light, rng),
        aurora=(tint, rgb("8a5fe0")) if tint else pair(rng.choice(AURORAE)),
        tint=tint,
        accents=frozenset(accents),
        has_sun=hour not in ("aurora", "space", "storm"),
        has_planet=hour == "space",
        has_aurora=hour == "aurora" or "aurora" in words,
    )


def usual_grounds(words: list[str], hour: str) -> tuple[str, ...]:
    """Where a prompt may lie that does not say."""
    if hour == "space":
        return ("mountains", "desert")
    if (WATERS | WINTER | {"house", "cabin", "cottage", "castle"}) & set(words) or hour == "aurora":
        return ("mountains", "hills", "forest")
    return ("mountains", "hills", "ocean", "islands", "forest", "desert")


def accents_of(words: list[str], hour: str, ground: str, rng: random.Random) -> set[str]:
    """What is named, and now and then a flock or a sail that is not."""
    accents = {name for name, known in ACCENTS.items() if set(words) & set(known.split())}
    if hour in ("sunset", "dawn", "golden") and rng.random() < 0.5:
        accents.add("birds")
    if ground == "ocean" and hour not in ("storm", "space") and rng.random() < 0.45:
        accents.add("boat")
    return accents


def light_for(
    words: list[str], hour: str, accents: set[str], tint: Colour | None, rng: random.Random
) -> Light:
    light = rng.choice(LIGHTS[hour])
    if accents & {"rain", "snowfall"}:
        light = replace(light, stars=0.0, clouds=max(light.clouds, 0.8))
    if not pick(words, HOURS) and not pick(words, GROUNDS):
        light = light.turned(rng.choice((0.0, 0.0, 0.05, 0.08, 0.90, 0.94)))
    return light.tinted(tint, 0.24) if tint else light


def has_water(words: list[str], ground: str, rng: random.Random) -> bool:
    chance = rng.random()
    if ground in ("ocean", "islands", "city") or WATERS & set(words):
        return True
    return ground in ("mountains", "hills") and chance < 0.45


def snow_for(words: list[str], ground: str, rng: random.Random) -> float:
    usual = rng.uniform(0.35, 0.75) if ground == "mountains" else 0.0
    return 1.0 if WINTER & set(words) else usual


def leaf_for(words: list[str]) -> Colour:
    if {"blossom", "sakura", "cherry"} & set(words):
        return rgb("f2a9c0")
    if {"autumn", "fall", "maple", "october"} & set(words):
        return rgb("d9762b")
    return rgb("3f6b3a")


def nebula_for(hour: str, light: Light, rng: random.Random) -> tuple[Colour, Colour] | None:
    chosen = pair(rng.choice(NEBULAE))
    if hour == "night" and light.stars:
        return pair(("2f4a80", "5a4a78"))
    return chosen if hour == "space" else None


def pair(codes: tuple[str, str]) -> tuple[Colour, Colour]:
    return rgb(codes[0]), rgb(codes[1])
