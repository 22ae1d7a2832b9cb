"""JSON logs: one object per line, with the trace of the work it speaks of."""

from __future__ import annotations

import functools
import json
import logging
import logging.config
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from config.tracing import log_fields

HOSTNAME = socket.gethostname()

# What `logging` itself puts on a record; everything else came through `extra` and is logged. But for Django's request:
# its text is the address with the query, in which there may be a stream token.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "request"}
LINE_START = '{"level": "'  # by which a line is known for one of ours
LONG_LINE_CHARS = 600  # what a job that completes says is shorter
Clean = Callable[[Any], Any]
_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


class JsonFormatter(logging.Formatter):
    """Format a record as `{level, time, pid, hostname, traceId, tenantId, actorId, requestId, msg, …}`.

    The trace fields are those bound by `config.tracing`, or come from `extra` where one line speaks of a job
    of its own. Every job of a busy cluster passes here, so nothing is made twice. A long line goes through
    `clean`, for what nobody wants to find in a log: it comes as an argument, being of a floor above.
    """

    def __init__(self, *args: Any, clean: Clean | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clean = clean

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__
        entry: dict[str, Any] = {
            "level": record.levelname.lower(),
            "time": f"{_second(int(record.created))}.{int(record.msecs):03}+00:00",
            "pid": os.getpid(),
            "hostname": HOSTNAME,
            "logger": record.name,
            "msg": record.getMessage(),
            **log_fields(),
            **{name: fields[name] for name in fields.keys() - _BUILT_IN},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        line = _encode(entry)
        if self.clean and len(line) > LONG_LINE_CHARS:
            # Once as values, and once as the text to which encoding has brought objects of any kind.
            line = self.clean(_encode(self.clean(entry)))
        return line


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def logging_dict(level: str) -> dict[str, Any]:
    """Configuration for `logging`: every line of `level` and above goes to standard error as JSON."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": JsonFormatter, "clean": "ext://jobs.hygiene.sanitizer.sanitize_base64"}
        },
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
    # Nobody prints which line of code spoke, or in which thread: finding out costs more than the line.
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
