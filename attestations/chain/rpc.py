"""Speaks JSON-RPC with the operator's node: bounded in time and size, and silent about its address.

jobs/http.py stays the only module that speaks to addresses that tenants name. This one goes to CHAIN_RPC_URL, which
the operator sets and which is often on their own network.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import requests
import urllib3
from web3.exceptions import (
    BadFunctionCallOutput,
    ContractLogicError,
    Web3Exception,
    Web3RPCError,
)
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from attestations.chain.configuration import without_secrets
from attestations.chain.errors import ChainRefused, ChainUnavailable, refusal
from attestations.chain.recursion import restore_recursion_limit

restore_recursion_limit()

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
ANSWER_MAX_BYTES = 8 * 1_048_576
PIECE_BYTES = 65_536
LARGEST = 2**63 - 1  # of a bigint

# Their debug lines quote the address of the node, and with it the key that it may hold.
for _talker in ("web3", "urllib3", "requests"):
    logging.getLogger(_talker).setLevel(logging.INFO)


class NodeSaysNo(ChainUnavailable):
    """The node has answered, with an error."""


class NodeProvider(JSONBaseProvider):
    """A web3 provider without retries, proxies, redirects or netrc, whose errors are ours."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.max_redirects = 0
        self._session.headers.update(
            {"User-Agent": "Affidavit", "Content-Type": "application/json", "Accept-Encoding": "identity"}
        )

    def close(self) -> None:
        """Close the connections that are kept for the next question."""
        self._session.close()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask once. Raises ChainUnavailable for anything but an answer in JSON-RPC."""
        answer = self._ask(self.encode_rpc_request(method, params))
        response: Any
        try:
            response = self.decode_rpc_response(answer)
        except (ValueError, RecursionError):
            response = None
        if not isinstance(response, dict) or not ({"result", "error"} & response.keys()):
            raise ChainUnavailable(f"The node's answer to {method} is no JSON-RPC.")
        return cast(RPCResponse, response)

    def _ask(self, question: bytes) -> bytes:
        # Of the answer's head the time is limited between two pieces only, and in all by the job that asks.
        end = time.monotonic() + TOTAL_SECONDS
        try:
            with self._session.post(
                self._url,
                data=question,
                timeout=(CONNECT_SECONDS, TOTAL_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                answer = _read(response, end)
                status = response.status_code
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            problem = f"The node has not answered within {TOTAL_SECONDS:.0f} seconds."
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # Its text quotes the address; its name says enough.
            problem = f"The node can't be reached ({type(error).__name__})."
        except ValueError:
            # So does that of an address that is none.
            problem = "CHAIN_RPC_URL is no address of a node."
        else:
            # Many nodes answer an error in JSON-RPC with a status of 4xx, too.
            if status == 200 or (status == 400 and answer.startswith(b"{")):
                return answer
            problem = (
                "The node is busy (429)." if status == 429 else f"The node answers with status {status}."
            )
        # Raised out of the handlers, so that no traceback goes on to quote what they caught.
        raise ChainUnavailable(problem)


def _read(response: requests.Response, end: float) -> bytes:
    """The body, as long as it comes in time and has a sane size; each piece as it comes, however small."""
    body = bytearray()
    while piece := _read_piece(response.raw, end):
        body += piece
        if len(body) > ANSWER_MAX_BYTES:
            raise requests.RequestException
    return bytes(body)


def _read_piece(raw: urllib3.HTTPResponse, end: float) -> bytes:
    left = end - time.monotonic()
    if left <= 0:
        raise requests.Timeout
    connection = raw.connection
    if connection is not None and connection.sock is not None:
        connection.sock.settimeout(left)
    return raw.read1(PIECE_BYTES, decode_content=False)


def whole(number: Any) -> int:
    """A count of the node's that the database can keep. Raises ValueError for anything else."""
    if not 0 <= number <= LARGEST:
        raise ValueError("out of range")
    return int(number)


@contextmanager
def speaking() -> Iterator[None]:
    """Turn what web3 raises into ChainRefused where a contract has reverted, else into ChainUnavailable."""
    problem: ChainRefused | ChainUnavailable
    try:
        yield
        return
    except (ChainUnavailable, ChainRefused):
        raise
    except ContractLogicError as error:
        said = str(error.message)
        problem = refusal(said, shown=without_secrets(said))
    except BadFunctionCallOutput:
        problem = ChainRefused(
            "wrong_contract", "The contract does not answer as an AttestationRegistry does."
        )
    except Web3RPCError as error:
        problem = NodeSaysNo(f"The node says: {without_secrets(_said(error))[:300]}")
    except (Web3Exception, ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        # web3 reads the answers' fields without looking at them first.
        problem = ChainUnavailable(f"The node's answer makes no sense ({type(error).__name__}).")
    # Without its cause, which quotes what the node said, the address included when it likes to.
    raise problem from None


def _said(error: Web3RPCError) -> str:
    response = error.rpc_response or {}
    said = response.get("error")
    return str(said.get("message", said) if isinstance(said, dict) else said or error.message)
