"""The queue's promises, kept whatever clients, workers, operators and time do to it, in any order.

Each example is a transaction of its own that is rolled back. After every step all rows are read and checked.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from attestations.models import Attestation
from jobs.errors import InvalidTransition, LeaseLost
from jobs.models import Job, Queue, Workflow
from jobs.queue import handlers
from jobs.queue.claim import Lease, claim_in_house, claim_remote, renew
from jobs.queue.enqueue import NewJob, enqueue_jobs
from jobs.queue.finish import finish
from jobs.queue.handlers import NoPayload, handler
from jobs.queue.outcomes import Outcome
from jobs.queue.sweep import sweep
from jobs.services.jobs import cancel_job, complete_job, fail_job, retry_job
from jobs.services.queues import limit_queue, pause_queue, resume_queue
from jobs.services.workflows import Step, cancel_workflow, retry_workflow, start_workflow
from jobs.statements import run
from tests.factories import make_tenant

Lane = tuple[str, bool]  # name, is_remote
LIGHT, HEAVY, SILENT = "machine.light", "machine.heavy", "machine.silent"
KINDS = {LIGHT: {"batch_size": 10}, HEAVY: {}, SILENT: {"queue": "webhooks", "is_attested": False}}
QUEUES = ["default", "webhooks"]
SERVICES = ["cpu", "gpu"]
LANES: list[Lane] = [("default", False), ("webhooks", False), ("gpu", True)]  # those with a record
PAST = timedelta(minutes=10)  # longer than a job's timeout
# Nothing becomes due or expires by itself while an example runs.
LATER = {"delay_seconds": 3600}
COLUMNS = (
    *("id", "tenant_id", "kind", "service_required", "queue", "singleton_key", "payload", "result", "status"),
    *("attempt", "max_attempts", "lease_token", "cancel_requested_at", "workflow_id"),
)

kinds = st.sampled_from(list(KINDS))
services = st.sampled_from(SERVICES)
places = st.fixed_dictionaries({"kind": kinds}) | st.fixed_dictionaries({"service_required": services})
singletons = st.fixed_dictionaries({"kind": st.just(HEAVY), "singleton_key": st.just("only")})
options = st.fixed_dictionaries(
    {"max_attempts": st.integers(1, 3), "priority": st.sampled_from([10, 50, 90])}
)


def one_of(name: str) -> st.SearchStrategy[Any]:
    """One of what the machine has under this name."""
    return st.runner().flatmap(lambda machine: st.sampled_from(getattr(machine, name)))


class QueueMachine(RuleBasedStateMachine):
    """Knows which leases are live and which jobs it has submitted; everything else it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.tenants = [make_tenant(), make_tenant()]
        for name, is_remote in LANES:
            Queue.objects.get_or_create(name=name, is_remote=is_remote)
        self.submitted: list[UUID] = []
        self.live: dict[UUID, Lease] = {}
        self.over: list[Lease] = []
        self.retried: set[UUID] = set()  # by an operator, in the step at hand
        self.steered_at = 0  # jobs; once for each that is submitted is enough
        # As the last step left them.
        self.jobs: dict[UUID, Any] = {}  # every row
        self.workflows: dict[UUID, tuple[int, str]] = {}  # attempt, status
        self.open_lanes: list[Lane] = []  # in which a claim finds something
        self.busy_lanes: list[Lane] = []  # with something due

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    # --- Clients

    @initialize(first=places, second=places, said=options, is_begun=st.booleans())
    def begin(self, first: Any, second: Any, said: dict[str, int], is_begun: bool) -> None:
        """With a little of everything, for Hypothesis leaves out most rules most of the time."""
        self.submit_workflow(first=first, second=second, owner=0, said=said)
        self.submit(place={"kind": HEAVY, "singleton_key": "only"}, owner=0, said=said)
        for lane in LANES if is_begun else []:
            self.claim(lane=lane, owner=0, limit=200)

    @precondition(lambda self: self.has_room)
    @rule(place=places | singletons, owner=st.integers(0, 1), said=options)
    def submit(self, place: dict[str, str], owner: int, said: dict[str, int]) -> None:
        # What holds a singleton key here is the platform's own.
        tenant_id = None if "singleton_key" in place else self.tenants[owner].pk
        new = NewJob(tenant_id=tenant_id, payload={}, retry=LATER, **place, **said)
        holder = self._holder_of(new)

        assert enqueue_jobs([new]) == [holder or new.id]

        if holder is None:
            self.submitted.append(new.id)

    @precondition(lambda self: self.has_room)
    @rule(first=places, second=places, owner=st.integers(0, 1), said=options)
    def submit_workflow(self, first: Any, second: Any, owner: int, said: dict[str, Any]) -> None:
        chances = {"max_attempts": said["max_attempts"], "retry": LATER}
        steps = [
            Step(name="first", payload={}, options=chances, **first),
            Step(name="second", payload={"of": "${steps.first.result.url}"}, options=chances, **second),
        ]
        name = f"workflow-{len(self.submitted)}"
        _, jobs = start_workflow(self.tenants[owner], workflow_id=name, steps=steps, actor_id="", data={})
        self.submitted += [job.pk for job in jobs]

    # --- Workers

    @precondition(lambda self: self.open_lanes)
    @rule(lane=one_of("open_lanes"), owner=st.integers(0, 1), limit=st.sampled_from([1, 200]))
    def claim(self, lane: Lane, owner: int, limit: int) -> None:
        name, is_remote = lane
        if is_remote:
            rows = claim_remote(self.tenants[owner].pk, [name, "idle"], "worker", limit=limit)
        else:
            rows = claim_in_house(name, "cluster", limit=limit)

        assert not {row.id for row in rows} & self.live.keys()
        self.live |= {row.id: Lease(row.id, row.lease_token) for row in rows}
        for lease in (lease for lease in self.over if lease.job_id in self.live):  # whose holder is too late
            job = Job.objects.get(pk=lease.job_id)
            assert renew([lease]) == {}
            with pytest.raises(LeaseLost):
                complete_job(job, lease.token, {})
            with pytest.raises(LeaseLost):
                fail_job(job, lease.token, "broken", "It broke.", is_retryable=False)

    @precondition(lambda self: self.held)
    @rule(lease=one_of("held"), how=st.sampled_from(["done", "broken", "hopeless", "lost", "overrun"]))
    def end(self, lease: Lease, how: str) -> None:
        """A worker tells, or is heard of no more; a job without a next attempt fails for good."""
        before, job = self.jobs[lease.job_id], Job.objects.get(pk=lease.job_id)
        Job.objects.filter(pk=job.pk).update(lease_expires_at=Now() - PAST)
        (renewal,) = renew([lease]).values()
        assert renewal.is_cancel_requested == bool(before.cancel_requested_at)
        assert sweep().lapsed == 0  # just in time

        match how:
            case "done":
                complete_job(job, lease.token, {"url": "https://example.com/1.png"})
            case "broken" | "hopeless":
                fail_job(job, lease.token, how, "It broke.", is_retryable=how == "broken")
            case _:
                started_at = Now() - PAST if how == "overrun" else F("started_at")
                Job.objects.filter(pk=job.pk).update(lease_expires_at=Now() - PAST, started_at=started_at)
                assert sweep().lapsed == 1

        job.refresh_from_db()
        is_retried = how != "hopeless" and before.attempt < before.max_attempts
        failed = "cancelled" if before.cancel_requested_at else "queued" if is_retried else "failed"
        assert job.status == ("completed" if how == "done" else failed)
        self.over.append(self.live.pop(lease.job_id))

    @precondition(lambda self: self.held)
    @rule(result=st.sampled_from([{"url": "https://example.com/1.png"}, {}]))
    def complete_all_together(self, result: Any) -> None:
        """With what comes too late among them; a second step without its input fails."""
        told = dict.fromkeys(self.over, "late") | dict.fromkeys(self.held, result)
        done = finish([Outcome(lease=each, status="completed", result=told[each]) for each in told])

        assert done == set(self.live)
        assert not Job.objects.filter(result="late").exists()
        self.over += self.held
        self.live.clear()

    # --- Time

    @precondition(lambda self: self.perishable)
    @rule(job_id=one_of("perishable"))
    def expire(self, job_id: UUID) -> None:
        """But for a step that waits for a retry, or for the end of one that has been asked to stop."""
        before = self.jobs[job_id]
        is_over = before.workflow_id and self.workflows[before.workflow_id][1] != "running"
        is_spared = before.status == "waiting" and (is_over or before.cancel_requested_at)
        Job.objects.filter(pk=job_id).update(expires_at=Now() - PAST)

        sweep()

        job = Job.objects.get(pk=job_id)
        if is_spared:
            assert (job.status, job.expires_at) == ("waiting", None)
        else:
            assert (job.status, job.error and job.error["code"]) == ("failed", "expired")

    @precondition(lambda self: self.delayed)
    @rule(job_id=one_of("delayed"))
    def become_due(self, job_id: UUID) -> None:
        Job.objects.filter(pk=job_id).update(run_at=Now())

    # --- Operators

    @precondition(lambda self: self.unwanted)
    @rule(job_id=one_of("unwanted"))
    def cancel(self, job_id: UUID) -> None:
        job = self.jobs[job_id]
        # It would end for good what a retry of the step before it may still need.
        is_needed = job.status == "waiting" and self.workflows[job.workflow_id][1] == "failed"

        with _refused(is_needed):
            cancelled = cancel_job(Job.objects.get(pk=job_id), by="operator")
            assert cancelled.status == "cancelled" or cancelled.cancel_requested_at

    @precondition(lambda self: self.unsuccessful)
    @rule(job_id=one_of("unsuccessful"))
    def retry(self, job_id: UUID) -> None:
        job = self.jobs[job_id]
        may_run = not self._holder_of(job)
        if job.workflow_id:
            first, second = self._steps_of(job.workflow_id)
            # The second needs what the first has made.
            is_in_turn = job is first or bool(first.result)
            may_run = self.workflows[job.workflow_id][1] == "failed" and is_in_turn

        with _refused(not may_run):
            retried = retry_job(Job.objects.get(pk=job_id), by="operator")
            assert (retried.status, retried.attempt) == ("queued", job.attempt)
            assert (retried.cancel_requested_at, retried.expires_at) == (None, None)
            self.retried = {first.id, second.id} if job.workflow_id else {job_id}

    @precondition(lambda self: self.retriable)
    @rule(key=one_of("retriable"))
    def retry_all(self, key: UUID) -> None:
        """Only what failed runs; whatever has become of a second step, it waits for its turn again."""
        attempt, status = self.workflows[key]
        first, second = self._steps_of(key)
        is_without_input = first.status == "completed" and not first.result

        is_stopping = first.status == "running" and first.cancel_requested_at

        with _refused(status != "failed" or is_without_input or is_stopping):
            retried = retry_workflow(Workflow.objects.get(pk=key), by="operator")
            assert (retried.status, retried.attempt, retried.last_retry_attempt) == (
                "running",
                attempt + 1,
                attempt,
            )
            now = [Job.objects.get(pk=step.id).status for step in (first, second)]
            is_live = first.status in ("queued", "running")
            begun = first.status if is_live else "queued"
            assert now == (["completed", "queued"] if first.status == "completed" else [begun, "waiting"])
            self.retried = {first.id, second.id}

    @precondition(lambda self: self.cancellable)
    @rule(key=one_of("cancellable"))
    def cancel_all(self, key: UUID) -> None:
        """At once, or with the step that runs."""
        _, status = self.workflows[key]
        is_running = "running" in [step.status for step in self._steps_of(key)]

        with _refused(status != "running"):
            cancelled = cancel_workflow(Workflow.objects.get(pk=key), by="operator")
            assert cancelled.status == ("running" if is_running else "cancelled")
            assert not Job.objects.filter(workflow=key, status="queued").exists()

    @precondition(lambda self: self.busy_lanes and self.steered_at < len(self.submitted))
    @rule(lane=one_of("busy_lanes"), is_paused=st.booleans(), limit=st.sampled_from([None, 1]))
    def steer(self, lane: Lane, is_paused: bool, limit: int | None) -> None:
        queue = Queue.objects.get(name=lane[0], is_remote=lane[1])
        self.steered_at = len(self.submitted)
        limit_queue(queue, limit)
        pause_queue(queue, by="operator") if is_paused else resume_queue(queue)

    # --- What holds after every step

    @invariant()
    def promises_hold(self) -> None:
        before, self.jobs = self.jobs, _read_jobs()
        self.workflows = {row[0]: row[1:] for row in Workflow.objects.values_list("pk", "attempt", "status")}
        queues = {(queue.name, queue.is_remote): queue for queue in Queue.objects.all()}
        assert set(self.jobs) == set(self.submitted)  # so their number by status sums to it, too
        self._check_changes(before, queues)
        self._check_holders()
        self._check_attestations()
        self._check_workflows()
        self._check_claims(queues)

    def _check_changes(self, before: dict[UUID, Any], queues: dict[Lane, Queue]) -> None:
        """Only allowed transitions; final is final but for an operator; a claim counts the attempt."""
        begun = Counter[Lane]()
        for job_id, was in before.items():
            now = self.jobs[job_id]
            assert was.status == now.status or now.status in Job.TRANSITIONS[Job.Status(was.status)]
            assert was.status in Job.LIVE or was.status == now.status or job_id in self.retried
            is_begun = was.status == "queued" and now.status == "running"
            assert now.attempt == was.attempt + is_begun
            if is_begun:
                assert was.is_due
                begun[_lane_of(now)] += 1
        for lane in begun.keys() & queues.keys():
            assert not queues[lane].is_paused
            assert self._running_in(lane) <= (queues[lane].max_running or len(self.jobs))
        self.retried = set()

    def _check_holders(self) -> None:
        """A job has one lease while it runs, the one its claim gave; a singleton key has one live job."""
        for job in self.jobs.values():
            assert job.attempt <= job.max_attempts
            assert (job.status == "running") == (job.lease_token is not None)
        held = {job.id: job.lease_token for job in self.jobs.values() if job.lease_token}
        assert held == {lease.job_id: lease.token for lease in self.live.values()}
        assert len(set(held.values())) == len(held)
        keys = [_key_of(job) for job in self.jobs.values() if job.singleton_key and job.status in Job.LIVE]
        assert len(set(keys)) == len(keys)

    def _check_attestations(self) -> None:
        """Every ended attempt and workflow run once, numbered without a gap, under a key of its own."""
        rows = Attestation.objects.values_list(
            "tenant", "attestation_key", "job", "workflow", "retry_attempt"
        )
        assert len({row[:2] for row in rows}) == len(rows)
        attested = Counter((job_id or workflow_id, n) for _, _, job_id, workflow_id, n in rows)
        jobs = [job for job in self.jobs.values() if job.kind != SILENT]
        ended = {job.id: job.attempt - (job.status == "running") for job in jobs}
        ended |= {key: attempt - (status == "running") for key, (attempt, status) in self.workflows.items()}
        assert attested == Counter((key, n) for key, count in ended.items() for n in range(count))

    def _check_workflows(self) -> None:
        """A workflow runs while a step can still go on, and ends as the step that decided."""
        for key, (_, status) in self.workflows.items():
            first, second = self._steps_of(key)
            steps = Counter([first.status, second.status])
            if second.status in ("queued", "running", "completed"):
                assert (first.status, second.payload) == ("completed", {"of": first.result["url"]})
            if status == "running":
                assert steps["queued"] or steps["running"], f"nothing will end it: {steps}"
                assert not steps["failed"], f"it has failed: {steps}"
                assert not steps["cancelled"], f"it was cancelled: {steps}"
            elif status == "completed":
                assert steps == {"completed": 2}
            else:
                assert steps[status], f"no step is {status}: {steps}"
                assert status == "failed" or not steps["waiting"], f"nothing will start it: {steps}"

    def _check_claims(self, queues: dict[Lane, Queue]) -> None:
        """Whatever is due can be claimed, as far as its queue has room; the dispatchers know it."""
        due = _by_lane(job for job in self.jobs.values() if job.status == "queued" and job.is_due)
        taken = self._drain()
        self.open_lanes, self.busy_lanes = sorted(taken), [lane for lane in LANES if lane in due]
        assert taken.keys() <= due.keys()
        for lane, ids in due.items():
            queue, claimed = queues.get(lane), taken.get(lane, set())
            assert claimed <= ids
            room = len(ids)
            if queue and queue.max_running:
                room = min(room, max(queue.max_running - self._running_in(lane), 0))
            assert len(claimed) == (0 if queue and queue.is_paused else room)
        for name in QUEUES:
            seconds = run("next_due", {"queue": name})[0].seconds
            assert (seconds is not None and seconds <= 0) == ((name, False) in taken)

    def _drain(self) -> dict[Lane, set[UUID]]:
        """What claims take until nothing is left, by lane; it is given back."""
        rows: list[Any] = []
        with transaction.atomic():
            queued = [job for job in self.jobs.values() if job.status == "queued"]
            for queue in {job.queue for job in queued if job.kind}:
                while claimed := claim_in_house(queue, "drain"):
                    rows += claimed
            for tenant_id in {job.tenant_id for job in queued if job.service_required}:
                while claimed := claim_remote(tenant_id, SERVICES, "drain", limit=100):
                    rows += claimed
            transaction.set_rollback(True)
        assert len({row.id for row in rows}) == len(rows)
        return _by_lane(self.jobs[row.id] for row in rows)

    # --- What the rules choose from, always in the order of submission

    @property
    def has_room(self) -> bool:
        """Few jobs at a time, so that much happens to each."""
        return len(self.unended) < 6

    @property
    def held(self) -> list[Lease]:
        return [self.live[job_id] for job_id in self.submitted if job_id in self.live]

    @property
    def unended(self) -> list[UUID]:
        return [job_id for job_id in self.submitted if self.jobs[job_id].status in Job.LIVE]

    @property
    def unwanted(self) -> list[UUID]:
        """Not all that are queued, or most jobs would never begin."""
        kept = set(self.submitted) - set(self.submitted[::3])
        return [key for key in self.unended if self.jobs[key].status != "queued" or key not in kept]

    @property
    def perishable(self) -> list[UUID]:
        return [
            job_id for job_id in self.unended if job_id in self.submitted[1::3] and job_id not in self.live
        ]

    @property
    def unsuccessful(self) -> list[UUID]:
        return [job_id for job_id in self.submitted if self.jobs[job_id].status in ("failed", "cancelled")]

    @property
    def known_workflows(self) -> list[UUID]:
        return list(
            dict.fromkeys(self.jobs[key].workflow_id for key in self.submitted if self.jobs[key].workflow_id)
        )

    @property
    def retriable(self) -> list[UUID]:
        """Not all of them, so that something is left for the retry of a job."""
        return self.known_workflows[::2]

    @property
    def cancellable(self) -> list[UUID]:
        """Every third, with a running step or without, or few would ever end otherwise."""
        running = {self.jobs[job_id].workflow_id for job_id in self.live}
        return [key for at, key in enumerate(self.known_workflows) if at % 3 == (0 if key in running else 2)]

    @property
    def delayed(self) -> list[UUID]:
        jobs = (self.jobs[job_id] for job_id in self.submitted)
        return [job.id for job in jobs if job.status == "queued" and not job.is_due]

    # ---

    def _holder_of(self, new: Any) -> UUID | None:
        live = (job for job in self.jobs.values() if job.status in Job.LIVE)
        return next((job.id for job in live if new.singleton_key and _key_of(job) == _key_of(new)), None)

    def _steps_of(self, workflow: UUID) -> list[Any]:
        return [self.jobs[key] for key in self.submitted if self.jobs[key].workflow_id == workflow]

    def _running_in(self, lane: Lane) -> int:
        return sum(job.status == "running" and _lane_of(job) == lane for job in self.jobs.values())


def _read_jobs() -> dict[UUID, Any]:
    rows = Job.objects.annotate(is_due=Q(run_at__lte=Now())).values_list(*COLUMNS, "is_due", named=True)
    return {row.id: row for row in rows}


def _lane_of(job: Any) -> Lane:
    return job.queue, bool(job.service_required)


def _by_lane(jobs: Iterable[Any]) -> dict[Lane, set[UUID]]:
    lanes: dict[Lane, set[UUID]] = defaultdict(set)
    for job in jobs:
        lanes[_lane_of(job)].add(job.id)
    return dict(lanes)


def _key_of(job: Any) -> tuple[Any, ...]:
    return job.tenant_id, job.kind, job.service_required, job.singleton_key


@contextlib.contextmanager
def _refused(is_refused: bool) -> Iterator[None]:
    with pytest.raises(InvalidTransition) if is_refused else contextlib.nullcontext():
        yield


@pytest.fixture
def _kinds() -> Iterator[None]:
    for kind, about in KINDS.items():
        handler(kind, payload=NoPayload, **about)(lambda envelope: None)
    yield
    for kind in KINDS:
        handlers.unregister(kind)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_kinds")
def test_the_queue_keeps_its_promises(request: pytest.FixtureRequest) -> None:
    is_long = request.config.getoption("--long")
    profile = settings(
        max_examples=1_000 if is_long else 35,
        stateful_step_count=80 if is_long else 40,
        derandomize=not is_long,  # the same examples every time; the long run looks for others
        database=None,
        phases=list(Phase) if is_long else [Phase.generate],  # to shrink an example takes minutes
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(QueueMachine, settings=profile)
