"""Rules of access: who has which rights, and that what is denied changes nothing."""

import hashlib
from collections.abc import Callable
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearmand_py.server import packets
from gearmand_py.server.access import (
    LONGEST_NAME,
    MOST_NAMES,
    NOTHING,
    UNIX,
    Access,
    Level,
    Names,
    Rights,
    Rule,
)
from gearmand_py.server.dispatch import SUBMISSIONS
from gearmand_py.server.errors import Expelled
from gearmand_py.server.guard import ADDRESS_BURST, WRONG_SECRETS, Guard
from gearmand_py.server.packets import (
    CAN_DO,
    CAN_DO_TIMEOUT,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    JOB_CREATED,
    NO_JOB,
    OPTION_REQ,
    OPTION_RES,
    SET_CLIENT_ID,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_REDUCE_JOB,
    WORK_COMPLETE,
)
from gearmand_py.server.peers import Peer
from tests.core import Core, Said

SECRET = b"correct-horse-battery"
OTHER = b"another-horse-battery"


def digest(secret: bytes) -> frozenset[bytes]:
    return frozenset({hashlib.sha256(secret).digest()})


def rights(rule: Rule, address: str = "10.1.2.3", certificate: str | None = None) -> Rights | None:
    return Access([rule]).rights(address, certificate, frozenset())


# ---- who a rule is for


@pytest.mark.parametrize(
    ("network", "address", "applies"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),  # as a socket for :: has it
        ("10.0.0.0/8", "::1", False),
        ("10.0.0.0/8", "?", False),  # gone before it could be asked
        ("0.0.0.0/0", "::1", False),
        ("::/0", "127.0.0.1", False),
        ("::1/128", "::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("0.0.0.0/0", UNIX, False),
    ],
)
def test_a_network(network: str, address: str, applies: bool) -> None:
    assert (rights(Rule(networks=(ip_network(network),)), address) is not None) == applies


@pytest.mark.parametrize(("address", "applies"), [(UNIX, True), ("127.0.0.1", False), ("?", False)])
def test_unix_sockets(address: str, applies: bool) -> None:
    assert (rights(Rule(networks=(), unix=True), address) is not None) == applies


@pytest.mark.parametrize(
    ("name", "applies"),
    [("worker-7", True), ("worker-", True), ("Worker-7", False), ("xworker-7", False), (None, False)],
)
def test_a_certificate(name: str | None, applies: bool) -> None:
    assert (rights(Rule(certificates=("worker-*",)), certificate=name) is not None) == applies


def test_a_rule_takes_all_that_it_asks_for() -> None:
    rule = Rule(networks=(ip_network("10.0.0.0/8"),), certificates=("a",), digests=digest(SECRET), submit=(b"*",))
    access = Access([rule])
    found = access.rights("10.0.0.1", "a", digest(SECRET))
    assert found
    assert found.submits[b"f"]
    without_secret = access.rights("10.0.0.1", "a", frozenset())
    assert without_secret
    assert not without_secret.submits[b"f"]
    assert access.rights("11.0.0.1", "a", digest(SECRET)) is None
    assert access.rights("10.0.0.1", "b", digest(SECRET)) is None
    assert access.digest("10.0.0.1", "a", SECRET) in digest(SECRET)
    assert access.digest("11.0.0.1", "a", SECRET) is None


def test_rules_add_up_in_any_order() -> None:
    rules = [Rule(submit=(b"a",)), Rule(submit=(b"b",), work=(b"a",), admin=Level.READ), Rule(admin=Level.NONE)]
    for access in (Access(rules), Access(reversed(rules))):
        found = access.rights("10.0.0.1", None, frozenset())
        assert found
        assert [found.submits[name] for name in (b"a", b"b", b"c")] == [True, True, False]
        assert [found.works[name] for name in (b"a", b"b")] == [True, False]
        assert found.admin == Level.READ
        assert found.rules == (1, 2, 3)


@given(st.binary(max_size=40), st.lists(st.binary(max_size=8), max_size=3))
def test_names_without_wildcards_are_themselves(name: bytes, patterns: list[bytes]) -> None:
    plain = [pattern for pattern in patterns if not set(pattern) & set(b"*?[")]
    assert Names(plain)[name] == (name in plain)


def test_decisions_that_are_kept_are_bounded() -> None:
    names = Names([b"mail.*"])
    for number in range(3 * MOST_NAMES):
        assert names[b"mail.%d" % number]
        assert not names[b"other.%d" % number]
    assert len(names) <= MOST_NAMES
    assert not names[b"mail." + b"x" * LONGEST_NAME]
    assert len(names) <= MOST_NAMES


# ---- the guard


class Guarded(Core):
    """A core behind rules."""

    def __init__(self, *rules: Rule) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []
        self.guard = Guard(self.broker, self.admin, Access(rules), self._tell)
        self.dispatch = self.guard

    def _tell(self, peer: Peer, what: str) -> None:
        self.told.append((peer.address, what))

    def come(self, address: str = "10.0.0.1", certificate: str | None = None) -> Peer:
        peer = self.connect(address)
        peer.certificate = certificate
        self.guard.admit(peer)
        return peer

    def denied(self, peer: Peer) -> str:
        """The text of the one answer, which must say that the peer may not."""
        ((kind, code, text),) = self.received(peer)
        assert (kind, code) == (ERROR, b"NOT_ALLOWED")
        return str(text, "utf-8")


MAIL = Rule(submit=(b"mail.*",), work=(b"mail.*", b"sms"))
ADMIN = Rule(networks=(ip_network("127.0.0.1/32"),), submit=(b"*",), work=(b"*",), admin=Level.MANAGE)
KEYED = Rule(digests=digest(SECRET), submit=(b"*",), work=(b"*",), admin=Level.MANAGE)


@pytest.mark.parametrize("kind", sorted(SUBMISSIONS))
def test_a_submission_that_is_denied(kind: int) -> None:
    core = Guarded(MAIL)
    client = core.come()
    core.send(client, kind, b"pay", b"", *[b"1"] * 5, b"data")
    assert core.denied(client) == "You may not submit to pay: no access rule allows it"
    assert core.told == [("10.0.0.1", "may not submit to pay")]
    assert not core.broker.functions


def test_a_submission_that_is_allowed() -> None:
    core = Guarded(MAIL)
    client, worker = core.come(), core.come()
    core.submit(client, b"mail.welcome", b"to ann")
    core.submit(client, b"mail.welcome", b"to bob", kind=SUBMIT_JOB_BG)
    core.send(worker, CAN_DO, b"mail.welcome")
    assert core.drain(worker) == [b"to ann", b"to bob"]


def test_a_reducer_is_submitted_to_as_well() -> None:
    core = Guarded(MAIL)
    client = core.come()
    core.send(client, SUBMIT_REDUCE_JOB, b"mail.a", b"", b"pay", b"", b"data")
    assert "reduce by pay" in core.denied(client)
    assert not core.broker.jobs
    core.send(client, SUBMIT_REDUCE_JOB, b"mail.a", b"", b"mail.b", b"", b"data")
    core.send(client, SUBMIT_REDUCE_JOB, b"mail.a", b"", b"", b"", b"data")
    assert [said[0] for said in core.received(client)] == [JOB_CREATED, JOB_CREATED]


@pytest.mark.parametrize(("kind", "rest"), [(CAN_DO, ()), (CAN_DO_TIMEOUT, (b"1000",))])
def test_work_that_is_denied(kind: int, rest: tuple[bytes, ...]) -> None:
    core = Guarded(MAIL, ADMIN)
    core.submit(core.come("127.0.0.1"), b"pay", b"a secret sum")
    worker = core.come()
    core.send(worker, kind, b"pay", *rest)
    assert "work on pay" in core.denied(worker)
    assert core.grab(worker) is None
    core.send(worker, kind, b"sms", *rest)
    assert core.received(worker) == []
    assert [function.name for function in worker.functions] == [b"sms"]


def test_another_ones_job_is_as_good_as_unknown() -> None:
    core = Guarded(MAIL, ADMIN)
    owner, stranger = core.come("127.0.0.1"), core.come()
    handle = core.submit(owner, b"pay", b"", unique=b"invoice-1")
    core.submit(owner, b"mail.a", b"", unique=b"letter-1")
    for peer, known in ((owner, b"1"), (stranger, b"0")):
        core.send(peer, GET_STATUS, handle)
        assert core.received(peer) == [(STATUS_RES, handle, known, b"0", b"0", b"0")]
        core.send(peer, GET_STATUS_UNIQUE, b"invoice-1")
        assert core.received(peer) == [(STATUS_RES_UNIQUE, b"invoice-1", known, b"0", b"0", b"0", known)]
    core.send(stranger, GET_STATUS_UNIQUE, b"letter-1")
    assert core.received(stranger) == [(STATUS_RES_UNIQUE, b"letter-1", b"1", b"0", b"0", b"0", b"1")]


def test_another_ones_job_with_the_same_key_hides_none() -> None:
    core = Guarded(MAIL, ADMIN)
    owner, client = core.come("127.0.0.1"), core.come()
    core.submit(owner, b"pay", b"", unique=b"key")
    core.submit(client, b"mail.a", b"", unique=b"key")
    core.send(client, GET_STATUS_UNIQUE, b"key")
    assert core.received(client) == [(STATUS_RES_UNIQUE, b"key", b"1", b"0", b"0", b"0", b"1")]


def test_a_report_on_another_ones_job() -> None:
    core = Guarded(MAIL, ADMIN)
    owner, worker, stranger = core.come("127.0.0.1"), core.come("127.0.0.1"), core.come()
    handle = core.submit(owner, b"pay")
    core.send(worker, CAN_DO, b"pay")
    assert core.grab(worker) == (handle, b"")
    core.send(stranger, WORK_COMPLETE, handle, b"forged")
    assert core.received(stranger)[0][:2] == (ERROR, b"JOB_NOT_FOUND")
    assert core.received(owner) == []


READS = [b"status", b"prioritystatus", b"PRIORITY-STATUS", b"workers", b"show jobs", b"version", b"getpid", b"verbose"]
CHANGES = [
    b"create function f",
    b"drop function f",
    b"maxqueue f 1",
    b"cancel job H:here:1",
    b"shutdown",
    b"SHUTDOWN x",
]


@pytest.mark.parametrize("line", READS + CHANGES)
def test_a_text_command_without_the_right(line: bytes) -> None:
    core = Guarded(Rule(admin=Level.READ if line in CHANGES else Level.NONE))
    operator = core.come()
    answer = core.ask(operator, line + b"\n")
    word = line.split()[0].decode().lower()
    assert answer == f"ERR NOT_ALLOWED You+may+not+use+the+command+{word}%3A+no+access+rule+allows+it\r\n".encode()
    assert core.told == [("10.0.0.1", f"may not use the command {word}")]
    assert not core.broker.functions


@pytest.mark.parametrize("line", READS + CHANGES)
def test_a_text_command_with_the_right(line: bytes) -> None:
    core = Guarded(Rule(admin=Level.READ if line in READS else Level.MANAGE))
    assert b"NOT_ALLOWED" not in core.ask(core.come(), line + b"\n")


def test_every_text_command_takes_a_right() -> None:
    core = Guarded(Rule(admin=Level.NONE))
    for command in core.admin.commands:
        assert b"NOT_ALLOWED" in core.ask(core.come(), command.encode() + b" x y\n")
    assert core.ask(core.come(), b"bogus\n").startswith(b"ERR UNKNOWN_COMMAND")
    assert core.ask(core.come(), b"\n").startswith(b"ERR UNKNOWN_COMMAND")


# ---- secrets

WAYS = {
    "option": (lambda secret: packets.request(OPTION_REQ, b"auth:" + secret), (OPTION_RES, b"auth:" + SECRET)),
    "option with a NUL": (
        lambda secret: packets.request(OPTION_REQ, b"AUTH:" + secret + b"\0"),
        (OPTION_RES, b"AUTH:" + SECRET + b"\0"),
    ),
    "client id": (lambda secret: packets.request(SET_CLIENT_ID, b"auth:" + secret + b" me"), None),
    "echo": (lambda secret: packets.request(ECHO_REQ, b"auth:" + secret), (ECHO_RES, b"auth:" + SECRET)),
}
ways = pytest.mark.parametrize(("packet", "answer"), WAYS.values(), ids=WAYS.keys())
Packet = Callable[[bytes], bytes]


@ways
def test_a_right_secret(packet: Packet, answer: Said | None) -> None:
    core = Guarded(MAIL, KEYED)
    client = core.come()
    core.feed(client, packet(SECRET))
    assert core.received(client) == ([answer] if answer else [])
    core.submit(client, b"pay")
    assert core.told == []
    assert SECRET not in core.ask(client, b"workers\n")


@ways
def test_a_wrong_secret(packet: Packet, answer: Said | None) -> None:
    core = Guarded(MAIL, KEYED)
    client = core.come()
    core.feed(client, packet(OTHER))
    assert core.denied(client) == "Wrong secret"
    assert core.told == [("10.0.0.1", "showed a wrong secret")]
    core.send(client, SUBMIT_JOB, b"pay", b"", b"")
    assert core.denied(client)


@pytest.mark.parametrize("line", [b"auth %s\n", b"AUTH %s\r\n", b"  auth   %s \n", b"auth %s\0\n"])
def test_a_secret_as_text(line: bytes) -> None:
    core = Guarded(MAIL, KEYED)
    client = core.come()
    assert core.ask(client, line % OTHER) == b"ERR NOT_ALLOWED Wrong+secret\r\n"
    assert core.ask(client, line % SECRET) == b"OK\r\n"
    assert core.ask(client, b"status\n") == b".\n"


@pytest.mark.parametrize("line", [b"auth\n", b"auth a b\n"])
def test_a_line_that_shows_no_secret(line: bytes) -> None:
    core = Guarded(MAIL, KEYED)
    assert core.ask(core.come(), line).startswith(b"ERR INVALID_ARGUMENTS")
    assert core.told == []


def test_rights_of_several_secrets_add_up() -> None:
    core = Guarded(Rule(digests=digest(SECRET), submit=(b"a",)), Rule(digests=digest(OTHER), submit=(b"b",)))
    client = core.come()
    core.ask(client, b"auth " + SECRET + b"\n")
    core.ask(client, b"auth " + OTHER + b"\n")
    core.submit(client, b"a")
    core.submit(client, b"b")
    core.send(client, SUBMIT_JOB, b"c", b"", b"")
    assert core.denied(client)


def test_who_guesses_is_expelled() -> None:
    core = Guarded(KEYED)
    client = core.come()
    for _ in range(WRONG_SECRETS - 1):
        assert core.ask(client, b"auth wrong\n") == b"ERR NOT_ALLOWED Wrong+secret\r\n"
    with pytest.raises(Expelled) as expelled:
        core.ask(client, b"auth wrong\n")
    assert expelled.value.answer.startswith(b"ERR NOT_ALLOWED ")


def test_an_address_that_guesses_is_slowed() -> None:
    core = Guarded(KEYED)
    for _ in range(ADDRESS_BURST):
        core.ask(core.come("10.0.0.1"), b"auth wrong\n")
    with pytest.raises(Expelled):
        core.ask(core.come("10.0.0.1"), b"auth " + SECRET + b"\n")  # not even looked at
    assert core.ask(core.come("10.0.0.2"), b"auth " + SECRET + b"\n") == b"OK\r\n"
    core.advance(1.0)
    assert core.ask(core.come("10.0.0.1"), b"auth " + SECRET + b"\n") == b"OK\r\n"


def test_the_addresses_of_one_customer_are_slowed_together() -> None:
    core = Guarded(KEYED)
    for number in range(ADDRESS_BURST):
        core.ask(core.come(f"2001:db8::{number:x}"), b"auth wrong\n")
    with pytest.raises(Expelled):
        core.ask(core.come("2001:db8::ffff"), b"auth wrong\n")
    core.ask(core.come("2001:db8:0:1::1"), b"auth wrong\n")


@pytest.mark.parametrize("kind", [CAN_DO, SUBMIT_JOB])
def test_a_secret_in_the_place_of_a_function(kind: int) -> None:
    core = Guarded(MAIL, KEYED)
    client = core.come()
    core.send(client, kind, *[b"Auth:" + SECRET, b"", b""][: 1 if kind == CAN_DO else 3])
    assert SECRET.decode() not in core.denied(client)
    assert SECRET.decode() not in str(core.told)


def test_a_secret_for_a_server_without_rules_is_not_shown() -> None:
    core = Core()
    client = core.connect()
    core.send(client, SET_CLIENT_ID, b"auth:" + SECRET + b" me")
    core.send(client, OPTION_REQ, b"auth:" + SECRET)
    assert core.received(client)[0][:2] == (ERROR, b"UNKNOWN_OPTION")
    assert core.ask(client, b"workers\n") == b"10 127.0.0.1 me :\n.\n"


@pytest.mark.parametrize("name", [b"a\nb", b"\x1b[2J", b"\xff\xfe", b"x" * 10_000])
def test_a_name_that_is_denied_is_told_in_few_plain_letters(name: bytes) -> None:
    core = Guarded(MAIL)
    client = core.come()
    core.send(client, CAN_DO, name)
    core.denied(client)
    ((_, what),) = core.told
    assert what.isprintable()
    assert len(what) < 400


# ---- coming and staying


def test_nobody_whom_no_rule_is_for_comes_in() -> None:
    core = Guarded(ADMIN)
    with pytest.raises(Expelled):
        core.come("10.0.0.1")
    assert core.told == [("10.0.0.1", "may not connect")]
    assert all(peer.rights is NOTHING for peer in core.broker.peers)


def test_new_rules_hold_for_who_is_there() -> None:
    core = Guarded(MAIL, KEYED)
    worker, keyed = core.come(), core.come("10.0.0.2")
    core.ask(keyed, b"auth " + SECRET + b"\n")
    handle = core.submit(keyed, b"mail.a", b"x")
    for function in (b"mail.a", b"sms"):
        core.send(worker, CAN_DO, function)
    assert core.grab(worker) == (handle, b"x")
    sms = Rule(networks=(ip_network("10.0.0.1/32"),), work=(b"sms",))
    assert core.guard.judge_anew(Access([sms, KEYED])) == []
    core.check()
    assert [function.name for function in worker.functions] == [b"sms"]
    assert worker.running == {}
    core.submit(keyed, b"pay")  # its secret is still asked for
    ((peer, answer),) = core.guard.judge_anew(Access([sms]))
    assert peer is keyed
    assert b"NOT_ALLOWED" in answer


def test_new_rules_hold_for_a_worker_with_many_functions() -> None:
    core = Guarded(Rule(work=(b"*",)))
    worker = core.come()
    for number in range(50):
        core.send(worker, CAN_DO, b"mail.%d" % number)
        core.send(worker, CAN_DO, b"pay.%d" % number)
    core.guard.judge_anew(Access([MAIL]))
    assert [function.name for function in worker.functions] == [b"mail.%d" % number for number in range(50)]
    core.check()


def test_a_secret_that_is_no_longer_asked_for_counts_no_more() -> None:
    core = Guarded(KEYED)
    client = core.come()
    core.ask(client, b"auth " + SECRET + b"\n")
    core.guard.judge_anew(Access([Rule(digests=digest(OTHER), submit=(b"*",))]))
    core.send(client, SUBMIT_JOB, b"pay", b"", b"")
    assert core.denied(client)


# ---- whatever comes

KINDS = st.sampled_from([*packets.NAMES, packets.TEXT])
BODIES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"pay", b"mail.a", b"mail.a\0", b"", b"auth:x", b"1", b"H:here:1"]), max_size=8).map(
        b"\0".join
    ),
    st.sampled_from([b"create function pay", b"maxqueue pay 1", b"drop function old", b"auth x", b"shutdown"]),
)


@given(st.lists(st.tuples(KINDS, BODIES), max_size=30))
def test_what_is_denied_changes_nothing(received: list[tuple[int, bytes]]) -> None:
    core = Guarded(Rule(submit=(b"mail.*",), work=(b"mail.*",)), ADMIN)
    operator = core.come("127.0.0.1")
    core.ask(operator, b"create function old\n")
    handle = core.submit(operator, b"old", b"a secret sum", unique=b"key")
    peer = core.come()
    for kind, body in received:
        try:
            core.feed(peer, body + b"\n" if kind == packets.TEXT else packets.request(kind, body))
        except Expelled:
            break
    assert all(name.startswith((b"mail.", b"old")) for name in core.broker.functions)
    old = core.broker.functions[b"old"]
    assert (old.total, old.running, old.workers, old.limits) == (1, 0, 0, (0, 0, 0))
    assert b"a secret sum" not in core.raw(peer)
    assert core.received(operator) == []
    assert core.broker.find(handle)
    core.check()


def test_a_worker_without_rights_gets_nothing() -> None:
    core = Guarded(Rule(admin=Level.NONE), ADMIN)
    core.submit(core.come("127.0.0.1"), b"pay")
    worker = core.come()
    core.send(worker, GRAB_JOB)
    assert core.received(worker) == [(NO_JOB,)]
