"""One generation over the REST API, from the request to its attestations, as any client would do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

COLLECTION = {
    "name": "demo",
    "steps": [
        {
            "name": "paint",
            "service_required": "artgen",
            "payload": {
                "operation": "paint",
                "prompt": "${variables.prompt}",
                "style": "${variables.style}",
                "seed": "${variables.seed}",
                "width": 1024,
                "height": 768,
            },
        },
        {
            "name": "frame",
            "service_required": "artgen",
            "payload": {
                "operation": "frame",
                "image": "${steps.paint.result.url}",
                "title": "${variables.prompt}",
            },
        },
    ],
}
APP = "the demo's app"
EVENTS = ["workflow.completed", "workflow.failed", "submission.complete", "submission.rejected"]
POLL_SECONDS = 0.25


class DemoFailed(Exception):
    """A link of the chain did not hold; the message says which."""


class Client:
    """The calls that the demo makes."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10, trust_env=False
        )

    def ensure_collection(self) -> str:
        """The id of the `demo` collection, with the steps above."""
        page = self._call("GET", "/api/collections?limit=200")
        mine = next((item for item in page["results"] if item["name"] == COLLECTION["name"]), None)
        if mine is None:
            return str(self._call("POST", "/api/collections", COLLECTION)["id"])
        self._call("PUT", f"/api/collections/{mine['id']}", COLLECTION)
        return str(mine["id"])

    def generate(self, variables: dict[str, Any], *, user_id: str) -> dict[str, Any]:
        """Submit a generation; the workflow as it was accepted."""
        path = f"/collections/{self.ensure_collection()}/generations"
        body = {"variables": variables, "user_id": user_id, "workflow_priority": 50}
        accepted: dict[str, Any] = self._call("POST", path, body)
        return accepted

    def watch(
        self, workflow_id: str, *, within_seconds: float, is_worker_alive: Callable[[], bool]
    ) -> Iterator[dict[str, Any]]:
        """The workflow over and over until it has ended. Raises DemoFailed when it can't end or takes too long."""
        end = time.monotonic() + within_seconds
        while time.monotonic() < end:
            if not is_worker_alive():
                raise DemoFailed("The art worker has died.")
            workflow = self.workflow(workflow_id)
            yield workflow
            if workflow["ended_at"]:
                return
            time.sleep(POLL_SECONDS)
        raise DemoFailed(f"{workflow_id} has not ended within {within_seconds:.0f} s.")

    def replace_endpoint(self, url: str) -> str:
        """Register the demo's app, in place of that of an earlier run; the secret it is called with."""
        for old in self._call("GET", "/api/webhook-endpoints")["results"]:
            if old["description"] == APP:
                self._call("DELETE", f"/api/webhook-endpoints/{old['id']}")
        endpoint = {"url": url, "description": APP, "event_types": EVENTS}
        return str(self._call("POST", "/api/webhook-endpoints", endpoint)["secret"])

    def watch_notification(self, workflow_id: str, *, within_seconds: float) -> dict[str, Any]:
        """The workflow once its user has been told; raises DemoFailed when that takes too long."""
        end = time.monotonic() + within_seconds
        while time.monotonic() < end:
            workflow = self.workflow(workflow_id)
            if workflow["notification_status"] == "told":
                return workflow
            time.sleep(POLL_SECONDS)
        raise DemoFailed(f"After {within_seconds:.0f} s: {workflow['notification_status']}, and not told.")

    def workflow(self, workflow_id: str) -> dict[str, Any]:
        """The workflow as it is now."""
        found: dict[str, Any] = self._call("GET", f"/api/workflows/{workflow_id}")
        return found

    def deliveries(self, workflow_id: str) -> list[dict[str, Any]]:
        """Each webhook that told of the workflow, with its attempts."""
        page = self._call("GET", f"/api/webhook-deliveries?workflow_id={workflow_id}")
        return [self._call("GET", f"/api/webhook-deliveries/{item['id']}") for item in page["results"]]

    def watch_deliveries(
        self, workflow_id: str, types: set[str], *, within_seconds: float
    ) -> list[dict[str, Any]]:
        """The webhooks that told of the workflow, once those of these types are over, or the time is."""
        end = time.monotonic() + within_seconds
        while True:
            deliveries = self.deliveries(workflow_id)
            over = {item["type"] for item in deliveries if item["status"] not in ("pending", "sending")}
            if types <= over or time.monotonic() > end:
                return deliveries
            time.sleep(POLL_SECONDS)

    def attestations(self, workflow_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", f"/api/workflows/{workflow_id}/all-attestations")[
            "attestations"
        ]
        return found

    def picture(self, url: str) -> bytes:
        """Download an output. Raises DemoFailed when it can't be had."""
        answer = self._http.get(url)
        if answer.status_code != 200:
            raise DemoFailed(f"{url} answered {answer.status_code}.")
        return answer.content

    def submit_picture(self, picture: bytes, *, user_id: str) -> dict[str, Any]:
        """Submit a picture, approved at once; the submission as it was accepted."""
        fields = {"auto_approve": "true", "user_id": user_id}
        files = {"image": ("picture.png", picture)}
        accepted: dict[str, Any] = self._call("POST", "/api/submissions", data=fields, files=files)
        return accepted

    def submission(self, submission_id: str) -> dict[str, Any]:
        """The submission as it is now, with its proof."""
        found: dict[str, Any] = self._call("GET", f"/api/submissions/{submission_id}")
        return found

    def _call(self, method: str, path: str, body: Any = None, **form: Any) -> Any:
        answer = self._http.request(method, path, json=body, **form)
        if answer.status_code >= 400:
            raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None


def check_evidence(
    workflow: dict[str, Any], attestations: list[dict[str, Any]], deliveries: list[dict[str, Any]]
) -> None:
    """Every link: the workflow completed, its attempts and its run attested, the request in each attestation,
    its webhook delivered, and the evaluator's word that it is complete.

    Raises DemoFailed naming the link that is missing.
    """
    if workflow["status"] != "completed":
        raise DemoFailed(f"The workflow ended as {workflow['status']}: {workflow['error']}")
    types = [item["attestation_type"] for item in attestations]
    if types.count("worker_completion") != workflow["total_steps"]:
        raise DemoFailed(f"There are {types.count('worker_completion')} worker completions.")
    if types.count("workflow_completion") != 1:
        raise DemoFailed("The workflow's own attestation is missing.")
    if any(item["attestation_data"]["miniapp_req"] != workflow["miniapp_req"] for item in attestations):
        raise DemoFailed("An attestation does not carry the user's request.")
    if not workflow["outputs"]:
        raise DemoFailed("The workflow has no output.")
    if [(item["type"], item["status"]) for item in deliveries] != [("workflow.completed", "delivered")]:
        raise DemoFailed("The webhook has not been delivered.")
    if workflow["status_category"] != "complete":
        found = workflow["problem_details"] or "not evaluated"
        raise DemoFailed(f"The evaluator does not call it complete: {found}")
