"""Makes up what became of single pieces of work: when, by whom, in how many attempts, and how it ended. Pure.

All of it comes from one random generator and one moment that counts as now, so that the same two tell the same.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from jobs.demo.seeding import catalogue
from jobs.demo.seeding.catalogue import Failure, Service

TIMED_OUT = "timed_out"
BACKOFF_SECONDS = 10.0
TRACEBACK = """Traceback (most recent call last):
  File "/app/worker/run.py", line {line}, in run
    result = self.steps[job.service].make(job.payload)
  File "/app/worker/{service}.py", line {inner}, in make
    return pipeline(**arguments)
RuntimeError: {message}"""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt of a job that has ended."""

    number: int
    worker: str
    due_at: datetime
    started_at: datetime
    ended_at: datetime
    outcome: str  # completed or failed
    result: Any = None
    error: dict[str, Any] | None = None
    is_final: bool = False


@dataclass(slots=True, kw_only=True)
class JobStory:
    """A job, and its attempts so far."""

    id: UUID
    service: Service
    tenant: int
    created_at: datetime
    payload: dict[str, Any]
    trace_id: str
    actor_id: str
    ctx: dict[str, Any] = field(default_factory=dict)
    priority: int = 50
    status: str = "queued"
    run_at: datetime
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    max_attempts: int = 6
    original_payload: dict[str, Any] | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    workflow: WorkflowStory | None = field(default=None, repr=False, compare=False)
    step_index: int | None = None
    is_filled_in: bool = True
    events: list[tuple[datetime, str, dict[str, Any]]] = field(default_factory=list)

    @property
    def worker(self) -> str:
        return self.attempts[-1].worker if self.attempts else ""


@dataclass(slots=True, kw_only=True)
class Run:
    """A run of a workflow that has ended."""

    number: int
    status: str
    ended_at: datetime
    outputs: list[str]
    error: dict[str, Any] | None
    completed_steps: int


@dataclass(slots=True, kw_only=True)
class WorkflowStory:
    """A generation, its jobs, and its runs so far."""

    id: UUID
    workflow_id: str
    tenant: int
    recipe: int
    created_at: datetime
    user_id: str
    session_id: str
    trace_id: str
    actor_id: str
    variables: dict[str, Any]
    miniapp_req: dict[str, Any] = field(default_factory=dict)
    priority: int = 50
    status: str = "running"
    attempt: int = 1
    ended_at: datetime | None = None
    error: dict[str, Any] | None = None
    outputs: list[str] = field(default_factory=list)
    notification_status: str = "none"
    retry: dict[str, Any] | None = None
    jobs: list[JobStory] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    events: list[tuple[datetime, str, dict[str, Any]]] = field(default_factory=list)


@dataclass(slots=True)
class Teller:
    """Tells stories; `recipe_ids` are the keys of each tenant's collections."""

    rng: Random
    now: datetime
    recipe_ids: list[list[str]]

    def tell(self, tenant: int, at: datetime) -> JobStory | WorkflowStory:
        """What became of something that was asked for at this moment."""
        age = (self.now - at).total_seconds()
        if age < 7_200 and self.rng.random() < 0.03:
            return self._single(tenant, at, catalogue.ANIMATE)
        if self.rng.random() < 0.002:
            return self._delayed(tenant)
        if self.rng.random() < 0.2:
            weights = [weight for _, weight in catalogue.SINGLES]
            service, _ = self.rng.choices(catalogue.SINGLES, weights)[0]
            return self._single(tenant, at, service)
        return self._generation(tenant, at)

    def _single(self, tenant: int, at: datetime, service: Service) -> JobStory:
        job = self._job(tenant, at, service, catalogue.payload_of(service, self.rng))
        fate = self.rng.random()
        if service is catalogue.ANIMATE:
            return job
        if fate < 0.004 and not service.kind:
            self._expire(job)
        elif fate < 0.012:
            self._cancel(job)
        else:
            self._work(job, at)
            if job.status == "failed" and self.rng.random() < 0.3:
                self._retry_job(job)
        return job

    def _delayed(self, tenant: int) -> JobStory:
        at = self.now - timedelta(minutes=self.rng.uniform(2, 50))
        job = self._job(tenant, at, catalogue.PING, {})
        job.run_at = self.now + timedelta(hours=self.rng.uniform(20, 70))
        return job

    def _job(self, tenant: int, at: datetime, service: Service, payload: dict[str, Any]) -> JobStory:
        return JobStory(
            id=self.id_at(at),
            service=service,
            tenant=tenant,
            created_at=at,
            payload=payload,
            trace_id=f"{self.rng.getrandbits(128):032x}",
            actor_id=f"service-{self.rng.randint(1, 4)}",
            priority=self.rng.choices((50, 80, 20), (90, 7, 3))[0],
            run_at=at,
            max_attempts=service.max_attempts,
        )

    def id_at(self, at: datetime) -> UUID:
        """A UUIDv7 of that moment."""
        millis = int(at.timestamp() * 1_000)
        bits = self.rng.getrandbits(74)
        return uuid.UUID(
            int=millis << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
        )

    def _generation(self, tenant: int, at: datetime) -> WorkflowStory:
        recipe = self.rng.choices(
            range(len(catalogue.RECIPES)), [weight for *_, weight in catalogue.RECIPES]
        )[0]
        workflow = self._workflow(tenant, at, recipe)
        for index, service in enumerate(catalogue.RECIPES[recipe][1]):
            workflow.jobs.append(self._step(workflow, index, service))
        if self.rng.random() < 0.006:
            self._cancel_workflow(workflow)
            return workflow
        self._run(workflow, at + timedelta(milliseconds=2))
        if workflow.status == "failed" and self.rng.random() < 0.4:
            self._retry_workflow(workflow)
        self._notify(workflow)
        return workflow

    def _workflow(self, tenant: int, at: datetime, recipe: int) -> WorkflowStory:
        key = self.id_at(at)
        rng = self.rng
        variables = {
            "prompt": catalogue.prompt(rng),
            "style": rng.choice(catalogue.STYLES),
            "seed": rng.randint(1, 99_999),
        }
        # Few users ask often, many now and then.
        user = f"user-{int(rng.paretovariate(1.1) * 20) % 5_000}" if rng.random() < 0.85 else ""
        workflow = WorkflowStory(
            id=key,
            workflow_id=f"workflow-{key.hex[2:12]}{key.hex[-14:]}",
            tenant=tenant,
            recipe=recipe,
            created_at=at,
            user_id=user,
            session_id=f"session-{rng.getrandbits(32):08x}" if user and rng.random() < 0.3 else "",
            trace_id=f"{rng.getrandbits(128):032x}",
            actor_id=f"service-{rng.randint(1, 4)}",
            variables=variables,
            priority=rng.choices((50, 80), (9, 1))[0],
        )
        workflow.miniapp_req = {
            "request_body": {
                "variables": variables,
                "workflow_id": workflow.workflow_id,
                "workflow_priority": workflow.priority,
            },
            "user_context": {"user_id": user or None, "collection_id": self.recipe_ids[tenant][recipe]},
            "metadata": {"timestamp": int(at.timestamp() * 1_000), "request_id": workflow.workflow_id},
        }
        return workflow

    def _step(self, workflow: WorkflowStory, index: int, service: Service) -> JobStory:
        first = {name: workflow.variables[name] for name in ("prompt", "style", "seed")}
        step = catalogue.steps_of(catalogue.RECIPES[workflow.recipe][1])[index]
        job = self._job(workflow.tenant, workflow.created_at, service, step["payload"] if index else first)
        job.trace_id, job.actor_id, job.priority = workflow.trace_id, workflow.actor_id, workflow.priority
        job.ctx = {"miniapp_req": workflow.miniapp_req}
        job.workflow, job.step_index = workflow, index
        job.is_filled_in = index == 0
        job.status = "waiting" if index else "queued"
        return job

    def _run(self, workflow: WorkflowStory, at: datetime) -> None:
        """Take the steps that have not completed through a run, from `at` on."""
        for job in workflow.jobs:
            if job.status == "completed":
                continue
            self._begin_step(workflow, job, at)
            self._work(job, at)
            if job.status == "failed":
                self._end(workflow, "failed", job.ended_at, error=job.error)
                return
            if job.status != "completed":
                return
            assert job.ended_at
            at = job.ended_at
        outputs = [workflow.jobs[-1].result["url"]] if workflow.jobs[-1].result.get("url") else []
        self._end(workflow, "completed", at, outputs=outputs)

    def _begin_step(self, workflow: WorkflowStory, job: JobStory, at: datetime) -> None:
        if job.step_index:
            job.payload = {"image": workflow.jobs[job.step_index - 1].result.get("url", ""), "scale": 2}
        job.status, job.run_at, job.is_filled_in = "queued", at, True

    def _end(
        self,
        workflow: WorkflowStory,
        status: str,
        at: datetime | None,
        *,
        outputs: list[str] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        assert at
        workflow.status, workflow.ended_at = status, at
        workflow.outputs, workflow.error = outputs or [], error
        done = sum(job.status == "completed" for job in workflow.jobs)
        workflow.runs.append(
            Run(
                number=workflow.attempt,
                status=status,
                ended_at=at,
                outputs=workflow.outputs,
                error=error,
                completed_steps=done,
            )
        )

    def _work(self, job: JobStory, due: datetime, *, is_bound_to_complete: bool = False) -> None:
        """Attempt a job from `due` on until it ends, or until now: then it waits in its queue."""
        while True:
            job.run_at = due
            started = due + timedelta(seconds=self._waited(job, due))
            failure = None if is_bound_to_complete else self._failure(job, started)
            ended = started + timedelta(seconds=self._took(job, failure))
            if ended >= self.now - timedelta(seconds=5):
                job.status = "queued"
                return
            attempt = self._attempt(job, failure, due, started, ended)
            if attempt.is_final:
                job.status, job.ended_at = attempt.outcome, ended
                return
            due = ended + timedelta(
                seconds=BACKOFF_SECONDS * 2 ** (attempt.number - 1) * self.rng.uniform(0.8, 1.2)
            )

    def _attempt(
        self, job: JobStory, failure: Failure | None, due: datetime, started: datetime, ended: datetime
    ) -> Attempt:
        number, worker = len(job.attempts) + 1, self._worker(job)
        error = self._error(job, failure, number, worker) if failure else None
        result = None if failure else self._result(job)
        attempt = Attempt(
            number=number,
            worker=worker,
            due_at=due,
            started_at=started,
            ended_at=ended,
            outcome="failed" if failure else "completed",
            result=result,
            error=error,
            is_final=failure is None or failure.is_permanent or number >= job.max_attempts,
        )
        job.attempts.append(attempt)
        job.result, job.error = result, error
        return attempt

    def _result(self, job: JobStory) -> Any:
        result = catalogue.result_of(job.service, job.id.hex, self.rng)
        is_last = job.workflow and job.step_index == len(job.workflow.jobs) - 1
        if is_last and self.rng.random() < 0.004:
            return {"seconds": round(self.rng.uniform(3, 20), 1)}  # it forgot what it had made
        return result

    def _error(self, job: JobStory, failure: Failure, number: int, worker: str) -> dict[str, Any]:
        if failure is catalogue.LOST:
            return _loss(number, worker, is_last=number >= job.max_attempts)
        message = failure.say(self.rng)
        error: dict[str, Any] = {"code": failure.code, "message": message}
        if failure.has_traceback:
            error["traceback"] = TRACEBACK.format(
                line=self.rng.randint(80, 120),
                inner=self.rng.randint(20, 90),
                service=job.service.name,
                message=message,
            )
        return error

    def _worker(self, job: JobStory) -> str:
        if job.service.kind:
            return f"{job.service.queue}@app-{self.rng.randint(1, 2)}:{self.rng.randint(410, 413)}"
        return self.rng.choice(job.service.workers)

    def _waited(self, job: JobStory, due: datetime) -> float:
        """Seconds from due to begun; more in the evening, when most is asked for."""
        typical = 0.006 if job.service.kind else 0.4 + 1.6 * load_at(due)
        return typical * self.rng.lognormvariate(0, 0.9)

    def _took(self, job: JobStory, failure: Failure | None) -> float:
        if failure and failure.code == TIMED_OUT:
            return job.service.timeout_seconds + self.rng.uniform(0.1, 2)
        median = job.service.seconds * (0.4 if failure else 1.0)
        return min(median * self.rng.lognormvariate(0, 0.45), job.service.timeout_seconds - 1.0)

    def _failure(self, job: JobStory, at: datetime) -> Failure | None:
        """What goes wrong with an attempt that is begun at this moment, if anything."""
        share = job.service.failure_share
        if is_outage(at) and not job.service.kind:
            share = min(share * 1.8, 0.9)
        if self.rng.random() >= share:
            return None
        weights = [failure.share for failure in job.service.failures]
        return self.rng.choices(job.service.failures, weights)[0]

    def _expire(self, job: JobStory) -> None:
        job.expires_at = job.created_at + timedelta(minutes=10)
        if job.expires_at >= self.now:
            return
        job.status, job.ended_at = "failed", job.expires_at + timedelta(seconds=self.rng.uniform(0.1, 1))
        job.error = {
            "code": "expired",
            "message": "Nobody began the job, or its next attempt, before it expired.",
        }

    def _cancel(self, job: JobStory) -> None:
        by = f"the operator {self.rng.choice(catalogue.OPERATORS)}"
        at = min(job.created_at + timedelta(seconds=self.rng.uniform(1, 90)), self.now)
        job.status, job.ended_at = "cancelled", at
        job.error = {"code": "cancelled", "message": f"Cancelled by {by}."}
        job.events.append((at, "cancelled", {"by": by}))

    def _cancel_workflow(self, workflow: WorkflowStory) -> None:
        by = f"the operator {self.rng.choice(catalogue.OPERATORS)}"
        at = min(workflow.created_at + timedelta(seconds=self.rng.uniform(1, 60)), self.now)
        error = {"code": "cancelled", "message": f"Cancelled by {by}."}
        for job in workflow.jobs:
            job.status, job.ended_at, job.error = "cancelled", at, error
        self._end(workflow, "cancelled", at, error=error)
        workflow.notification_status = "owed" if workflow.user_id else "none"
        workflow.events.append((at, "cancelled", {"by": by, "reason": "Not wanted any more."}))

    def _retry_at(self, ended_at: datetime | None) -> datetime | None:
        """When an operator has it tried again, or None where that would be later than now."""
        assert ended_at
        at = ended_at + timedelta(minutes=self.rng.uniform(2, 90))
        return at if at < self.now - timedelta(minutes=10) else None

    def _retry_job(self, job: JobStory) -> None:
        at = self._retry_at(job.ended_at)
        if at is None or not job.attempts:
            return
        change: dict[str, Any] = {}
        if "seed" in job.payload and self.rng.random() < 0.4:
            change = {"before": job.payload, "after": {**job.payload, "width": 768, "height": 768}}
            job.original_payload, job.payload = job.payload, change["after"]
        self._again(job, at)
        by = f"the operator {self.rng.choice(catalogue.OPERATORS)}"
        job.events.append((at, "retried", {"by": by, "reason": "The cause is mended.", **change}))

    def _retry_workflow(self, workflow: WorkflowStory) -> None:
        at = self._retry_at(workflow.ended_at)
        if at is None:
            return
        assert workflow.ended_at
        by, reason = f"the operator {self.rng.choice(catalogue.OPERATORS)}", "The cause is mended."
        workflow.retry = {
            "run": workflow.attempt + 1,
            "by": by,
            "reason": reason,
            "requested_at": at.isoformat(),
            "previous": {
                "status": workflow.status,
                "error": {name: (workflow.error or {}).get(name, "") for name in ("code", "message")},
                "failed_at": workflow.ended_at.isoformat(),
                "outputs": [],
            },
            "kept_steps": [job.service.name for job in workflow.jobs if job.status == "completed"],
            "rerun_steps": [job.service.name for job in workflow.jobs if job.status != "completed"],
        }
        workflow.events.append((at, "retried", {"by": by, "reason": reason}))
        workflow.status, workflow.attempt, workflow.ended_at = "running", workflow.attempt + 1, None
        workflow.error, workflow.outputs = None, []
        failed = next(job for job in workflow.jobs if job.status == "failed")
        self._again(failed, at)
        if failed.status == "completed":
            assert failed.ended_at
            self._run(workflow, failed.ended_at)
        elif failed.status == "failed":
            self._end(workflow, "failed", failed.ended_at, error=failed.error)

    def _again(self, job: JobStory, at: datetime) -> None:
        """One attempt more, which mostly completes."""
        job.status, job.ended_at, job.max_attempts = "queued", None, len(job.attempts) + 1
        self._work(job, at, is_bound_to_complete=self.rng.random() < 0.85)

    def _notify(self, workflow: WorkflowStory) -> None:
        """Whether the user of a workflow that has ended was told."""
        if workflow.status == "running":
            return
        fate = self.rng.random()
        if workflow.status == "completed" and fate < 0.008:
            workflow.notification_status = "failed"
        elif not workflow.user_id or workflow.status == "failed" or fate < 0.03:
            workflow.notification_status = "delivered"
        else:
            workflow.notification_status = "told"


def _loss(number: int, worker: str, *, is_last: bool) -> dict[str, Any]:
    """The error of an attempt whose worker went away, in the words of the sweep."""
    if is_last:
        return {
            "code": "poison",
            "message": f"The last of {number} attempts took its worker {worker} with it.",
        }
    return {"code": "worker_lost", "message": f"The worker {worker} stopped renewing its lease."}


def load_at(at: datetime) -> float:
    """How much is asked for at this time of day: 0 in the small hours, 1 in the evening."""
    hour = at.hour + at.minute / 60
    away = abs((hour - 19 + 12) % 24 - 12)
    return float(max(0.0, 1 - away / 12) ** 1.5)


def is_outage(at: datetime) -> bool:
    """Whether the storage is in trouble: for a good half hour, every other day."""
    return at.toordinal() % 2 == 0 and at.hour == 14 and at.minute >= 20
