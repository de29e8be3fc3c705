"""Fixtures for tests of `gearmand-py bench`."""

from tests.command.conftest import gearmand_py, server

__all__ = ["gearmand_py", "server"]
