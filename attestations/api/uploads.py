"""Reads a form with one picture in it: in bounded memory, hashed as it comes, and refused as soon as it can be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, DataAndFiles

from jobs.api.parsers import BodyTooLarge
from jobs.errors import InvalidInput

FIELD = "image"
TAIL_BYTES = 1_024  # more than a boundary has, with what may follow it


class ReceivedPicture(TemporaryUploadedFile):
    """A file on its way into the storage, gone when the request ends. `sha256_hash` is of its bytes, hex."""

    sha256_hash: str


class PictureFormParser(BaseParser):
    """`multipart/form-data` with at most one file, the field `image`, of SUBMISSION_IMAGE_MAX_BYTES at most.

    Text and frame around it may have as much as any other body: BODY_MAX_BYTES.
    """

    media_type = "multipart/form-data"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> DataAndFiles[Any, Any]:
        limit = settings.SUBMISSION_IMAGE_MAX_BYTES + settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if int(stream.META.get("CONTENT_LENGTH") or 0) > limit:
            raise BodyTooLarge(f"A form with a picture may have {limit} bytes.")
        body, receiver = _Body(stream, limit), _PictureReceiver()
        try:
            fields, files = _read_form({**stream.META, "CONTENT_TYPE": _plain(media_type)}, body, receiver)
        except BaseException:
            receiver.upload_interrupted()
            raise
        return DataAndFiles(fields, files)


def _plain(media_type: str | None) -> str:
    """A media type as Django knows it: in lowercase, but for its boundary, which has two cases."""
    kind, semicolon, parameters = (media_type or "").partition(";")
    return kind.lower() + semicolon + parameters


def _read_form(headers: dict[str, Any], body: _Body, receiver: _PictureReceiver) -> tuple[Any, Any]:
    """A form's fields and files. Raises ParseError for what is no whole form, and BodyTooLarge."""
    try:
        form = _Form(headers, cast(IO[bytes], body), [receiver], "utf-8")
        found: tuple[Any, Any] = form.parse()
    except RequestDataTooBig as error:
        raise BodyTooLarge(
            f"The text of a form may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes."
        ) from error
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise ParseError(f"The form can't be read: {error}") from error
    if not body.ends_with(form.last_boundary):
        raise ParseError("The form ends before its last boundary.")
    return found


class _Form(MultiPartParser):
    """Django's parser, to which every file is the picture: what its sender calls it is never used."""

    _boundary: bytes

    @property
    def last_boundary(self) -> bytes:
        return b"--" + self._boundary + b"--"

    def sanitize_file_name(self, file_name: str) -> str:
        # Django's own passes over a file of a name like "..", without a word.
        return FIELD


class _Body:
    """A request's body, of which no more than a limit is read, and whose end is remembered."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._size, self._tail = 0, b""

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._size += len(data)
        if self._size > self._limit:
            raise BodyTooLarge(f"A form with a picture may have {self._limit} bytes.")
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        return data

    def ends_with(self, mark: bytes) -> bool:
        """Whether it ended as a whole form does; Django's parser takes what is there for all there is."""
        return mark in self._tail


class _PictureReceiver(TemporaryFileUploadHandler):
    """Writes the one file of a form to the disk, and hashes it on the way."""

    file: ReceivedPicture

    def new_file(self, field_name: str, *args: Any, **kwargs: Any) -> None:
        if field_name != FIELD:
            raise InvalidInput.at(f"/{field_name}", "unknown_field", f"There is no file {field_name!r} here.")
        if hasattr(self, "file"):
            raise InvalidInput.at(f"/{FIELD}", "repeated", "A submission has one picture.")
        self.file = ReceivedPicture(FIELD, "", 0, None)
        self._hash = hashlib.sha256()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.SUBMISSION_IMAGE_MAX_BYTES:
            raise BodyTooLarge(f"A picture may have {settings.SUBMISSION_IMAGE_MAX_BYTES} bytes.")
        self._hash.update(raw_data)
        super().receive_data_chunk(raw_data, start)

    def file_complete(self, file_size: int) -> ReceivedPicture:
        self.file.sha256_hash = self._hash.hexdigest()
        super().file_complete(file_size)
        return self.file
