"""A common axis for what took milliseconds and what was waited for overnight. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# A time in which nothing was at work is drawn no longer than this share of all the work.
IDLE_SHARE = 0.15
IDLE_MIN = timedelta(seconds=1)
TICKS = 5


@dataclass(frozen=True, slots=True)
class Break:
    """A time that is drawn shorter than it was: where it stands, in percent, and how long it was."""

    left: float
    width: float
    length: timedelta


class Scale:
    """Places times between 0 and 100 percent; long times in which nothing was at work take little of it.

    `busy` are the times of work, `others` those of which anything else is shown.
    """

    def __init__(
        self, busy: Sequence[tuple[datetime, datetime]], others: Iterable[datetime], *, begin: datetime
    ) -> None:
        ends = {begin, *others, *(at for pair in busy for at in pair)}
        self._times = sorted(ends)
        lengths = [later - sooner for sooner, later in zip(self._times, self._times[1:], strict=False)]
        worked = _covered(busy, self._times)
        work = sum((length for length, at_work in zip(lengths, worked, strict=True) if at_work), timedelta())
        longest = max(work * IDLE_SHARE, IDLE_MIN) if work else timedelta.max
        drawn = [
            length if at_work else min(length, longest)
            for length, at_work in zip(lengths, worked, strict=True)
        ]
        whole = sum(drawn, timedelta()) or timedelta(milliseconds=1)
        self._places = [0.0]
        for length in drawn:
            self._places.append(self._places[-1] + 100 * (length / whole))
        self.breaks = [
            Break(self._places[place], self._places[place + 1] - self._places[place], length)
            for place, length in enumerate(lengths)
            if drawn[place] < length
        ]

    def place(self, at: datetime) -> float:
        """Where a time stands, in percent; what is outside stands at the edge."""
        if at <= self._times[0]:
            return 0.0
        if at >= self._times[-1]:
            return self._places[-1]
        after = bisect.bisect_right(self._times, at)
        since, until = self._times[after - 1], self._times[after]
        share = (at - since) / (until - since)
        return self._places[after - 1] + share * (self._places[after] - self._places[after - 1])

    def ticks(self) -> list[tuple[float, timedelta]]:
        """Places, and how long after the beginning they are."""
        return [(100 * step / (TICKS - 1), self._since_at(100 * step / (TICKS - 1))) for step in range(TICKS)]

    def _since_at(self, place: float) -> timedelta:
        after = min(bisect.bisect_left(self._places, place), len(self._places) - 1)
        if after == 0:
            return timedelta()
        left, right = self._places[after - 1], self._places[after]
        share = (place - left) / (right - left) if right > left else 1.0
        since, until = self._times[after - 1], self._times[after]
        return since - self._times[0] + (until - since) * min(share, 1.0)


def _covered(busy: Sequence[tuple[datetime, datetime]], times: Sequence[datetime]) -> list[bool]:
    """Of each time between two of `times` whether anything was at work in it."""
    steps = [0] * len(times)
    places = {at: place for place, at in enumerate(times)}
    for begin, end in busy:
        steps[places[begin]] += 1
        steps[places[end]] -= 1
    answer, running = [], 0
    for step in steps[:-1]:
        running += step
        answer.append(running > 0)
    return answer
