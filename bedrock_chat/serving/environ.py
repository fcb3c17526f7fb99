"""Converts ASGI's description of a request (the scope) into WSGI's (the environ)."""

from collections.abc import Mapping
from sys import stderr
from typing import Any
from urllib.parse import unquote_to_bytes

from bedrock_chat.serving.bridge import Environ


def wsgi_environ(scope: Mapping[str, Any]) -> Environ:
    """The WSGI environment of an HTTP request, without its body."""
    path = scope["raw_path"]
    if b"://" in path and not path.startswith(b"/"):  # `GET http://host/path`, which clients send to proxies
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    server, client = scope.get("server"), scope.get("client")
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0] if server else "localhost",
        "SERVER_PORT": str(server[1]) if server else "80",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = environ_key(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    return environ


def environ_key(name: bytes) -> str | None:
    """The environ's name of a header. None if the name contains `_`: it would be mistaken for the one with `-`.

    Nothing is cached here: a cache of names that clients choose is a place to fill.
    """
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
