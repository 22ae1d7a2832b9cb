"""The index page: what goes on, what came of it lately, and what needs attention."""

from __future__ import annotations

from jobs.admin.overview.page import add_figures

__all__ = ["add_figures"]
