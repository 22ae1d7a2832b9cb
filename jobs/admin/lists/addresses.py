"""Addresses of a list: what stands after the question mark, and the same with a value more or less. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from jobs.admin.lists.qualifiers import NOT, escape, split

# What pages a list and does not say what is listed.
PAGING = frozenset({"before", "after", "p", "o", "all", "e", "with"})


@dataclass(frozen=True)
class Address:
    """The parameters of a list, each with all of its values as they were given."""

    parameters: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, lists: Iterable[tuple[str, list[str]]]) -> Address:
        """Of request.GET.lists(), without what pages the list and what is empty."""
        given = {name: tuple(value for value in values if value.strip()) for name, values in lists}
        return cls({name: values for name, values in given.items() if values and name not in PAGING})

    def without(self, *names: str) -> Address:
        return Address({name: values for name, values in self.parameters.items() if name not in names})

    def having(self, name: str, values: Iterable[str]) -> Address:
        """With these values of a parameter and no others."""
        kept = {**self.parameters, name: tuple(values)}
        return Address({each: given for each, given in kept.items() if given})

    def adding(self, name: str, value: str) -> Address:
        """With one value more of a parameter."""
        return self.having(name, dict.fromkeys((*self.parameters.get(name, ()), value)))

    @property
    def query(self) -> str:
        return urlencode(sorted((name, value) for name, given in self.parameters.items() for value in given))

    @property
    def url(self) -> str:
        return f"?{self.query}"


def joined(values: Iterable[str]) -> tuple[str, ...]:
    """Several values as one of a parameter: `a,b`."""
    text = ",".join(map(escape, dict.fromkeys(values)))
    return (text,) if text else ()


def parted(values: Iterable[str]) -> list[str]:
    """The values that `?name=a,b&name=c` means, each once."""
    return list(dict.fromkeys(part for value in values for part in split(value)))


def negated(name: str) -> str:
    return f"{name}{NOT}"
