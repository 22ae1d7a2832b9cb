"""Proofs of the statement of `protocol.py`, made by plug-in proof systems."""

from __future__ import annotations
