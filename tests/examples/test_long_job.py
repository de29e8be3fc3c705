"""examples/long-job"""

import json
import re
from typing import Any

from tests.examples.checkout import PATIENCE, Answer, Checkout, eventually, fetch, steps

WEB, WORK, BY_HAND, UNKNOWN, FAILED, WORKER_DIES, SERVER_DIES, GOES_ON = steps("long-job/README.md")
ENDED = ("done", "failed", "unknown")


def test_the_story(checkout: Checkout) -> None:
    server = checkout.serve()
    checkout.start(WEB)
    checkout.start(WORK)
    handle, _ = checkout.follow(BY_HAND).splitlines()
    ended = eventually(lambda: job(checkout, handle), lambda seen: seen["state"] in ENDED)
    assert ended == {"state": "done", "picture": f"results/{handle.replace(':', '%3A')}.png"}
    assert picture(checkout, ended["picture"]) == (960, 540)
    checkout.follow(UNKNOWN)
    checkout.follow(FAILED)

    checkout.follow(WORKER_DIES)
    checkout.start(SERVER_DIES)
    assert server.wait() != 0
    worker = checkout.start(GOES_ON)
    handle = re.findall(r"(H:\S+) is done", worker.stdout.decode())[-1]
    eventually(lambda: job(checkout, handle), lambda seen: seen["state"] == "done")


def test_the_progress_only_grows(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(WEB)
    handle = submit(checkout, view="elephants", samples="1")
    assert job(checkout, handle) == {"state": "queued", "numerator": 0, "denominator": 0}
    checkout.start(WORK)
    seen = [job(checkout, handle)]
    eventually(lambda: seen.append(job(checkout, handle)), lambda _: seen[-1]["state"] in ENDED)
    states = [one["state"] for one in seen]
    assert sorted(set(states), key=states.index) in (["queued", "running", "done"], ["running", "done"])
    rows = [one["numerator"] for one in seen if one["state"] == "running"]
    assert rows == sorted(rows)
    assert len(set(rows)) > 10


def test_while_the_server_is_away(checkout: Checkout) -> None:
    server = checkout.serve()
    checkout.start(WEB)
    handle = submit(checkout, view="all", samples="1")
    server.close()
    url = checkout.here("http://127.0.0.1:8081/jobs")
    away = Answer(503, '{"error": "The job server is away."}\n')
    assert eventually(lambda: fetch(f"{url}/{handle}"), lambda answer: answer.status != 200) == away
    assert fetch(url, view="all") == away
    checkout.serve()
    back = eventually(lambda: fetch(f"{url}/{handle}"), lambda answer: answer.status != 503)
    assert json.loads(back.body)["state"] == "queued"


def test_a_worker_that_loses_the_server_in_the_middle_goes_on_with_the_next_one(checkout: Checkout) -> None:
    server = checkout.serve()
    checkout.start(WEB)
    worker = checkout.start(WORK)
    handle = submit(checkout, view="all", samples="1")
    worker.expect(b"begins")
    server.close()
    checkout.serve()
    worker.expect(b"is done", PATIENCE)  # of the job that was taken from it
    worker.expect(b"is done", PATIENCE)  # when it had it again
    eventually(lambda: known(checkout, handle), lambda there: not there)
    assert job(checkout, handle)["state"] == "done"


def test_the_page_takes_no_nonsense(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(WEB)
    url = checkout.here("http://127.0.0.1:8081")
    assert "<h1>Long jobs</h1>" in fetch(f"{url}/").body
    for form in ({"view": "x"}, {"view": "all", "samples": "3"}, {"samples": "1"}):
        assert fetch(f"{url}/jobs", **form).status == 400
    assert fetch(f"{url}/", view="all").status == 404
    for path in ("jobs/", "jobs/a%00b", "jobs/a/b", f"jobs/{'x' * 64}", "results/", "web.py", "results/..%2Fweb.py"):
        assert fetch(f"{url}/{path}").status == 404, path


def job(checkout: Checkout, handle: str) -> dict[str, Any]:
    """What the page is told of a job; while the web server finds its own server again, that."""
    answer = fetch(checkout.here(f"http://127.0.0.1:8081/jobs/{handle}"))
    found: dict[str, Any] = json.loads(answer.body)
    return {"state": "away"} if answer.status == 503 else found


def known(checkout: Checkout, handle: str) -> bool:
    return job(checkout, handle)["state"] in {"queued", "running", "away"}


def submit(checkout: Checkout, **form: str) -> str:
    answer = fetch(checkout.here("http://127.0.0.1:8081/jobs"), **form)
    assert answer.status == 202, answer
    handle: str = json.loads(answer.body)["handle"]
    return handle


def picture(checkout: Checkout, path: str) -> tuple[int, int]:
    """The size of a PNG that the page shows."""
    url = checkout.here(f"http://127.0.0.1:8081/{path}")
    head = checkout.type(f"curl -s --fail {url} | head -c 24").result()
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
