"""The keys of a proof system, as files: made once, never changed, used only as their checksums say.

A set is a folder: `manifest.json` names its two key files with their SHA-256, says which circuit they are for and
where they are from. The folder appears whole, by a rename, under a lock: of several processes that start at once, one
makes the keys. A damaged set is an error that says what to do; nothing is made again by itself, for each contract
holds the verifying key that it was deployed with.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from attestations.proofs.protocol import ProofFailed

MANIFEST = "manifest.json"
MANIFEST_FIELDS = {"system", "curve", "circuit", "files", "origin", "contributions", "created_at"}
CURVE = "BN254"
PARTS = ("proving", "verifying")
SINGLE_PARTY = "single-party setup"

T = TypeVar("T")

# A key is JSON: names to points and numbers, as `points.py` writes them.
KeyPair = dict[str, dict[str, Any]]  # "proving" and "verifying"


@dataclass(frozen=True, kw_only=True)
class KeyFolder:
    """The set of keys of one `system` for the circuit of this digest."""

    path: Path
    system: str
    circuit: str

    def ensure(self, make: Callable[[], KeyPair]) -> None:
        """Have `make` make the keys where there are none; of processes that come at once, one does."""
        if self.exists():
            return
        with self._lock():
            if not self.exists():
                self._create(make())

    def exists(self) -> bool:
        """Whether there are keys, damaged ones included."""
        return self.path.is_dir() and any(self.path.iterdir())

    def manifest(self) -> dict[str, Any]:
        """What the set says of itself; ProofFailed("keys_damaged") where it is none, or one for another circuit."""
        if not self.exists():
            raise ProofFailed(
                "keys_damaged",
                f"There are no keys in {self.path}. Copy them from where proofs are made, or make them with "
                f"`manage.py proof_keys {self.system} --make`.",
            )
        path = self.path / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise self._damaged(f"{path} is missing") from error
        except ValueError as error:
            raise self._damaged(f"{path} can't be read") from error
        if not isinstance(manifest, dict) or not manifest.keys() >= MANIFEST_FIELDS:
            raise self._damaged(f"{path} lacks fields")
        if (manifest["system"], manifest["curve"], manifest["circuit"]) != (self.system, CURVE, self.circuit):
            raise self._damaged(f"{path} is of keys for another proof system or another circuit")
        return manifest

    def load(self, part: str) -> tuple[dict[str, Any], str]:
        """The "proving" or "verifying" key and its SHA-256; ProofFailed("keys_damaged")."""
        try:
            entry = self.manifest()["files"][part]
            path, expected = self.path / entry["name"], entry["sha256"]
        except (KeyError, TypeError) as error:
            raise self._damaged(f"{self.path / MANIFEST} names no {part} key") from error
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise self._damaged(f"{path} is missing") from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != expected:
            raise self._damaged(f"{path} is not what its checksum says")
        return json.loads(content), digest

    def load_both(self) -> KeyPair:
        """Both keys; ProofFailed("keys_damaged")."""
        return {part: self.load(part)[0] for part in PARTS}

    def state(self) -> tuple[int, ...] | None:
        """Changes when the set does."""
        try:
            facts = (self.path / MANIFEST).stat()
        except FileNotFoundError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size

    def replace(self, keys: KeyPair, *, origin: str, contributions: list[dict[str, Any]]) -> None:
        """Use `keys` from now on; the files of those before stay, for proofs made with them."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock():
            self.path.mkdir(exist_ok=True, mode=0o700)
            contents = {part: _encode(keys[part]) for part in PARTS}
            names = {part: f"{part}-{_sha256(contents[part])[:12]}.key" for part in PARTS}
            for part in PARTS:
                _write(self.path / names[part], contents[part])
            self._write_manifest(self.path, names, contents, origin=origin, contributions=contributions)

    def _create(self, keys: KeyPair) -> None:
        draft = Path(tempfile.mkdtemp(prefix=f".{self.system}-", dir=self.path.parent))
        try:
            contents = {part: _encode(keys[part]) for part in PARTS}
            names = {part: f"{part}.key" for part in PARTS}
            for part in PARTS:
                _write(draft / names[part], contents[part])
            self._write_manifest(draft, names, contents, origin=SINGLE_PARTY, contributions=[])
            draft.rename(self.path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _write_manifest(
        self,
        folder: Path,
        names: dict[str, str],
        contents: dict[str, bytes],
        *,
        origin: str,
        contributions: list[dict[str, Any]],
    ) -> None:
        manifest = {
            "system": self.system,
            "curve": CURVE,
            "circuit": self.circuit,
            "files": {part: {"name": names[part], "sha256": _sha256(contents[part])} for part in PARTS},
            "origin": origin,
            "contributions": contributions,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _write(folder / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Held while keys are made or replaced; the kernel gives it back when its holder dies."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path.parent / f".{self.system}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _damaged(self, what: str) -> ProofFailed:
        return ProofFailed(
            "keys_damaged",
            f"{what}. Restore {self.path} from a backup; or move it away, and new keys are made, "
            "which need a new contract.",
        )


class VerifyingKeyCache(Generic[T]):
    """The verifying key as `read` makes it of its JSON, and its SHA-256; read again when the set has changed."""

    def __init__(self, folder: KeyFolder, read: Callable[[dict[str, Any]], T]) -> None:
        self._folder = folder
        self._read = read
        self._kept: tuple[tuple[int, ...] | None, T, str] | None = None

    def get(self) -> tuple[T, str]:
        """ProofFailed("keys_damaged") where there is none."""
        state = self._folder.state()
        if self._kept is None or self._kept[0] != state:
            key, digest = self._folder.load("verifying")
            self._kept = state, self._read(key), digest
        return self._kept[1], self._kept[2]


def _encode(key: dict[str, Any]) -> bytes:
    return json.dumps(key, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Write a file for our eyes only; it is whole or not there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
