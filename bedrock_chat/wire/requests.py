"""The request as Django reads it, where Django's reading of a header would fail on what a client may send."""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest


class WireRequest(WSGIRequest):
    """A request whose text is UTF-8, whatever `charset` its Content-Type claims.

    Django decodes query strings with that charset, and fails on codecs that are not for text (`charset=hex`); and it
    fails before any middleware on a Content-Type it cannot read, which here counts as none.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)
        except ValueError:
            meta["CONTENT_TYPE"] = ""
            super()._set_content_type_params(meta)
        self._encoding = None
