"""Unique keys: of jobs in memory, and of bare ids."""

from typing import Final

from gearmand_py.server.access import UNLIMITED
from gearmand_py.server.jobs import NORMAL, Function, Job
from gearmand_py.server.uniques import Key, Uniques
from gearmand_py.storage.base import JobRecord

F: Final = Function(b"f")
G: Final = Function(b"g")
H: Final = Function(b"h")
ALL: Final = UNLIMITED.sees


def job(id_: int, function: Function, key: bytes = b"key") -> Job:
    return Job(id_, function, key, NORMAL, True, b"")


def test_the_same_key_in_several_functions() -> None:
    uniques = Uniques()
    jobs = {function: job(id_, function) for id_, function in enumerate((F, G, H))}
    for one in jobs.values():
        uniques.add(b"key", one)

    assert all(uniques.get(function, b"key") is one for function, one in jobs.items())
    assert uniques.discard(b"key", jobs[G])
    assert uniques.get(G, b"key") is None
    assert uniques.get(F, b"key") is jobs[F]
    assert uniques.discard(b"key", jobs[F])
    assert uniques.discard(b"key", jobs[H])
    assert len(uniques) == 0


def test_the_first_job_keeps_its_key() -> None:
    uniques = Uniques()
    first, second = job(1, F), job(2, F)
    uniques.add(b"key", first)
    uniques.add(b"key", second)
    assert uniques.get(F, b"key") is first
    assert not uniques.discard(b"key", second)
    uniques.add(b"key", job(3, G))
    uniques.add(b"key", second)

    assert uniques.get(F, b"key") is first
    assert not uniques.discard(b"key", second)


def row(id_: int, function: Function, key: bytes = b"key", data: bytes = b"") -> JobRecord:
    return JobRecord(id_, function.name, key, NORMAL, 0, 0, 0, None, data)


def test_keys_of_rows_go_to_the_jobs_that_these_become() -> None:
    uniques = Uniques()
    rows = [row(1, F), row(2, G), row(3, F, b"other"), row(4, F, b"-", b"payload"), row(5, F, b"")]
    keys: tuple[Key, ...] = (b"key", b"key", b"other", (b"payload",))
    for key, one in zip(keys, rows, strict=False):
        uniques.add(key, one)
    jobs = [job(one.id, G if one.function == G.name else F, one.unique or b"") for one in rows]
    jobs[3].data = b"payload"
    uniques.pass_on(rows, jobs)

    assert [uniques.get(F, b"key"), uniques.get(G, b"key")] == jobs[:2]
    assert uniques.get(F, b"other") is jobs[2]
    assert uniques.get(F, (b"payload",)) is jobs[3]
    assert all(uniques.discard(key, one) for key, one in zip((b"key", b"key", b"other"), jobs, strict=False))
    assert len(uniques) == 1


def test_only_keys_that_are_owned_are_passed_on_or_spilled() -> None:
    uniques = Uniques()
    first, second = row(1, F), row(2, F)
    uniques.add(b"key", first)
    uniques.pass_on([second], [job(2, F)])
    uniques.spill(F, [second, row(3, F, b"")])
    assert uniques.get(F, b"key") is first
    assert uniques.spilled == 0
    assert not uniques._names, "a function that has no key there is looked through for ever"

    uniques.spill(F, [first])
    assert uniques.get(F, b"key") is None
    assert list(uniques.noted(F, b"key")) == [1]


def test_keys_of_several_functions_and_of_payloads_can_be_spilled() -> None:
    uniques = Uniques()
    rows = [row(1, F), row(2, G), row(3, F, b"-", b"payload"), row(4, F, b"-"), row(5, F, b"")]
    keys: tuple[Key, ...] = (b"key", b"key", (b"payload",))
    for key, one in zip(keys, rows, strict=False):
        uniques.add(key, one)
    uniques.spill(F, [one for one in rows if one.function == F.name])

    assert uniques.spilled == 2
    assert list(uniques.noted(F, b"key")) == [1]
    assert list(uniques.noted(F, (b"payload",))) == [3]
    assert uniques.get(G, b"key") is rows[1]
    assert len(uniques) == 1


def test_a_payload_is_not_a_key() -> None:
    uniques = Uniques()
    by_payload = job(1, F)
    uniques.add((b"key",), by_payload)

    assert uniques.get(F, b"key") is None
    assert uniques.get(F, (b"key",)) is by_payload


def test_any_job_with_a_key() -> None:
    uniques = Uniques()
    assert list(uniques.all_with(b"key")) == []
    one, other = job(1, F), job(2, G)
    uniques.add(b"key", one)
    assert list(uniques.all_with(b"key")) == [one]
    uniques.add(b"key", other)
    assert list(uniques.all_with(b"key")) == [one, other]
    uniques.discard(b"key", one)

    assert list(uniques.all_with(b"key")) == [other]


def test_bare_ids_by_function() -> None:
    uniques = Uniques()
    keys: tuple[Key, ...] = (b"key", (b"key",))
    for id_, (function, key) in enumerate((function, key) for function in (F, G) for key in keys):
        uniques.note(function, key, id_)

    assert list(uniques.noted(F, b"key")) == [0]
    assert list(uniques.noted(F, (b"key",))) == [1]
    assert list(uniques.noted(G, b"key")) == [2]
    assert list(uniques.noted(H, b"key")) == []
    assert sorted(uniques.noted_anywhere(b"key", ALL)) == [0, 2]
    assert list(uniques.noted_anywhere(b"key", lambda name: name == G.name)) == [2]
    assert uniques.spilled == 4


def test_a_struck_id_is_gone_and_that_twice_is_once() -> None:
    uniques = Uniques()
    uniques.note(F, b"key", 1)
    uniques.note(F, b"other", 2)
    uniques.strike(F, b"key", 1)
    uniques.strike(F, b"key", 1)

    assert list(uniques.noted(F, b"key")) == []
    assert sorted(uniques.noted_anywhere(b"other", ALL)) == [2]
    uniques.strike(F, b"other", 2)
    assert uniques.spilled == 0
    assert list(uniques.noted_anywhere(b"other", ALL)) == []


def test_a_function_that_was_dropped_and_made_anew_has_its_keys() -> None:
    """The index may know keys of a function that an operator drops: rows that are not met yet, or that are gone."""
    uniques = Uniques()
    uniques.note(F, b"key", 1)
    anew = Function(F.name)

    assert list(uniques.noted(anew, b"key")) == [1]
    uniques.strike(anew, b"key", 1)
    assert uniques.spilled == 0
    assert list(uniques.noted_anywhere(b"key", ALL)) == []
