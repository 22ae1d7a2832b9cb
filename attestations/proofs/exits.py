"""How the programs `generate`, `verify` and `attest` speak and end: plain lines, and an exit code with one sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from attestations.chain.errors import ChainNotConfigured, ChainRefused, ChainUnavailable
from attestations.proofs.child import place_of
from attestations.proofs.making import LONG_NUMBER
from attestations.proofs.protocol import InvalidStatement, ProofFailed, ProverNotInstalled
from config.tracing import Trace, bound_trace, trace_id_of


class Exit(IntEnum):
    """Exit codes, the same for all three programs."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2  # an argument, a setting, or a file that can't be read or written
    NOT_INSTALLED = 3  # the prover
    NO_PROOF = 4  # it could not be made, or is none
    CHAIN = 5  # not now: it does not answer, or takes nothing
    REFUSED = 6  # by the chain, which would refuse it again


EXIT_CODES = """\
exit codes:
  0  done
  1  something unexpected
  2  an argument, a setting, or a file that can't be read or written
  3  the prover is not installed
  4  a proof could not be made, or what was given is none
  5  the chain does not answer, or takes nothing now
  6  the chain refuses for good"""


class UsageError(Exception):
    """An argument, a file or a setting is not what the program can work with; str() says which."""


def make_parser(module: str, description: str, files: str) -> argparse.ArgumentParser:
    """A parser whose --help documents arguments, files and exit codes."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=f"{files}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def short(number: str) -> str:
    """The first digits of a long hexadecimal number."""
    return f"{number[:10]}…" if number.startswith("0x") else f"{number[:8]}…"


def bytes_of(count: int) -> str:
    return "1 byte" if count == 1 else f"{count:,} bytes"


def run(program: Callable[[], None]) -> NoReturn:
    """Run a program to its exit code; whatever it raises is one sentence on stderr.

    What it logs carries the trace of the environment's TRACEPARENT, of whoever has it run.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        with bound_trace(Trace(trace_id_of(os.environ.get("TRACEPARENT", "")))):
            program()
    except Exception as error:
        end(*_exit_of(error))
    except KeyboardInterrupt:
        end(Exit.UNEXPECTED, "interrupted")
    except BaseException as error:  # a Rust panic is no Exception; exits are argparse's
        if isinstance(error, SystemExit):
            raise
        end(Exit.UNEXPECTED, _unexpected(error))
    sys.exit(Exit.DONE)


def end(code: Exit, sentence: str) -> NoReturn:
    """Say on stderr why it ends, and end."""
    sys.stderr.write(f"{sentence}\n")
    sys.exit(code)


def _exit_of(error: Exception) -> tuple[Exit, str]:
    match error:
        case UsageError():
            return Exit.USAGE, str(error)
        case ImproperlyConfigured():
            return Exit.USAGE, f"wrong setting: {error}"
        case ProverNotInstalled():
            return Exit.NOT_INSTALLED, str(error)
        case ProofFailed() | InvalidStatement():
            # It may quote a prover, line by line.
            return Exit.NO_PROOF, LONG_NUMBER.sub("…", " ".join(str(error).split()))
        case ChainNotConfigured() | ChainUnavailable():
            return Exit.CHAIN, str(error)
        case ChainRefused():
            return Exit.REFUSED, str(error)
        case BrokenPipeError():
            # Nobody reads on; Python would complain again when it flushes stdout at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return Exit.UNEXPECTED, "nobody reads what is said"
        case _:
            return Exit.UNEXPECTED, _unexpected(error)


def _unexpected(error: BaseException) -> str:
    # Its text may hold numbers of the witness, its kind and its place may not.
    return f"unexpected: {type(error).__name__} in {place_of(error)}"
