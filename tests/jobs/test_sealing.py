"""Secrets rest sealed: what is stored tells nothing, and keys can be changed."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet

from jobs.tenancy.sealing import Unreadable, seal, unseal

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_what_is_sealed_opens_again_and_shows_nothing(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [OLD]

    sealed = seal("whsec_secret")

    assert "secret" not in sealed
    assert seal("whsec_secret") != sealed
    assert unseal(sealed) == "whsec_secret"


def test_a_new_key_in_front_seals_and_the_old_one_still_opens(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    before = seal("before")

    settings.ENCRYPTION_KEYS = [NEW, OLD]
    after = seal("after")

    assert (unseal(before), unseal(after)) == ("before", "after")
    settings.ENCRYPTION_KEYS = [NEW]
    assert unseal(after) == "after"
    with pytest.raises(Unreadable):
        unseal(before)


@pytest.mark.parametrize("sealed", ["", "nonsense", "gAAAAA"])
def test_what_no_key_has_sealed_is_unreadable(settings: Any, sealed: str) -> None:
    settings.ENCRYPTION_KEYS = [OLD]

    with pytest.raises(Unreadable):
        unseal(sealed)
