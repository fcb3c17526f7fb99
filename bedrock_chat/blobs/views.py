"""Serves files, and takes them, where the address is the permission to do so."""

from typing import IO, cast

from django.core.files.base import File
from django.http import FileResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.blobs import links, storing, upload_links
from bedrock_chat.wire.openapi import VOID, errors
from bedrock_chat.wire.views import WireViewSet


class BlobViewSet(WireViewSet):
    authentication_classes = ()  # the address is the permission
    permission_classes = ()

    @extend_schema(
        operation_id="get_blob",
        summary="Read a file by the address that was given out for it",
        description="The addresses are those of `?blobs=reference` and of related documents; they are signed, and hold "
        "for BLOB_URL_SECONDS. One with a `holder` ends earlier where the bot has that document no more.",
        tags=["conversation"],
        auth=[],
        parameters=[
            *(OpenApiParameter(name, str, required=True) for name in ("type", "name", "until", "signature")),
            OpenApiParameter("holder", str),
        ],
        responses={(200, "*/*"): OpenApiTypes.BINARY, **errors(400, 403, 404)},
    )
    def retrieve(self, request: Request, sha256: str) -> HttpResponseBase:
        link = links.read(sha256, request.query_params)
        links.refuse_removed(link)
        file = storing.open_owned(sha256)
        beginning = file.read(len(links.PDF_BEGINNING))
        file.seek(0)
        is_shown = links.is_shown(link.content_type) and links.is_what_it_says(link.content_type, beginning)
        response = FileResponse(
            file,
            as_attachment=not is_shown,
            filename=link.file_name,
            content_type=link.content_type,
        )
        # A user may upload anything under any type: nothing in it may run, and no browser may guess another type.
        # Chromium's viewer shows a PDF under this policy too, and opens it at the page that the address names.
        response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox; frame-ancestors 'none'"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = f"private, max-age={link.seconds_left}, immutable"
        return response


class UploadViewSet(WireViewSet):
    authentication_classes = ()  # the address is the permission
    permission_classes = ()

    @extend_schema(
        operation_id="put_upload",
        summary="Upload a file to the address that was given out for it",
        description="The addresses are those of `GET /bot/{bot_id}/presigned-url`; they are signed, take one upload "
        "and hold for an hour. The body is the file itself. With `BLOB_BUCKET` the addresses are S3's instead.",
        tags=["bot"],
        auth=[],
        parameters=[OpenApiParameter("token", str, required=True)],
        request={"*/*": OpenApiTypes.BINARY},
        responses={200: VOID, **errors(400, 403, 404, 409, 413, 429, 503)},
    )
    def update(self, request: Request) -> Response:
        meta = request.META
        streamed = meta["wsgi.input"]
        upload_links.take(
            request.query_params.get("token", ""),
            meta.get("CONTENT_TYPE", ""),
            streamed if hasattr(streamed, "temporary_file_path") else File(cast(IO[bytes], request._request)),
            int(meta.get("CONTENT_LENGTH") or 0),
        )
        return Response(None)
