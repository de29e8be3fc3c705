"""The queries that the documentation shows run on the schema there is."""

import re
import sqlite3
from contextlib import closing
from typing import Final

import pytest

from gearmand_py.migrations import sql
from tests.docs.pages import PAGES, code

QUERIES: Final = list(
    dict.fromkeys(
        query
        for page in PAGES
        for piece in code(page.read_text())
        for query in re.findall(r"sqlite3 .*'(SELECT .*?)'", piece)
    )
)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_is_shown_runs(query: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(sql("sqlite://"))
        assert database.execute(query).fetchall() == []
