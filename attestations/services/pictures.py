"""The pictures of submissions, in the artifacts' storage."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import IO

from django.core.files import File
from django.core.files.storage import default_storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture as it was received: `file` stands anywhere, `extension` begins with a dot."""

    file: IO[bytes]
    content_type: str
    extension: str
    size: int


def store_picture(picture: Picture, *, tenant_slug: str, sha256_hash: str) -> str:
    """Store a picture; its path in the storage, which nobody can guess: whoever has its address may look."""
    picture.file.seek(0)
    name = f"{sha256_hash[:16]}{picture.extension}"
    path = f"{tenant_slug}/submissions/{secrets.token_urlsafe(16)}/{name}"
    stored: str = default_storage.save(path, File(picture.file))
    return stored


def forget_picture(path: str) -> None:
    """Delete a picture that no submission has taken up; with "" there is none."""
    if path:
        default_storage.delete(path)
