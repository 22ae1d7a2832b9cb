"""`manage.py proof_keys`: the keys that proofs are made and verified with; makes, imports, contributes to them."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from attestations.proofs.ceremony import (
    SYSTEMS,
    KeysInUse,
    contribute,
    folder_of,
    import_keys,
    make_keys,
)
from attestations.proofs.groth16_ceremony import contribution_digests
from attestations.proofs.protocol import ProofFailed

DESCRIPTION = """\
Show the proof systems' keys, and whether they are what their checksums say.

New keys mean a new verifying key, so a new contract: deploy it with `manage.py deploy_registry`. Proofs that wait
to be published keep the key that they were made for, and the contract that has it.

A ceremony of several parties: --make here; each party takes a copy of the folder of the one before, sets
PROOF_KEYS_DIR to where it lies, runs `proof_keys groth16 --contribute NAME`, keeps the digest that is shown for it, and
passes the folder on; --import the last one here, which must be the keys that lie here with what was contributed to
them. Each contributor then finds their digest in what is shown. All this replaces trust in whoever ran the second
phase of the set-up, not in whoever ran the first: they can forge proofs if they kept its numbers.
"""


class Command(BaseCommand):
    help = DESCRIPTION

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("system", nargs="?", choices=SYSTEMS, help="this one only")
        verbs = parser.add_mutually_exclusive_group()
        verbs.add_argument("--make", action="store_true", help="make keys where there are none")
        verbs.add_argument("--import", dest="source", type=Path, metavar="DIR", help="use the keys in DIR")
        verbs.add_argument("--contribute", metavar="NAME", help="add a contribution to the groth16 keys")
        parser.add_argument("--origin", help="with --import: where they are from, in words")
        parser.add_argument(
            "--replace",
            action="store_true",
            help="though the keys here are in use, or those that are imported don't continue them",
        )

    def handle(self, *args: Any, system: str | None, **options: Any) -> None:
        try:
            self._act(system, **options)
        except KeysInUse as error:
            raise CommandError(f"{error} Say --replace to use others from now on.") from error
        except ProofFailed as error:
            raise CommandError(str(error)) from error
        for name in [system] if system else SYSTEMS:
            self._show(name)

    def _act(
        self,
        system: str | None,
        *,
        make: bool,
        source: Path | None,
        contribute: str | None,
        origin: str | None,
        replace: bool,
        **_: Any,
    ) -> None:
        if (make or source or contribute) and system is None:
            raise CommandError("Of which proof system?")
        if make:
            make_keys(str(system))
        if source:
            if not origin:
                raise CommandError("Say with --origin where the keys are from.")
            import_keys(str(system), source, origin=origin, may_replace=replace)
        if contribute:
            self._contribute(str(system), contribute, may_replace=replace)

    def _contribute(self, system: str, name: str, *, may_replace: bool) -> None:
        if system != "groth16":
            raise CommandError("Only groth16 keys take contributions.")
        if not name.isprintable():
            raise CommandError("A contributor's name is of letters, digits and the like.")
        contribute(name, may_replace=may_replace)

    def _show(self, system: str) -> None:
        folder = folder_of(system)
        if not folder.exists():
            self.stdout.write(f"{system}: no keys in {folder.path}")
            return
        try:
            manifest, keys = folder.manifest(), folder.load_both()
        except ProofFailed as error:
            raise CommandError(f"{system}: {error}") from error
        digest = manifest["files"]["verifying"]["sha256"]
        self.stdout.write(f"{system}: verifying key {digest}")
        self.stdout.write(f"  {folder.path}, checksums right, made {manifest['created_at']}")
        self.stdout.write(f"  origin: {manifest['origin']}")
        contributions = manifest["contributions"]
        digests = contribution_digests(keys, contributions) if contributions else []
        unverified = manifest.get("unverified_contributions", 0)
        for number, (contribution, digest) in enumerate(zip(contributions, digests, strict=True), start=1):
            doubt = " (not vouched for)" if number <= unverified else ""
            self.stdout.write(f"  contribution {number}: {contribution['name']}{doubt}, {digest}")
