"""The embedded PostgreSQL: shared, kept alive, stopped and repaired, whatever is killed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from config import postgres
from config.postgres import EmbeddedServer, EmbeddedServerError, database_url, ensure_secret, release

ROOT = Path(postgres.__file__).parent.parent

USE = """
import sys
from pathlib import Path
from config.postgres import database_url
print(database_url(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""

USE_IN_A_CHILD = """
import os, sys
from pathlib import Path
from config.postgres import database_url
url = database_url(Path(sys.argv[1]))
if os.fork() == 0:
    print(url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def folder(name: str = "data") -> Iterator[Path]:
    """A data folder below one that every account may enter, as a project's is; gone, server too, at the end."""
    above = Path(tempfile.mkdtemp(prefix="afd-", dir="/tmp"))
    above.chmod(0o755)
    data_dir = above / name
    try:
        yield data_dir
        stop(data_dir)
    finally:
        shutil.rmtree(above)


@pytest.fixture(scope="module")
def awkward_dir() -> Iterator[Path]:
    """A data folder with a database, whose path fits no socket."""
    with folder("deep/" * 30 + "a, \"b\" 'c' %41 ü") as path:
        with use(path):
            pass
        yield path
        stop(path)
        EmbeddedServer.at(path).socket_dir.rmdir()


@pytest.fixture
def data_dir(awkward_dir: Path) -> Path:
    """A data folder with a database whose server is stopped."""
    stop(awkward_dir)
    return awkward_dir


@pytest.fixture(scope="module")
def held_dir() -> Iterator[Path]:
    """The data folder of a server that runs during all tests."""
    with folder() as path, user_process(path):
        yield path


@pytest.fixture
def url(held_dir: Path) -> str:
    """The server that runs during all tests."""
    return EmbeddedServer.at(held_dir).url


@contextmanager
def use(data_dir: Path) -> Iterator[str]:
    """Use the server in this process."""
    url = database_url(data_dir)
    try:
        yield url
    finally:
        release(data_dir)


@contextmanager
def user_process(data_dir: Path, script: str = USE) -> Iterator[subprocess.Popen[str]]:
    """Run a process that uses the server until its standard input ends."""
    command = [sys.executable, "-c", script, str(data_dir)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        yield process


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def stop(data_dir: Path) -> None:
    """Wait until an unused server has stopped, and don't let it linger."""
    (data_dir / postgres.USERS_LOCK).write_text("!")
    wait_until(lambda: not EmbeddedServer.at(data_dir).has_keeper())


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def accepts(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def write(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def pid_of_postmaster(data_dir: Path) -> int:
    return int((EmbeddedServer.at(data_dir).pgdata / "postmaster.pid").read_text().split()[0])


def pid_of_keeper(data_dir: Path) -> int:
    return int((data_dir / postgres.KEEPER_LOCK).read_text())


def is_restarted(data_dir: Path, killed: int) -> bool:
    return EmbeddedServer.at(data_dir).is_ready() and pid_of_postmaster(data_dir) != killed


def is_stopped(data_dir: Path) -> bool:
    server = EmbeddedServer.at(data_dir)
    return not server.has_keeper() and not server.is_ready()


# Sharing


def test_processes_share_one_server(held_dir: Path) -> None:
    postmaster = pid_of_postmaster(held_dir)

    with user_process(held_dir), use(held_dir) as url:
        answer = ask(url, "SELECT current_database()")

        assert answer == "affidavit"
        assert pid_of_postmaster(held_dir) == postmaster


def test_processes_that_come_at_once_create_one_database() -> None:
    with folder() as data_dir:
        commands = [[sys.executable, "-c", USE, str(data_dir)]] * 3
        options = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        processes = [subprocess.Popen(command, **options) for command in commands]  # type: ignore[call-overload]

        urls = {process.communicate()[0] for process in processes}

        assert len(urls) == 1
        assert [process.returncode for process in processes] == [0, 0, 0]


def test_a_second_call_gives_the_same_url_and_is_cheap(held_dir: Path) -> None:
    with use(held_dir) as url:
        started_at = time.monotonic()

        again = database_url(held_dir)

        assert again == url
        assert time.monotonic() - started_at < 0.1


# Stopping


def test_release_stops_the_server_at_once_and_keeps_the_data(data_dir: Path) -> None:
    with use(data_dir) as url:
        write(
            url,
            "CREATE TABLE IF NOT EXISTS kept (at timestamptz DEFAULT now()); INSERT INTO kept DEFAULT VALUES",
        )

    assert is_stopped(data_dir)
    with use(data_dir) as url:
        assert ask(url, "SELECT count(*) > 0 FROM kept") is True


def test_release_leaves_the_server_to_others(held_dir: Path) -> None:
    url = database_url(held_dir)
    started_at = time.monotonic()

    release(held_dir)

    assert time.monotonic() - started_at < 1
    assert ask(url, "SELECT 1") == 1


def test_the_server_lingers_and_then_stops_when_its_last_user_is_gone(data_dir: Path) -> None:
    with user_process(data_dir):
        pass

    assert not is_stopped(data_dir)
    wait_until(lambda: is_stopped(data_dir))


def test_a_forked_child_keeps_the_server_when_its_parent_is_gone(data_dir: Path) -> None:
    server = EmbeddedServer.at(data_dir)
    with user_process(data_dir, USE_IN_A_CHILD) as parent:
        parent.wait()

        assert server.has_users()

    wait_until(lambda: not server.has_users())


# Killing


@pytest.mark.faults
def test_killed_users_do_not_keep_the_server(data_dir: Path) -> None:
    with user_process(data_dir) as one, user_process(data_dir) as other:
        one.kill()
        other.kill()

    wait_until(lambda: is_stopped(data_dir))


@pytest.mark.faults
def test_a_killed_keeper_is_replaced_and_the_server_goes_on(data_dir: Path) -> None:
    with use(data_dir) as url, psycopg.connect(url) as connection:
        postmaster = pid_of_postmaster(data_dir)
        os.kill(pid_of_keeper(data_dir), signal.SIGKILL)
        wait_until(lambda: not EmbeddedServer.at(data_dir).has_keeper())

        with user_process(data_dir):
            assert EmbeddedServer.at(data_dir).has_keeper()
            assert pid_of_postmaster(data_dir) == postmaster
            assert connection.execute("SELECT 1").fetchone() == (1,)

    assert is_stopped(data_dir)


@pytest.mark.faults
def test_release_stops_a_server_whose_keeper_was_killed(data_dir: Path) -> None:
    with use(data_dir):
        os.kill(pid_of_keeper(data_dir), signal.SIGKILL)
        wait_until(lambda: not EmbeddedServer.at(data_dir).has_keeper())

    assert is_stopped(data_dir)


@pytest.mark.faults
@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_killed_postmaster_is_restarted_and_committed_rows_survive(
    data_dir: Path, is_adopted: bool
) -> None:
    with use(data_dir) as url:
        if is_adopted:
            os.kill(pid_of_keeper(data_dir), signal.SIGKILL)
            wait_until(lambda: not EmbeddedServer.at(data_dir).has_keeper())
            database_url(data_dir)
        write(url, "DROP TABLE IF EXISTS held; CREATE TABLE held AS SELECT generate_series(1, 1000) AS n")
        killed = pid_of_postmaster(data_dir)

        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: is_restarted(data_dir, killed))

        assert ask(url, "SELECT count(*) FROM held") == 1000


@pytest.mark.faults
def test_everything_killed_at_once_leaves_nothing_stuck(data_dir: Path) -> None:
    with user_process(data_dir) as user, use(data_dir) as url:
        write(url, "DROP TABLE IF EXISTS kept_too; CREATE TABLE kept_too AS SELECT 7 AS n")
        for pid in (pid_of_keeper(data_dir), pid_of_postmaster(data_dir), user.pid):
            os.kill(pid, signal.SIGKILL)

        url = database_url(data_dir)

        assert ask(url, "SELECT n FROM kept_too") == 7


@pytest.mark.faults
def test_a_terminated_keeper_stops_the_server_cleanly(data_dir: Path) -> None:
    with user_process(data_dir):
        os.kill(pid_of_keeper(data_dir), signal.SIGTERM)

        wait_until(lambda: is_stopped(data_dir))

    assert "database system is shut down" in (data_dir / "postgres.log").read_text().splitlines()[-1]


@pytest.mark.faults
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2, 0.3])
def test_a_first_start_that_is_killed_is_repaired_by_the_next(delay: float) -> None:
    with folder() as data_dir:
        command = [sys.executable, "-c", USE, str(data_dir)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
            wait_until((data_dir / "postgres.new").exists)
            time.sleep(delay)
            process.kill()

        with use(data_dir) as url:
            assert ask(url, "SELECT 1") == 1


@pytest.mark.faults
def test_a_server_whose_folder_is_deleted_ends() -> None:
    with folder() as data_dir:
        url = database_url(data_dir)

        shutil.rmtree(data_dir, ignore_errors=True)  # PostgreSQL removes files at the same time

        wait_until(lambda: not accepts(url))
        release(data_dir)
        with use(data_dir) as new_url:
            assert accepts(new_url)


# Repairing and refusing


def test_the_rest_of_an_interrupted_first_start_is_replaced() -> None:
    with folder() as data_dir:
        (data_dir / "postgres.new" / "base").mkdir(parents=True)
        (data_dir / "postgres.new" / "PG_VERSION").write_text("18\n")

        with use(data_dir) as url:
            assert ask(url, "SELECT 1") == 1

        assert not (data_dir / "postgres.new").exists()


def test_the_pid_of_a_killed_server_that_is_now_another_programs_does_not_block_the_start(
    data_dir: Path,
) -> None:
    server = EmbeddedServer.at(data_dir)
    owner = server.pgdata.stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}

    with subprocess.Popen(["sleep", "60"], **account) as stranger:  # type: ignore[call-overload]
        (server.pgdata / "postmaster.pid").write_text(f"{stranger.pid}\n")
        (server.socket_dir / f"{postgres.SOCKET}.lock").write_text(f"{stranger.pid}\n")

        with use(data_dir) as url:
            assert ask(url, "SELECT 1") == 1

        assert stranger.poll() is None
        stranger.kill()


def test_a_server_that_cannot_start_says_why_at_once(data_dir: Path) -> None:
    configuration = EmbeddedServer.at(data_dir).pgdata / "postgresql.conf"
    valid = configuration.read_text()
    configuration.write_text(valid + "no_such_setting = 1\n")
    started_at = time.monotonic()

    with pytest.raises(EmbeddedServerError, match="did not start(?s:.*)no_such_setting"):
        database_url(data_dir)

    assert time.monotonic() - started_at < 3
    configuration.write_text(valid)
    release(data_dir)


def test_a_lost_password_is_replaced(data_dir: Path) -> None:
    lost = (data_dir / "database_password").read_text()
    (data_dir / "database_password").unlink()

    with use(data_dir) as url:
        assert lost not in url
        assert ask(url, "SELECT 1") == 1


def test_without_the_wheel_the_two_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL.*embedded"):
        database_url(tmp_path)

    release(tmp_path)


# Access


def test_the_role_is_an_ordinary_one_and_the_only_one_that_may_log_in(url: str) -> None:
    with psycopg.connect(url) as connection:
        roles = connection.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolcanlogin"
        ).fetchall()

    assert roles == [("affidavit", False, False, True)]


def test_another_password_or_role_is_refused(held_dir: Path, url: str) -> None:
    password = (held_dir / "database_password").read_text()

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "guess"))
    with pytest.raises(psycopg.OperationalError, match="no pg_hba.conf entry"):
        psycopg.connect(url, user="postgres")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_the_server_is_durable_and_local(url: str, setting: str, value: str) -> None:
    assert ask(url, f"SHOW {setting}") == value


def test_text_folds_case_beyond_ascii(url: str) -> None:
    assert ask(url, "SELECT lower('ÄÖÜ') = 'äöü' AND 'É' ILIKE 'é'") is True


def test_secrets_and_logs_are_private(held_dir: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in held_dir.iterdir() if path.is_file()}

    assert set(modes.values()) == {0o600}
    assert "database_password" in modes
    assert held_dir.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
    assert (held_dir / "postgres").stat().st_mode & 0o777 == 0o700


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"

    first = ensure_secret(path, lambda: "one")
    second = ensure_secret(path, lambda: "two")

    assert (first, second) == ("one", "one")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_processes_that_race_agree_on_a_secret(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from config.postgres import ensure_secret\n"
        "sys.stdin.read(); print(ensure_secret(Path(sys.argv[1]), lambda: str(os.getpid())))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "secret")]
    reader, writer = os.pipe()
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=reader, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]

    os.close(reader)
    os.close(writer)  # the end of the input lets all of them go at once
    secrets = {process.communicate()[0].strip() for process in processes}

    assert secrets == {(tmp_path / "secret").read_text()}


# Places


def test_a_path_that_fits_no_socket_will_do(data_dir: Path) -> None:
    with use(data_dir) as url:
        assert ask(url, "SELECT 1") == 1

    socket_dir = EmbeddedServer.at(data_dir).socket_dir
    assert socket_dir.parent == Path("/tmp")
    assert socket_dir.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_enter_is_not_used_for_the_socket(tmp_path: Path) -> None:
    with folder("deep/" * 30 + "data") as data_dir:
        data_dir.mkdir(parents=True)
        server = EmbeddedServer.at(data_dir)
        server.socket_dir.mkdir()
        server.socket_dir.chmod(0o755)

        with pytest.raises(EmbeddedServerError, match="not a private folder"):
            server.start_postgres(os.open(tmp_path, os.O_RDONLY))

        server.socket_dir.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
def test_under_root_no_parent_is_opened_and_the_data_lies_where_the_account_can_go() -> None:
    with folder("closed/data") as data_dir:
        data_dir.mkdir(parents=True)
        data_dir.parent.chmod(0o700)

        with use(data_dir) as url:
            assert ask(url, "SELECT 1") == 1

        pgdata = EmbeddedServer.at(data_dir).pgdata
        assert pgdata.parent == postgres.SYSTEM_DIR
        assert data_dir.parent.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(pgdata)


def test_a_large_log_is_set_aside_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    with postgres._open_log(log) as writer:
        writer.truncate(postgres.LOG_BYTES + 1)

        postgres._trim(log)
        writer.write(b"next\n")

    assert log.read_bytes() == b"next\n"
    assert (tmp_path / "postgres.log.1").stat().st_size == postgres.LOG_BYTES + 1
