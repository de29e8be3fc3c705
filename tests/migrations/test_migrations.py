"""The way to the schema: every road ends in the same tables, and no road loses a job."""

import asyncio
import itertools
import logging
import re
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gearmand_py import migrations
from gearmand_py.migrations import HEAD, REVISIONS, SchemaState, SchemaUnknown
from gearmand_py.storage import view
from gearmand_py.storage.base import SchemaTooNew, StorageError
from gearmand_py.storage.schema import DEFAULT, JOB_TABLE, JOB_VIEW, NODE_TABLE, VERSION_TABLE
from tests.migrations.conftest import MakeEngine
from tests.migrations.databases import (
    COLUMNS,
    DRIVERS,
    ID,
    JOB,
    add_jobs,
    all_jobs,
    catalogue,
    create_fresh,
    execute,
    run_script,
    state,
)

UPGRADE: Final = """
import asyncio, sys
from sqlalchemy.ext.asyncio import create_async_engine
from gearmand_py.migrations import upgrade

async def main():
    engine = create_async_engine(sys.argv[1])
    print(await upgrade(engine))
    await engine.dispose()

asyncio.run(main())
"""


class Cut(Exception):
    """The process that migrated is no more."""


# The table as version 0.1.0 made it.
FIRST_RELEASE: Final = """
CREATE TABLE gearman_job (
    id INTEGER NOT NULL,
    function_name BLOB NOT NULL,
    unique_key BLOB,
    priority SMALLINT NOT NULL,
    attempts SMALLINT NOT NULL,
    node SMALLINT NOT NULL,
    run_at BIGINT NOT NULL,
    reducer BLOB,
    data BLOB NOT NULL,
    CONSTRAINT pk_gearman_job PRIMARY KEY (id)
)
"""
# Of these and no others an upgrade of an empty database consists.
STATEMENTS: Final = (
    "drop the view",
    "make the version table",
    "make the job table",
    "version",
    "make the import table",
    "make the node table",
    "make the view",
)
SYNTAX_ERRORS: Final = {
    "sqlite": f'cannot migrate to revision {HEAD}: near "NONSENSE": syntax error',
    "postgresql": f'cannot migrate to revision {HEAD}: syntax error at or near "NONSENSE"',
    "mysql": f"cannot migrate to revision {HEAD}: You have an error in your SQL syntax; .* near 'NONSENSE' at line 1",
}


def url_of(engine: AsyncEngine) -> str:
    return engine.url.render_as_string(hide_password=False)


def cut_before(engine: AsyncEngine, statement: int) -> None:
    """Let only so many statements that change something through."""
    changes = itertools.count(1)

    def check(_connection: Any, _cursor: Any, sql: str, *_rest: object) -> None:
        if sql.lstrip().startswith(("CREATE", "DROP", "INSERT")) and next(changes) == statement:
            raise Cut

    event.listen(engine.sync_engine, "before_cursor_execute", check)


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
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), DEFAULT.metadata))

        async with migrated.connect() as connection:
            assert await connection.run_sync(differences) == []

    async def test_again_changes_nothing(self, migrated: AsyncEngine) -> None:
        await add_jobs(migrated, JOB)
        before = await catalogue(migrated)
        assert not await migrations.upgrade(migrated)
        assert await catalogue(migrated) == before
        assert await all_jobs(migrated) == [JOB]

    async def test_servers_that_start_together(self, new_engine: MakeEngine) -> None:
        first = new_engine()
        engines = [first, *(new_engine(first.url) for _ in range(3))]
        acted = await asyncio.gather(*map(migrations.upgrade, engines))
        assert sorted(acted) == [False, False, False, True]
        assert await state(first) is SchemaState.CURRENT

    async def test_processes_that_start_together(self, engine: AsyncEngine) -> None:
        command = (sys.executable, "-W", "error", "-c", UPGRADE, url_of(engine))
        pipe = asyncio.subprocess.PIPE
        processes = [await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe) for _ in range(3)]
        said = [await process.communicate() for process in processes]
        assert sorted(said) == [(b"False\n", b""), (b"False\n", b""), (b"True\n", b"")]

    async def test_cut_short_is_taken_up_where_it_was(self, new_engine: MakeEngine) -> None:
        whole = new_engine()
        await migrations.upgrade(whole)
        for statement in range(1, 1 + len(STATEMENTS)):
            engine = new_engine()
            cut = new_engine(engine.url)
            cut_before(cut, statement)
            with pytest.raises(Cut):
                await migrations.upgrade(cut)
            if engine.dialect.name != "mysql":
                assert await catalogue(engine) == set()
            assert await migrations.upgrade(engine)
            assert await catalogue(engine) == await catalogue(whole)
            assert not await migrations.upgrade(engine)

    async def test_says_why_it_failed(self, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(view, "view_ddl", lambda dialect, tables: "CREATE NONSENSE")
        with pytest.raises(StorageError) as caught:
            await migrations.upgrade(engine)
        assert re.fullmatch(SYNTAX_ERRORS[engine.dialect.name], str(caught.value))

    async def test_a_lost_view_is_made_again(self, migrated: AsyncEngine) -> None:
        before = await catalogue(migrated)
        await execute(migrated, f"DROP VIEW {JOB_VIEW}")
        assert await state(migrated) is SchemaState.CURRENT  # a server does without
        assert await migrations.upgrade(migrated)
        assert await catalogue(migrated) == before

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
        engine = create_async_engine(f"{DRIVERS['sqlite']}:///{tmp_path}/0.db")
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
            f"CREATE TABLE {JOB_TABLE} (id INTEGER PRIMARY KEY, payload VARCHAR(10))",
            f"CREATE TABLE {JOB_TABLE} AS SELECT * FROM original",
        ],
        ids=["other columns", "copy without a key"],
    )
    async def test_a_job_table_of_somebody_else_is_refused(self, engine: AsyncEngine, statement: str) -> None:
        columns = ", ".join(f"{name} INTEGER" for name in COLUMNS)
        await execute(engine, f"CREATE TABLE original ({columns})", statement)
        before = await catalogue(engine)
        with pytest.raises(SchemaUnknown, match=f"there is a table {JOB_TABLE}, but no {VERSION_TABLE}"):
            await migrations.upgrade(engine)
        assert await catalogue(engine) == before

    async def test_a_version_that_lost_its_node_table_is_refused(self, migrated: AsyncEngine) -> None:
        """Without it ids might be given twice. The remedy that is told makes it anew, and keeps the jobs."""
        await add_jobs(migrated, JOB)
        before = await catalogue(migrated)
        await execute(migrated, f"DROP TABLE {NODE_TABLE}")
        with pytest.raises(SchemaUnknown, match=f"no table {NODE_TABLE}: .* or drop {VERSION_TABLE} and run"):
            await migrations.upgrade(migrated)
        await execute(migrated, f"DROP TABLE {VERSION_TABLE}")
        assert await migrations.upgrade(migrated)
        assert await catalogue(migrated) == before
        assert await all_jobs(migrated) == [JOB]

    async def test_a_version_that_lost_its_job_table_is_refused(self, migrated: AsyncEngine) -> None:
        await execute(migrated, f"DROP VIEW {JOB_VIEW}", f"DROP TABLE {JOB_TABLE}")
        with pytest.raises(SchemaUnknown, match=f"there is no table {JOB_TABLE}"):
            await migrations.upgrade(migrated)


class TestScript:
    async def test_gives_the_same_schema(self, new_engine: MakeEngine) -> None:
        by_script, upgraded = new_engine(), new_engine()
        await run_script(by_script)
        await migrations.upgrade(upgraded)
        assert await catalogue(by_script) == await catalogue(upgraded)
        assert await state(by_script) is SchemaState.CURRENT

    @pytest.mark.parametrize("url", ["sqlite+aiosqlite:////no/such/directory/50%.db", "postgresql+asyncpg://"])
    def test_is_one_transaction(self, url: str) -> None:
        script = migrations.sql(url)
        assert script.startswith("BEGIN;\n")
        assert script.endswith("\nCOMMIT;\n")

    def test_is_empty_from_the_newest(self) -> None:
        assert migrations.sql("sqlite://", start=HEAD) == ""

    def test_unknown_start_is_refused(self) -> None:
        with pytest.raises(SchemaTooNew, match="revision 9999"):
            migrations.sql("sqlite://", start="9999")


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
        engine = create_async_engine(f"{DRIVERS['sqlite']}:///{tmp_path}/0.db")
        await migrations.upgrade(engine)
        await add_jobs(engine, JOB)
        async with engine.connect() as connection:
            assert await connection.scalar(text(f"SELECT rowid FROM {JOB_TABLE}")) == ID
            indexes = await connection.execute(text(f"PRAGMA index_list({JOB_TABLE})"))
            assert indexes.all() == []
        await engine.dispose()

    async def test_the_first_release_is_brought_up_to_date(self, tmp_path: Path) -> None:
        fresh, engine = (create_async_engine(f"{DRIVERS['sqlite']}:///{tmp_path}/{name}.db") for name in "01")
        await migrations.upgrade(fresh)
        await execute(
            engine,
            FIRST_RELEASE,
            f"CREATE VIEW {JOB_VIEW} AS SELECT id FROM {JOB_TABLE}",
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)",
            f"INSERT INTO {VERSION_TABLE} VALUES ('0001')",
        )
        await add_jobs(engine, JOB)
        assert await state(engine) is SchemaState.OLD
        assert await migrations.upgrade(engine)
        assert await state(engine) is SchemaState.CURRENT
        assert await catalogue(engine) == await catalogue(fresh)
        assert await all_jobs(engine) == [JOB]
        for used in (fresh, engine):
            await used.dispose()
