"""The table of jobs."""

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision: Final = "0001"
down_revision: Final = None


def _short_bytes(length: int) -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def upgrade() -> None:
    """Also takes over a table of this shape that is there already, with its jobs."""
    options = op.get_context().opts
    name = f"{options['prefix']}gearman_job"
    op.create_table(
        name,
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            comment="42 bits ms since 2024, 10 bits node, 11 bits sequence",
        ),
        sa.Column("function_name", _short_bytes(512), nullable=False, comment="exact bytes, case and all"),
        sa.Column("unique_key", _short_bytes(64), comment="NULL: the client gave none"),
        sa.Column("priority", sa.SmallInteger, nullable=False, comment="0 high, 1 normal, 2 low"),
        sa.Column("attempts", sa.SmallInteger, nullable=False, comment="runs that ended without a result"),
        sa.Column("node", sa.SmallInteger, nullable=False, comment="the server that owns the job"),
        sa.Column("run_at", sa.BigInteger, nullable=False, comment="0 at once, epoch seconds delayed, -1 dead"),
        sa.Column("reducer", _short_bytes(512), comment="NULL: an ordinary job"),
        sa.Column(
            "data",
            sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"),
            nullable=False,
            comment="the payload as the client sent it",
        ),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        schema=options["schema"],
        if_not_exists=True,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
