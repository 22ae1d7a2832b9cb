"""The keys of a proof system, as files: made once, never changed, used only as their checksums say.

A set is a folder: `manifest.json` names its two key files with their SHA-256, says which circuit they are for and
where they are from. The folder appears whole, by a rename, under a lock: of several processes that start at once, one
makes the keys. A damaged set is an error that says what to do; nothing is made again by itself, for each contract
holds the verifying key that it was deployed with.

Where a set is replaced, its verifying key is retired: listed in the manifest, and kept, for proofs that were made for it
and still wait to be published.
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
            name, expected = entry["name"], entry["sha256"]
        except (KeyError, TypeError) as error:
            raise self._damaged(f"{self.path / MANIFEST} names no {part} key") from error
        return self._read_key(self.path / name, expected), expected

    def load_retired(self, digest: str) -> dict[str, Any] | None:
        """The verifying key of this SHA-256 that was used before; None where there was none."""
        try:
            names = {entry["sha256"]: entry["name"] for entry in self.manifest().get("retired", [])}
        except (KeyError, TypeError) as error:
            raise self._damaged(f"{self.path / MANIFEST} does not say which keys are retired") from error
        return self._read_key(self.path / names[digest], digest) if digest in names else None

    def verified_contributions(self) -> list[dict[str, Any]]:
        """Those that were seen to build on keys that lay here before; for the others there is only their giver's word."""
        manifest = self.manifest()
        return list(manifest["contributions"][manifest.get("unverified_contributions", 0) :])

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

    def replace(
        self,
        keys: KeyPair,
        *,
        origin: str,
        contributions: list[dict[str, Any]],
        unverified_contributions: int,
    ) -> None:
        """Use `keys` from now on; the files of those before stay, for proofs made with them.

        The first so many contributions are whatever whoever made the set says they are.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock():
            self.path.mkdir(exist_ok=True, mode=0o700)
            contents = {part: _encode(keys[part]) for part in PARTS}
            names = {part: f"{part}-{_sha256(contents[part])[:12]}.key" for part in PARTS}
            for part in PARTS:
                _write(self.path / names[part], contents[part])
            provenance = {
                "origin": origin,
                "contributions": contributions,
                "unverified_contributions": unverified_contributions,
                "retired": self._retired_by(_sha256(contents["verifying"])),
            }
            self._write_manifest(self.path, names, contents, provenance)

    def _retired_by(self, successor: str) -> list[dict[str, str]]:
        """The verifying keys so far, each once, without the one of this SHA-256."""
        try:
            manifest = self.manifest()
        except ProofFailed:  # replacing what is damaged, or nothing: no key is known to have been used
            return []
        used = [*manifest.get("retired", []), manifest["files"]["verifying"]]
        return [entry for entry in used if entry["sha256"] != successor]

    def _create(self, keys: KeyPair) -> None:
        draft = Path(tempfile.mkdtemp(prefix=f".{self.system}-", dir=self.path.parent))
        try:
            contents = {part: _encode(keys[part]) for part in PARTS}
            names = {part: f"{part}.key" for part in PARTS}
            for part in PARTS:
                _write(draft / names[part], contents[part])
            provenance = {
                "origin": SINGLE_PARTY,
                "contributions": [],
                "unverified_contributions": 0,
                "retired": [],
            }
            self._write_manifest(draft, names, contents, provenance)
            draft.rename(self.path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _write_manifest(
        self,
        folder: Path,
        names: dict[str, str],
        contents: dict[str, bytes],
        provenance: dict[str, Any],
    ) -> None:
        manifest = {
            "system": self.system,
            "curve": CURVE,
            "circuit": self.circuit,
            "files": {part: {"name": names[part], "sha256": _sha256(contents[part])} for part in PARTS},
            **provenance,
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

    def _read_key(self, path: Path, expected: str) -> dict[str, Any]:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise self._damaged(f"{path} is missing") from error
        if _sha256(content) != expected:
            raise self._damaged(f"{path} is not what its checksum says")
        key: dict[str, Any] = json.loads(content)
        return key

    def _damaged(self, what: str) -> ProofFailed:
        return ProofFailed(
            "keys_damaged",
            f"{what}. Restore {self.path} from a backup; or move it away, and new keys are made, "
            "which need a new contract.",
        )


class VerifyingKeyCache(Generic[T]):
    """Verifying keys as `read` makes them of their JSON, the one in use and the retired ones that were asked for.

    They are read again when the set has changed.
    """

    def __init__(self, folder: KeyFolder, read: Callable[[dict[str, Any]], T]) -> None:
        self._folder = folder
        self._read = read
        self._kept: tuple[tuple[int, ...] | None, T, str] | None = None
        self._retired: dict[str, T] = {}

    def get(self) -> tuple[T, str]:
        """The one in use and its SHA-256; ProofFailed("keys_damaged") where there is none."""
        state = self._folder.state()
        if self._kept is None or self._kept[0] != state:
            key, digest = self._folder.load("verifying")
            self._kept, self._retired = (state, self._read(key), digest), {}
        return self._kept[1], self._kept[2]

    def find(self, digest: str) -> T | None:
        """The one of this SHA-256, in use or retired; None where there never was one. ProofFailed("keys_damaged")."""
        key, current = self.get()
        if digest == current:
            return key
        if digest not in self._retired:
            retired = self._folder.load_retired(digest)
            if retired is None:
                return None
            self._retired[digest] = self._read(retired)
        return self._retired[digest]


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
