"""What the database announces by NOTIFY."""

from __future__ import annotations

CHANGES = "affidavit_changes"  # its payloads are ids of jobs and workflows of which something is new, 32 hex digits each
