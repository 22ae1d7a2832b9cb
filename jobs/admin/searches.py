"""Searches that use an index, or look through no more than the newest rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import Model, QuerySet

from jobs.admin.lists import scans
from jobs.admin.lists.scans import Scan
from jobs.models import Tenant, Workflow

__all__ = ["NAMESAKES_MAX", "Scan", "as_uuid", "named_workflows", "newest"]

NAMESAKES_MAX = 100


def as_uuid(term: str) -> uuid.UUID | None:
    """The id a search term is, in its usual form of 36 characters; a trace id has 32."""
    if len(term) != 36:
        return None
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def named_workflows(name: str) -> list[uuid.UUID]:
    """The keys of the workflows of this name: one per tenant, by the index that begins with the tenant."""
    tenants = Tenant.objects.values("pk")
    named = Workflow.objects.filter(tenant__in=tenants, workflow_id=name)
    return list(named.values_list("pk", flat=True)[:NAMESAKES_MAX])


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Only the newest scans.SEARCHED_ROWS of their table: bounds a search in columns that have no index."""
    model: type[Model] = rows.model
    keys = model._default_manager.order_by("-pk").values_list("pk", flat=True)
    edge: Iterable[Any] = keys[scans.SEARCHED_ROWS : scans.SEARCHED_ROWS + 1]
    for oldest in edge:
        return rows.filter(pk__gt=oldest)
    return rows
