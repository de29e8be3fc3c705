"""Tests of servers are not even collected where no server is asked for."""

from tests.databases.selection import SERVERS

collect_ignore = [] if SERVERS else ["test_servers.py"]
