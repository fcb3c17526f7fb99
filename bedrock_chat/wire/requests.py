"""Django's request, changed where Django fails on a header that a client may send."""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters

CALLER = "bedrock_chat.caller"
"""The key of a request's META for whom it comes from, once that is known. What the server holds is counted by it."""

AFTER_RESPONSE = "bedrock_chat.after_response"
"""The key of a request's META for a list of functions that are called once the client has its response: work that it
need not wait for. A server that cannot do so sets no list. An open stream has its end for such work."""

WAITED = "bedrock_chat.waited"
"""The key of a request's META for the seconds that it has waited before this call of its view (see `serving.waits`)."""


HANG_UP = "bedrock_chat.hang_up"
"""The key of a request's META for a function that takes a callback. The server calls that one, on its event loop, if
the client leaves before it has its response. A server that cannot tell sets none. Who streams is told by the stream."""


class WireRequest(WSGIRequest):
    """A request whose text is UTF-8, whatever `charset` its Content-Type claims.

    Django decodes query strings with that charset and fails on codecs that are not for text (`charset=hex`). It also
    fails on a Content-Type that it cannot parse, before any middleware; here such a header counts as absent.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except ValueError:
            meta["CONTENT_TYPE"] = ""
            self.content_type, self.content_params = "", {}
