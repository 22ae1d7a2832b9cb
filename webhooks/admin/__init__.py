"""Admin pages of the top floor; importing them registers them."""

from __future__ import annotations

from webhooks.admin import deliveries, endpoints, messages, overview, receipts, renotify, sections, senders

__all__ = ["deliveries", "endpoints", "messages", "overview", "receipts", "renotify", "sections", "senders"]
