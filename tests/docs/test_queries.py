"""The queries that the documentation shows run on the schema there is."""

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.migrations import upgrade
from gearmand_py.storage.urls import storage_for
from tests.databases.queues import new_queue
from tests.databases.selection import SELECTED
from tests.docs.pages import PAGES, code

CLIENTS: Final = {"sqlite3": "sqlite", "psql": "postgresql", "mysql": "mysql", "mariadb": "mariadb"}
SHOWN: Final = re.compile(rf"({'|'.join(CLIENTS)}) .*'(SELECT .*?)'")
OF_JOBS: Final = re.compile(r"\bgearman_jobs?\b")  # of which there are none
QUERIES: Final = list(
    dict.fromkeys(
        (CLIENTS[client], query)
        for page in PAGES
        for piece in code(page.read_text())
        for client, query in SHOWN.findall(piece)
        if CLIENTS[client] in SELECTED
    )
)


@pytest.mark.parametrize(("kind", "query"), QUERIES)
def test_a_query_that_is_shown_runs(tmp_path: Path, kind: str, query: str) -> None:
    async def migrate(url: str) -> None:
        storage = storage_for(url)
        await upgrade(storage.engine)
        await storage.close()

    with new_queue(kind, tmp_path) as queue:
        asyncio.run(migrate(queue.url.render_as_string(hide_password=False)))
        found = queue.query(query)
        assert found == [] or not OF_JOBS.search(query)
