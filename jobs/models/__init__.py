"""The ground floor's records."""

from __future__ import annotations

from jobs.models.cleanings import Cleaning
from jobs.models.clusters import Cluster
from jobs.models.collections import Collection
from jobs.models.evaluation import ProblemType, StatusCategory
from jobs.models.evaluations import EvaluationRun, OutputCheck, ProblemAlert
from jobs.models.events import Event
from jobs.models.idempotency import IdempotencyKey
from jobs.models.jobs import Job
from jobs.models.operators import AuditEntry, BulkOperation, SavedView, StaffTenant
from jobs.models.queues import Queue
from jobs.models.rollups import ErrorGroup, Measure, QueueGauge, Rollup, Tally
from jobs.models.schedules import Schedule
from jobs.models.tenants import ApiKey, Scope, Tenant
from jobs.models.workers import Worker
from jobs.models.workflows import Workflow

__all__ = [
    "ApiKey",
    "AuditEntry",
    "BulkOperation",
    "Cleaning",
    "Cluster",
    "Collection",
    "ErrorGroup",
    "EvaluationRun",
    "Event",
    "IdempotencyKey",
    "Job",
    "Measure",
    "OutputCheck",
    "ProblemAlert",
    "ProblemType",
    "Queue",
    "QueueGauge",
    "Rollup",
    "SavedView",
    "Schedule",
    "Scope",
    "StaffTenant",
    "StatusCategory",
    "Tally",
    "Tenant",
    "Worker",
    "Workflow",
]
