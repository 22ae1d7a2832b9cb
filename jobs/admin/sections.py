"""What upper floors add to the pages of jobs and workflows and to the overview, which know nothing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.units.traces import Trace, TracePart
from jobs.admin.verbs import Verb
from jobs.models import Job, Workflow
from jobs.rollups.reading import Window

# A section gives its HTML, empty for an account that may not see it. `admin/` modules of upper floors append.
job_sections: list[Callable[[HttpRequest, Job], SafeString | str]] = []
workflow_sections: list[Callable[[HttpRequest, Workflow], SafeString | str]] = []
# What else an operator may do to them.
job_verbs: list[Verb] = []
workflow_verbs: list[Verb] = []
# What there is of a trace; None for an account that may not see it.
trace_parts: list[Callable[[HttpRequest, Trace], TracePart | None]] = []
# Rows under "Needs attention", as templates/admin/parts/rows.html takes them; none for an account that may not see.
overview_warnings: list[Callable[[HttpRequest], list[dict[str, Any]]]] = []
# Cards of the overview, over the time of a window; empty for an account that may not see one.
overview_sections: list[Callable[[HttpRequest, Window], SafeString | str]] = []
