"""The tables as Django's models, and Django set up to reach them: its own pool of psycopg connections, prepared."""

import os
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import django
from django.conf import settings

url = urlsplit(os.environ["DATABASE_URL"])
SIZE = int(os.environ["POOL_SIZE"])
POOL = {"min_size": SIZE, "max_size": SIZE + int(os.environ["POOL_OVERFLOW"])}
settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="benchmarks.peers.ninja",
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

from django.db import models  # noqa: E402  Django must be set up first


def now() -> datetime:
    return datetime.now(UTC)


class Table(models.Model):
    id = models.BigAutoField(primary_key=True)

    class Meta:
        app_label = "peers"
        abstract = True
        managed = False


class Stamped(Table):
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)

    class Meta(Table.Meta):
        abstract = True


class Hero(Stamped):
    name = models.CharField(max_length=100)
    secret_name = models.CharField(max_length=100)
    age = models.IntegerField(null=True)
    power = models.IntegerField(default=0)
    team_id = models.BigIntegerField(null=True)

    class Meta(Table.Meta):
        db_table = "hero"


class User(Table):
    username = models.CharField(max_length=50)

    class Meta(Table.Meta):
        db_table = "user"


class Post(Stamped):
    title = models.CharField(max_length=200)
    body = models.TextField()
    author = models.ForeignKey(User, on_delete=models.CASCADE)

    class Meta(Table.Meta):
        db_table = "post"
