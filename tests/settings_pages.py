"""Pages about the settings: writes `.env.example` and the table of `docs/settings.md` from `settings.py`.

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

SERVER = ("#HOST=127.0.0.1", "#PORT=8000", "#WORKERS=1", "#RELOAD=true")


def default_of(name: str, field: FieldInfo) -> str:
    """Return a default as in the environment."""
    if name == "database_url":
        return f"sqlite:///{NAME}.db"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def example() -> str:
    """Return the text of `.env.example`."""
    lines = [HEAD]
    for name, field in Settings.model_fields.items():
        lines += [f"# {field.description}", f"#{name.upper()}={default_of(name, field)}", ""]
    lines += [
        "# Of the server that `make run` starts: the address, the processes, and whether it restarts after a change.",
        *SERVER,
    ]
    return "\n".join([*lines, ""])


def rows() -> Iterator[str]:
    """Yield the rows of the table. The name of the service is `NAME`, because the page is the same for all services."""
    for name, field in Settings.model_fields.items():
        default = default_of(name, field).replace(NAME, "NAME")
        yield f"| `{name.upper()}` | {f'`{default}`' if default else 'none'} | {field.description} |\n"


def page() -> str:
    """Return the text of `docs/settings.md` with the current table."""
    return re.sub(r"(?<=\|---\|---\|---\|\n)(\|.*\n)*", "".join(rows()).replace("\\", r"\\"), PAGE.read_text())


if __name__ == "__main__":
    EXAMPLE.write_text(example())
    PAGE.write_text(page())
