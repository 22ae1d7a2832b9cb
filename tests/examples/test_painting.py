"""The painting of the example worker: what words ask for, and that it is always the same picture."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from painting import STYLES, frame, paint, png_bytes, style_named  # noqa: E402
from painting.land import GROUNDS  # noqa: E402
from painting.words import GROUNDS as GROUND_WORDS  # noqa: E402
from painting.words import HOURS, read_prompt  # noqa: E402


def digest(picture: Image.Image) -> str:
    return hashlib.sha256(png_bytes(picture)).hexdigest()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_paints_the_same_picture_twice(style: str) -> None:
    first, second = (paint("pine forest by a lake at sunset", style, 7, 96, 80) for _ in range(2))

    assert (first.size, first.mode) == ((96, 80), "RGB")
    assert digest(first) == digest(second)


@pytest.mark.parametrize("change", [{"prompt": "night city"}, {"style": "oil"}, {"seed": 2}, {"width": 96}])
def test_prompt_style_seed_and_size_all_matter(change: dict[str, object]) -> None:
    usual: dict[str, object] = {
        "prompt": "desert",
        "style": "realistic",
        "seed": 1,
        "width": 80,
        "height": 64,
    }

    assert digest(paint(**usual)) != digest(paint(**usual | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("ground", GROUND_WORDS)
def test_every_ground_is_painted_by_name(ground: str) -> None:
    scene = read_prompt(f"{ground} at noon", 3)

    assert (scene.ground, scene.hour) == (ground, "day")
    assert len(paint(f"{ground} at noon", "realistic", 3, 72, 64).getcolors(72 * 64) or []) > 100


@pytest.mark.parametrize("hour", HOURS)
def test_every_hour_is_painted_by_name(hour: str) -> None:
    assert read_prompt(f"a mountain, {hour}", 3).hour == hour
    assert paint(f"a mountain, {hour}", "minimal", 3, 72, 64).size == (72, 64)


def test_every_ground_that_words_ask_for_can_be_raised() -> None:
    assert set(GROUND_WORDS) == set(GROUNDS)


@pytest.mark.parametrize(
    ("prompt", "accent"),
    [("sailboats", "boat"), ("a lighthouse", "lighthouse"), ("a castle", "castle"), ("a snowy village", "village")],
)
def test_what_is_named_is_in_the_picture(prompt: str, accent: str) -> None:
    assert accent in read_prompt(prompt, 1).accents


def test_a_winter_prompt_snows_down_to_the_valley() -> None:
    assert read_prompt("pine forest in winter", 1).snow == 1.0


@pytest.mark.parametrize("prompt", ["", "xyzzy", "沈黙", "🦖" * 50, "a " * 500])
def test_any_words_give_a_picture(prompt: str) -> None:
    assert paint(prompt, "watercolor", 1, 64, 64).size == (64, 64)


@pytest.mark.parametrize("size", [(64, 64), (64, 256), (256, 64), (65, 101)])
@pytest.mark.parametrize("style", STYLES)
def test_any_shape_can_be_painted(style: str, size: tuple[int, int]) -> None:
    assert paint("city by the ocean at night", style, 5, *size).size == size


def test_a_style_is_known_by_its_synonyms() -> None:
    assert [style_named(name) for name in ("Photo", "oil painting", "cyber-punk neon", "", "sumi_ink")] == [
        "realistic",
        "oil",
        "neon",
        "realistic",
        "ink",
    ]


def test_an_unknown_style_always_stands_for_the_same_known_one() -> None:
    names = {style_named("zorblax") for _ in range(3)}

    assert len(names) == 1
    assert names <= set(STYLES)


@pytest.mark.parametrize("style", STYLES)
def test_progress_rises_to_a_hundred(style: str) -> None:
    told: list[int] = []

    paint("hills and a lake", style, 1, 72, 64, lambda percent, layer: told.append(percent))

    assert told == sorted(told)
    assert (len(told) > 2, told[-1]) == (True, 100)


def test_progress_may_stop_the_painting() -> None:
    class Enough(Exception):
        pass

    def stop(percent: int, layer: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        paint("hills", "realistic", 1, 72, 64, stop)


@pytest.mark.parametrize("title", ["", "Harvest", "A title that is far too long for its plate " * 5])
def test_a_frame_surrounds_the_picture_and_leaves_it_as_it_was(title: str) -> None:
    picture = paint("meadow", "realistic", 1, 200, 120)

    framed = frame(picture, title)

    margin = (framed.width - picture.width) // 2
    assert framed.width > picture.width
    assert framed.height - picture.height == 2 * margin
    middle = (60, 40, 140, 80)
    assert framed.crop(tuple(edge + margin for edge in middle)).tobytes() == picture.crop(middle).tobytes()  # type: ignore[arg-type]
    assert digest(framed) == digest(frame(picture, title))


def test_a_plate_shows_that_there_is_a_title() -> None:
    picture = Image.new("RGB", (200, 120), "navy")

    assert digest(frame(picture, "One", "gold")) != digest(frame(picture, "", "gold"))
