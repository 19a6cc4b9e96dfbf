"""heroes and teams."""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_folding()
    op.create_table(
        "team",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "name",
            sa.String(length=100).with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "headquarters",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.CheckConstraint("length(headquarters) BETWEEN 1 AND 200", name=op.f("ck_team_headquarters")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_team_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team")),
        sa.UniqueConstraint("name", name=op.f("uq_team_name")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("team", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_team_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_team_headquarters"), ["headquarters", "id"], unique=False)

    op.create_table(
        "hero",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "name",
            sa.String(length=100).with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "secret_name",
            sa.String(length=100).with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("age", sa.Integer(), nullable=True),
        sa.Column("power", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint("age BETWEEN 0 AND 10000", name=op.f("ck_hero_age")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_hero_name")),
        sa.CheckConstraint("length(secret_name) BETWEEN 1 AND 100", name=op.f("ck_hero_secret_name")),
        sa.CheckConstraint("power BETWEEN 0 AND 1000000000", name=op.f("ck_hero_power")),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_hero_team_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hero")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("hero", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_hero_age"), ["age", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_hero_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_hero_name"), ["name", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_hero_power"), ["power", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_hero_secret_name"), ["secret_name", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_hero_team_id"), ["team_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("hero")
    op.drop_table("team")
    drop_folding()


def create_folding() -> None:
    """The collation under which PostgreSQL's `lower` knows more than ASCII, whatever the locale of the database."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        builtin = (connection.dialect.server_version_info or (0,)) >= (17,)
        provider = "provider = builtin, locale = 'C.UTF-8'" if builtin else "provider = icu, locale = 'und'"
        op.execute(f"CREATE COLLATION folding ({provider})")


def drop_folding() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP COLLATION folding")
