"""WSGI entry point, for serving REST and admin behind a proxy of your own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_handler = get_wsgi_application()

from django.conf import settings  # noqa: E402  needs the settings module's name

from config.bridge import without_charset  # noqa: E402
from config.memory import keep_for_ever  # noqa: E402

import_module(settings.ROOT_URLCONF)
keep_for_ever()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve one request."""
    environ["CONTENT_TYPE"] = without_charset(environ.get("CONTENT_TYPE", ""))
    return _handler(environ, start_response)
