"""A program's lines come as they are printed, none is lost, and nobody of its process group outlives the call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from jobs.programs import ProgramFailed, ProgramTimedOut, run_program

MB = 1_048_576


class Interrupted(BaseException):
    """What a checkpoint, a listener or a signal's handler raises here."""


def nothing(*_: object) -> None:
    pass


def run(code: str, folder: Path, *arguments: str, **options: Any) -> list[list[str]]:
    """Run Python code as a program; the batches of lines that it has printed."""
    batches: list[list[str]] = []
    options = {"seconds": 30, "on_lines": batches.append, "checkpoint": nothing, **options}
    run_program([sys.executable, "-c", code, *arguments], folder=folder, **options)
    return batches


def lines(code: str, folder: Path, *arguments: str, **options: Any) -> list[str]:
    return [line for batch in run(code, folder, *arguments, **options) for line in batch]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    ends_by = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_by
        time.sleep(0.01)


@contextmanager
def raising_on_alarm() -> Iterator[None]:
    """A job's time limit, as the runner sets it."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_line_comes_when_it_is_printed_and_not_at_the_end(tmp_path: Path) -> None:
    late: list[float] = []

    def note(batch: list[str]) -> None:
        late.extend(time.time() - float(line) for line in batch)

    run("import time\nfor _ in range(20): print(time.time()); time.sleep(0.05)", tmp_path, on_lines=note)

    assert len(late) == 20
    assert sorted(late)[5] < 0.02  # of the faster ones: the machine may be busy with something else


def test_what_was_read_at_once_is_handed_on_at_once_but_not_too_much(tmp_path: Path) -> None:
    batches = run("import sys; sys.stdout.write(''.join(f'{n}\\n' for n in range(1200)))", tmp_path)

    assert [int(line) for batch in batches for line in batch] == list(range(1200))
    assert max(len(batch) for batch in batches) == 500
    assert len(batches) < 12


def test_a_last_line_without_an_end_counts_and_so_does_an_empty_one(tmp_path: Path) -> None:
    assert lines("print('one\\n\\ntwo', end='')", tmp_path) == ["one", "", "two"]
    assert lines("print('one')", tmp_path) == ["one"]
    assert lines("pass", tmp_path) == []


@pytest.mark.parametrize("length", [9_999, 10_000, 10_001, 20_000, 65_536, 200_001])
def test_a_long_line_is_cut_into_several(tmp_path: Path, length: int) -> None:
    said = lines(f"print('ä' * {length}); print('after')", tmp_path)

    assert "".join(said[:-1]) == "ä" * length
    assert [len(line) for line in said[:-2]] == [10_000] * ((length - 1) // 10_000)
    assert said[-1] == "after"


def test_a_character_may_come_in_pieces(tmp_path: Path) -> None:
    code = "import os, time\nfor byte in '€𝄞\\n'.encode(): os.write(1, bytes([byte])); time.sleep(0.02)"

    assert lines(code, tmp_path) == ["€𝄞"]


def test_what_is_no_text_is_marked(tmp_path: Path) -> None:
    code = "import os; os.write(1, b'a\\xffb\\x00c\\n\\xe2\\x82')"

    assert lines(code, tmp_path) == ["a\ufffdb\ufffdc", "\ufffd"]


def test_a_program_gets_its_input_its_environment_and_its_folder(tmp_path: Path) -> None:
    code = (
        "import os, sys, tempfile\n"
        "print(len(sys.stdin.read())); print(os.environ.get('COLOUR')); print(tempfile.gettempdir(), os.getcwd())"
    )
    environment = {"PATH": os.environ["PATH"], "COLOUR": "blue"}

    said = lines(code, tmp_path, stdin=b"x" * 300_000, env=environment)

    assert said == ["300000", "blue", f"{tmp_path} {settings.BASE_DIR}"]


def test_it_inherits_the_environment_unless_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR", "red")

    assert lines("import os; print(os.environ['COLOUR'])", tmp_path) == ["red"]


def test_input_that_nobody_wants_is_no_failure(tmp_path: Path) -> None:
    assert lines("print('done')", tmp_path, stdin=b"x" * MB) == ["done"]
    assert lines("import os; os.close(0); print('done')", tmp_path, stdin=b"x" * MB) == ["done"]


def test_a_program_that_prints_faster_than_lines_are_stored_waits(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = (
        "import os, sys\n"
        "for n in range(1, 1001):\n"
        "    os.write(1, b'x' * 1023 + b'\\n')\n"
        "    open(sys.argv[1], 'w').write(str(n))"
    )
    ahead: list[int] = []
    stored = 0

    def store(batch: list[str]) -> None:
        nonlocal stored
        if not stored:
            time.sleep(0.5)
            ahead.append(int(told.read_text()))
        stored += len(batch)

    run(code, tmp_path, str(told), on_lines=store)

    assert stored == 1000
    assert ahead[0] <= 130  # KB: what a pipe holds, twice


def test_memory_stays_flat_whatever_is_printed(tmp_path: Path) -> None:
    """Measured in a process of its own, whose peak is nobody else's."""
    printing = "import sys\nfor _ in range(2000): sys.stdout.write(('x' * 127 + '\\n') * 819)"
    reading = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from jobs.programs import run_program\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "def count(batch):\n"
        "    global lines, size\n"
        "    lines += len(batch); size += sum(map(len, batch)) + len(batch)\n"
        "def run(code): run_program([sys.executable, '-c', code], folder=Path(sys.argv[1]), seconds=120,\n"
        "                           on_lines=count, checkpoint=lambda: None)\n"
        "lines = size = 0\n"
        "run('print(1)')\n"
        "before, lines, size = peak(), 0, 0\n"
        f"run({printing!r})\n"
        "print(lines, size, peak() - before)\n"
    )

    measured = subprocess.run(
        [sys.executable, "-c", reading, str(tmp_path)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    count, size, growth = map(int, measured.stdout.split())
    assert count == 2000 * 819
    assert size > 199 * MB
    assert growth < 8  # MB


def test_a_chatty_stderr_blocks_nothing_and_only_its_end_is_kept(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for n in range(200_000): sys.stderr.write(f'complaint {n}\\n')\n"
        "sys.stderr.write('the last\\0word\\n'); sys.exit(7)"
    )

    with pytest.raises(ProgramFailed) as failure:
        run(code, tmp_path)

    said = str(failure.value).splitlines()
    assert failure.value.exit_code == 7
    assert said[-2:] == ["complaint 199999", "the last\ufffdword"]
    assert all(line.startswith("complaint 199") for line in said[:-1])
    assert 3_900 < len(str(failure.value)) <= 4_096


LOGGING = (
    "import logging, sys, time\nfrom config.logging import configure_logging\nconfigure_logging('INFO')\n"
)


def test_what_it_logs_goes_where_we_log_and_is_none_of_its_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = LOGGING + (
        "for n in range(5_000): logging.info('of another %s', n)\n"
        "sys.stderr.write('the one sentence\\n')\n"
        "logging.warning('and once more')\n"
        "sys.exit(5)"
    )

    with pytest.raises(ProgramFailed, match="^the one sentence$"):
        run(code, tmp_path)

    logged = [json.loads(line)["msg"] for line in capfd.readouterr().err.splitlines()]
    assert logged == [*(f"of another {n}" for n in range(5_000)), "and once more"]


def test_what_it_logs_is_handed_on_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    code = LOGGING + "logging.info('hello')\ntime.sleep(0.5)\nprint('done')"

    run(code, tmp_path, on_lines=lambda _: seen.append(capfd.readouterr().err))

    assert json.loads(seen[0])["msg"] == "hello"


@pytest.mark.parametrize("ends", ["time.sleep(60)", "import os; os.kill(0, 9)"])
def test_what_was_logged_before_it_was_killed_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], ends: str
) -> None:
    code = (
        LOGGING + f"logging.info('hello')\nsys.stderr.write('{{\"level\": \"cut')\nsys.stderr.flush()\n{ends}"
    )

    with pytest.raises((ProgramTimedOut, ProgramFailed)) as failure:
        run(code, tmp_path, seconds=2)

    first, second = capfd.readouterr().err.splitlines()
    assert (json.loads(first)["msg"], second) == ("hello", '{"level": "cut')
    assert "cut" not in str(failure.value)


@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_a_long_line_of_a_log_is_handed_on_up_to_a_limit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    code = f"import sys; sys.stderr.write('{{\"level\": \"info\", ' + 'ä' * {size // 2} + '\\nthe reason\\n'); sys.exit(1)"

    with pytest.raises(ProgramFailed, match="^the reason$"):
        run(code, tmp_path)

    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('{"level": "info", ää')
    assert line.endswith("…") == (size > 65_536)
    assert len(line.encode()) < 65_600


def test_the_end_of_a_long_complaint_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed) as failure:
        run("import sys; sys.stderr.write('x' * 1_000_000 + 'end'); sys.exit(1)", tmp_path)

    assert str(failure.value) == "x" * 4_093 + "end"


def test_a_silent_failure_says_how_it_ended(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match=r"^python.* ended with exit code 3$") as failure:
        run("raise SystemExit(3)", tmp_path)

    assert failure.value.exit_code == 3


def test_a_module_is_called_by_its_name(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "config.no_such_module"]

    with pytest.raises(ProgramTimedOut, match="^no_such_module ran longer than 0 s$"):
        run_program(argv, folder=tmp_path, seconds=0, on_lines=nothing, checkpoint=nothing)


def test_one_that_is_killed_has_no_exit_code(tmp_path: Path) -> None:
    code = "import os; print('alive'); os.kill(os.getpid(), 9)"
    said: list[str] = []

    with pytest.raises(ProgramFailed, match=r"was killed by signal 9$") as failure:
        run(code, tmp_path, on_lines=said.extend)

    assert failure.value.exit_code is None
    assert said == ["alive"]


def test_one_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="^no-such-program could not be started: No such file") as failure:
        run_program(["no-such-program"], folder=tmp_path, seconds=5, on_lines=nothing, checkpoint=nothing)

    assert failure.value.exit_code is None


FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(os.getpid(), child.pid)\n"
)


def test_a_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    said: list[str] = []
    began = time.monotonic()

    with pytest.raises(ProgramTimedOut, match=r"ran longer than 1\.5 s$"):
        run(FAMILY + "time.sleep(60)", tmp_path, seconds=1.5, on_lines=said.extend)

    assert 1.5 <= time.monotonic() - began < 20
    wait_until(lambda: all(is_gone(int(pid)) for pid in said[0].split()))


def test_one_that_prints_for_ever_is_timed_out_too(tmp_path: Path) -> None:
    began = time.monotonic()

    with pytest.raises(ProgramTimedOut):
        run("while True: print('again')", tmp_path, seconds=1, on_lines=nothing)

    assert time.monotonic() - began < 20


def test_one_that_closes_its_output_is_waited_for_until_its_time_is_up(tmp_path: Path) -> None:
    code = "import os, time; print(1); os.close(1); os.close(2); time.sleep({}); os._exit(4)"

    with pytest.raises(ProgramFailed) as failure:
        run(code.format(0.5), tmp_path)
    with pytest.raises(ProgramTimedOut):
        run(code.format(60), tmp_path, seconds=1)

    assert failure.value.exit_code == 4


@pytest.mark.parametrize("who", ["on_lines", "checkpoint"])
def test_whatever_is_raised_meanwhile_ends_the_whole_group(tmp_path: Path, who: str) -> None:
    said: list[str] = []

    def interrupt(*batch: list[str]) -> None:
        for some in batch:
            said.extend(some)
        if said:
            raise Interrupted

    began = time.monotonic()

    with pytest.raises(Interrupted):
        run(FAMILY + "time.sleep(60)", tmp_path, **{"on_lines": said.extend, who: interrupt})

    assert time.monotonic() - began < 20
    wait_until(lambda: all(is_gone(int(pid)) for pid in said[0].split()))


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(1.1)",
        "import time\nends = time.time() + 1.1\nwhile time.time() < ends: print(1)",
    ],
)
def test_the_checkpoint_is_called_again_and_again_but_not_all_the_time(tmp_path: Path, code: str) -> None:
    called: list[float] = []
    began = time.monotonic()

    run(code, tmp_path, on_lines=nothing, checkpoint=lambda: called.append(time.monotonic()))

    assert 2 <= len(called) <= (time.monotonic() - began) / 0.2


def test_what_a_child_has_left_behind_does_not_hold_it_up(tmp_path: Path) -> None:
    said: list[str] = []
    began = time.monotonic()

    run(FAMILY + "print('done')", tmp_path, on_lines=said.extend)

    assert time.monotonic() - began < 20
    assert said[1:] == ["done"]
    wait_until(lambda: is_gone(int(said[0].split()[1])))


def test_last_lines_are_not_lost_to_a_slow_store(tmp_path: Path) -> None:
    """They may take longer to be stored than what is left behind is listened to."""
    said: list[str] = []

    def store(batch: list[str]) -> None:
        time.sleep(0.3)
        said.extend(batch)

    run("import sys; sys.stdout.write(''.join(f'{n}\\n' for n in range(5000)))", tmp_path, on_lines=store)

    assert said == [str(n) for n in range(5000)]


@pytest.mark.parametrize("moment", [0.001 * n for n in range(1, 30, 2)])
def test_a_time_limit_ends_it_at_whatever_moment_it_comes(tmp_path: Path, moment: float) -> None:
    """Also while it is being started, and while it is being ended."""
    before = set(psutil.Process().children())

    with raising_on_alarm(), pytest.raises((Interrupted, ProgramTimedOut)):
        signal.setitimer(signal.ITIMER_REAL, moment)
        run_program(["sleep", "60"], folder=tmp_path, seconds=0.012, on_lines=nothing, checkpoint=nothing)
        signal.pause()  # it was over sooner

    assert set(psutil.Process().children()) == before
    assert signal.getsignal(signal.SIGALRM) is not None


def test_it_runs_on_any_thread(tmp_path: Path) -> None:
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.extend(lines("print('hello')", tmp_path)))

    thread.start()
    thread.join()

    assert said == ["hello"]


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from jobs.programs import run_program\n"
        "run_program(['sh', '-c', 'echo $$; exec sleep 60'], folder=Path(sys.argv[1]), seconds=60,\n"
        "            on_lines=lambda lines: print(lines[0], flush=True), checkpoint=lambda: None)\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)

        parent.kill()

    wait_until(lambda: is_gone(pid))


def test_nothing_is_left_open(tmp_path: Path) -> None:
    run("print(1)", tmp_path)
    before = os.listdir("/proc/self/fd")

    run("print(1)", tmp_path)
    with pytest.raises(ProgramTimedOut):
        run("import time; time.sleep(60)", tmp_path, seconds=0.3)
    with pytest.raises(ProgramFailed):
        run("raise SystemExit(1)", tmp_path)

    assert os.listdir("/proc/self/fd") == before
