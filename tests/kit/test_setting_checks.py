"""Checks of settings: their messages, which the tests of a service's own settings do not name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kit.auth.counters import refuse_other_storage
from kit.database.servers import standby_urls
from kit.database.urls import parsed, refuse_in_memory
from kit.http.origins import refuse_other_origin
from kit.http.request_headers import refuse_other_name
from kit.server.folders import folder_refusal
from kit.server.proxies import refuse_other_addresses

pytestmark = pytest.mark.no_fast_path


@pytest.mark.parametrize(
    ("check", "value", "says"),
    [
        (refuse_other_storage, "memcached://host", "must be memory://, redis://… or rediss://…"),
        (refuse_other_storage, "redis://host:x", "must have numbers as port and database"),
        (refuse_other_storage, "redis://host?foo=1", "has an invalid host or option: write it as"),
        (standby_urls, "sqlite:///shop.db", "must start with postgresql://"),
        (standby_urls, "postgresql://host/db?pgbouncer=true", "must lead to the standbys themselves"),
        (parsed, "sqlite:////absent/shop.db", "has a file in the folder /absent, which does not exist: create it"),
        (lambda url: refuse_in_memory(parsed(url)), "sqlite://", "is a database in memory, .*: write a file, as in"),
        (refuse_other_origin, "shop.example", r"must be like https://shop\.example\.com, without"),
        (refuse_other_name, "a b", "has 'a b', which is not the name of a header: write names as in"),
        (refuse_other_addresses, "proxy", "has 'proxy', which is neither an address nor a network"),
    ],
)
def test_a_refused_setting_is_told_what_to_write(check: Callable[[str], object], value: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        check(value)


def test_a_folder_that_is_a_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folder_refusal(tmp_path / "file") == f"{tmp_path}/file is not a folder"
