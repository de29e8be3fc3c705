"""What a server is told of jobs that a gearmand has left in its database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from gearmand_py.migrations import upgrade
from gearmand_py.server import config
from gearmand_py.server.cli import main
from gearmand_py.server.config import Settings
from gearmand_py.server.database import make_storage
from gearmand_py.server.importing.unimported import unimported
from gearmand_py.storage.builtin import NoStorage
from tests.command.running import GearmandPy
from tests.databases.queues import Queue
from tests.importing.imported import DONE, run_import
from tests.importing.legacy import Legacy, job

INSTEAD = "stop that one, and import them with gearmand-py import --from "


def settings_for(source: Legacy, *words: str) -> Settings:
    """A server's, with its queue in gearmand's database."""
    context = main.make_context("gearmand-py", ["--database", source.text, *words], resilient_parsing=False)
    return config.settings_from(context.params)


@asynccontextmanager
async def told(source: Legacy, *words: str) -> AsyncIterator[list[str]]:
    settings = settings_for(source, *words)
    async with make_storage(settings) as storage:
        await upgrade(storage.engine, storage.tables)
        yield await unimported(settings, storage)


async def lines(source: Legacy, *words: str) -> list[str]:
    async with told(source, *words) as found:
        return found


async def test_jobs_are_told_until_they_are_imported(gearmand_py: GearmandPy, source: Legacy) -> None:
    assert await lines(source) == []
    source.make()
    assert await lines(source) == []
    source.add([job(b"1")])
    (line,) = await lines(source)
    assert "holds a job of the C gearmand, which this server does not run: " + INSTEAD in line
    source.add([job(b"2")])
    (line,) = await lines(source)
    assert "holds 2 jobs of the C gearmand" in line
    password = source.url.password
    assert not password or password not in line
    queue = Queue(source.kind, source.url, source.execute)
    assert run_import(gearmand_py, source, queue).status == DONE
    assert await lines(source) == []
    source.add([job(b"3")])
    (line,) = await lines(source)
    assert "holds 3 jobs of the C gearmand, of which 2 are done already" in line


async def test_a_table_of_ones_own(source: Legacy) -> None:
    """--mysql-table=mails and the like: the prefix is `mails_`, and other queues there are other servers'."""
    source.make(job(b"1"))
    assert await lines(source, "--table-prefix", "mails_") == []
    source.execute(f"CREATE TABLE mails AS SELECT * FROM {source.table}")
    (line,) = await lines(source, "--table-prefix", "mails_")
    assert "mails holds a job of the C gearmand" in line
    assert "--table mails " in line
    assert "--table-prefix mails_" in line


async def test_an_import_that_was_cut_short(gearmand_py: GearmandPy, source: Legacy) -> None:
    source.make(job(b"1"), job(b"2"))
    queue = Queue(source.kind, source.url, source.execute)
    assert run_import(gearmand_py, source, queue).status == DONE
    source.execute("UPDATE gearman_import SET finished_at = 0, rows_done = 1")
    (line,) = await lines(source)
    assert "holds 2 jobs of the C gearmand, of which 1 are done already, which this server does not run" in line


async def test_a_table_of_that_name_that_is_no_queue(source: Legacy) -> None:
    source.execute(f"CREATE TABLE {source.table} (id INTEGER, data INTEGER)")
    source.execute(f"INSERT INTO {source.table} VALUES (1, 2)")
    assert await lines(source) == []


async def test_without_a_database_there_is_nothing_to_tell(tmp_path: Path, file_source: Legacy) -> None:
    assert await unimported(settings_for(file_source), NoStorage()) == []


@pytest.mark.parametrize("words", [["import", "--help"], ["--help"]])
def test_the_command_is_in_the_help(words: list[str]) -> None:
    assert "jobs of a C gearmand" in CliRunner().invoke(main, words).output
