"""Admin pages of the ground floor, one file per noun; importing them registers them."""

from __future__ import annotations

from jobs.admin import (
    api_keys,
    audit,
    clusters,
    collections,
    errors,
    evaluations,
    events,
    jobs,
    operations,
    overview,
    queues,
    schedules,
    staff,
    tenants,
    traces,
    workers,
    workflows,
)

__all__ = [
    "api_keys",
    "audit",
    "clusters",
    "collections",
    "errors",
    "evaluations",
    "events",
    "jobs",
    "operations",
    "overview",
    "queues",
    "schedules",
    "staff",
    "tenants",
    "traces",
    "workers",
    "workflows",
]
