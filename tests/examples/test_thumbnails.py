"""examples/thumbnails"""

from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.command.running import Worker
from tests.examples.checkout import Checkout, steps
from tests.harness.process import Process

WORK, PERL, SHELL, NO_PICTURE, NO_PICTURE_FOR_PERL, NO_SERVER = steps("thumbnails/README.md")


def test_the_story(checkout: Checkout) -> None:
    server = checkout.serve()
    checkout.start(WORK)
    checkout.follow(PERL)
    assert size(checkout, "small.jpg") == (320, 180)
    checkout.follow(SHELL)
    assert size(checkout, "smaller.jpg") == (100, 56)
    refused(checkout, NO_PICTURE.command, NO_PICTURE.shown)
    refused(checkout, NO_PICTURE_FOR_PERL.command, NO_PICTURE_FOR_PERL.shown)
    refused(checkout, NO_SERVER.command, NO_SERVER.shown)
    assert server.wait() != 0
    checkout.serve()
    checkout.follow(PERL)


def test_a_worker_that_dies_with_the_picture_in_hand(checkout: Checkout) -> None:
    checkout.serve()
    dying = Worker(checkout.ports["4730"], b"thumbnail")
    waiting = checkout.type(PERL.command)
    dying.take()
    dying.close()
    checkout.start(WORK)
    assert waiting.result() == b""
    assert size(checkout, "small.jpg") == (320, 180)


def test_what_comes_from_outside(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(WORK)
    bomb = png(20_000, 20_000)
    for what, request in {
        "no size": b"",
        "a size that is none": b"320\n" + png(10, 10),
        "a size of nothing": b"0x0\n" + png(10, 10),
        "a bomb": b"10x10\n" + bomb,
        "half a picture": b"10x10\n" + png(100, 100)[:-100],
        "a picture of a kind that nobody uploads": b"10x10\n" + picture(10, 10, "PPM"),
    }.items():
        assert submit(checkout, request).wait() == 1, what
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned right
    small = submit(checkout, b"50x50\n" + picture(100, 50, "JPEG", exif=turned)).result()
    assert Image.open(BytesIO(small)).size == (25, 50)
    transparent = BytesIO()
    Image.new("LA", (100, 50)).save(transparent, "PNG")
    small = submit(checkout, b"50x50\n" + transparent.getvalue()).result()
    assert Image.open(BytesIO(small)).size == (50, 25)


def submit(checkout: Checkout, request: bytes) -> Process:
    (checkout.path / "request").write_bytes(request)
    return checkout.type(".venv/bin/gearmand-py submit thumbnail < request")


def png(width: int, height: int) -> bytes:
    return picture(width, height, "PNG")


def picture(width: int, height: int, kind: str, **options: object) -> bytes:
    written = BytesIO()
    Image.new("1" if kind == "PNG" else "L", (width, height)).save(written, kind, **options)
    return written.getvalue()


def refused(checkout: Checkout, command: str, shown: str) -> None:
    terminal = checkout.type(command)
    assert terminal.wait() != 0
    terminal.output.expect(checkout.pattern(shown).encode(), 0) or terminal.fail(f"the README shows\n{shown}")


def size(checkout: Checkout, name: str) -> tuple[int, int]:
    path: Path = checkout.path / "examples" / "thumbnails" / name
    with Image.open(path) as image:
        return image.size
