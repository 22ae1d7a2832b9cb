"""Keeps the garbage collector off what lives as long as its process."""

from __future__ import annotations

import gc


def keep_for_ever() -> None:
    """Take all there is now out of the collector's rounds.

    A round through all that Django has loaded stops a request for a tenth of a second, and finds nothing.
    """
    gc.collect()
    gc.freeze()
