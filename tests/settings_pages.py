"""Pages about the settings: writes `.env.example` and the tables of `docs/settings.md` from `settings.py`.

`python -m tests.settings_pages` writes them; a test checks that they are current.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from settings import NAME, Settings

PROJECT = Path(__file__).parents[1]
EXAMPLE, PAGE = PROJECT / ".env.example", PROJECT / "docs/settings.md"
HEAD = """\
# All settings with their defaults. Copy this file to .env, and remove the # of the lines that you change; environment
# variables take precedence. `python -m tests.settings_pages` writes this file from settings.py.
"""

GROUPS = {
    "The service": "environment|demo_data|trusted_hosts|forwarded_allow_ips|security_contact|cors_.*|shutdown_.*",
    "Database": "database_.*|pool_.*|replica_url|max_replica_lag|application_name|statement_timeout|lock_timeout|jit",
    "Authentication": "secret_key|require_auth|registration|token_.*",
    "Limits": "login_.*|registrations_.*|limits_url|.*_rate|max_.*|request_timeout|caller_share",
    "Log, metrics, traces": "log_.*|metrics_.*|otel_.*|slow_statement|sql_echo",
    "Speed": "coalesce_reads|group_commit|fast_path",
}
"""The headings of the groups, each with a pattern of the settings in it. A setting is in the first one that matches."""
OTHERS = "Others"
"""The heading of settings without a group."""
SERVER = ("#HOST=127.0.0.1", "#PORT=8000", "#WORKERS=1", "#RELOAD=true", "#UVICORN_ROOT_PATH=/api")


def default_of(name: str, field: FieldInfo) -> str:
    """Return a default as in the environment."""
    if name == "database_url":
        return f"sqlite:///{NAME}.db"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def group_of(name: str) -> str:
    return next((heading for heading, pattern in GROUPS.items() if re.fullmatch(pattern, name)), OTHERS)


def grouped() -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """Yield the headings that have settings, each with its settings."""
    for heading in (*GROUPS, OTHERS):
        fields = {name: field for name, field in Settings.model_fields.items() if group_of(name) == heading}
        if fields:
            yield heading, fields


def example() -> str:
    """Return the text of `.env.example`."""
    lines = [HEAD]
    for heading, fields in grouped():
        lines += [f"# {heading}", f"# {'-' * len(heading)}", ""]
        for name, field in fields.items():
            lines += [f"# {field.description}", f"#{name.upper()}={default_of(name, field)}", ""]
    lines += [
        "# Of the server that `make run` starts: the address, the processes, whether it restarts after a change, and",
        "# the prefix of a proxy.",
        *SERVER,
    ]
    return "\n".join([*lines, ""])


def tables() -> Iterator[str]:
    """Yield the sections of the page. The name of the service is `NAME`: the page is the same for all services."""
    for heading, fields in grouped():
        yield f"## {heading}\n\n| name | default | effect |\n|---|---|---|\n"
        for name, field in fields.items():
            default = default_of(name, field).replace(NAME, "NAME")
            yield f"| `{name.upper()}` | {f'`{default}`' if default else 'none'} | {field.description} |\n"
        yield "\n"


def page() -> str:
    """Return the text of `docs/settings.md` with the current tables, which end at the section about the server."""
    before, _, after = PAGE.read_text().partition(f"## {next(iter(GROUPS))}\n")
    return before + "".join(tables()) + after[after.index("## The server") :]


if __name__ == "__main__":
    EXAMPLE.write_text(example())
    PAGE.write_text(page())
