"""The catalogue of event types: what each tells, and the JSON schema of what it carries. Pure.

A message's body is `{"type", "timestamp", "workflow_id", "user_id", "data"}`; the schemas (draft 2020-12) are of
the whole body. `docs/events.md` is made from this page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

TIME: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANYTHING: Schema = {}
ERROR: Schema = {
    "type": ["object", "null"],
    "properties": {"code": TEXT, "message": TEXT},
    "required": ["code", "message"],
}

# What each kind of `data` holds; all of it is always there.
JOB: dict[str, Schema] = {
    "job_id": {"type": "string", "format": "uuid"},
    "kind": TEXT,
    "service_required": TEXT,
    "status": {"enum": ["completed", "failed", "cancelled"]},
    "attempt": COUNT,
    "worker": TEXT,
    "result": ANYTHING,
    "error": ERROR,
    "ended_at": TIME,
    "trace_id": TEXT,
    "request_id": TEXT,
}
WORKFLOW: dict[str, Schema] = {
    "workflow_id": TEXT,
    "status": {"enum": ["completed", "failed", "cancelled"]},
    "run": {"type": "integer", "minimum": 1},
    "outputs": ANYTHING,
    "error": ERROR,
    "total_steps": COUNT,
    "completed_steps": COUNT,
    "ended_at": TIME,
    "trace_id": TEXT,
    "request_id": TEXT,
}
REMINDER: dict[str, Schema] = {
    "workflow_id": TEXT,
    "status": {"enum": ["running", "completed", "failed", "cancelled"]},
    "notification_status": {"enum": ["none", "owed", "delivered", "failed"]},
    "outputs": ANYTHING,
    "trace_id": TEXT,
    "request_id": TEXT,
}
ENDPOINT: dict[str, Schema] = {
    "endpoint_id": {"type": "string", "format": "uuid"},
    "host": TEXT,
    "description": TEXT,
    "reason": {"enum": ["failing", "gone"]},
    "failing_since": {"type": ["string", "null"], "format": "date-time"},
}
PROBLEM: dict[str, Schema] = {
    "problem_type": {
        "enum": [
            "notification_failed",
            "notification_missing",
            "worker_failed",
            "timed_out",
            "expired",
            "cancelled",
            "stuck",
            "no_worker",
            "missing_output",
            "attestation_missing",
            "content_type_mismatch",
        ]
    },
    "status_category": {"enum": ["filed", "incomplete"]},
    "count": {"type": "integer", "minimum": 1},
    "workflow_ids": {"type": "array", "items": TEXT, "maxItems": 20},
    "job_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}, "maxItems": 20},
    "since": TIME,
    "what_to_do": TEXT,
}
SUBMISSION: dict[str, Schema] = {
    "submission_id": {"type": "string", "format": "uuid"},
    "sha256_hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "status": {"enum": ["complete", "rejected"]},
    "proof_system": {"enum": ["groth16", "plonk", "stark"]},
    "commitment": TEXT,
    "submitter": TEXT,
    "proof_digest": TEXT,
    "chain_id": {"type": ["integer", "null"]},
    "contract_address": TEXT,
    "transaction_id": TEXT,
    "explorer_url": {"type": ["string", "null"]},
    "is_verified_on_chain": {"type": ["boolean", "null"]},
    "verified_at": {"type": ["string", "null"], "format": "date-time"},
    "failed_at": {"type": ["string", "null"], "format": "date-time"},
    "failure_reason": TEXT,
    "trace_id": TEXT,
    "request_id": TEXT,
}
TEST: dict[str, Schema] = {"endpoint_id": {"type": "string", "format": "uuid"}, "message": TEXT}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """A type of event: its name, what it tells, and what its `data` holds."""

    name: str
    tells: str
    data: dict[str, Schema]
    is_sent_to_all: bool = True  # False: only to the endpoint it was asked for

    @property
    def schema(self) -> Schema:
        """The JSON schema of a whole body."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.tells,
            "type": "object",
            "properties": {
                "type": {"const": self.name},
                "timestamp": TIME,
                "workflow_id": {"type": ["string", "null"]},
                "user_id": {"type": ["string", "null"]},
                "data": {"type": "object", "properties": self.data, "required": sorted(self.data)},
            },
            "required": ["type", "timestamp", "workflow_id", "user_id", "data"],
        }


CATALOGUE = {
    event.name: event
    for event in [
        EventType(name="job.completed", tells="A job completed.", data=JOB),
        EventType(
            name="job.failed",
            tells="A job failed for good: its attempts are used up, or it expired before it was begun.",
            data=JOB,
        ),
        EventType(name="job.cancelled", tells="A job was cancelled.", data=JOB),
        EventType(name="workflow.completed", tells="The last step of a workflow completed.", data=WORKFLOW),
        EventType(
            name="workflow.failed",
            tells="A step of a workflow failed for good. A retry begins another run, which ends by itself.",
            data=WORKFLOW,
        ),
        EventType(name="workflow.cancelled", tells="A workflow was cancelled.", data=WORKFLOW),
        EventType(
            name="request.reminder",
            tells="The user of a workflow has not been told of it, and somebody asked for a reminder.",
            data=REMINDER,
        ),
        EventType(
            name="submission.complete",
            tells="The chain has recorded a submission, and its transaction is final.",
            data=SUBMISSION,
        ),
        EventType(
            name="submission.rejected",
            tells="A reviewer rejected a submission, or a job of it failed for good; its hash may be submitted again.",
            data=SUBMISSION,
        ),
        EventType(
            name="endpoint.disabled",
            tells="Another endpoint of yours is sent nothing any more; its deliveries are held.",
            data=ENDPOINT,
        ),
        EventType(
            name="evaluation.problem",
            tells="The evaluator has found new problems of one type in your work; at most one an hour and type.",
            data=PROBLEM,
        ),
        EventType(
            name="webhook.test",
            tells="Somebody asked for a test of this endpoint. It comes whatever types the endpoint takes.",
            data=TEST,
            is_sent_to_all=False,
        ),
    ]
}
# What an endpoint may choose among.
CHOOSABLE = [event.name for event in CATALOGUE.values() if event.is_sent_to_all]
