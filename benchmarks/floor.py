"""One process of the floor: claims and finishes batches with nothing but SQL. `python -m benchmarks.floor BATCH`.

It writes what the platform writes (the claim and its lease; result, end, counts and attestation), in as many commits,
but runs no handler, computes no digest, and the documents never leave the server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg

SQL = Path(__file__).parent / "sql"


def drain(batch: int) -> None:
    """Empty the default queue."""
    claim, finish = (SQL / "floor_claim.sql").read_bytes(), (SQL / "floor_finish.sql").read_bytes()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0) as connection:
        name = {"worker": f"floor:{os.getpid()}", "batch": batch}
        while ids := [row[0] for row in connection.execute(claim, name)]:
            connection.execute(finish, {"ids": ids})


if __name__ == "__main__":
    drain(int(sys.argv[1]))
