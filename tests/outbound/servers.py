"""Other servers, as odd as a test wants them: a function gets the connection when the request is read."""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[socket.socket, str], None]
"""Gets the connection, and the request line of what was read of it."""


def plain(body: bytes = b'{"ok":true}', status: str = "200 OK", *headers: str) -> Answer:
    fields = "".join(f"{header}\r\n" for header in (f"Content-Length: {len(body)}", *headers))
    return lambda connection, _: connection.sendall(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)


def raw(data: bytes) -> Answer:
    return lambda connection, _: connection.sendall(data)


class Server:
    """Listens on entry. `requests` are the heads and bodies that came, `left` is set when a peer has gone."""

    def __init__(
        self, answer: Answer, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._answer, self._tls = answer, tls
        self.requests: list[str] = []
        self.left = threading.Event()
        self.accepted = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.host, self.port = host, self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that waits in `accept` is woken by this alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted.set()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                request = _read(connection)
                self.requests.append(request)
                with contextlib.suppress(OSError):
                    self._answer(connection, request.partition("\r\n")[0])
        self.left.set()


def _read(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data.decode("latin-1")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
    while len(body) < int(length.partition(b":")[2]):
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return (head + b"\r\n\r\n" + body).decode("latin-1")


def until_left(connection: socket.socket) -> None:
    """Waits until the peer has gone, or for half a minute."""
    connection.settimeout(30)
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


# ---- Names ----------------------------------------------------------------------------------------------------------


class Names:
    """Answers the system's resolver for names that end in `.test`, in the order that a test wrote; others are real.

    This is the one function by which a name can be resolved in this process, so that `lookups` has every look.
    """

    def __init__(self) -> None:
        self._real = socket.getaddrinfo
        self._answers: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []

    def __setitem__(self, name: str, answers: list[list[str]]) -> None:
        """Lists of addresses, one for each look; the last one stays."""
        self._answers[name] = answers

    def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if not str(host).endswith(".test"):
            return self._real(host, port, *arguments, **options)
        self.lookups.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in addresses for entry in self._real(address, port, type=socket.SOCK_STREAM)]


# ---- Certificates ---------------------------------------------------------------------------------------------------


def certified(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """The certificate of an authority that nobody knows, and a context with one of its own for these names."""
    authority_key, authority = _certificate("Test authority", None, None)
    key, certificate = _certificate(names[0], authority_key, authority, names)
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    authority_file = folder / "authority.pem"
    authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return authority_file, context


def _certificate(name: str, signer: Any, issuer: x509.Certificate | None, names: tuple[str, ...] = ()) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    # Python 3.13 takes no certificate that leaves out what RFC 5280 wants of it.
    signers = signer.public_key() if signer else key.public_key()
    for extension in (
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signers),
    ):
        builder = builder.add_extension(extension, critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([_alternative(one) for one in names])
        builder = builder.add_extension(alternatives, critical=False)
    else:
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
    return key, builder.sign(signer or key, hashes.SHA256())


_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
