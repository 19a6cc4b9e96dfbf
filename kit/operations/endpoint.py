"""Where does an operation live: at its path, with or without a slash behind it."""

import re
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from fastapi.routing import APIRoute

VERBS = {"list", "create", "read", "replace", "update", "delete", "bulk", "restore"}


def operation_id(route: APIRoute) -> str:
    """Short and stable: `heroes-create` for `create_hero` among the heroes."""
    words = route.name.split("_")
    return "-".join([str(route.tags[0]), words[0], *takewhile(VERBS.__contains__, words[1:])])


class Endpoint(APIRoute):
    """A route that answers with and without its trailing slash, without a redirect."""

    serves_alone = False
    """Whether its `app` needs nothing that FastAPI's router lays around it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["generate_unique_id_function"] = operation_id
        super().__init__(path, endpoint, **options)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$").rstrip("/") + r"/?\Z")

    def describe(self) -> None:
        """Complete what the docs say of it, when they are written: it takes longer than all else at the start."""
