"""The resources that the application has, so that tests of several resources still pass when one of them is removed."""

from collections.abc import Iterable

import pytest

from main import RESOURCES

PATHS = {str(getattr(route, "path", "")) for resource in RESOURCES for route in resource.router.routes}


def is_served(path: str) -> bool:
    """Return whether the application has a route with this path, such as `/products/{product_id}/overview`."""
    return path.partition("?")[0] in PATHS


def served(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if is_served(path)]


def needs(*paths: str) -> pytest.MarkDecorator:
    """Skip a test if the application has not all of these routes."""
    return pytest.mark.skipif(not all(map(is_served, paths)), reason=f"The application has not all of {paths}.")
