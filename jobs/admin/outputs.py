"""The addresses in a result, and which of them may be shown as pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from jobs.content_types import content_type_of_name

SHOWN_MAX = 48
# No percent signs and no dot before a name: the path can't be led out of the artifacts.
PLAIN_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Output:
    """An http(s) address; `picture` is the path to show in place, empty for what is only linked."""

    url: str
    picture: str
    name: str


def outputs(urls: Iterable[str]) -> list[Output]:
    """Describe result addresses, SHOWN_MAX at most.

    Only artifacts of this host are shown: a picture from elsewhere would tell that host who looks.
    """
    web = [url for url in urls if isinstance(url, str) and url.startswith(("http://", "https://"))]
    return [Output(url, _picture(url), url.rsplit("/", 1)[-1] or url) for url in web[:SHOWN_MAX]]


def _picture(url: str) -> str:
    start = settings.PUBLIC_URL + reverse("artifact", args=["-"]).removesuffix("-")
    path = url.removeprefix(start)
    is_ours = path != url and PLAIN_PATH.fullmatch(path) is not None
    is_image = content_type_of_name(path).startswith("image/")
    return urlsplit(url).path if is_ours and is_image else ""
