"""The way to the schema: every road ends in the same tables, and no road loses a job.

A further database joins with an entry in DATABASES and one in CATALOGUES.
"""

import asyncio
import itertools
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gearmand_py import migrations
from gearmand_py.migrations import HEAD, REVISIONS, VERSION_TABLE, SchemaState, SchemaUnknown
from gearmand_py.storage import schema
from gearmand_py.storage.base import DEAD, RUN_AT_ONCE, JobRecord, SchemaTooNew, StorageError, id_floor

# 2024-02-29T12:30:15.250Z
SUBMITTED_MS: Final = 1_709_209_815_250
ID: Final = id_floor(SUBMITTED_MS, 7)
JOB: Final = JobRecord(ID, b"resize", b"k", 1, 0, 7, RUN_AT_ONCE, None, b"payload")

COLUMNS: Final = [column.name for column in schema.gearman_job.columns]

MakeEngine = Callable[[], AsyncEngine]
Catalogue = set[tuple[Any, ...]]


def sqlite_url(directory: Path, number: int) -> str:
    return f"sqlite+aiosqlite:///{directory}/{number}.db"


def sqlite_catalogue(connection: Connection) -> Catalogue:
    """Everything but the version table, with the statements that made it."""
    rows = connection.execute(
        text("SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> :version"), {"version": VERSION_TABLE}
    )
    return {(kind, name, " ".join((statement or "").split())) for kind, name, statement in rows}


# How to get the URL of an empty database of each kind, and how to list what is in it.
DATABASES: Final[dict[str, Callable[[Path, int], str]]] = {"sqlite": sqlite_url}
CATALOGUES: Final[dict[str, Callable[[Connection], Catalogue]]] = {"sqlite": sqlite_catalogue}


@pytest.fixture(params=DATABASES)
async def new_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeEngine]:
    """Each call gives an engine for another empty database."""
    engines: list[AsyncEngine] = []
    numbers = itertools.count()

    def make() -> AsyncEngine:
        engines.append(create_async_engine(DATABASES[request.param](tmp_path, next(numbers))))
        return engines[-1]

    yield make
    for engine in engines:
        await engine.dispose()


@pytest.fixture
def engine(new_engine: MakeEngine) -> AsyncEngine:
    return new_engine()


@pytest.fixture
async def migrated(engine: AsyncEngine) -> AsyncEngine:
    await migrations.upgrade(engine)
    return engine


async def catalogue(engine: AsyncEngine) -> Catalogue:
    async with engine.connect() as connection:
        return await connection.run_sync(CATALOGUES[engine.dialect.name])


async def state(engine: AsyncEngine) -> SchemaState:
    async with engine.connect() as connection:
        return await migrations.state(connection)


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def create_fresh(engine: AsyncEngine) -> None:
    """The schema as storage/schema.py has it, with no migration involved."""
    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
        await connection.exec_driver_sql(schema.view_ddl(engine.dialect.name))


async def add_jobs(engine: AsyncEngine, *jobs: JobRecord) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(schema.gearman_job), [dict(zip(COLUMNS, job, strict=True)) for job in jobs])


async def all_jobs(engine: AsyncEngine) -> list[JobRecord]:
    async with engine.connect() as connection:
        rows = await connection.execute(select(schema.gearman_job).order_by(schema.gearman_job.c.id))
        return [JobRecord(*row) for row in rows]


async def shown(engine: AsyncEngine) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text(f"SELECT * FROM {schema.JOB_VIEW} ORDER BY id"))
        return [dict(row) for row in rows.mappings()]


class TestRevisions:
    def test_constants_are_those_of_the_scripts(self) -> None:
        with as_file(files("gearmand_py.migrations")) as scripts:
            config = Config()
            config.set_main_option("script_location", str(scripts))
            directory = ScriptDirectory.from_config(config)
            walked = [script.revision for script in directory.walk_revisions()]
        assert directory.get_heads() == [HEAD]
        assert tuple(reversed(walked)) == REVISIONS

    def test_alembic_is_imported_only_to_migrate(self) -> None:
        check = "import sys, gearmand_py.migrations; sys.exit('alembic' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


class TestUpgrade:
    async def test_makes_the_fresh_schema(self, new_engine: MakeEngine) -> None:
        fresh, upgraded = new_engine(), new_engine()
        await create_fresh(fresh)
        await migrations.upgrade(upgraded)
        assert await catalogue(upgraded) == await catalogue(fresh)

    async def test_autogenerate_finds_nothing_to_do(self, migrated: AsyncEngine) -> None:
        def differences(connection: Connection) -> list[Any]:
            options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))

        async with migrated.connect() as connection:
            assert await connection.run_sync(differences) == []

    async def test_again_changes_nothing(self, migrated: AsyncEngine) -> None:
        await add_jobs(migrated, JOB)
        before = await catalogue(migrated)
        await migrations.upgrade(migrated)
        assert await catalogue(migrated) == before
        assert await all_jobs(migrated) == [JOB]

    async def test_servers_that_start_together(self, tmp_path: Path) -> None:
        engines = [create_async_engine(sqlite_url(tmp_path, 0)) for _ in range(4)]
        await asyncio.gather(*map(migrations.upgrade, engines))
        assert await state(engines[0]) is SchemaState.CURRENT
        for engine in engines:
            await engine.dispose()

    async def test_cut_short_leaves_nothing_behind(self, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schema, "view_ddl", lambda dialect_name: "CREATE NONSENSE")
        with pytest.raises(StorageError, match="cannot migrate to revision"):
            await migrations.upgrade(engine)
        assert await catalogue(engine) == set()
        assert await state(engine) is SchemaState.EMPTY
        monkeypatch.undo()
        await migrations.upgrade(engine)
        assert await state(engine) is SchemaState.CURRENT

    async def test_leaves_the_tables_of_others_alone(self, engine: AsyncEngine) -> None:
        await execute(
            engine,
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
            "INSERT INTO alembic_version VALUES ('theirs')",
        )
        await migrations.upgrade(engine)
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"

    async def test_leaves_logging_alone(self, engine: AsyncEngine) -> None:
        root, ours = logging.getLogger(), logging.getLogger("gearmand_py.anything")
        before = (root.level, list(root.handlers), ours.disabled)
        await migrations.upgrade(engine)
        assert (root.level, list(root.handlers), ours.disabled) == before

    async def test_a_newer_schema_is_refused(self, migrated: AsyncEngine) -> None:
        await execute(migrated, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        before = await catalogue(migrated)
        with pytest.raises(SchemaTooNew, match=f"revision 9999, this program knows up to {HEAD}"):
            await migrations.upgrade(migrated)
        assert await catalogue(migrated) == before

    async def test_a_broken_file_is_the_storages_error(self, tmp_path: Path) -> None:
        (tmp_path / "0.db").write_bytes(b"this is no database" * 100)
        engine = create_async_engine(sqlite_url(tmp_path, 0))
        with pytest.raises(StorageError, match=r"^cannot read the schema: file is not a database$"):
            await migrations.upgrade(engine)
        await engine.dispose()


class TestState:
    async def test_empty(self, engine: AsyncEngine) -> None:
        assert await state(engine) is SchemaState.EMPTY
        assert await catalogue(engine) == set()

    async def test_current(self, migrated: AsyncEngine) -> None:
        assert await state(migrated) is SchemaState.CURRENT

    async def test_old(self, migrated: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(migrations, "REVISIONS", (*REVISIONS, "9999"))
        monkeypatch.setattr(migrations, "HEAD", "9999")
        assert await state(migrated) is SchemaState.OLD

    async def test_newer(self, migrated: AsyncEngine) -> None:
        await execute(migrated, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        assert await state(migrated) is SchemaState.NEWER

    @pytest.mark.parametrize(
        "loss", [f"DROP TABLE {VERSION_TABLE}", f"DELETE FROM {VERSION_TABLE}"], ids=["table", "row"]
    )
    async def test_a_job_table_that_lost_its_version_is_adopted(self, migrated: AsyncEngine, loss: str) -> None:
        await add_jobs(migrated, JOB)
        before = await catalogue(migrated)
        await execute(migrated, loss)
        assert await state(migrated) is SchemaState.OLD
        await migrations.upgrade(migrated)
        assert await state(migrated) is SchemaState.CURRENT
        assert await catalogue(migrated) == before
        assert await all_jobs(migrated) == [JOB]

    @pytest.mark.parametrize(
        "statement",
        [
            f"CREATE TABLE {schema.JOB_TABLE} (id INTEGER PRIMARY KEY, payload VARCHAR(10))",
            f"CREATE TABLE {schema.JOB_TABLE} AS SELECT * FROM original",
        ],
        ids=["other columns", "copy without a key"],
    )
    async def test_a_job_table_of_somebody_else_is_refused(self, engine: AsyncEngine, statement: str) -> None:
        columns = ", ".join(f"{name} INTEGER" for name in COLUMNS)
        await execute(engine, f"CREATE TABLE original ({columns})", statement)
        before = await catalogue(engine)
        with pytest.raises(SchemaUnknown, match=f"there is a table {schema.JOB_TABLE}, but no {VERSION_TABLE}"):
            await migrations.upgrade(engine)
        assert await catalogue(engine) == before

    async def test_a_version_that_lost_its_job_table_is_refused(self, migrated: AsyncEngine) -> None:
        await execute(migrated, f"DROP VIEW {schema.JOB_VIEW}", f"DROP TABLE {schema.JOB_TABLE}")
        with pytest.raises(SchemaUnknown, match=f"there is no table {schema.JOB_TABLE}"):
            await migrations.upgrade(migrated)


class TestScript:
    async def test_gives_the_same_schema(self, new_engine: MakeEngine) -> None:
        by_script, upgraded = new_engine(), new_engine()
        with sqlite3.connect(str(by_script.url.database)) as database:
            database.executescript(migrations.sql("sqlite://"))
        database.close()
        await migrations.upgrade(upgraded)
        assert await catalogue(by_script) == await catalogue(upgraded)
        assert await state(by_script) is SchemaState.CURRENT

    def test_is_one_transaction(self) -> None:
        script = migrations.sql("sqlite+aiosqlite:////no/such/directory/50%.db")
        assert script.startswith("BEGIN;\n")
        assert script.endswith("\nCOMMIT;\n")

    def test_is_empty_from_the_newest(self) -> None:
        assert migrations.sql("sqlite://", HEAD) == ""

    def test_unknown_start_is_refused(self) -> None:
        with pytest.raises(SchemaTooNew, match="revision 9999"):
            migrations.sql("sqlite://", "9999")


class TestView:
    async def test_a_waiting_job(self, migrated: AsyncEngine) -> None:
        await add_jobs(migrated, JOB)
        now = int(time.time())
        (row,) = await shown(migrated)
        age = row.pop("age_seconds")
        assert 0 <= age - (now - SUBMITTED_MS // 1000) <= 5
        assert row == {
            "id": ID,
            "function_name": "resize",
            "unique_key": "k",
            "priority": "normal",
            "state": "waiting",
            "attempts": 0,
            "node": 7,
            "submitted_at": "2024-02-29 12:30:15.250",
            "run_at": None,
            "data_bytes": 7,
        }

    @pytest.mark.parametrize(("priority", "word"), [(0, "high"), (1, "normal"), (2, "low")])
    async def test_priorities(self, migrated: AsyncEngine, priority: int, word: str) -> None:
        await add_jobs(migrated, JOB._replace(priority=priority))
        assert [row["priority"] for row in await shown(migrated)] == [word]

    @pytest.mark.parametrize(
        ("run_at", "kind", "time_shown"),
        [
            (RUN_AT_ONCE, "waiting", None),
            (1_709_209_900, "waiting", "2024-02-29 12:31:40"),
            (4_102_444_800, "delayed", "2100-01-01 00:00:00"),
            (253_402_300_799, "delayed", "9999-12-31 23:59:59"),
            (DEAD, "dead", None),
        ],
        ids=["at once", "delayed and due", "delayed", "delayed beyond 32 bits", "dead"],
    )
    async def test_states(self, migrated: AsyncEngine, run_at: int, kind: str, time_shown: str | None) -> None:
        await add_jobs(migrated, JOB._replace(run_at=run_at))
        assert [(row["state"], row["run_at"]) for row in await shown(migrated)] == [(kind, time_shown)]

    @pytest.mark.parametrize(
        ("stored", "seen"),
        [
            (b"", ""),
            (b"Resize it, 100% ~", "Resize it, 100% ~"),
            ("Größe 日本 🐘".encode(), "Größe 日本 🐘"),
            (b"tab\there\x01", "tab\there\x01"),
            (b"caf\xe9", "caf\ufffd"),
            (b"x" * 511 + b"\xff", "x" * 511 + "\ufffd"),
        ],
        ids=["empty", "ascii", "utf-8", "control", "latin-1", "long"],
    )
    async def test_names_are_readable(self, migrated: AsyncEngine, stored: bytes, seen: str) -> None:
        await add_jobs(migrated, JOB._replace(function=stored, unique=stored[:64]))
        assert [(row["function_name"], row["unique_key"]) for row in await shown(migrated)] == [(seen, seen[:64])]

    async def test_no_bytes_break_it(self, migrated: AsyncEngine) -> None:
        pairs = [bytes(pair) for pair in itertools.product((0x01, 0x41, *range(0x80, 0x100)), repeat=2)]
        await add_jobs(migrated, *(JOB._replace(id=ID + n, function=b"a" + pair) for n, pair in enumerate(pairs)))
        assert all(row["function_name"].startswith("a") for row in await shown(migrated))

    async def test_no_unique_and_size_in_bytes(self, migrated: AsyncEngine) -> None:
        await add_jobs(migrated, JOB._replace(unique=None, data=b"\0\xff" * 50_000), JOB._replace(id=ID + 1, data=b""))
        rows = await shown(migrated)
        assert [(row["unique_key"], row["data_bytes"]) for row in rows] == [(None, 100_000), ("k", 0)]


class TestTable:
    async def test_bytes_come_back_as_they_were(self, migrated: AsyncEngine) -> None:
        odd = bytes(range(1, 256))
        job = JOB._replace(function=odd * 2, unique=b"\xff " * 32, reducer=odd, data=bytes(range(256)) * 300)
        await add_jobs(migrated, job)
        assert await all_jobs(migrated) == [job]

    async def test_numbers_have_their_room(self, migrated: AsyncEngine) -> None:
        job = JOB._replace(id=2**63 - 1, attempts=2**15 - 1, node=1023, run_at=2**63 - 1)
        await add_jobs(migrated, job)
        assert await all_jobs(migrated) == [job]

    async def test_on_sqlite_the_id_is_the_rowid(self, tmp_path: Path) -> None:
        engine = create_async_engine(sqlite_url(tmp_path, 0))
        await migrations.upgrade(engine)
        await add_jobs(engine, JOB)
        async with engine.connect() as connection:
            assert await connection.scalar(text(f"SELECT rowid FROM {schema.JOB_TABLE}")) == ID
            indexes = await connection.execute(text(f"PRAGMA index_list({schema.JOB_TABLE})"))
            assert indexes.all() == []
        await engine.dispose()
