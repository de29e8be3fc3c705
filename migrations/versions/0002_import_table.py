"""The table in which `gearmand-py import` notes how far it has come."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    """A table that a migration cut short has left is taken as it is."""
    options = op.get_context().opts
    name = f"{options['prefix']}gearman_import"
    op.create_table(
        name,
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            comment="of the source's database and table",
        ),
        sa.Column(
            "source",
            sa.LargeBinary().with_variant(mysql.VARBINARY(512), "mysql", "mariadb"),
            nullable=False,
            comment="the same for people",
        ),
        sa.Column("source_rows", sa.BigInteger, nullable=False, comment="when the import began"),
        sa.Column("rows_done", sa.BigInteger, nullable=False, comment="in the source's order"),
        sa.Column("rows_imported", sa.BigInteger, nullable=False, comment="jobs of ours by now"),
        sa.Column("rows_present", sa.BigInteger, nullable=False, comment="jobs that were in the queue already"),
        sa.Column("rows_refused", sa.BigInteger, nullable=False, comment="not to be had as jobs"),
        sa.Column("last_id", sa.BigInteger, nullable=False, comment="of the job imported last"),
        sa.Column("fingerprint", sa.BigInteger, nullable=False, comment="of all rows done"),
        sa.Column("begun_at", sa.BigInteger, nullable=False, comment="epoch seconds"),
        sa.Column("finished_at", sa.BigInteger, nullable=False, comment="epoch seconds, 0 not yet"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        schema=options["schema"],
        if_not_exists=True,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
