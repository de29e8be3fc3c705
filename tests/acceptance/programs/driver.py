"""What the client programs in Python share: JSON requests in, JSON events out, one a line; see libraries.py."""
# ruff: noqa: T201 - print is how the test hears

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any, Final

LONG: Final = 4096


def tell(event: str, handle: str = "", **details: object) -> None:
    """Print an event."""
    print(json.dumps({"event": event, "handle": handle, **details}), flush=True)


def text(data: bytes) -> str:
    """Each character stands for a byte."""
    return data.decode("latin-1")


def payload(data: str, times: int) -> bytes:
    """The bytes that a request means."""
    return data.encode("latin-1") * times


def result(data: bytes) -> dict[str, object]:
    """A result as an event tells it: what is long by its size and hash."""
    if len(data) > LONG:
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"data": text(data)}


def serve(*requests: Callable[..., None]) -> None:
    """Read requests and call the functions with their names."""
    named: dict[str, Callable[..., Any]] = {request.__name__: request for request in requests}
    for line in sys.stdin:
        request = json.loads(line)
        named[request.pop("request")](**request)
