"""Admin pages of the ground floor, one file per noun; importing them registers them."""

from __future__ import annotations

from jobs.admin import (
    api_keys,
    clusters,
    collections,
    evaluations,
    events,
    jobs,
    queues,
    tenants,
    workers,
    workflows,
)

__all__ = [
    "api_keys",
    "clusters",
    "collections",
    "evaluations",
    "events",
    "jobs",
    "queues",
    "tenants",
    "workers",
    "workflows",
]
