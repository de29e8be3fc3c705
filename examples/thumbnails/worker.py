"""Makes thumbnails. A job is a line with the greatest size, such as 320x320, and a picture; its result is a JPEG."""

import os
import re
from contextlib import suppress
from io import BytesIO

import gear
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")  # what people upload; Pillow reads far more than we would like to decode
Image.MAX_IMAGE_PIXELS = 50_000_000  # of a small file that claims to be twice this Pillow decodes nothing


def thumbnail(request: bytes) -> bytes:
    """The picture in the size that is asked for; ValueError if there is none in the request."""
    size, _, picture = request.partition(b"\n")
    if not (asked := re.fullmatch(rb"([1-9]\d{0,3})x([1-9]\d{0,3})", size)):
        raise ValueError("the first line is not a size such as 320x320")
    try:
        with Image.open(BytesIO(picture), formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((int(asked[1]), int(asked[2])))
            result = BytesIO()
            upright.convert("RGB").save(result, "JPEG", quality=85)
    except (OSError, SyntaxError, Image.DecompressionBombError) as problem:
        raise ValueError("this is no picture that can be read here") from problem
    return result.getvalue()


def main() -> None:
    worker = gear.Worker("thumbnails")
    for server in os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(","):
        host, _, port = server.partition(":")
        worker.addServer(host, int(port or 4730))  # connects by itself, and again whenever the connection is lost
    worker.registerFunction("thumbnail")
    print("waiting for pictures", flush=True)
    while True:
        job = worker.getJob()
        with suppress(OSError, AttributeError):  # gear's words for a lost connection: nobody waits for the result
            try:
                result = thumbnail(job.arguments)
            except ValueError as problem:
                print(f"{len(job.arguments)} bytes: {problem}", flush=True)
                job.sendWorkException(str(problem).encode())
            else:
                print(f"{len(job.arguments)} bytes: {len(result)} bytes", flush=True)
                job.sendWorkComplete(result)


main()
