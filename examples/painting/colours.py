"""Colours: the light of every hour and the colours words ask for."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

from painting.fields import Colour


def rgb(code: str) -> Colour:
    """`"f4a261"` as three numbers from 0 to 1."""
    return (int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255)


def blend(a: Colour, b: Colour, amount: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def scale(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def turn(colour: Colour, hue: float) -> Colour:
    """Turn the hue by a part of the circle."""
    h, lightness, saturation = colorsys.rgb_to_hls(*colour)
    return colorsys.hls_to_rgb((h + hue) % 1.0, lightness, saturation)


def bytes_of(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(part * 255))) for part in colour)
    return (red, green, blue)


@dataclass(frozen=True)
class Light:
    """What an hour or a weather looks like. Colours are hex codes; `sky` runs from the zenith to the horizon."""

    sky: tuple[str, ...]
    sun: str
    sun_height: float  # above the horizon, in parts of the sky; the moon's at night
    direct: str  # what falls on the land from the sun
    ambient: str  # what fills the shadows
    haze: str
    cloud_lit: str
    cloud_shade: str
    reach: float = 60.0  # how far one sees before haze takes over
    stars: float = 0.0
    is_night: bool = False
    clouds: float = 0.45

    def turned(self, hue: float) -> Light:
        """The same hour in another key."""
        return self._recoloured(lambda colour: turn(colour, hue))

    def tinted(self, tint: Colour, amount: float) -> Light:
        """The same hour seen through coloured glass."""
        return self._recoloured(lambda colour: blend(colour, scale(tint, 0.35 + max(colour) * 0.65), amount))

    def _recoloured(self, change: Callable[[Colour], Colour]) -> Light:
        def code(old: str) -> str:
            return "".join(f"{part:02x}" for part in bytes_of(change(rgb(old))))

        return replace(
            self,
            sky=tuple(map(code, self.sky)),
            sun=code(self.sun),
            direct=code(self.direct),
            ambient=code(self.ambient),
            haze=code(self.haze),
            cloud_lit=code(self.cloud_lit),
            cloud_shade=code(self.cloud_shade),
        )


LIGHTS: dict[str, tuple[Light, ...]] = {
    "sunset": (
        Light(
            ("1c2754", "4a3f7d", "9c4f7f", "e2705f", "f9a35c", "ffd58a"),
            "fff0c0",
            0.10,
            "ff9a56",
            "4b4273",
            "e08468",
            "ffb27a",
            "6d4a78",
            55,
        ),
        Light(
            ("20406e", "4f6c97", "9c8ba5", "e8a583", "fbc67f", "ffe3a6"),
            "fff6d8",
            0.13,
            "ffb46b",
            "4a5580",
            "eab48c",
            "ffd0a0",
            "86718f",
            60,
        ),
        Light(
            ("2a1a4a", "5b2a6b", "a3366f", "e4575a", "fb8a4f", "ffc36b"),
            "ffe9b0",
            0.08,
            "ff7f50",
            "472f66",
            "d8646a",
            "ff9873",
            "5c2f66",
            50,
        ),
    ),
    "dawn": (
        Light(
            ("3d5a8c", "7488b0", "b3a4bd", "edbfb4", "fbd9b4", "fff0cf"),
            "fffbe6",
            0.14,
            "ffcf9e",
            "64739c",
            "f0cdbb",
            "ffe2cc",
            "9d95b3",
            45,
        ),
        Light(
            ("4a6fa5", "8fa8cc", "c9c5d8", "f3d3cf", "fde6cd", "fff5e0"),
            "ffffff",
            0.18,
            "ffdcb0",
            "7688ab",
            "f2dcd2",
            "fff0e4",
            "b3b1c6",
            40,
        ),
    ),
    "golden": (
        Light(
            ("3a6ea8", "6a93bf", "a8b8c6", "e0c4a4", "f7c283", "ffdda0"),
            "fffbe0",
            0.24,
            "ffd488",
            "5d7390",
            "e9d6b0",
            "fff0cf",
            "9aa3b0",
            75,
        ),
        Light(
            ("4a7f9f", "7fa5b3", "b9c0b8", "e8cba2", "fbc884", "ffe2a8"),
            "fffce8",
            0.20,
            "ffd080",
            "5c7684",
            "ecdcb6",
            "fff2d4",
            "a3aaa6",
            70,
        ),
    ),
    "day": (
        Light(
            ("1a57a6", "3477c2", "5f9cd6", "8fbfe4", "b9d8ea", "d3e6ee"),
            "ffffff",
            0.72,
            "fff2dc",
            "6b8fb8",
            "bdd7e6",
            "ffffff",
            "a9bccd",
            90,
        ),
        Light(
            ("226aae", "428bc6", "70aed8", "a0cce2", "c6e0e6", "e2ece4"),
            "ffffff",
            0.64,
            "fff0d0",
            "7396b4",
            "c9dee2",
            "ffffff",
            "b1c1cb",
            85,
        ),
    ),
    "dusk": (
        Light(
            ("10173a", "1f2656", "3f3a77", "7d5590", "c27a94", "f0a991"),
            "ffe2c8",
            -0.06,
            "c890a8",
            "3a3c70",
            "98708f",
            "d995a0",
            "474272",
            45,
            0.35,
        ),
        Light(
            ("0d1c3d", "173059", "2b4f78", "5f7f95", "b9a796", "f3c99a"),
            "ffe8c8",
            -0.05,
            "c8a890",
            "2e4467",
            "8b8f99",
            "dcb9a0",
            "41567a",
            50,
            0.35,
        ),
    ),
    "night": (
        Light(
            ("04070f", "081022", "0d1a36", "14264a", "1d355c", "2b4a70"),
            "f4f1de",
            0.62,
            "9fb6d8",
            "18284a",
            "22395c",
            "6d86ad",
            "16233f",
            45,
            1.0,
            True,
            0.25,
        ),
        Light(
            ("070512", "100c28", "1a1440", "251f57", "35306d", "4b4682"),
            "fff4e0",
            0.55,
            "b0a8dc",
            "211d48",
            "39336a",
            "857fb8",
            "1e1a42",
            45,
            1.0,
            True,
            0.25,
        ),
    ),
    "storm": (
        Light(
            ("1a222c", "27323d", "394650", "56646b", "7b888a", "a3aca6"),
            "dfe6e0",
            0.30,
            "a8b4b4",
            "3d4a55",
            "75827f",
            "9aa6a8",
            "2b353f",
            35,
            0.0,
            False,
            0.95,
        ),
        Light(
            ("1b2030", "2a3044", "3f465c", "5f6577", "8d8c92", "c2b3a0"),
            "ffe9c8",
            0.22,
            "c8b8a0",
            "40475c",
            "858488",
            "b3a9a4",
            "2f3446",
            38,
            0.0,
            False,
            0.95,
        ),
    ),
    "mist": (
        Light(
            ("8a9fac", "a2b3bb", "bac7ca", "cfd7d5", "dfe2da", "ebeae0"),
            "ffffff",
            0.34,
            "dfe0d6",
            "8296a2",
            "d6dcd8",
            "f4f4ee",
            "b4c0c4",
            16,
            0.0,
            False,
            0.3,
        ),
        Light(
            ("7d93a8", "9aacbb", "b9c3c9", "d6d3cd", "e9dccb", "f4e6d0"),
            "fffdf0",
            0.26,
            "eedcc4",
            "8093a6",
            "dcd5cb",
            "fbf3e6",
            "b3bac0",
            18,
            0.0,
            False,
            0.3,
        ),
    ),
    "aurora": (
        Light(
            ("03060f", "06101f", "091b30", "0c2a40", "11394c", "1c4c58"),
            "eaf6ee",
            0.60,
            "8fd8c0",
            "12304a",
            "174250",
            "4a8a90",
            "0c2033",
            45,
            1.0,
            True,
            0.0,
        ),
    ),
    "space": (
        Light(
            ("020208", "05040f", "080816", "0c0c20", "12122c", "1b1a3a"),
            "ffe0b8",
            0.50,
            "ffc89a",
            "1c1c40",
            "1e1a3c",
            "8a6fa0",
            "120f26",
            70,
            1.0,
            True,
            0.0,
        ),
        Light(
            ("010409", "030a14", "061120", "0a1a2e", "10263e", "1a3550"),
            "d8f0ff",
            0.50,
            "a8d8ff",
            "142c48",
            "163048",
            "5f8fb0",
            "0b1a2c",
            70,
            1.0,
            True,
            0.0,
        ),
    ),
}  # fmt: skip
