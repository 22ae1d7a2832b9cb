"""What stands above a list: chips for what it is filtered by, and the panel to filter it further."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR

from jobs.admin.lists.addresses import Address, joined, negated, parted
from jobs.admin.lists.criteria import Criterion
from jobs.admin.lists.qualifiers import NOT


@dataclass(frozen=True)
class Chip:
    """One thing the list is filtered by, and the addresses without it and with its contrary."""

    title: str
    text: str
    is_not: bool
    without_url: str
    flipped_url: str = ""


@dataclass(frozen=True)
class Field:
    """One filter of the panel: its input, or for a filter of Django's its links."""

    title: str
    name: str
    kind: str
    hint: str = ""
    values: list[str] = field(default_factory=list)
    choices: list[tuple[str, str, bool]] = field(default_factory=list)  # value, label, whether it is chosen
    links: list[dict[str, Any]] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)  # of times: the parameter and what it has
    is_active: bool = False


@dataclass(frozen=True)
class Panel:
    chips: list[Chip]
    fields: list[Field]
    hidden: list[tuple[str, str]]  # what the panel's form sends along
    searched: list[tuple[str, str]]  # and the search's


def panel_of(changelist: Any) -> Panel:
    address: Address = changelist.address
    mine = {each.parameter_name for each in changelist.criteria}
    edges = {"from", "to"} if "created" in mine else set()
    return Panel(
        chips=[*_search_chip(changelist), *_chips(changelist)],
        fields=[_field(changelist, spec) for spec in changelist.filter_specs],
        hidden=_pairs(address.without(*mine, *edges, *(f"{name}__exact" for name in mine))),
        searched=_pairs(address.without(SEARCH_VAR)),
    )


def _pairs(address: Address) -> list[tuple[str, str]]:
    return [(name, value) for name, values in address.parameters.items() for value in values]


def _search_chip(changelist: Any) -> list[Chip]:
    term = changelist.query.strip()
    return [Chip("Search", term, False, changelist.address.without(SEARCH_VAR).url)] if term else []


def _chips(changelist: Any) -> Iterator[Chip]:
    for spec in changelist.filter_specs:
        yield from (
            _chips_of(changelist.address, spec) if isinstance(spec, Criterion) else _foreign(changelist, spec)
        )


def _chips_of(address: Address, spec: Criterion) -> Iterator[Chip]:
    for name, value, text, is_not in spec.parts():
        without = _less(address, spec, name, value)
        is_edge = name not in (spec.parameter_name, negated(spec.parameter_name))
        flipped = name.removesuffix(NOT) if is_not else negated(name)
        flipped_url = "" if is_edge else _more(without, spec, flipped, value).url
        yield Chip(spec.name, text, is_not, without.url, flipped_url)


def _less(address: Address, spec: Criterion, name: str, value: str) -> Address:
    """The address without this value; an old form of the parameter becomes the present one."""
    given = [*address.parameters.get(name, ()), *address.parameters.get(f"{name}__exact", ())]
    bare = address.without(name, f"{name}__exact")
    left = [each for each in (parted(given) if spec.is_split else given) if each != value]
    return bare.having(name, joined(left) if spec.is_split else left) if left else bare


def _more(address: Address, spec: Criterion, name: str, value: str) -> Address:
    if not spec.is_split:
        return address.adding(name, value)
    return address.having(name, joined([*parted(address.parameters.get(name, ())), value]))


def _foreign(changelist: Any, spec: Any) -> Iterator[Chip]:
    """Of a filter that is Django's own: the choice that is made, unless it is the first, which is all."""
    every, *others = list(spec.choices(changelist)) or [{}]
    for choice in others:
        if choice.get("selected"):
            yield Chip(str(spec.title).capitalize(), str(choice["display"]), False, every["query_string"])


def _field(changelist: Any, spec: Any) -> Field:
    if not isinstance(spec, Criterion):
        links = list(spec.choices(changelist))
        is_active = any(link.get("selected") for link in links[1:])
        return Field(str(spec.title).capitalize(), "", "links", links=links, is_active=is_active)
    return Field(
        title=spec.name,
        name=spec.parameter_name,
        kind=spec.kind,
        hint=spec.hint,
        values=[*(spec.wanted if not spec.is_split else joined(spec.wanted))],
        choices=_choices_of(spec),
        edges=list(spec.edge_values()),
        is_active=spec.is_active,
    )


def _choices_of(spec: Criterion) -> list[tuple[str, str, bool]]:
    """Those on offer, and those that were asked for by the address and are not."""
    offered = [(value, label, value in spec.wanted) for value, label in spec.lookup_choices]
    known = {value for value, _ in spec.lookup_choices}
    return offered + [(value, value, True) for value in spec.wanted if value not in known]
