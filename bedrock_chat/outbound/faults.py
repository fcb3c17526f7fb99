"""Why a call to another server has no result. Each fault is one sentence, without the address and what was sent."""

from typing import ClassVar

MEGABYTE = 1024 * 1024


class OutboundFault(Exception):
    """`reason` is a sentence for whoever wanted the call: a person, a model."""

    sentence: ClassVar[str] = "The server cannot be asked."

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason or self.sentence
        super().__init__(self.reason)


class NotAllowed(OutboundFault):
    """The address is none that this server calls: by its scheme, its form, or by where its name leads."""

    sentence = "This address is not allowed."


class NotEncrypted(NotAllowed):
    sentence = "A credential is sent over https alone."


class NotResolved(OutboundFault):
    sentence = "The server's name leads nowhere."


class Unreachable(OutboundFault):
    sentence = "The server cannot be reached."


class NotTrusted(OutboundFault):
    sentence = "The server's certificate is not valid for its name, or TLS failed."


class TimedOut(OutboundFault):
    sentence = "The server did not answer in time."


class Cut(OutboundFault):
    sentence = "The connection to the server broke before its answer was complete."


class Unreadable(OutboundFault):
    sentence = "The server's answer is not HTTP."


class Encoded(OutboundFault):
    sentence = "The server's answer is compressed, though it was asked for a plain one."


class TooManyRedirects(OutboundFault):
    def __init__(self, most_redirects: int) -> None:
        super().__init__(f"The server redirects more than {most_redirects} times.")


class TooLarge(OutboundFault):
    def __init__(self, most_bytes: int) -> None:
        most = f"{most_bytes // MEGABYTE} MB" if most_bytes >= MEGABYTE else f"{most_bytes} bytes"
        super().__init__(f"The server's answer is larger than {most}.")


class Refused(OutboundFault):
    """The server answered with another status than 2xx."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(_sentence_of(status))


def _sentence_of(status: int) -> str:
    match status:
        case 401 | 403:
            return f"The server refuses the credential, or what was asked for ({status})."
        case 404 | 410:
            return f"The server does not have what was asked for ({status})."
        case 429:
            return f"The server refuses further requests for now ({status})."
        case _ if 300 <= status < 400:
            return f"The server answered with a redirect, which is not followed ({status})."
        case _ if status >= 500:
            return f"The server failed ({status})."
    return f"The server refused the request ({status})."
