"""Placeholders in a collection's steps."""

from __future__ import annotations

import pytest

from jobs.workflows.templates import UnknownName, resolve, unknown_names

RESULTS = {"paint": {"url": "https://x/1.png", "sizes": [10, 20]}}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("${variables.seed}", 7),
        ("seed ${variables.seed}!", "seed 7!"),
        ("${variables.wide} ${variables.none}", "true None"),
        ("${steps.paint.result.url}", "https://x/1.png"),
        ("${steps.paint.result.sizes.1}", 20),
        ("${steps.paint.result}", RESULTS["paint"]),
        ({"a": ["${variables.seed}", {"b": "${variables.seed}"}]}, {"a": [7, {"b": 7}]}),
        ("no placeholder, only $ and {}", "no placeholder, only $ and {}"),
        (12, 12),
    ],
)
def test_placeholders_are_filled_in(template: object, filled: object) -> None:
    variables = {"seed": 7, "wide": True, "none": None}

    assert resolve(template, variables, RESULTS) == filled


def test_what_is_filled_in_is_no_template_itself() -> None:
    variables = {"prompt": "${steps.paint.result.url}"}

    assert resolve("${variables.prompt}", variables, RESULTS) == "${steps.paint.result.url}"


@pytest.mark.parametrize(
    "name",
    ["variables.missing", "steps.frame.result", "steps.paint.result.missing", "steps.paint", "env.HOME"],
)
def test_a_name_that_leads_nowhere_is_an_error(name: str) -> None:
    with pytest.raises(UnknownName, match=name):
        resolve(f"${{{name}}}", {}, RESULTS)


def test_unknown_names_are_found_where_they_stand() -> None:
    payload = {"a/b": ["${variables.x}", "${steps.later.result.url}", "${steps.paint.result.url}"]}

    assert unknown_names(payload, {"y"}, ["paint"]) == [
        ("/a~1b/0", "variables.x"),
        ("/a~1b/1", "steps.later.result.url"),
    ]
