"""What the middle floor says upwards."""

from __future__ import annotations

from django.dispatch import Signal

# Sent with `submissions: Sequence[Submission]`, complete or rejected, inside the transaction that has ended them. A
# listener issues a number of statements that does not grow with the submissions, and raises when it can't store what
# it must.
submissions_ended = Signal()
