"""The painting of the example worker: what words ask for, and that it is always the same picture."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from painting import STYLES, frame, paint, png_bytes, style_named  # noqa: E402
from painting.land import GROUNDS  # noqa: E402
from painting.words import GROUNDS as GROUND_WORDS  # noqa: E402
from painting.words import HOURS, read_prompt  # noqa: E402

SHAPES = [(64, 220), (220, 64), (65, 101), (101, 65)]


def digest(picture: Image.Image) -> str:
    return hashlib.sha256(png_bytes(picture)).hexdigest()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_paints_the_same_picture_twice_and_tells_how_far_it_is(style: str) -> None:
    told: list[int] = []

    first = paint("pine forest by a lake", style, 7, 72, 64, lambda percent, layer: told.append(percent))
    second = paint("pine forest by a lake", style, 7, 72, 64)

    assert (first.size, first.mode) == ((72, 64), "RGB")
    assert digest(first) == digest(second)
    assert (told, told[-1]) == (sorted(told), 100)
    assert len(told) > 2


def test_prompt_style_seed_and_size_all_matter() -> None:
    pictures = [
        paint("desert", "minimal", 1, 64, 64),
        paint("night city", "minimal", 1, 64, 64),
        paint("desert", "neon", 1, 64, 64),
        paint("desert", "minimal", 2, 64, 64),
        paint("desert", "minimal", 1, 72, 64),
    ]

    assert len({digest(picture) for picture in pictures}) == len(pictures)


def test_another_process_paints_the_same_picture() -> None:
    program = "import painting, sys; sys.stdout.buffer.write(painting.png_bytes(painting.paint('dunes', 'ink', 5, 64, 64)))"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES), "PYTHONHASHSEED": "1"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)

    assert done.stdout == png_bytes(paint("dunes", "ink", 5, 64, 64))


@pytest.mark.parametrize("ground", GROUND_WORDS)
def test_every_ground_is_painted_by_name(ground: str) -> None:
    scene = read_prompt(f"{ground} at noon", 3)

    picture = paint(f"{ground} at noon", "realistic", 3, 64, 64)

    assert (scene.ground, scene.hour) == (ground, "day")
    assert len(picture.getcolors(64 * 64) or []) > 100


@pytest.mark.parametrize("hour", HOURS)
def test_every_hour_is_known_by_name(hour: str) -> None:
    assert read_prompt(f"a mountain, {hour}", 3).hour == hour


@pytest.mark.parametrize(
    "prompt",
    ["galaxy", "thunderstorm at sea", "castle, aurora", "a house in the snow", "sail at dusk", "poppies"],
)
def test_what_few_scenes_have_is_painted_too(prompt: str) -> None:
    assert paint(prompt, "realistic", 3, 64, 64).size == (64, 64)


def test_every_ground_that_words_ask_for_can_be_raised() -> None:
    assert set(GROUND_WORDS) == set(GROUNDS)


@pytest.mark.parametrize(
    ("prompt", "accent"),
    [("sailboats", "boat"), ("a lighthouse", "lighthouse"), ("castles", "castle"), ("a village", "village")],
)
def test_what_is_named_is_in_the_scene(prompt: str, accent: str) -> None:
    assert accent in read_prompt(prompt, 1).accents


def test_winter_lays_snow_down_to_the_valley() -> None:
    assert read_prompt("pine forest in winter", 1).snow == 1.0


@pytest.mark.parametrize("prompt", ["", "xyzzy", "沈黙", "🦖" * 50, "a " * 500])
def test_any_words_give_a_picture(prompt: str) -> None:
    assert paint(prompt, "minimal", 1, 64, 64).size == (64, 64)


@pytest.mark.parametrize(("style", "size"), list(zip(STYLES, SHAPES * 2, strict=True)))
def test_any_shape_can_be_painted(style: str, size: tuple[int, int]) -> None:
    assert paint("city by the ocean at night", style, 5, *size).size == size


def test_a_style_is_known_by_its_synonyms() -> None:
    names = {
        "Photo": "realistic",
        "oil painting": "oil",
        "cyber-punk neon": "neon",
        "": "realistic",
        "sumi_ink": "ink",
    }

    assert {name: style_named(name) for name in names} == names


def test_an_unknown_style_always_stands_for_the_same_known_one() -> None:
    assert style_named("zorblax") == style_named("Zorblax")
    assert style_named("zorblax") in STYLES


def test_progress_may_stop_the_painting() -> None:
    class Enough(Exception):
        pass

    def stop(percent: int, layer: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        paint("hills", "realistic", 1, 64, 64, stop)


@pytest.mark.parametrize("title", ["", "Harvest", "A title that is far too long for its plate " * 5])
def test_a_frame_surrounds_the_picture_and_leaves_it_as_it_was(title: str) -> None:
    picture = paint("meadow", "minimal", 1, 160, 100)

    framed = frame(picture, title)

    margin = (framed.width - picture.width) // 2
    assert margin > 0
    assert framed.height == picture.height + 2 * margin
    assert framed.crop((margin + 60, margin + 40, margin + 100, margin + 60)).tobytes() == (
        picture.crop((60, 40, 100, 60)).tobytes()
    )
    assert digest(framed) == digest(frame(picture, title))


def test_the_plate_carries_the_title() -> None:
    picture = Image.new("RGB", (200, 120), "navy")

    assert len({digest(frame(picture, title, "gold")) for title in ("", "One", "Two")}) == 3
