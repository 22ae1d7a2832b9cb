"""`manage.py deploy_registry`: put the contract on the configured chain, and print its address alone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from attestations.chain.errors import ChainNotConfigured, ChainRefused, ChainUnavailable
from attestations.proofs.protocol import ProofFailed, ProverNotInstalled


class Command(BaseCommand):
    help = "Deploy the AttestationRegistry with this platform's verifying key; prints its address, for CONTRACT_ADDRESS."
    requires_system_checks: list[str] = []  # noqa: RUF012  Django's own spelling

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--if-missing",
            action="store_true",
            help="keep the one at CONTRACT_ADDRESS when it has this platform's verifying key",
        )

    def handle(self, *args: Any, if_missing: bool, **options: Any) -> None:
        # web3 and zksnake take a second to load; --help should not.
        from attestations.chain.deploying import deploy_registry, is_current

        try:
            if if_missing and settings.CONTRACT_ADDRESS and is_current(settings.CONTRACT_ADDRESS):
                self.stdout.write(settings.CONTRACT_ADDRESS)
                return
            made = deploy_registry()
        except ChainNotConfigured as missing:
            raise CommandError(f"{missing}: CHAIN_RPC_URL and PRIVATE_KEY must be set.") from missing
        except (
            ChainUnavailable,
            ChainRefused,
            ImproperlyConfigured,
            ProofFailed,
            ProverNotInstalled,
        ) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(made.address)
        self.stderr.write(
            f"Deployed by {made.transaction_id}: {made.gas_used:,} gas, {made.cost_wei / 10**18:.9f} ether."
        )
