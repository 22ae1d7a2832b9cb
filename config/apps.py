"""The two app configs of the project itself: its checks, and its admin site in place of Django's."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class MonitorConfig(AppConfig):
    """Registers the checks of the settings and owns the project-wide templates."""

    name = "config"

    def ready(self) -> None:
        from config import checks  # noqa: F401  registers itself


class MonitorAdminConfig(AdminConfig):
    """Serve `config.admin.MonitorSite` wherever Django says `admin.site`."""

    default_site = "config.admin.MonitorSite"
