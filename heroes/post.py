"""Posts: texts written by users. A post embeds its author, with id and username only."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.orm.interfaces import ORMOption
from sqlmodel import Field, Relationship, SQLModel, select

from heroes.user import User, UserBrief
from kit import (
    Absent,
    Batch,
    Body,
    Changes,
    Entity,
    Id,
    IfMatch,
    ListQuery,
    Many,
    Name,
    OnError,
    Owner,
    Page,
    Read,
    ReadSession,
    Session,
    Stamped,
    Who,
    allowing,
    create_many,
    embedding,
    found,
    insert_many,
    page,
)


class PostBase(SQLModel):
    title: Name = Field(max_length=200, index=True, schema_extra={"examples": ["On teapots"]})
    body: str = Field(max_length=20_000, schema_extra={"examples": ["Short and stout."]})
    author_id: Owner = Field(
        default_factory=Absent,
        foreign_key="user.id",
        ondelete="CASCADE",
        description="The id of the user; if left out, of the caller.",
        index=True,
        schema_extra={"examples": ["{user}"]},
    )


class Post(PostBase, Entity, table=True):
    belongs_to = "author_id"
    author: User = Relationship()


class PostCreate(PostBase, Body):
    """A new post."""

    read_only = Body.read_only | {"author"}


class PostRead(Stamped, PostBase, Read):
    """A post with its author."""

    author: UserBrief


class PostUpdate(PostCreate, Changes):
    """Changes to a post; every field may be left out."""


class PostQuery(ListQuery):
    model = Post
    read = PostRead
    search = ("title", "body")
    default_sort = "-created_at"


router = APIRouter(
    prefix="/posts",
    tags=["posts"],
    route_class=allowing(read=Who.MEMBERS, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS),
)


def with_author() -> ORMOption:
    return embedding(Post, "author", UserBrief)


async def make_posts(session: Session, new: Sequence[PostCreate]) -> Sequence[Post]:
    """Store posts. Returns them with their authors."""
    return await session.reload(Post, await insert_many(session, Post, new), with_author())


@router.get("/", response_model=list[PostRead], summary="List posts, the newest first")
async def list_posts(query: Annotated[PostQuery, Depends()], session: ReadSession) -> Page:
    return await page(session, query, select(Post).options(with_author()))


@router.post("/", response_model=PostRead, status_code=201, summary="Create a post")
async def create_post(new: PostCreate, session: Session) -> Post:
    return (await make_posts(session, [new]))[0]


@router.post("/bulk", response_model=list[PostRead], status_code=201, summary="Create many posts")
async def bulk_create_posts(new: Batch[PostCreate], session: Session, on_error: OnError = "abort") -> Many:
    return await create_many(session, new, on_error, make_posts)


@router.get("/{post_id}", response_model=PostRead, summary="Read a post")
async def read_post(post_id: Id, query: Annotated[PostQuery, Depends(PostQuery.of_one)], session: ReadSession) -> Post:
    return found(await session.get(Post, post_id, options=[with_author()]))


@router.put("/{post_id}", response_model=PostRead, summary="Replace a post")
async def replace_post(post_id: Id, new: PostCreate, session: Session, matching: IfMatch) -> Post:
    post = matching(found(await session.get(Post, post_id)))
    post.sqlmodel_update(new.model_dump())
    return (await session.reload(Post, [post], with_author()))[0]


@router.patch("/{post_id}", response_model=PostRead, summary="Update a post")
async def update_post(post_id: Id, changes: PostUpdate, session: Session, matching: IfMatch) -> Post:
    post = matching(found(await session.get(Post, post_id)))
    post.sqlmodel_update(changes.model_dump(exclude_unset=True))
    return (await session.reload(Post, [post], with_author()))[0]


@router.delete("/{post_id}", status_code=204, summary="Delete a post")
async def delete_post(post_id: Id, session: Session, matching: IfMatch) -> None:
    await session.delete(matching(found(await session.get(Post, post_id))))
