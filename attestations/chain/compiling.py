"""Compiles AttestationRegistry.vy into AttestationRegistry.json; wants vyper, which production does not install.

`python -m attestations.chain.compiling` writes the file anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "AttestationRegistry.vy"
ARTIFACT = SOURCE.with_suffix(".json")
EVM_VERSION = "shanghai"


def compile_registry() -> dict[str, Any]:
    """What the JSON file holds."""
    import vyper
    from vyper.compiler import compile_code
    from vyper.compiler.settings import OptimizationLevel, Settings

    source = SOURCE.read_text()
    made = compile_code(
        source,
        output_formats=["abi", "bytecode"],
        settings=Settings(evm_version=EVM_VERSION, optimize=OptimizationLevel.GAS),
    )
    return {
        "contract": SOURCE.stem,
        "compiler": f"vyper {vyper.__version__.split('+')[0]}",
        "evm_version": EVM_VERSION,
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "abi": made["abi"],
        "bytecode": made["bytecode"],
    }


def written(compiled: dict[str, Any]) -> str:
    """The text of the file."""
    return json.dumps(compiled, indent=1) + "\n"


if __name__ == "__main__":
    ARTIFACT.write_text(written(compile_registry()))
