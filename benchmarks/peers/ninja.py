"""Django Ninja, async: Django's ORM by its async methods, and the faster renderer of Ninja's documentation."""

from datetime import datetime

from benchmarks.peers.django_tables import Hero, Post, now

# Django is set up now, which the others need.
# isort: split
import orjson
from django.core.asgi import get_asgi_application
from django.urls import path
from ninja import NinjaAPI, Schema
from ninja.renderers import BaseRenderer


class HeroIn(Schema):
    name: str
    secret_name: str
    age: int | None = None
    power: int = 0
    team_id: int | None = None


class HeroPatch(HeroIn):
    name: str = ""
    secret_name: str = ""


class StampedOut(Schema):
    id: int
    version: int
    created_at: datetime
    updated_at: datetime


class HeroOut(HeroIn, StampedOut):
    pass


class UserOut(Schema):
    id: int
    username: str


class PostOut(StampedOut):
    title: str
    body: str
    author_id: int
    author: UserOut


class ORJSONRenderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request, data, *, response_status):
        return orjson.dumps(data)


api = NinjaAPI(renderer=ORJSONRenderer(), docs_url=None, openapi_url=None)


@api.get("/heroes/", response=list[HeroOut])
async def list_heroes(request, limit: int = 100, offset: int = 0, age__gte: int | None = None, sort: str = "id"):
    heroes = Hero.objects.order_by(*(("-power", "-id") if sort == "-power" else ("id",)))
    if age__gte is not None:
        heroes = heroes.filter(age__gte=age__gte)
    return [hero async for hero in heroes[offset : offset + limit]]


@api.get("/heroes/{int:hero_id}", response=HeroOut)
async def get_hero(request, hero_id: int):
    return await Hero.objects.aget(pk=hero_id)


@api.post("/heroes/", response={201: HeroOut})
async def create_hero(request, new: HeroIn):
    return 201, await Hero.objects.acreate(**new.dict())


@api.post("/heroes/bulk", response={201: list[HeroOut]})
async def create_heroes(request, new: list[HeroIn]):
    return 201, await Hero.objects.abulk_create([Hero(**one.dict()) for one in new])


@api.patch("/heroes/{int:hero_id}", response=HeroOut)
async def update_hero(request, hero_id: int, changes: HeroPatch):
    hero = await Hero.objects.aget(pk=hero_id)
    fields = changes.dict(exclude_unset=True) | {"version": hero.version + 1, "updated_at": now()}
    for name, value in fields.items():
        setattr(hero, name, value)
    await hero.asave(update_fields=list(fields))
    return hero


@api.get("/posts/", response=list[PostOut])
async def list_posts(request, limit: int = 100, offset: int = 0):
    newest = Post.objects.select_related("author").order_by("-created_at", "-id")
    return [post async for post in newest[offset : offset + limit]]


urlpatterns = [path("", api.urls)]
app = get_asgi_application()
