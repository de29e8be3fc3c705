"""From the URL of --database to a storage, or to a message that shows no password."""

import re
from typing import Final
from urllib.parse import quote

import pytest

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.mysql import MysqlStorage
from gearmand_py.storage.networked import NetworkedStorage
from gearmand_py.storage.postgresql import PostgresStorage
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sqlite import SqliteStorage
from gearmand_py.storage.urls import parse, storage_for

ODD: Final = " p@ss:w/o%r?d#größe& "

# As people write them for other programs, and the driver that is used.
FORMS: Final = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "postgresql+psycopg2": "postgresql+asyncpg",
    "postgresql+psycopg": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mysql+aiomysql": "mysql+aiomysql",
    "mysql+asyncmy": "mysql+asyncmy",
    "mysql+pymysql": "mysql+aiomysql",
    "mysql+mysqldb": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
    "mariadb+asyncmy": "mariadb+asyncmy",
    "mariadb+mariadbconnector": "mariadb+aiomysql",
    "sqlite+pysqlite": "sqlite+aiosqlite",
}


@pytest.mark.parametrize("url", ["sqlite:////tmp/q.db", "postgresql://u@h/d", "mysql://u@h/d", "mariadb://u@h/d"])
def test_what_a_statement_is_given_is_in_no_error(url: str) -> None:
    """It may be a payload, and errors are logged."""
    assert storage_for(url).engine.sync_engine.hide_parameters


@pytest.mark.parametrize(("name", "driver"), FORMS.items())
def test_each_form_has_its_driver(name: str, driver: str) -> None:
    assert parse(f"{name}://user@host/queue").drivername == driver


@pytest.mark.parametrize(
    ("name", "kind"),
    [("postgres", PostgresStorage), ("mysql", MysqlStorage), ("mariadb", MysqlStorage), ("sqlite", SqliteStorage)],
)
def test_each_form_has_its_storage(name: str, kind: type) -> None:
    assert type(storage_for(f"{name}:///queue")) is kind


@pytest.mark.parametrize("name", ["postgresql", "mysql", "mariadb"])
def test_a_password_is_quoted_in_the_url_and_shown_nowhere(name: str) -> None:
    for url in (
        f"{name}://user:{quote(ODD, safe='')}@host/queue",
        f"{name}://user@host/queue?password={quote(ODD, safe='')}",
    ):
        storage = storage_for(url)
        assert isinstance(storage, NetworkedStorage)
        assert storage.url.password == ODD
        assert "password" not in storage.url.query
        assert storage.where == f"{name}://user@host/queue"
        assert storage.description.removesuffix(" (PostgreSQL)") == storage.where


def test_only_where_it_is_is_shown_of_the_parameters() -> None:
    storage = storage_for("postgresql://user@/queue?host=one:5432&host=two:5433&sslpassword=s3cret&passfile=x")
    assert "host=one" in storage.description
    assert "host=two" in storage.description
    assert "s3cret" not in storage.description
    assert "passfile" not in storage.description


@pytest.mark.parametrize(
    "url",
    [
        "queue.db",
        "",
        "postgresql:",
        "postgresql//user:s3cret@host/queue",
        "postgresql://user:s3cret@host:port/queue",
        "postgresql://user:s3cret/with/slashes@host:x/queue",
        "oracle://user:s3cret@host/queue",
        "mongodb+srv://user:s3cret@host/queue",
        "postgresql://user:s3cret@[::1/queue",
    ],
)
def test_what_is_no_url_is_told_without_what_may_be_a_password(url: str) -> None:
    with pytest.raises(
        StorageError, match=re.escape("use sqlite:////path/to/queue.db, postgresql://user@host/da")
    ) as no:
        storage_for(url)
    assert "s3cret" not in str(no.value)
    assert no.value.__cause__ is None, "the cause has the URL"


def test_what_a_database_does_not_have_is_told() -> None:
    for url in ("mysql://user@host/queue", "sqlite:////queue.db"):
        with pytest.raises(StorageError, match="--database-schema is PostgreSQL's"):
            storage_for(url, Tables("", "queue"))
    for url in ("mysql://user@host", "mariadb://user@host/"):
        with pytest.raises(StorageError, match="--database names no database: use mysql://user@host/database"):
            storage_for(url)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StorageError, match="the driver is not installed: pip install asyncmy"):
        parse("mysql+asyncmy://host/queue")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://host/queue?host=a&host=b", "ports are required"),
        ("postgresql:///queue?host=/run/postgresql&port=x", "non-integer port"),
        ("mysql://host/queue?connect_timeout=x", "invalid literal for int"),
    ],
)
def test_words_of_a_url_that_mean_nothing(url: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason):
        storage_for(url)


@pytest.mark.parametrize(
    "url", ["postgresql://{}@host/queue", "mysql://host/{}", "sqlite:////{}", "sqlite://{}/q", "{}"]
)
def test_a_url_that_is_not_utf_8(url: str) -> None:
    with pytest.raises(StorageError, match="is not UTF-8"):
        storage_for(url.format("\udc80"))
