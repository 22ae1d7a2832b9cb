"""`manage.py up`: the whole platform from one command, kept running until SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection

from config.logging import HOSTNAME
from config.postgres import release
from config.processes import end_with_parent
from jobs.local_services import LocalService, NotServing, find_local_services
from jobs.models import Cluster
from jobs.queue.handlers import served_queues
from jobs.queue.pulse import short_transaction

logger = logging.getLogger("affidavit.up")

RESTART_AFTER_SECONDS = 1.0
# How often the clusters' records are read, and how long one may take until it has one.
LOOK_EVERY_SECONDS = 2.0
FIRST_BEAT_SECONDS = 60.0
# A look at the database takes no longer, even when the server has frozen and gives no answer at all.
LOOK_SECONDS = 5.0
# After the database was away, or this host frozen, every beat is old; the clusters have this long to beat again.
PARDON_SECONDS = 20.0
FROZEN_AFTER_SECONDS = 5.0
# How long a service of this machine may take until it answers.
SERVICE_SECONDS = 20.0
TEND_EVERY_SECONDS = 1.0
# After a problem with a service, what is wanted of it is tried again so much later.
SERVICE_PAUSE_SECONDS = 10.0


@dataclass
class Process:
    """A child to be kept alive, in a process group of its own."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    program: list[str] = field(default_factory=lambda: [sys.executable, "manage.py"])
    popen: subprocess.Popen[bytes] | None = None
    is_wanted: bool = True
    started_at: float = 0.0
    ends_by: float = float("inf")
    before_start: Callable[[], None] | None = None

    def start(self) -> None:
        """Start it; raises OSError."""
        self.started_at, self.ends_by = time.monotonic(), float("inf")
        if self.before_start:
            self.before_start()
        self.popen = subprocess.Popen(
            [*self.program, *self.command],
            cwd=settings.BASE_DIR,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    @property
    def is_alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def is_cluster(self) -> bool:
        return self.command == ["qcluster"]

    def ask_to_stop(self) -> None:
        """Let it finish what runs; what still runs after DRAIN_SECONDS is taken over when its lease lapses."""
        if self.popen is not None and self.is_alive:
            self.ends_by = time.monotonic() + settings.DRAIN_SECONDS
            self.popen.send_signal(signal.SIGTERM)

    def kill_what_is_left(self) -> None:
        """End the whole group: a killed cluster leaves its forked processes behind."""
        if self.popen is not None:
            try:
                os.killpg(self.popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.popen.wait()


class Command(BaseCommand):
    help = "Migrate, then run web and clusters until SIGTERM; restart what dies."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on")

    def handle(self, *args: Any, port: int, bind: str, **options: Any) -> None:
        self.is_stopping = False
        self.changes: SimpleQueue[dict[str, str]] = SimpleQueue()
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGALRM, raise_timeout)
        url = f"http://{f'[{bind}]' if ':' in bind else bind}:{port}"
        refuse_taken_port(bind, port)
        # Links lead to where this listens, unless the operator says otherwise.
        os.environ.setdefault("PUBLIC_URL", url)
        services = self.start_services()
        processes = [Process("web", ["web", "--port", str(port), "--bind", bind])]
        processes += [
            Process(f"cluster {queue}", ["qcluster"], {"Q_CLUSTER_NAME": queue}) for queue in served_queues()
        ]
        try:
            # The services get ready meanwhile, so that nobody waits for them.
            with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
                prepared = [pool.submit(self.prepare, *service) for service in services]
                call_command("migrate", interactive=False, verbosity=0)
                call_command("collectstatic", interactive=False, verbosity=0)
            for env in prepared:
                os.environ.update(env.result())
            services = [(process, service) for process, service in services if process.is_wanted]
            for process, service in services:
                threading.Thread(
                    target=self.tend, args=(process, service, process.started_at), daemon=True
                ).start()
            self.run(processes, [process for process, _ in services], url)
        finally:
            self.is_stopping = True
            self.say("stopping")
            self.shut_down(processes)
            # Last, for what ends may still be speaking to them.
            self.shut_down([process for process, _ in services])
            self.say("stopped")
            if settings.IS_EMBEDDED:
                release(settings.DATA_DIR)

    def start_services(self) -> list[tuple[Process, LocalService]]:
        """Start the programs that the platform needs on this machine; nothing of theirs keeps it from starting."""
        services = [
            (Process(service.name, service.command, program=[], before_start=service.before_start), service)
            for service in find_local_services()
        ]
        for process, service in services:
            try:
                process.start()
            except OSError as error:
                process.is_wanted = False
                self.say("local service could not be started", program=service.name, problem=str(error))
        return services

    def prepare(self, process: Process, service: LocalService) -> dict[str, str]:
        """Make it useful; what the others are to know of it, nothing when that fails and it is given up."""
        if not process.is_wanted:
            return {}
        try:
            return self.make_useful(process, service)
        except Exception as problem:
            process.is_wanted = False
            process.kill_what_is_left()
            self.tell_of_problem("local service is not used", service, problem)
            return {}

    def make_useful(self, process: Process, service: LocalService) -> dict[str, str]:
        """Wait until it answers, and prepare it. Raises NotServing."""
        end = time.monotonic() + SERVICE_SECONDS
        while not service.is_ready():
            if self.is_stopping or not process.is_alive or time.monotonic() > end:
                raise NotServing("It does not answer.")
            time.sleep(0.05)
        return service.prepare()

    def tend(self, process: Process, service: LocalService, prepared: float) -> None:
        """In a thread of its own: prepare a service again whenever it was restarted, and tend it meanwhile.

        `prepared` is the start that it was prepared after.
        """
        while not self.is_stopping:
            time.sleep(TEND_EVERY_SECONDS)
            try:
                if process.is_alive and (started := process.started_at) != prepared:
                    self.changes.put(self.make_useful(process, service))
                    prepared = started
                service.tend()
            except Exception as problem:
                if not self.is_stopping:
                    self.tell_of_problem("local service is not well", service, problem)
                    time.sleep(SERVICE_PAUSE_SECONDS)

    def tell_of_problem(self, message: str, service: LocalService, problem: Exception) -> None:
        """With its traceback, unless it is one that can be expected."""
        traceback = None if isinstance(problem, NotServing | OSError) else problem
        logger.warning(message, extra={"program": service.name, "problem": str(problem)}, exc_info=traceback)

    def stop(self, signum: int, frame: FrameType | None) -> None:
        self.is_stopping = True

    def run(self, processes: list[Process], services: list[Process], url: str) -> None:
        """Start the processes, and keep them and the services, which run already, alive."""
        for process in processes:
            process.start()
        kept = [*services, *processes]
        is_ready = False
        looked_at = pardoned_at = time.monotonic()
        began = time.time()  # time.monotonic() stands still while a machine is suspended
        while not self.is_stopping:
            before, began = began, time.time()
            if abs(began - before) > FROZEN_AFTER_SECONDS:
                pardoned_at = time.monotonic()
            for process in kept:
                if not process.is_alive or time.monotonic() > process.ends_by:
                    self.restart(process, is_ready=is_ready)
            if time.monotonic() - looked_at > LOOK_EVERY_SECONDS:
                looked_at = time.monotonic()
                try:
                    with at_most(LOOK_SECONDS), short_transaction():
                        if looked_at - pardoned_at > PARDON_SECONDS:
                            self.stop_stuck([process for process in processes if process.is_cluster])
                except (Error, TimeoutError):
                    connection.close()
                    pardoned_at = time.monotonic()
            if not is_ready and (is_ready := _is_ready(url)):
                self.say("ready", url=url)
            if is_ready:
                self.pass_changes_on(processes)
            time.sleep(0.1)

    def pass_changes_on(self, processes: list[Process]) -> None:
        """Have the processes start again where a service that was restarted is no longer what they know of it."""
        try:
            env = self.changes.get_nowait()
        except Empty:
            return
        changed = sorted(name for name, value in env.items() if os.environ.get(name) != value)
        if changed:
            self.say("a local service has changed, restarting what knows it", changed=changed)
            os.environ.update(env)
            for process in processes:
                process.ask_to_stop()

    def stop_stuck(self, clusters: list[Process]) -> None:
        """Ask the clusters to stop that have stopped beating, or never began; they are started again then."""
        records = Cluster.objects.filter(hostname=HOSTNAME)
        stuck, known = (
            dict(records.stuck().values_list("pid", "problem")),
            set(records.values_list("pid", flat=True)),
        )
        for process in clusters:
            pid = process.popen.pid if process.popen else 0
            is_late = pid not in known and time.monotonic() - process.started_at > FIRST_BEAT_SECONDS
            if process.is_alive and process.ends_by == float("inf") and (pid in stuck or is_late):
                problem = stuck.get(pid) or "It has stopped beating."
                self.say("cluster is stuck, stopping it", program=process.name, problem=problem)
                process.ask_to_stop()

    def restart(self, process: Process, *, is_ready: bool) -> None:
        if not is_ready and process.name == "web":
            raise CommandError("The web server ended before it was ready; its log is above.")
        if time.monotonic() - process.started_at < RESTART_AFTER_SECONDS:
            return
        assert process.popen is not None
        process.kill_what_is_left()
        self.say("process ended, restarting", program=process.name, exit_code=process.popen.returncode)
        try:
            process.start()
        except OSError as error:
            self.say("process could not be started", program=process.name, problem=str(error))

    def shut_down(self, processes: list[Process]) -> None:
        for process in processes:
            process.ask_to_stop()
        end = time.monotonic() + settings.DRAIN_SECONDS
        while any(process.is_alive for process in processes) and time.monotonic() < end:
            time.sleep(0.05)
        for process in processes:
            process.kill_what_is_left()

    def say(self, message: str, **fields: Any) -> None:
        logger.warning(message, extra=fields)


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after `seconds`; the caller has set raise_timeout() up."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def raise_timeout(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGALRM."""
    raise TimeoutError


def refuse_taken_port(bind: str, port: int) -> None:
    """The web server shares its port among its processes, so it would share it with a stranger without a word."""
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise CommandError(f"Port {port} of {bind} can't be had: {error.strerror}.") from error


def _is_ready(url: str) -> bool:
    host = url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    request = urllib.request.Request(f"{host}/readyz", headers={"Host": "localhost"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
