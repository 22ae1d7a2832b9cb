"""Tells base64 from text that is merely written with the same letters. Pure.

A long run of base64's characters is taken for base64 unless one of the rules below knows it as something else.
Each rule is asked of the run's head first, so that a picture of some megabytes costs a look at its first letters.
"""

from __future__ import annotations

import re

HEAD_CHARS = 1_024
SEGMENT_MAX_CHARS = 100  # of a path; random base64 goes on for longer between two of its slashes

_NO_SEPARATORS = str.maketrans("", "", "-_+/")
_NO_LOWER = str.maketrans("", "", "abcdefghijklmnopqrstuvwxyz")
_NO_DIGITS = str.maketrans("", "", "0123456789")
_HEX = re.compile(r"[0-9a-fA-F]++")
_WORD = re.compile(r"[A-Za-z]?[a-z]*+[0-9]*+|[A-Z0-9]++|[a-z0-9]++")


def is_text(run: str) -> bool:
    """Whether a run without padding is no base64, though it is written with its alphabet."""
    head = run[:HEAD_CHARS]
    return any(rule(head) and (len(run) <= HEAD_CHARS or rule(run)) for rule in _RULES)


def _is_hex(run: str) -> bool:
    """Hashes, bytecode, proofs, decimal numbers, UUIDs; with `0x` and with separators between them.

    `AAAA…` is the base64 of zero bytes and no hex: what hex has in capitals has its share of digits too.
    """
    figures = run.replace("0x", "0").translate(_NO_SEPARATORS)
    if len(figures) * 2 < len(run) or not _HEX.fullmatch(figures):
        return False
    digits = len(figures) - len(figures.translate(_NO_DIGITS))
    return figures == figures.lower() or digits * 8 >= len(figures)


def _is_filler(run: str) -> bool:
    """One character all along, as tests and tables have it; but A is the base64 of 0x00 bytes, / of 0xff bytes."""
    return run[0] not in "A/" and run.count(run[0]) == len(run)


def _is_drawing(run: str) -> bool:
    """Lines drawn with signs."""
    return not run.translate(_NO_SEPARATORS) and run.count("/") < len(run)


def _is_of_one_case(run: str) -> bool:
    """Protein and DNA sequences, base32, slugs, names in lower case: base64 mixes its cases."""
    return (run == run.lower() or run == run.upper()) and not _is_of_plain_bytes(run)


def _is_of_words(run: str) -> bool:
    """Words without spaces between them: what is encoded has as many capitals as small letters."""
    return len(run.translate(_NO_LOWER)) * 5 <= len(run) and not _is_of_plain_bytes(run)


def _is_path(run: str) -> bool:
    """Folders, one in the other. Base64 has a slash by chance, and mixed letters between its slashes."""
    if "+" in run or "//" in run or run.count("/") * SEGMENT_MAX_CHARS < len(run) or _is_of_plain_bytes(run):
        return False
    segments = run.split("/")
    if max(map(len, segments)) > SEGMENT_MAX_CHARS:
        return False
    words = sum(len(segment) for segment in segments if _WORD.fullmatch(segment))
    return words * 2 >= len(run) - len(segments)


def _is_of_plain_bytes(run: str) -> bool:
    """Whether it encodes three bytes again and again, like `QUFBQUFB…`, or zeros for the greater part."""
    return run[4:] == run[:-4] or run.count("A") * 2 > len(run)


_RULES = (_is_hex, _is_filler, _is_drawing, _is_of_one_case, _is_of_words, _is_path)
