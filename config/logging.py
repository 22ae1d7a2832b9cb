"""JSON logs: one object per line, with the trace of the work it speaks of."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import socket
from datetime import UTC, datetime
from typing import Any

import structlog

HOSTNAME = socket.gethostname()

# What `logging` itself puts on a record; everything else came through `extra` and is logged.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Format a record as `{level, time, pid, hostname, traceId, tenantId, actorId, requestId, msg, …}`.

    The trace fields come from structlog's context variables (bound by `config.tracing`), or from `extra`
    where one line speaks of a job of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "level": record.levelname.lower(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "pid": os.getpid(),
            "hostname": HOSTNAME,
            "logger": record.name,
            "msg": record.getMessage(),
            **structlog.contextvars.get_contextvars(),
        }
        entry.update((key, value) for key, value in vars(record).items() if key not in _BUILT_IN)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def logging_dict(level: str) -> dict[str, Any]:
    """Configuration for `logging`: every line of `level` and above goes to standard error as JSON."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # django-q2 gives itself a plain handler unless it finds one, and says much.
            "django-q": {"level": "WARNING"},
            "_granian": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
        },
    }


def configure_logging(level: str) -> None:
    """Set `logging` up for this process."""
    logging.config.dictConfig(logging_dict(level))
