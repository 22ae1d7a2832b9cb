"""Gives a list the address that says what was typed: qualifiers of the search become filters, blanks go."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest

from jobs.admin.lists.addresses import Address, joined, negated, parted
from jobs.admin.lists.criteria import CHARS_MAX, Criterion
from jobs.admin.lists.documents import JsonCriterion
from jobs.admin.lists.qualifiers import read_search


def tidied(request: HttpRequest, filters: list[Any]) -> str | None:
    """The address that this one should be; None where it is that already."""
    criteria = [each for each in filters if isinstance(each, type) and issubclass(each, Criterion)]
    address = Address.of(request.GET.lists())
    changed = _without_qualifiers(address, criteria)
    for each in criteria:
        changed = _joined(changed, each)
    has_blanks = any(
        not value.strip() for name, values in request.GET.lists() for value in values if name != "p"
    )
    return changed.url if changed != address or has_blanks else None


def _without_qualifiers(address: Address, criteria: list[type[Criterion]]) -> Address:
    text = " ".join(address.parameters.get(SEARCH_VAR, ()))
    if not text or len(text) > CHARS_MAX:
        return address
    words = {word: each.parameter_name for each in criteria for word in (*each.words, each.parameter_name)}
    words |= {edge: edge for each in criteria for edge in each.edges}
    into = frozenset(each.parameter_name for each in criteria if issubclass(each, JsonCriterion))
    found, rest = read_search(text, words, with_path=into)
    if not found:
        return address
    address = address.having(SEARCH_VAR, [rest] if rest else [])
    for qualifier in found:
        address = address.adding(qualifier.name, qualifier.value)
    return address


def _joined(address: Address, criterion: type[Criterion]) -> Address:
    """With a parameter that was given several times given once."""
    if not criterion.is_split:
        return address
    for name in (criterion.parameter_name, negated(criterion.parameter_name)):
        given = address.parameters.get(name, ())
        if len(given) > 1:
            address = address.having(name, joined(parted(given)))
    return address
