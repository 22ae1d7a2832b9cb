"""Addresses of the top floor."""

from __future__ import annotations

from jobs.api.fields import WORKFLOW_ID
from jobs.urls import JOB, UUID, api
from webhooks.api import deliveries, endpoints, inbound, workflows

ENDPOINT = rf"api/webhook-endpoints/(?P<endpoint_id>{UUID})"
DELIVERY = rf"api/webhook-deliveries/(?P<delivery_id>{UUID})"
MESSAGE = rf"api/webhook-messages/(?P<message_id>{UUID})"

urlpatterns = [
    api("api/webhook-event-types", endpoints.EventTypes.as_view()),
    api("api/webhook-endpoints", endpoints.EndpointList.as_view(), "webhook-endpoints"),
    api(ENDPOINT, endpoints.EndpointDetail.as_view(), "webhook-endpoint"),
    api(f"{ENDPOINT}/pause", endpoints.PauseEndpoint.as_view()),
    api(f"{ENDPOINT}/resume", endpoints.ResumeEndpoint.as_view()),
    api(f"{ENDPOINT}/rotate", endpoints.RotateSecret.as_view()),
    api(f"{ENDPOINT}/revoke-earlier-secrets", endpoints.RevokeSecrets.as_view()),
    api(f"{ENDPOINT}/test", endpoints.TestEndpoint.as_view()),
    api(f"{ENDPOINT}/recover", endpoints.RecoverDeliveries.as_view()),
    api("api/webhook-messages", deliveries.MessageList.as_view(), "webhook-messages"),
    api(MESSAGE, deliveries.MessageDetail.as_view(), "webhook-message"),
    api("api/webhook-deliveries", deliveries.DeliveryList.as_view(), "webhook-deliveries"),
    api(DELIVERY, deliveries.DeliveryDetail.as_view(), "webhook-delivery"),
    api(f"{DELIVERY}/redeliver", deliveries.Redeliver.as_view()),
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/renotify", workflows.RenotifyWorkflow.as_view()),
    api(f"api/jobs/{JOB}/renotify", workflows.RenotifyJob.as_view()),
    api("api/webhook/workflow-completed", inbound.workflow_completed, "workflow-completed"),
    api("api/user_notified", inbound.user_notified, "user-notified"),
    api("miniapp-gen-mock", inbound.miniapp, "miniapp"),
]
