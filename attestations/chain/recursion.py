"""Takes back what py_ecc, which comes with eth_account and web3, does to the whole process when it is imported.

It allows recursion 100,000 deep, though the stack has room for far less: JSON nested as deep, which anybody may
send, would then end the process where it is an error otherwise.
"""

from __future__ import annotations

import sys

# Read before the libraries are: this module is loaded when Django starts.
LIMIT = sys.getrecursionlimit()


def restore_recursion_limit() -> None:
    """Call it after importing one of them."""
    sys.setrecursionlimit(LIMIT)
