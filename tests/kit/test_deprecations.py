"""Deprecations: an old name of the kit works for one minor version, and warns."""

import re
from collections.abc import Mapping

import pytest

import kit
from kit import deprecations
from kit.deprecations import NAMES, Deprecated

pytestmark = pytest.mark.no_fast_path

FETCHED = {"fetched": Deprecated("kit.http.problems.found", "found", since="1.1")}


def overdue(version: str, names: Mapping[str, Deprecated]) -> list[str]:
    """Return the names that an earlier minor version has deprecated, and that have to be removed from this one."""
    return [name for name, old in names.items() if minor(version) > minor(old.since)]


def minor(version: str) -> tuple[int, int]:
    """Return the major and the minor part of a version."""
    major, part = re.findall(r"\d+", version)[:2]
    return int(major), int(part)


def test_an_old_name_works_and_its_warning_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecations, "NAMES", FETCHED)
    with pytest.warns(
        DeprecationWarning, match=r"kit.fetched is deprecated since version 1.1: write kit.found instead"
    ) as seen:
        from kit import fetched  # type: ignore[attr-defined]  # it is deprecated
    assert fetched is kit.found
    assert seen[0].filename == __file__


def test_a_name_that_never_was_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'kit' has no attribute 'nothing'"):
        kit.nothing  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("version", "names"), [("1.1.0", []), ("1.1.7", []), ("1.2.0", ["fetched"]), ("2.0.0", ["fetched"])]
)
def test_an_old_name_goes_with_the_next_minor_version(version: str, names: list[str]) -> None:
    assert overdue(version, FETCHED) == names


def test_no_name_of_this_version_is_overdue() -> None:
    assert overdue(kit.__version__, NAMES) == []
