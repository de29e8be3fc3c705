"""Words that lead somewhere, for each target: the fuzzer puts them together, and so does hypothesis."""

from collections.abc import Mapping, Sequence
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.config import OPTIONS
from gearmand_py.server.options import Setting, own_name
from gearmand_py.server.packets import HEADER, REQUEST, RESPONSE, request, response
from gearmand_py.storage.base import id_floor
from tests.core import PREFIX, START

# The handles of the first jobs of a Core.
HANDLES: Final = [PREFIX + b"%d" % (id_floor(int(START * 1000), 0) + number) for number in range(5)]
DIGITS: Final = b"9" * 4400  # more than Python turns into a number

PACKETS: Final = [
    *(request(kind, b"f") for kind in (packets.CAN_DO, packets.CANT_DO, packets.GET_STATUS_UNIQUE)),
    *(request(kind) for kind in (packets.GRAB_JOB, packets.GRAB_JOB_ALL, packets.PRE_SLEEP, packets.RESET_ABILITIES)),
    *(request(kind, b"f", b"k", b"data") for kind in (packets.SUBMIT_JOB, packets.SUBMIT_JOB_HIGH_BG)),
    *(
        request(kind, handle, b"r")
        for kind in (packets.WORK_COMPLETE, packets.WORK_FAIL, packets.WORK_DATA, packets.GET_STATUS)
        for handle in HANDLES[:2]
    ),
    request(packets.SUBMIT_JOB_EPOCH, b"f", b"k", b"1750000010", b"later"),
    request(packets.SUBMIT_JOB_SCHED, b"f", b"", b"5", b"*", b"", b"", b"0", b"later"),
    request(packets.SUBMIT_REDUCE_JOB_BACKGROUND, b"f", b"", b"r", b"0", b"data"),
    request(packets.OPTION_REQ, b"exceptions"),
    response(packets.NOOP),
    HEADER.pack(REQUEST, packets.ECHO_REQ, 5),
    HEADER.pack(REQUEST, packets.ECHO_REQ, 1 << 31),
    HEADER.pack(RESPONSE, packets.HIGHEST + 1, 0),
    b"status\n",
    b"cancel job " + HANDLES[0] + b"\n",
]
COMMANDS: Final = [
    *(b"status prioritystatus workers version getpid verbose ready shutdown graceful show unique jobs".split()),
    *(b"cancel job create drop function maxqueue f g h 0 1 -1 1_0 \xff \x7f".split()),
    *HANDLES,
    b"maxqueue f " + DIGITS,
    b" ",
    b"\n",
    b"\r\n",
]
NAMES: Final = [own_name(option).encode() for option in OPTIONS if isinstance(option, Setting)]
VALUES: Final = [b"1", b"-1", b"0.5", b"nan", b"inf", b"1e400", b"64M", b"true", b"builtin", b"::1", b"4730", DIGITS]
URLS: Final = [
    *(b"sqlite: postgresql: postgres: mysql: mariadb:+asyncmy: mysql+x: // /// ~ ann: @ [::1] :5432 :x / jobs".split()),
    *(b"? & host= port= password= sslmode=require ssl_ca= charset= connect_timeout= unix_socket= %00 % = ,".split()),
    b":SECRET@",
    b"?password=SECRET",
]
WORDS: Final = [
    *(b"host= hostaddr= port= user= password= dbname= sslmode= service= ' \\ = 5432 /run a://".split()),
    b" ",
    "²".encode(),
]

DICTIONARY: Final[Mapping[str, Sequence[bytes]]] = {
    "codec": [b"\0", b"\xff", *PACKETS],
    "core": [
        *PACKETS,
        *(bytes((peer + 3 * event, size)) for peer in range(3) for event in range(6) for size in (31, 90)),
    ],
    "text": COMMANDS,
    "toml": [
        *NAMES,
        *VALUES,
        *(b'= \n [ ] { } " \' , . # [[a]] 1979-05-27 """'.split(b" ")),
        b"\n",
        b'"x"',
        b"[" * 900,
    ],
    "words": [*(b"--" + name for name in NAMES), *VALUES, b"=", b" ", b"\n", b"#", b"-v", b"--", b"-"],
    "arguments": [*(b"--" + name for name in NAMES), *VALUES, b"=", b"\0", b"\0", b"-vv", b"-p", b"--", b"status"],
    "environment": [*(bytes([number]) for number in range(60)), *VALUES, b"\n", b" "],
    "size": [b"1", b"64", b"K", b"M", b"G", b"iB", b" ", b"-", b".", DIGITS, "٣".encode()],
    "url": URLS,
    "password": URLS,
    "conninfo": WORDS,
    "row": [
        b"\xff",
        *(bytes([kind]) for kind in range(5)),
        b"f",
        b"\0",
        b"1",
        b"-1",
        b"1.5",
        b"9e999",
        b"high",
        DIGITS,
    ],
}


def for_libfuzzer(words: Sequence[bytes]) -> str:
    """A dictionary as libFuzzer reads it; it takes no long words."""
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in words if 1 < len(word) <= 64)
    return "".join(f'"{word}"\n' for word in quoted)
