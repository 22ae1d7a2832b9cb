"""Connections are kept for a while, and a kept one never makes a failure or another request's answer."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import psutil
import pytest

from jobs import wires
from jobs.http import Answer, Client, HttpFailure
from tests import receivers
from tests.jobs.sending import with_client
from tests.receivers import Authority, Behaviour, Receiver, answer, in_turn


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_connection_is_used_again(settings: Any, authority: Authority, is_secure: bool) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)

    async def three_times(client: Client) -> list[Answer]:
        return [await client.send("POST", receiver.url, content=b"{}") for _ in range(3)]

    tls = authority.server_context("127.0.0.1") if is_secure else None
    with Receiver(answer(200, body=b"ok"), tls=tls) as receiver:
        answers = with_client(three_times)

    assert (receiver.connections, len(receiver.requests)) == (1, 3)
    assert {"connect"} <= set(answers[0].timings)
    assert set(answers[2].timings) == {"first_byte", "total"}
    assert answers[2].address == f"127.0.0.1:{receiver.port}"


def test_a_kept_connection_that_the_server_has_closed_is_replaced() -> None:
    async def with_a_pause(client: Client) -> Answer:
        await client.send("POST", receiver.url)
        await asyncio.to_thread(receiver.close_connections)
        return await client.send("POST", receiver.url)

    with Receiver() as receiver:
        got = with_client(with_a_pause)

    assert (got.status, receiver.connections, len(receiver.requests)) == (200, 2, 2)


@pytest.mark.parametrize("end", [receivers.hang_up, receivers.reset])
def test_a_kept_connection_that_closes_as_it_is_used_is_retried_once(end: Behaviour) -> None:
    async def twice(client: Client) -> Answer:
        await client.send("POST", receiver.url)
        return await client.send("POST", receiver.url, content=b"{}")

    with Receiver(in_turn(answer(), end, answer(202))) as receiver:
        got = with_client(twice)

    assert (got.status, receiver.connections, len(receiver.requests)) == (202, 2, 3)


def test_a_retry_that_fails_is_a_failure() -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        await client.send("POST", receiver.url)

    with Receiver(in_turn(answer(), receivers.hang_up)) as receiver, pytest.raises(HttpFailure) as failure:
        with_client(twice)

    assert failure.value.code == "connection_lost"
    assert (receiver.connections, len(receiver.requests)) == (2, 3)


@pytest.mark.parametrize("end", [receivers.say(b"HTTP/1.1 20"), receivers.say(b"garbage\r\n\r\n")])
def test_a_kept_connection_that_has_answered_something_is_not_retried(end: Behaviour) -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        await client.send("POST", receiver.url)

    with Receiver(in_turn(answer(), end)) as receiver, pytest.raises(HttpFailure):
        with_client(twice)

    assert (receiver.connections, len(receiver.requests)) == (1, 2)


def test_a_kept_connection_that_does_not_answer_is_not_retried() -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        await client.send("POST", receiver.url)

    with Receiver(in_turn(answer(), receivers.never)) as receiver, pytest.raises(HttpFailure) as failure:
        with_client(twice, total_seconds=0.3)

    assert (failure.value.code, len(receiver.requests)) == ("timed_out", 2)


@pytest.mark.parametrize("pause_seconds", [0.0, 0.1])
def test_bytes_beyond_an_answer_answer_nobody_elses_request(pause_seconds: float) -> None:
    honest = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    forged = b"HTTP/1.1 299 Forged\r\nContent-Length: 0\r\n\r\n"

    async def twice(client: Client) -> Answer:
        await client.send("POST", receiver.url)
        await asyncio.sleep(0.2)
        return await client.send("POST", receiver.url)

    async def overdo(conversation: receivers.Conversation) -> bool:
        if not pause_seconds:
            await conversation.say(honest + forged)
            return True
        await conversation.say(honest)
        await asyncio.sleep(pause_seconds)
        await conversation.say(forged)
        return True

    with Receiver(in_turn(overdo, answer(201))) as receiver:
        got = with_client(twice)

    assert (got.status, receiver.connections) == (201, 2)


def test_a_flood_on_an_idle_connection_leaves_memory_flat() -> None:
    honest = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async def flood(conversation: receivers.Conversation) -> bool:
        await conversation.say(honest)
        await asyncio.sleep(0.1)
        return await receivers.pour(b"", b"x" * 1_000_000)(conversation)

    async def wait(client: Client) -> int:
        await client.send("POST", receiver.url)
        before = psutil.Process().memory_info().rss
        await asyncio.sleep(0.5)
        return psutil.Process().memory_info().rss - before

    with Receiver(flood) as receiver:
        growth = with_client(wait)

    assert growth < 50_000_000


def test_an_idle_connection_is_closed_after_a_while() -> None:
    async def wait(client: Client) -> int:
        await client.send("POST", receiver.url)
        await asyncio.sleep(0.4)
        return connections_to(receiver.port)

    with Receiver() as receiver:
        assert with_client(wait, kept_seconds=0.1) == 0


def test_nothing_is_left_open_after_cancelling() -> None:
    async def cancel(client: Client) -> int:
        task = asyncio.create_task(client.send("POST", receiver.url))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        return connections_to(receiver.port)

    with Receiver(receivers.never) as receiver:
        assert with_client(cancel) == 0

    assert len(receiver.requests) == 1


def test_a_url_is_judged_again_though_a_connection_is_kept(settings: Any) -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        settings.WEBHOOK_ALLOW_HTTP = False
        await client.send("POST", receiver.url)

    with Receiver() as receiver, pytest.raises(HttpFailure) as failure:
        with_client(twice)

    assert (failure.value.code, len(receiver.requests)) == ("url_refused", 1)


def test_hundreds_in_flight_get_their_own_answers() -> None:
    async def echo(conversation: receivers.Conversation) -> bool:
        body = conversation.request.body
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    async def many(client: Client) -> list[Answer]:
        sends = [client.send("POST", receiver.url, content=b"%d" % number) for number in range(300)]
        return await asyncio.gather(*sends)

    with Receiver(echo) as receiver:
        answers = with_client(many)

    assert [got.body for got in answers] == [b"%d" % number for number in range(300)]


def test_names_are_looked_up_in_a_forked_process_too() -> None:
    wires.threads(os.getpid()).submit(wires.look_up, "127.0.0.1").result(timeout=5)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            wires.threads(os.getpid()).submit(wires.look_up, "127.0.0.1").result(timeout=5)
            status = 0
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def connections_to(port: int) -> int:
    """How many connections of this process to the port are open, seen from the client's end."""
    found = psutil.Process().net_connections(kind="tcp")
    return sum(
        1 for entry in found if entry.raddr and entry.raddr.port == port and entry.status == "ESTABLISHED"
    )
