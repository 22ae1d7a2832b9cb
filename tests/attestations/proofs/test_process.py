"""The process that makes proofs stays for the next one, and goes whenever it can't be relied on."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings as django_settings

from attestations.proofs import process
from attestations.proofs.groth16 import Groth16Prover
from attestations.proofs.making import is_valid, make_proof
from attestations.proofs.protocol import ProofFailed, Statement
from tests.attestations.proofs.proving import SECRET, Wrong, children, is_running, make_statement, wait_until


class Telling(Wrong):
    """The proof is the process that made it."""

    def prove(self, statement: Statement, secret: int) -> Any:
        return os.getpid()


class Failing(Telling):
    """Every proof but the first one is a failure, of which it also speaks."""

    count = 0

    def fail(self) -> None:
        raise RuntimeError

    def prove(self, statement: Statement, secret: int) -> Any:
        self.count += 1
        print("on stdout of", self.count)
        print("on stderr of", self.count, file=sys.stderr)
        if self.count > 1:
            self.fail()
        return os.getpid()


class Dying(Failing):
    """As the kernel does when the host has no memory left."""

    def fail(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Hanging(Failing):
    def fail(self) -> None:
        time.sleep(600)


class Searching(Telling):
    """The proof is how often the key of an earlier order, the real one's successor, is found in memory."""

    def prove(self, statement: Statement, secret: int) -> Any:
        known = [item for item in gc.get_objects() if item is not sys._getframe()]
        held = [found for item in known for found in gc.get_referents(item)]
        return sum(_is_of_another(item) for item in [*known, *held])


class Hoarding(Searching):
    def prove(self, statement: Statement, secret: int) -> Any:
        found = super().prove(statement, secret)
        self.kept = [secret]
        return found


def _is_of_another(item: Any) -> bool:
    kind = type(item)  # isinstance() would wake what is lazy
    if kind is int:
        return bool(item - 1 == SECRET)
    if kind in (bytes, bytearray):
        return f"{SECRET + 1:x}".encode() in item
    return kind is str and f"{SECRET + 1:x}" in item


def prove(**options: Any) -> Any:
    """A proof of the prover `wrong`."""
    return make_proof("wrong", make_statement(), SECRET, **options).proof["proof"]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def run_and_prove(then: str, folder: Path) -> subprocess.Popen[str]:
    """Another process that makes a proof, says whose child made it, and then does `then`."""
    code = (
        "import os, sys, time, django; django.setup()\n"
        "from django.conf import settings\n"
        "from pathlib import Path\n"
        f"settings.PROVERS, settings.PROOF_KEYS_DIR = {{'wrong': '{__name__}.Telling'}}, Path({str(folder)!r})\n"
        f"from {__name__} import prove\n"
        "print(prove(), flush=True)\n"
        f"{then}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_process_makes_proof_after_proof(use: Any) -> None:
    use(Telling)

    pids = {prove() for _ in range(5)}

    assert len(pids) == 1
    assert len(children()) == 1
    assert pids.pop() != os.getpid()


def test_a_real_prover_keeps_its_keys(own_keys: Path) -> None:
    cold = make_proof("groth16", make_statement(b"one"), SECRET)
    warm = make_proof("groth16", make_statement(b"another"), SECRET)

    assert len(children()) == 1
    assert warm.stages["setup"] < cold.stages["setup"] / 10
    assert is_valid("groth16", make_statement(b"another"), warm.proof)
    assert not is_valid("groth16", make_statement(b"one"), warm.proof)


def test_it_serves_all_proof_systems(proof_keys: Path) -> None:
    systems = ["groth16", "plonk", "groth16", "plonk"]

    made = [make_proof(system, make_statement(), SECRET) for system in systems]

    assert [proof.proof["system"] for proof in made] == systems
    assert len(children()) == 1


def test_one_that_was_killed_while_idle_is_replaced_silently(use: Any) -> None:
    use(Telling)
    first = prove()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: is_gone(first))

    second = prove()

    assert second != first
    assert len(children()) == 1


def test_one_that_dies_before_it_takes_the_order_is_replaced_silently(use: Any) -> None:
    use(Telling)
    first = prove()
    os.kill(first, signal.SIGSTOP)  # the order is written, and never read
    killed: list[int] = []

    def kill_once() -> None:
        if not killed:
            os.kill(first, signal.SIGKILL)
            killed.append(first)

    second = prove(checkpoint=kill_once)

    assert killed == [first]
    assert second != first


def test_one_that_dies_of_an_order_is_a_failure(use: Any) -> None:
    use(Dying)
    first = prove()

    with pytest.raises(ProofFailed) as failure:
        prove()

    assert failure.value.code == "out_of_memory"
    assert children() == []
    assert prove() != first


def test_it_is_replaced_after_a_timeout(use: Any, settings: Any) -> None:
    use(Hanging)
    first = prove()
    settings.PROOF_SECONDS = 0.5

    with pytest.raises(ProofFailed) as failure:
        prove()

    assert failure.value.code == "timed_out"
    assert is_gone(first)
    settings.PROOF_SECONDS = 60
    assert prove() != first


def test_it_is_replaced_after_a_checkpoint_that_raises(use: Any) -> None:
    use(Hanging)
    first = prove()

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(checkpoint=stop)

    assert is_gone(first)
    assert prove() != first


def test_it_is_replaced_after_a_failure_which_tells_of_its_own_order_only(use: Any) -> None:
    use(Failing)
    first = prove()

    with pytest.raises(ProofFailed) as failure:
        prove()

    assert failure.value.code == "prover_failed"
    assert "on stdout of 2" in str(failure.value)
    assert "on stderr of 2" in str(failure.value)
    assert "of 1" not in str(failure.value)
    assert is_gone(first)
    assert prove() != first


def test_it_is_replaced_after_so_many_proofs(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Telling)
    monkeypatch.setattr(process, "PROOFS_MAX", 3)

    pids = [prove() for _ in range(7)]

    assert pids[:3] == [pids[0]] * 3
    assert pids[3:6] == [pids[3]] * 3
    assert len(set(pids)) == 3
    assert len(children()) == 1


@pytest.mark.parametrize("changed", ["PROOF_MEMORY_MB", "PROOF_KEYS_DIR", "PROVERS", "LANG"])
def test_it_is_replaced_when_what_it_was_started_with_changes(
    use: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    use(Telling)
    first = prove()

    if changed == "PROOF_MEMORY_MB":
        settings.PROOF_MEMORY_MB += 1
    elif changed == "PROOF_KEYS_DIR":
        settings.PROOF_KEYS_DIR = tmp_path / "others"
    elif changed == "PROVERS":
        settings.PROVERS = {**settings.PROVERS, "another": "a.b.c"}
    else:
        monkeypatch.setenv(changed, "C.UTF-8@elsewhere")

    assert prove() != first
    assert is_gone(first)


def test_new_keys_are_noticed_by_a_process_that_has_the_old(own_keys: Path) -> None:
    old = make_proof("groth16", make_statement(), SECRET)
    shutil.rmtree(own_keys / "groth16")
    Groth16Prover(own_keys / "groth16").setup()

    new = make_proof("groth16", make_statement(), SECRET)

    assert len(children()) == 1
    assert new.verifying_key != old.verifying_key
    assert is_valid("groth16", make_statement(), new.proof)
    assert not is_valid("groth16", make_statement(), old.proof)


def test_threads_have_processes_of_their_own_that_end_with_them(use: Any) -> None:
    use(Telling)
    pids: dict[str, list[int]] = {"one": [], "another": []}
    both = threading.Barrier(2)

    def work(name: str) -> None:
        for _ in range(5):
            both.wait(30)
            pids[name].append(prove())

    threads = [threading.Thread(target=work, args=(name,)) for name in pids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(of_thread) for of_thread in pids.values()] == [5, 5]
    assert [len(set(of_thread)) for of_thread in pids.values()] == [1, 1]
    assert set(pids["one"]) != set(pids["another"])
    wait_until(lambda: all(is_gone(pid) for of_thread in pids.values() for pid in of_thread))


def test_a_fork_has_one_of_its_own_and_leaves_its_parents_alone(use: Any) -> None:
    use(Telling)
    first = prove()
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:  # what fails here is told by an empty pipe
        try:
            os.write(writing, f"{prove()} {prove()}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        of_fork = [int(pid) for pid in told.read().split()]
    os.waitpid(child, 0)

    assert len(of_fork) == 2
    assert len({first, *of_fork}) == 2
    wait_until(lambda: is_gone(of_fork[0]))
    assert prove() == first


def test_a_fork_that_makes_no_proof_does_not_end_its_parents_process(use: Any, tmp_path: Path) -> None:
    """Not even as it exits, when what is left is cleaned up."""
    fork = "if os.fork() == 0:\n    sys.exit()\nos.wait(); print(prove())"

    parent = run_and_prove(fork, tmp_path)
    said, complaints = parent.communicate(timeout=60)

    first, second = said.split()
    assert first == second
    assert (parent.returncode, complaints) == (0, "")


def test_an_idle_one_ends_when_its_parent_exits(tmp_path: Path) -> None:
    parent = run_and_prove("began = time.monotonic()", tmp_path)

    said, complaints = parent.communicate(timeout=60)

    assert (parent.returncode, complaints) == (0, "")
    assert is_gone(int(said))


def test_an_idle_one_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with run_and_prove("time.sleep(600)", tmp_path) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(f"attestations.proofs.child\x00{parent.pid}\x00")

        parent.kill()

    wait_until(lambda: is_gone(pid), seconds=5)


def test_an_idle_one_ends_when_nobody_can_give_it_orders(use: Any) -> None:
    """Where the kernel does not end it with its parent, the end of its orders does."""
    use(Telling)
    pid = prove()
    kept = process._kept.process
    assert kept is not None
    assert kept._popen.stdin is not None

    kept._popen.stdin.close()

    wait_until(lambda: is_gone(pid), seconds=5)
    process._kept.process = None
    kept.end()


def test_an_idle_one_costs_no_cpu(proof_keys: Path) -> None:
    make_proof("groth16", make_statement(), SECRET)
    assert process._kept.process is not None
    child = psutil.Process(process._kept.process._popen.pid)
    wait_until(lambda: child.status() == psutil.STATUS_SLEEPING)
    before = child.cpu_times()

    time.sleep(1)

    after = child.cpu_times()
    assert after.user + after.system - before.user - before.system <= 0.02


@pytest.mark.parametrize(("kind", "is_found"), [(Searching, False), (Hoarding, True)])
def test_nothing_of_an_order_is_there_when_the_next_one_comes(
    use: Callable[[type], None], kind: type, is_found: bool
) -> None:
    """That a prover which keeps a key is caught shows that the search finds one."""
    use(kind)
    make_proof("wrong", make_statement(secret=SECRET + 1), SECRET + 1)

    found = prove()

    assert len(children()) == 1
    assert (found > 0) is is_found
