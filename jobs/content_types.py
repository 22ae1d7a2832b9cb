"""Tells what a file is by its first bytes. Pure."""

from __future__ import annotations

# (offset, bytes that stand there, content type, extension); the first that fits decides.
SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (0, b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (0, b"GIF87a", "image/gif", ".gif"),
    (0, b"GIF89a", "image/gif", ".gif"),
    (8, b"WEBP", "image/webp", ".webp"),
    (4, b"ftypavif", "image/avif", ".avif"),
    (4, b"ftypqt", "video/quicktime", ".mov"),
    (4, b"ftyp", "video/mp4", ".mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm", ".webm"),
    (8, b"WAVE", "audio/wav", ".wav"),
    (0, b"OggS", "audio/ogg", ".ogg"),
    (0, b"fLaC", "audio/flac", ".flac"),
    (0, b"ID3", "audio/mpeg", ".mp3"),
    (0, b"\xff\xfb", "audio/mpeg", ".mp3"),
    (0, b"%PDF-", "application/pdf", ".pdf"),
    (0, b"glTF", "model/gltf-binary", ".glb"),
    (0, b"PK\x03\x04", "application/zip", ".zip"),
)
UNKNOWN = "application/octet-stream"
PREFIX_BYTES = 16  # as much of a file as the signatures look at

BY_EXTENSION = {extension: content_type for _, _, content_type, extension in SIGNATURES} | {
    ".jpeg": "image/jpeg",
    ".json": "application/json",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".safetensors": UNKNOWN,
}
# Shown in a page or player; everything else is only ever downloaded.
INLINE = frozenset(name for name in BY_EXTENSION.values() if name.startswith(("image/", "video/", "audio/")))


def sniff(prefix: bytes) -> tuple[str, str] | None:
    """The (content type, extension) that a file's first bytes prove, or None."""
    for offset, magic, content_type, extension in SIGNATURES:
        if prefix[offset : offset + len(magic)] == magic:
            return content_type, extension
    return None


def content_type_of_name(name: str) -> str:
    """What a stored file's extension says: it was given by `sniff` where that knew."""
    dot = name.rfind(".")
    return BY_EXTENSION.get(name[dot:].lower(), UNKNOWN) if dot >= 0 else UNKNOWN
