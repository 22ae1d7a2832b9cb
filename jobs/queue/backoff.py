"""When a failed attempt is tried again. Pure arithmetic."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a kind of job is tried again; times in seconds.

    `delays`, when given, is the explicit wait after the first, second … failure (the last one repeats).
    Otherwise the wait is `delay_seconds * backoff ** (failures - 1)`, never over `cap_seconds`. Up to `jitter`
    of it (a share) is added on top, so that a retry never comes early.
    `max_attempts` None means one more than there are `delays`, else the platform's default
    (`WORKER_RETRY_LIMIT`).
    """

    max_attempts: int | None = None
    delay_seconds: float = 5.0
    backoff: float = 2.0
    cap_seconds: float = 3600.0
    jitter: float = 0.2
    delays: tuple[float, ...] = ()

    @property
    def attempts(self) -> int | None:
        """How many attempts the policy itself allows; None leaves it to the platform."""
        return self.max_attempts or (len(self.delays) + 1 if self.delays else None)

    def overridden_by(self, own: Mapping[str, Any] | None) -> RetryPolicy:
        """This policy with what a job says of its own retries: some of the fields above, from JSON.

        A list takes the place of the formula with the attempts that went with it, and a part of the formula
        that of the list.
        """
        if not own:
            return self
        if "delays" in own:
            return replace(self, **{**own, "delays": tuple(own["delays"])}, max_attempts=None)
        return replace(self, **own, delays=self.delays if own.keys() <= {"jitter"} else ())

    def delay_after(self, failures: int, *, rng: random.Random | None = None) -> float:
        """Seconds to wait after the `failures`-th failed attempt (from 1)."""
        if self.delays:
            base = self.delays[min(failures, len(self.delays)) - 1]
        else:
            base = min(self.delay_seconds * self.backoff ** min(failures - 1, 64), self.cap_seconds)
        spread = rng or random
        return base * (1 + self.jitter * spread.random())


REMOTE_POLICY = RetryPolicy()
