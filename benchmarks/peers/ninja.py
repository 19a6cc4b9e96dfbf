"""Django Ninja, async: Django's ORM by its async methods, with its own pool of psycopg connections, prepared."""

import os
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import django
import orjson
from django.conf import settings

url = urlsplit(os.environ["DATABASE_URL"])
POOL = {
    "min_size": int(os.environ["POOL_SIZE"]),
    "max_size": int(os.environ["POOL_SIZE"]) + int(os.environ["POOL_OVERFLOW"]),
}
settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=[],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "USER": url.username or "",
            "PASSWORD": url.password or "",
            "HOST": dict(parse_qsl(url.query)).get("host") or url.hostname or "",
            "PORT": str(url.port or ""),
            "OPTIONS": {"pool": POOL, "server_side_binding": True, "prepare_threshold": 5},
        }
    },
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402  Django must be set up first
from django.db import models  # noqa: E402
from django.urls import path  # noqa: E402
from ninja import NinjaAPI, Schema  # noqa: E402
from ninja.renderers import BaseRenderer  # noqa: E402


def now() -> datetime:
    return datetime.now(UTC)


class Hero(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    secret_name = models.CharField(max_length=100)
    age = models.IntegerField(null=True)
    power = models.IntegerField(default=0)
    team_id = models.BigIntegerField(null=True)
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)

    class Meta:
        app_label = "peers"
        db_table = "hero"
        managed = False


class User(models.Model):
    id = models.BigAutoField(primary_key=True)
    username = models.CharField(max_length=50)

    class Meta:
        app_label = "peers"
        db_table = "user"
        managed = False


class Post(models.Model):
    id = models.BigAutoField(primary_key=True)
    title = models.CharField(max_length=200)
    body = models.TextField()
    author = models.ForeignKey(User, on_delete=models.CASCADE)
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)

    class Meta:
        app_label = "peers"
        db_table = "post"
        managed = False


class HeroIn(Schema):
    name: str
    secret_name: str
    age: int | None = None
    power: int = 0
    team_id: int | None = None


class HeroOut(HeroIn):
    id: int
    version: int
    created_at: datetime
    updated_at: datetime


class HeroPatch(Schema):
    name: str = ""
    secret_name: str = ""
    age: int | None = None
    power: int = 0
    team_id: int | None = None


class UserOut(Schema):
    id: int
    username: str


class PostOut(Schema):
    id: int
    title: str
    body: str
    author_id: int
    version: int
    created_at: datetime
    updated_at: datetime
    author: UserOut


class ORJSONRenderer(BaseRenderer):
    """The faster one of its documentation."""

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
