"""Prefixes keep queues that share a database apart, whatever letters they are of."""

from typing import Final

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gearmand_py import migrations
from gearmand_py.migrations import SchemaState, SchemaUnknown
from gearmand_py.storage.base import StorageError
from gearmand_py.storage.schema import DEFAULT, Tables
from tests.migrations.conftest import MakeEngine
from tests.migrations.databases import JOB, add_jobs, all_jobs, catalogue, create_fresh, execute, run_script, state

LONGEST: Final = "L" * 36
PREFIXES: Final = ["mail_", "Mail_", "1", "select", LONGEST]


class TestTables:
    def test_names(self) -> None:
        tables = Tables("mail_", "queues")
        assert (tables.job_name, tables.view_name, tables.version_name) == (
            "mail_gearman_job",
            "mail_gearman_jobs",
            "mail_gearman_alembic_version",
        )
        assert tables.job.fullname == "queues.mail_gearman_job"
        assert tables.imports.fullname == "queues.mail_gearman_import"
        assert tables.nodes.fullname == "queues.mail_gearman_node"
        assert list(tables.metadata.tables.values()) == [tables.job, tables.imports, tables.nodes]

    def test_equal_by_names(self) -> None:
        assert Tables() == DEFAULT
        assert len({Tables("a"), Tables("a"), Tables("b"), Tables("a", "b")}) == 3

    @pytest.mark.parametrize("prefix", ["a-", "a b", "a.", 'a"', "a`", "ä", "a%", "a\n", LONGEST + "x"])
    def test_a_prefix_that_makes_no_good_name(self, prefix: str) -> None:
        with pytest.raises(StorageError, match=r"^--table-prefix cannot be .*: use letters, digits and underscores"):
            Tables(prefix)

    @pytest.mark.parametrize("schema", ["", "1a", "a-b", "a.b", 'a"', "ä", "a\n", "x" * 64])
    def test_a_schema_that_makes_no_good_name(self, schema: str) -> None:
        with pytest.raises(StorageError, match=r"^--database-schema cannot be .*: use letters, digits and underscores"):
            Tables("", schema)

    def test_all_names_fit(self) -> None:
        tables = Tables(LONGEST, "s" * 63)
        made = [tables.job_name, tables.view_name, f"{tables.version_name}_pkc", str(tables.job.primary_key.name)]
        assert max(map(len, made)) == 63


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_every_road_makes_the_same_names(new_engine: MakeEngine, prefix: str) -> None:
    tables = Tables(prefix)
    fresh, upgraded, by_script = new_engine(), new_engine(), new_engine()
    await create_fresh(fresh, tables)
    await migrations.upgrade(upgraded, tables)
    await run_script(by_script, tables)
    assert await catalogue(fresh) == await catalogue(upgraded) == await catalogue(by_script)
    assert await state(by_script, tables) is SchemaState.CURRENT
    assert not await migrations.upgrade(by_script, tables)


async def test_two_prefixes_know_nothing_of_each_other(engine: AsyncEngine) -> None:
    mail, news = Tables("mail_"), Tables("news_")
    await migrations.upgrade(engine, mail)
    assert await state(engine, mail) is SchemaState.CURRENT
    assert await state(engine, news) is SchemaState.EMPTY
    assert await state(engine) is SchemaState.EMPTY
    before = await catalogue(engine)
    await migrations.upgrade(engine, news)
    await add_jobs(engine, JOB, tables=mail)
    assert await all_jobs(engine, news) == []
    assert await all_jobs(engine, mail) == [JOB]
    assert await catalogue(engine) > before
    await execute(engine, f"DROP TABLE {news.version_name}")
    assert await state(engine, news) is SchemaState.OLD
    assert await state(engine, mail) is SchemaState.CURRENT


async def test_errors_have_the_names_of_the_queue(engine: AsyncEngine) -> None:
    mail = Tables("mail_")
    await migrations.upgrade(engine, mail)
    await execute(engine, f"DROP VIEW {mail.view_name}", f"DROP TABLE {mail.job_name}")
    with pytest.raises(SchemaUnknown, match=r"^mail_gearman_alembic_version .* no table mail_gearman_job:"):
        await state(engine, mail)
