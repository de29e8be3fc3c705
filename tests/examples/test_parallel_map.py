"""examples/parallel-map"""

import signal

from tests.examples.checkout import PATIENCE, Checkout, steps

WORKERS, PRIMES, WORKER_DIES, SERVER_DIES = steps("parallel-map/README.md")
ALONE = "exec perl examples/parallel-map/worker.pl"


def test_the_story(checkout: Checkout) -> None:
    server = checkout.serve()
    checkout.start(WORKERS)
    counted = checkout.follow(PRIMES._replace(command=f"{PRIMES.command.rstrip()} 2>progress"))
    assert [line.split()[0] for line in counted.splitlines()] == [str(1 + 100_000 * part) for part in range(20)] + ["1"]
    assert (checkout.path / "progress").read_text() == "".join(f"{done} of 20\n" for done in range(1, 21))
    checkout.follow(WORKER_DIES)
    again = checkout.type(SERVER_DIES.command)
    assert server.wait() != 0
    checkout.expect(again, SERVER_DIES.shown)


def test_what_a_dead_worker_had_in_hand_is_done_by_another(checkout: Checkout) -> None:
    checkout.serve()
    first = checkout.type(ALONE)
    first.expect(b"waits")
    counted = checkout.type("php examples/parallel-map/primes.php 1000000 1 2>&1")
    first.expect(b"counts from 1 to 1000000")
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert counted.is_running
    second = checkout.type(ALONE)
    second.expect(b"counts from 1 to 1000000")
    counted.expect(rb" 1 1000000: +78498\n", PATIENCE)
    assert counted.wait() == 0


def test_a_worker_refuses_what_is_no_range(checkout: Checkout) -> None:
    checkout.serve()
    checkout.type(ALONE).expect(b"waits")
    assert checkout.type(".venv/bin/gearmand-py submit count_primes '1 x'").wait() == 1
    assert checkout.type(".venv/bin/gearmand-py submit count_primes '1 10'").result() == b"4"


def test_a_refusal_ends_the_map(checkout: Checkout) -> None:
    checkout.serve()
    checkout.type(ALONE).expect(b"waits")
    counted = checkout.type("php examples/parallel-map/primes.php 1000000000000000 1")
    assert counted.wait() == 1
    assert counted.stdout == b"a worker refused 1 1000000000000000\n"


def test_wrong_usage(checkout: Checkout) -> None:
    assert checkout.type("php examples/parallel-map/primes.php 10 0").wait() == 2
