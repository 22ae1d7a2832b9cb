"""Artifacts: files that workers make, and the addresses they are shown at."""

from __future__ import annotations

import re
import secrets
import tempfile
from pathlib import PurePosixPath
from typing import IO, Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest
from django.urls import reverse
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.fields import validated
from jobs.api.jobs import key_of
from jobs.api.parsers import BodyTooLarge
from jobs.api.workers import JobReport, LeaseSerializer
from jobs.artifacts import STORED
from jobs.content_types import INLINE, PREFIX_BYTES, UNKNOWN, content_type_of_name, sniff
from jobs.errors import InvalidInput
from jobs.services.jobs import heartbeat

CHUNK = 256 * 1024
# No dot first, no separators: the name can't lead out of its folder.
SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class StoreArtifact(JobReport):
    """A file of a job, stored by the worker that holds it."""

    scopes = {"PUT": "work"}
    parser_classes = ()

    @extend_schema(
        request={"application/octet-stream": OpenApiTypes.BINARY},
        parameters=[
            OpenApiParameter("X-Lease-Token", OpenApiTypes.UUID, OpenApiParameter.HEADER, required=True)
        ],
        responses={201: OpenApiResponse(description="`{name, url, content_type, bytes}`")},
    )
    def put(self, request: Request, job_id: str, name: str) -> Response:
        """Store a file. Its real content type is told by its bytes, and its extension follows."""
        if not SAFE_NAME.fullmatch(name):
            raise InvalidInput.at(
                "", "name_invalid", "A name has letters, digits, '.', '_' and '-', up to 100."
            )
        asked = validated(LeaseSerializer, {"lease_token": request.headers.get("X-Lease-Token")})
        job = self.job(request, job_id)
        with tempfile.TemporaryFile() as received:
            size = _receive(request, received)
            # After the upload, which may have been slow: only a worker that still holds the job stores.
            heartbeat(job, asked["lease_token"])
            received.seek(0)
            prefix = received.read(PREFIX_BYTES)
            content_type, final_name = _typed(name, prefix, request.headers.get("Content-Type", ""))
            received.seek(0)
            # The random part makes the address unguessable: whoever has it may look.
            path = f"{key_of(request).tenant.slug}/{job.pk}/{secrets.token_urlsafe(16)}/{final_name}"
            stored = default_storage.save(path, File(received))
        url = settings.PUBLIC_URL + reverse("artifact", args=[stored])
        body = {"name": final_name, "url": url, "content_type": content_type, "bytes": size}
        return Response(body, status=status.HTTP_201_CREATED, headers={"Location": url})


def _receive(request: Request, target: IO[bytes]) -> int:
    """Copy the body to `target`, ARTIFACT_MAX_BYTES at most."""
    size = 0
    stream: Any = request._request
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > settings.ARTIFACT_MAX_BYTES:
            raise BodyTooLarge(f"An artifact may have {settings.ARTIFACT_MAX_BYTES} bytes.")
        target.write(chunk)
    if not size:
        raise InvalidInput.at("", "empty", "The body is empty.")
    return size


def _typed(name: str, prefix: bytes, declared: str) -> tuple[str, str]:
    """The content type and the name with the extension that goes with it: signature, else the name's own."""
    sniffed = sniff(prefix)
    if sniffed:
        content_type, extension = sniffed
        stem = PurePosixPath(name).stem or "artifact"
        return content_type, name if content_type_of_name(name) == content_type else stem + extension
    by_name = content_type_of_name(name)
    # A name that claims a signature its bytes don't have is no picture: it is shown as plain bytes.
    if by_name in INLINE or by_name == UNKNOWN:
        return UNKNOWN, PurePosixPath(name).stem + ".bin"
    return by_name, name


@require_safe
def show_artifact(request: HttpRequest, path: str) -> FileResponse:
    """Serve a stored artifact to whoever has its unguessable address.

    It shares its host with the admin, so nothing in it may ever run there: only pictures and sound are shown
    in place, everything else is a download, and the browser is told not to guess and not to run.
    """
    if not STORED.fullmatch(path):  # the file system would refuse a NUL, or a name that is too long
        raise Http404
    try:
        stored = default_storage.open(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Http404 from error
    content_type = content_type_of_name(path)
    response = FileResponse(
        stored,
        content_type=content_type,
        as_attachment=content_type not in INLINE,
        filename=PurePosixPath(path).name,
    )
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
