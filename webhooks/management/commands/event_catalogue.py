"""`manage.py event_catalogue`: prints docs/events.md."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from webhooks.events import CATALOGUE, EventType

HEAD = """\
# Events

What an endpoint may be told of. Every message is a `POST` of

```json
{"type": "job.completed", "timestamp": "2026-01-31T12:00:00.000Z", "workflow_id": null, "user_id": null, "data": {}}
```

`timestamp` is when it happened (RFC 3339, UTC), not when it was sent: that is in the `webhook-timestamp` header.
`workflow_id` and `user_id` are your own names of the workflow and of its user, or null. A message has 256 KiB at
most: values of `data` that do not fit are replaced by `{"$truncated": {"bytes": n}}`, and the API has them whole.
New members may be added to `data`; none is taken away.

An endpoint registered without `event_types` takes all of them, those to come as well. The schemas below are JSON
Schema 2020-12; `GET /api/webhook-event-types` answers the same. How messages are signed, tried again and received
is told in [webhooks.md](webhooks.md).
"""


class Command(BaseCommand):
    help = "Print the catalogue of event types (docs/events.md)."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(catalogue(), ending="")


def catalogue() -> str:
    """The page, from webhooks/events.py."""
    return "\n".join([HEAD, *(_section(event) for event in CATALOGUE.values())])


def _section(event: EventType) -> str:
    schema = json.dumps(event.schema, indent=2)
    return f"## `{event.name}`\n\n{event.tells}\n\n```json\n{schema}\n```\n"
