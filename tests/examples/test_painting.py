"""The painting of the example worker: what words ask for, and that it is always the same picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from painting import STYLES, frame, paint, png_bytes, style_named  # noqa: E402
from painting.scene import GROUNDS, HOURS, LIGHTS, read_prompt  # noqa: E402


@pytest.mark.parametrize("style", STYLES)
def test_every_style_paints_and_tells_how_far_it_is(style: str) -> None:
    told: list[int] = []

    picture = paint("pine forest by a lake", style, 7, 96, 64, lambda percent, layer: told.append(percent))

    assert (picture.size, picture.mode) == ((96, 64), "RGB")
    assert len(picture.getcolors(96 * 64) or []) > 100
    assert (told, told[-1]) == (sorted(told), 100)
    assert len(told) > 2


def test_prompt_style_seed_and_size_all_matter() -> None:
    pictures = {
        png_bytes(paint("desert", "minimal", 1, 64, 64)),
        png_bytes(paint("night city", "minimal", 1, 64, 64)),
        png_bytes(paint("desert", "neon", 1, 64, 64)),
        png_bytes(paint("desert", "minimal", 2, 64, 64)),
        png_bytes(paint("desert", "minimal", 1, 72, 64)),
    }

    assert len(pictures) == 5


def test_another_process_paints_the_same_picture() -> None:
    program = "import painting, sys; sys.stdout.buffer.write(painting.png_bytes(painting.paint('x', 'neon', 5, 64, 64)))"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES), "PYTHONHASHSEED": "1"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)

    assert done.stdout == png_bytes(paint("x", "neon", 5, 64, 64))


def test_grounds_and_hours_are_known_by_name() -> None:
    asked = [(ground, hour) for ground in GROUNDS for hour in HOURS]

    scenes = [read_prompt(f"{ground}, {hour}", 3) for ground, hour in asked]

    assert [(scene.ground, scene.hour) for scene in scenes] == asked
    assert set(LIGHTS) == set(HOURS)


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_ground_is_painted_in_any_shape(ground: str) -> None:
    for size in ((64, 160), (161, 65)):
        assert paint(f"{ground} in winter", "realistic", 5, *size).size == size


@pytest.mark.parametrize("prompt", ["", "xyzzy", "沈黙", "🦖" * 50, "a " * 500])
def test_any_words_give_a_picture(prompt: str) -> None:
    assert paint(prompt, "minimal", 1, 64, 64).size == (64, 64)


def test_an_unknown_style_always_stands_for_the_same_known_one() -> None:
    names = {"Minimal poster": "minimal", "neon": "neon", "": "realistic"}

    assert {name: style_named(name) for name in names} == names
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
    middle = (60, 40, 100, 60)
    assert margin > 0
    assert framed.height == picture.height + 2 * margin
    assert framed.crop(tuple(place + margin for place in middle)).tobytes() == picture.crop(middle).tobytes()
    assert png_bytes(framed) == png_bytes(frame(picture, title))


def test_the_plate_carries_the_title() -> None:
    picture = Image.new("RGB", (200, 120), "navy")

    assert len({png_bytes(frame(picture, title, "gold")) for title in ("", "One", "Two")}) == 3
