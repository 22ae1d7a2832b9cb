"""The admin site: the platform's monitor."""

from __future__ import annotations

from unfold.sites import UnfoldAdminSite


class MonitorSite(UnfoldAdminSite):  # type: ignore[misc]
    """Django's admin in unfold's clothes, under the product's name."""
