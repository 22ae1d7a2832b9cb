"""What the demo shows: bars and a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from jobs.demo.submission import STAGES

STAGES_OF_JOBS = ("setup", "prove", "verify", "load", "send", "confirm")


class Screen:
    """Writes for people on a terminal and for programs everywhere else."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something is under way."""
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            self.say(text)
            yield

    def watch(self, states: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """Show a workflow's jobs while they run; the last state."""
        with _bars(self.console) as bars:
            rows: dict[str, TaskID] = {}
            told: dict[str, str] = {}
            for workflow in states:
                for job in workflow["jobs"]:
                    self._show(job, bars, rows, told)
        return workflow

    def watch_submission(self, states: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """Show the stages of a submission as it goes through them; the last state."""
        with _bars(self.console) as bars:
            row = bars.add_task("", total=len(STAGES))
            shown = 0
            for submission in states:
                reached = STAGES.index(submission["status"]) + 1
                bars.update(row, completed=reached, description=f"{'submission':<8} {submission['status']}")
                if not self.console.is_terminal:
                    # Also those that were over before anybody looked.
                    for stage in STAGES[shown:reached]:
                        self.say(f"submission: {stage}")
                shown = reached
        return submission

    def _show(
        self, job: dict[str, Any], bars: Progress, rows: dict[str, TaskID], told: dict[str, str]
    ) -> None:
        if self.console.is_terminal:
            if job["id"] not in rows:
                rows[job["id"]] = bars.add_task("", total=100)
            words = f"{job['step_name']:<8} {job['status']:<10} {job['worker']}"
            bars.update(rows[job["id"]], completed=job["progress"], description=words)
        elif told.get(job["id"]) != job["status"]:
            told[job["id"]] = job["status"]
            self.say(f"{job['step_name']}: {job['status']}")

    def evidence(
        self,
        workflow: dict[str, Any],
        attestations: list[dict[str, Any]],
        deliveries: list[dict[str, Any]],
        pictures: list[str],
    ) -> None:
        """Everything that the run has left; each attestation key on a line of its own, unwrapped."""
        rows = [("workflow", f"{workflow['workflow_id']}  {workflow['status']}")]
        rows += [
            (
                f"job {job['step_name']}",
                f"{job['id']}  {job['status']}, attempt {job['attempt']} by {job['worker']}",
            )
            for job in workflow["jobs"]
        ]
        rows += [("picture", path) for path in pictures]
        rows += [
            (f"webhook {item['type']}", f"{item['status']}, {_attempts(item['attempts'])}")
            for item in deliveries
        ]
        rows += [("user told", f"{workflow['user_id']}  {workflow['notification_status']}")]
        rows += [("trace id", workflow["trace_id"])]
        rows += [("evaluation", workflow["status_category"])]
        self._left("Evidence", rows, attestations)

    def publication(
        self,
        submission: dict[str, Any],
        workflow: dict[str, Any],
        attestations: list[dict[str, Any]],
        deliveries: list[dict[str, Any]],
        record: dict[str, Any] | None,
    ) -> None:
        """What the submission of the picture has left, and what the contract says of it where it was published."""
        rows = [
            ("submission", f"{submission['id']}  {submission['status']}"),
            ("sha256", submission["sha256_hash"]),
            ("proof", f"{submission['proof_system']}, {_stages(submission['generation'])}"),
            ("publishing", _stages(submission["publishing"])),
        ]
        rows += [
            (f"webhook {item['type']}", f"{item['status']}, {_attempts(item['attempts'])}")
            for item in deliveries
        ]
        rows += [("trace id", submission["trace_id"]), ("evaluation", workflow["status_category"])]
        if record:
            rows += [
                ("contract", f"{record['contract_address']} on chain {record['chain_id']}"),
                ("its submitter", record["submitter"]),
                ("its commitment", record["commitment"]),
                ("its time", f"{record['time']}, block {record['transaction']['block_number']}"),
            ]
        self._left("Submission", rows, attestations)

    def _left(self, title: str, rows: list[tuple[str, str]], attestations: list[dict[str, Any]]) -> None:
        table = Table("", "", show_header=False, title=title, title_justify="left")
        for name, value in rows:
            if self.console.is_terminal:
                table.add_row(name, value)
            else:
                self.say(f"{name}: {value}")
        if self.console.is_terminal:
            self.console.print(table)
            self.say("Attestations")
        for attestation in attestations:
            self.say(attestation["attestation_key"])


def _stages(job: dict[str, Any]) -> str:
    """The seconds that each stage of a job took, in their order."""
    return ", ".join(
        f"{stage} {job['stages'][stage]:.2f} s" for stage in STAGES_OF_JOBS if stage in job["stages"]
    )


def _attempts(attempts: list[dict[str, Any]]) -> str:
    """Each attempt by its answer and how long it took."""
    return ", then ".join(
        f"{item['status_code'] or item['reason']} in {item['duration_ms']} ms" for item in attempts
    )


def _bars(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
