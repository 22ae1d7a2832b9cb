"""The committed bytecode is that of the committed source."""

from __future__ import annotations

from attestations.chain import client, compiling, local


def test_the_committed_artifact_is_what_the_source_compiles_to() -> None:
    assert compiling.ARTIFACT.read_text() == compiling.written(compiling.compile_registry())
    assert compiling.ARTIFACT == client.ARTIFACT


def test_the_view_asked_without_web3_is_one_of_the_contracts() -> None:
    from eth_utils import keccak

    assert keccak(text="verifying_key_digest()")[:4].hex() == local.VERIFYING_KEY_DIGEST[2:]
    assert any(entry.get("name") == "verifying_key_digest" for entry in client.artifact()["abi"])
