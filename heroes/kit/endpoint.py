"""Where does an operation live: at its path, with or without a slash behind it."""

import re
from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute


def operation_id(route: APIRoute) -> str:
    """Short and stable: `heroes-create` for `create_hero` among the heroes."""
    return f"{route.tags[0]}-{route.name.partition('_')[0]}"


class Endpoint(APIRoute):
    """A route that answers with and without its trailing slash, without a redirect."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["generate_unique_id_function"] = operation_id
        super().__init__(path, endpoint, **options)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$").rstrip("/") + r"/?\Z")
