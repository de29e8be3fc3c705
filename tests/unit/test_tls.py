"""Files that cannot be read any more, names in certificates, and how often a stranger's mistake is told."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gearmand_py.server.cli import main
from gearmand_py.server.config import Settings, settings_from
from gearmand_py.server.tls import Tls, name_in, tls_of
from tests.tls.certificates import Authority

NOBODY = 65534


def settings(*words: str) -> Settings:
    """What the command line says."""
    return settings_from(main.make_context("gearmand-py", list(words)).params)


@contextmanager
def without_root() -> Iterator[None]:
    """Root reads everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_key_that_only_root_could_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Authority(tmp_path).issue("server")
    tls = Tls(settings("--ssl", *own.options))
    before = tls.context
    own.key.chmod(0)
    with without_root(), caplog.at_level(logging.ERROR):
        tls.reload()
    assert tls.context is before
    assert "Permission denied; let the server's user read it (SIGHUP reads it as --user)" in caplog.text


def test_no_tls_unless_asked_for() -> None:
    assert tls_of(settings("--ssl-certificate", "/no/such")) is None


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        (None, None),
        ({}, None),
        ({"subject": ((("countryName", "DE"),), (("commonName", "ann"),))}, "ann"),
        ({"subject": (), "subjectAltName": (("DNS", "a.example"), ("DNS", "b.example"))}, "a.example"),
        ({"subject": ((("organizationName", "x"),),)}, None),
    ],
)
def test_the_name_in_a_certificate(certificate: dict[str, Any] | None, name: str | None) -> None:
    assert name_in(certificate) == name


def test_the_check_of_a_configuration_looks_at_the_files(tmp_path: Path) -> None:
    own = Authority(tmp_path).issue("server")
    assert CliRunner().invoke(main, ["--check-args", "--ssl", *own.options]).exit_code == 0
    own.key.unlink()
    assert CliRunner().invoke(main, ["--check-args", "--ssl", *own.options]).exit_code == 1
