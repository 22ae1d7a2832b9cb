"""Tells what a file is by its first bytes and by its name, and which types are the same. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

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
AFTER_RIFF = 8  # where a RIFF file says of which kind it is
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
        is_framed = offset != AFTER_RIFF or prefix.startswith(b"RIFF")
        if is_framed and prefix[offset : offset + len(magic)] == magic:
            return content_type, extension
    return None


def is_text(prefix: bytes) -> bool:
    """Whether a file that begins like this may be text, by the rule of https://mimesniff.spec.whatwg.org/#sniffing."""
    return prefix.startswith(_UTF16) or _BINARY.search(prefix) is None


def content_type_of_name(name: str) -> str:
    """What a stored file's extension says: it was given by `sniff` where that knew."""
    dot = name.rfind(".")
    return BY_EXTENSION.get(name[dot:].lower(), UNKNOWN) if dot >= 0 else UNKNOWN


# What the names of outputs elsewhere say besides. Not served by us, so nothing here ever runs on our host.
BY_NAME = BY_EXTENSION | {
    ".aac": "audio/aac",
    ".avi": "video/x-msvideo",
    ".bin": UNKNOWN,
    ".bmp": "image/bmp",
    ".ckpt": UNKNOWN,
    ".exr": "image/x-exr",
    ".fbx": UNKNOWN,
    ".gguf": UNKNOWN,
    ".gltf": "model/gltf+json",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".htm": "text/html",
    ".html": "text/html",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".npy": UNKNOWN,
    ".npz": UNKNOWN,
    ".obj": "model/obj",
    ".onnx": UNKNOWN,
    ".opus": "audio/ogg",
    ".ply": UNKNOWN,
    ".psd": "image/vnd.adobe.photoshop",
    ".pt": UNKNOWN,
    ".pth": UNKNOWN,
    ".srt": "application/x-subrip",
    ".stl": "model/stl",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".usdz": "model/vnd.usdz+zip",
    ".vtt": "text/vtt",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
# Other names of one type.
ALIASES = {
    "application/binary": UNKNOWN,
    "application/x-gzip": "application/gzip",
    "application/x-pdf": "application/pdf",
    "application/x-yaml": "application/yaml",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "audio/mp3": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-pn-wav": "audio/wav",
    "audio/x-wav": "audio/wav",
    "binary/octet-stream": UNKNOWN,
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "model/gltf.binary": "model/gltf-binary",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
}
# Signatures, and words of a host, that several types share: a file of which they say the one may be any of these (a
# trailing * is any rest).
CONTAINERS: dict[str, tuple[str, ...]] = {
    "application/json": ("model/gltf+json",),
    "application/xml": ("image/svg+xml",),
    "application/zip": (
        UNKNOWN,
        "application/epub+zip",
        "application/java-archive",
        "application/vnd.*",
        "application/x-*",
        "model/*",
    ),
    "audio/ogg": ("application/ogg", "audio/opus", "audio/vorbis", "video/ogg"),
    "text/plain": (
        "application/json",
        "application/x-subrip",
        "application/xml",
        "application/yaml",
        "model/obj",
        "text/*",
    ),
    "video/mp4": (
        "audio/aac",
        "audio/mp4",
        "image/avif",
        "image/heic",
        "image/heif",
        "video/3gpp",
        "video/quicktime",
    ),
    "video/quicktime": ("video/mp4",),
    "video/webm": ("audio/webm", "audio/x-matroska", "video/x-matroska"),
}
# Types of one program's own files: where a name says no more than that it is data, it may be such data.
PRIVATE = ("application/vnd.", "application/x-")
# What no text has, and every other file soon.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UTF16 = (b"\xfe\xff", b"\xff\xfe")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,48}/[a-z0-9][a-z0-9!#$&^_.+-]{0,48}")
_EXTENSION = re.compile(r"[^/]*(\.[A-Za-z0-9]{1,12})")


def plain_type(text: str) -> str:
    """A content type in lower case under its usual name, without parameters; "" for what is none."""
    name = text.partition(";")[0].strip().lower()
    return ALIASES.get(name, name) if _TYPE.fullmatch(name) else ""


def extension_of_url(url: str) -> str:
    """The extension of the file that a URL names, in lower case with its dot; "" where it has none."""
    try:
        path = urlsplit(url).path
    except ValueError:  # an IPv6 address that is none
        return ""
    found = _EXTENSION.fullmatch(path.rpartition("/")[2])
    return found[1].lower() if found else ""


def fits(found: str, said: str) -> bool:
    """Whether a file whose signature or host says `found` may be what `said` says; both are plain types."""
    if found == said or (said == UNKNOWN and found.startswith(PRIVATE)):
        return True
    members = CONTAINERS.get(found, ())
    return any(said.startswith(member[:-1]) if member.endswith("*") else said == member for member in members)
