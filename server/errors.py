"""What a peer can do wrong. Both kinds are told to the peer as an ERROR packet; anything else that escapes is our bug.

GearmanError
├── ProtocolError   the bytes cannot be framed: told, then closed
└── RequestError    one packet cannot be done: told, and costs nothing else
    └── LimitReached    because there is too much of something: the operator is told too

Expelled is for a peer that may not stay: it is told `answer`, in the form it asked in, and then closed.
"""


class GearmanError(Exception):
    """`code` is the protocol's word for it (libgearman maps it to a return code), `text` is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class ProtocolError(GearmanError):
    """The peer sent bytes that cannot be a packet."""


class RequestError(GearmanError):
    """The peer asked for something that cannot be done."""


class LimitReached(RequestError):
    """There is as much of something as the operator allows with `option`."""

    def __init__(self, code: str, text: str, option: str) -> None:
        super().__init__(code, text)
        self.option = option


class Expelled(Exception):
    """The peer may not stay. `answer` is what it is told, ready to be sent."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer
