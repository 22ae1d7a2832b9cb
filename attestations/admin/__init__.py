"""Admin pages of the middle floor; importing them registers them."""

from __future__ import annotations

from attestations.admin import attestations, sessions, submissions, transactions

__all__ = ["attestations", "sessions", "submissions", "transactions"]
