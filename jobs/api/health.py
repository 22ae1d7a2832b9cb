"""Liveness and readiness, for supervisors and load balancers."""

from __future__ import annotations

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from jobs.models import Worker


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and is migrated; the rest is only reported."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
        pending = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        workers = Worker.objects.online()
        report = {
            "database": "ok",
            "pending_migrations": pending,
            "workers_online": workers.exclude(tenant=None).count(),
            "processes_online": workers.filter(tenant=None).count(),
        }
    except Error as error:
        return JsonResponse({"status": "unavailable", "database": type(error).__name__}, status=503)
    is_ready = pending == 0
    return JsonResponse(
        {"status": "ok" if is_ready else "unavailable", **report}, status=200 if is_ready else 503
    )
