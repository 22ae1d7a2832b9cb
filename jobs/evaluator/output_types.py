"""Judges the content type of an output by what everybody says of it; asks nobody."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.content_types import SIGNATURES, UNKNOWN, fits
from jobs.models.evaluations import OutputCheck

Status, Source = OutputCheck.Status, OutputCheck.Source

# Types whose files never lack their signature.
SIGNED = frozenset(content_type for _, _, content_type, _ in SIGNATURES) - {"audio/mpeg"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is said of an output's type, each a plain type or "" where nothing is said."""

    signature: str = ""  # by its first bytes
    name: str = ""  # by its extension
    has_extension: bool = False  # known or not
    header: str = ""  # by its host
    result: str = ""  # by its worker, beside its URL
    configured: str = ""  # by the settings, of its service
    obstacle: str = ""  # a code: why it could not be looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an output is; `detail` ends a sentence that begins with its URL."""

    status: OutputCheck.Status
    content_type: str = ""
    source: OutputCheck.Source | str = ""
    declared_type: str = ""
    detail: str = ""


def judge(claims: Claims) -> Verdict:
    """Signature, extension, header, configured type: the first that tells decides, and nobody may say otherwise.

    A header comes before an extension only to contradict it: where a name says what its host says, both have said it.
    """
    if claims.signature:
        return _proven(claims, claims.signature, Source.SIGNATURE)
    if claims.header and claims.header != UNKNOWN:
        return _proven(claims, claims.header, Source.HEADER)
    if claims.name:
        return _named(claims)
    if claims.result:
        return _only_declared(claims)
    if claims.configured:
        return Verdict(
            status=Status.MATCHES,
            content_type=claims.configured,
            source=Source.CONFIGURED,
            detail=_unseen(claims),
        )
    if claims.has_extension and claims.header == UNKNOWN:
        # An extension that means something to somebody else, of a host that vouches for no more.
        return Verdict(status=Status.MATCHES, content_type=UNKNOWN, source=Source.HEADER)
    if claims.obstacle:  # it may have one, for all that is known
        return Verdict(status=Status.UNREACHABLE, detail=_unseen(claims))
    return Verdict(status=Status.MISMATCH, detail="has no type")


def _proven(claims: Claims, found: str, source: OutputCheck.Source) -> Verdict:
    """What is known for sure of the file, against what it is said to be."""
    said = [("its name", claims.name), ("its result", claims.result)]
    if claims.header != UNKNOWN:  # a host that does not know says nothing
        said.append(("its host", claims.header))
    for who, type_ in said:
        if type_ and not fits(found, type_):
            return Verdict(
                status=Status.MISMATCH,
                content_type=found,
                source=source,
                declared_type=type_,
                detail=f"is {found}, but {who} says {type_}",
            )
    closest = next((type_ for _, type_ in said if type_ not in ("", UNKNOWN)), found)
    return Verdict(status=Status.MATCHES, content_type=closest, source=source)


def _named(claims: Claims) -> Verdict:
    if claims.result and not (fits(claims.name, claims.result) or fits(claims.result, claims.name)):
        return Verdict(
            status=Status.MISMATCH,
            content_type=claims.name,
            source=Source.EXTENSION,
            declared_type=claims.result,
            detail=f"is {claims.name} by its name, but its result says {claims.result}",
        )
    return Verdict(
        status=Status.MATCHES, content_type=claims.name, source=Source.EXTENSION, detail=_unseen(claims)
    )


def _only_declared(claims: Claims) -> Verdict:
    if claims.result in SIGNED and not claims.obstacle:
        return Verdict(
            status=Status.MISMATCH,
            declared_type=claims.result,
            detail=f"does not begin as {claims.result} does, which its result says it is",
        )
    return Verdict(
        status=Status.MATCHES,
        content_type=claims.result,
        declared_type=claims.result,
        detail=_unseen(claims),
    )


def _unseen(claims: Claims) -> str:
    return f"could not be looked at: {claims.obstacle}" if claims.obstacle else ""
