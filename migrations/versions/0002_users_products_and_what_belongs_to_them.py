"""users, products and what belongs to them."""

import sqlalchemy as sa
from alembic import op
from sqlmodel.sql.sqltypes import UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "category",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "name",
            sa.String(length=100).with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "slug",
            sa.String(length=100).with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 100", name=op.f("ck_category_name")),
        sa.CheckConstraint("length(slug) BETWEEN 1 AND 100", name=op.f("ck_category_slug")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_category")),
        sa.UniqueConstraint("name", name=op.f("uq_category_name")),
        sa.UniqueConstraint("slug", name=op.f("uq_category_slug")),
    )
    with op.batch_alter_table("category", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_category_created_at"), ["created_at", "id"], unique=False)

    op.create_table(
        "user",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "username",
            sa.String(length=50).with_variant(sa.String(length=50, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "email",
            sa.String(length=254).with_variant(sa.String(length=254, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "full_name",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_superuser", sa.Boolean(), nullable=False),
        sa.Column(
            "hashed_password",
            sa.String(length=255).with_variant(sa.String(length=255, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.CheckConstraint("length(email) BETWEEN 3 AND 254", name=op.f("ck_user_email")),
        sa.CheckConstraint("length(full_name) BETWEEN 1 AND 200", name=op.f("ck_user_full_name")),
        sa.CheckConstraint("length(username) BETWEEN 3 AND 50", name=op.f("ck_user_username")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("user", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_user_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_user_email"), ["email", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_user_full_name"), ["full_name", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_user_is_active"), ["is_active", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_user_is_superuser"), ["is_superuser", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_user_username"), ["username", "id"], unique=False)
        batch_op.create_index("uq_user_username", [sa.text("lower(username)")], unique=True)
        batch_op.create_index("uq_user_email", [sa.text("lower(email)")], unique=True)

    op.create_table(
        "item",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "name",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("price", sa.Numeric(10, 2).with_variant(sa.BigInteger(), "sqlite"), nullable=False),
        sa.Column("owner_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name=op.f("ck_item_name")),
        sa.CheckConstraint("price >= 0", name=op.f("ck_item_price")),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"], name=op.f("fk_item_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_item_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_item_name"), ["name", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_item_owner_id"), ["owner_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_item_price"), ["price", "id"], unique=False)

    op.create_table(
        "post",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "title",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "body",
            sa.String(length=20000).with_variant(sa.String(length=20000, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("author_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("length(body) <= 20000", name=op.f("ck_post_body")),
        sa.CheckConstraint("length(title) BETWEEN 1 AND 200", name=op.f("ck_post_title")),
        sa.ForeignKeyConstraint(["author_id"], ["user.id"], name=op.f("fk_post_author_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("post", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_post_author_id"), ["author_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_post_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_post_title"), ["title", "id"], unique=False)

    op.create_table(
        "product",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("deleted_at", UTCDateTime(), nullable=True),
        sa.Column(
            "name",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "slug",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "sku", sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"), nullable=False
        ),
        sa.Column(
            "description",
            sa.String(length=5000).with_variant(sa.String(length=5000, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "status",
            sa.String(length=16).with_variant(sa.String(length=16, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("stock", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("status IN ('draft', 'active', 'archived')", name=op.f("ck_product_status")),
        sa.CheckConstraint("length(description) <= 5000", name=op.f("ck_product_description")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name=op.f("ck_product_name")),
        sa.CheckConstraint("length(sku) BETWEEN 1 AND 64", name=op.f("ck_product_sku")),
        sa.CheckConstraint("length(slug) BETWEEN 1 AND 200", name=op.f("ck_product_slug")),
        sa.CheckConstraint("stock BETWEEN 0 AND 1000000000000", name=op.f("ck_product_stock")),
        sa.ForeignKeyConstraint(["category_id"], ["category.id"], name=op.f("fk_product_category_id")),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["user.id"], name=op.f("fk_product_created_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
    )
    with op.batch_alter_table("product", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_product_category_id"), ["category_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_product_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_product_created_by_id"), ["created_by_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_product_deleted_at"), ["deleted_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_product_name"), ["name", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_product_sku"),
            ["sku"],
            unique=True,
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.create_index(
            batch_op.f("ix_product_slug"),
            ["slug"],
            unique=True,
            postgresql_where=sa.text("deleted_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_product_status"), ["status", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_product_stock"), ["stock", "id"], unique=False)

    op.create_table(
        "power_transfer",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("to_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.CheckConstraint("amount BETWEEN 1 AND 1000000000", name=op.f("ck_power_transfer_amount")),
        sa.CheckConstraint("from_id <> to_id", name=op.f("ck_power_transfer_to_id")),
        sa.ForeignKeyConstraint(["from_id"], ["hero.id"], name=op.f("fk_power_transfer_from_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["to_id"], ["hero.id"], name=op.f("fk_power_transfer_to_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_power_transfer")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("power_transfer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_power_transfer_amount"), ["amount", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_power_transfer_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_power_transfer_from_id"), ["from_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_power_transfer_to_id"), ["to_id", "id"], unique=False)

    op.create_table(
        "review",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column(
            "body",
            sa.String(length=5000).with_variant(sa.String(length=5000, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.CheckConstraint("length(body) <= 5000", name=op.f("ck_review_body")),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name=op.f("ck_review_rating")),
        sa.ForeignKeyConstraint(["author_id"], ["user.id"], name=op.f("fk_review_author_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name=op.f("fk_review_product_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("product_id", "author_id", name=op.f("uq_review_product_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_review_author_id"), ["author_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_rating"), ["rating", "id"], unique=False)

    op.create_table(
        "stock_movement",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column(
            "reason",
            sa.String(length=500).with_variant(sa.String(length=500, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.CheckConstraint("length(reason) <= 500", name=op.f("ck_stock_movement_reason")),
        sa.CheckConstraint("quantity <> 0 AND abs(quantity) <= 1000000000", name=op.f("ck_stock_movement_quantity")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_stock_movement_product_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_movement")),
    )
    with op.batch_alter_table("stock_movement", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_stock_movement_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stock_movement_product_id"), ["product_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stock_movement_quantity"), ["quantity", "id"], unique=False)

    op.create_table(
        "stock_transfer",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity BETWEEN 1 AND 1000000000", name=op.f("ck_stock_transfer_quantity")),
        sa.CheckConstraint("source_id <> target_id", name=op.f("ck_stock_transfer_target_id")),
        sa.ForeignKeyConstraint(
            ["source_id"], ["product.id"], name=op.f("fk_stock_transfer_source_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["product.id"], name=op.f("fk_stock_transfer_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_transfer")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("stock_transfer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_stock_transfer_created_at"), ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stock_transfer_quantity"), ["quantity", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stock_transfer_source_id"), ["source_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stock_transfer_target_id"), ["target_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("stock_transfer")
    op.drop_table("stock_movement")
    op.drop_table("review")
    op.drop_table("power_transfer")
    op.drop_table("product")
    op.drop_table("post")
    op.drop_table("item")
    op.drop_table("user")
    op.drop_table("category")
