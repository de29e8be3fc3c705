"""The table in which each node notes how far its ids have come."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    """A table that a migration cut short has left is taken as it is."""
    options = op.get_context().opts
    name = f"{options['prefix']}gearman_node"
    op.create_table(
        name,
        sa.Column(
            "node",
            sa.SmallInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            comment="as in the table of jobs",
        ),
        sa.Column("ids_below", sa.BigInteger, nullable=False, comment="ids below this may have been given"),
        sa.PrimaryKeyConstraint("node", name=f"pk_{name}"),
        schema=options["schema"],
        if_not_exists=True,
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
