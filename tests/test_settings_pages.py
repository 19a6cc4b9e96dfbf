"""The pages about the settings are current: `.env.example`, and the tables of `docs/settings.md`."""

from pathlib import Path

from dotenv import dotenv_values

from serve import Server
from settings import Settings
from tests.settings_pages import EXAMPLE, PAGE, example, page


def test_the_example_has_every_setting_with_its_default() -> None:
    assert EXAMPLE.read_text() == example(), "run: .venv/bin/python -m tests.settings_pages"


def test_the_tables_have_every_setting_with_its_default() -> None:
    assert PAGE.read_text() == page(), "run: .venv/bin/python -m tests.settings_pages"


def test_the_example_is_a_file_of_valid_settings(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("\n".join(line.removeprefix("#") for line in example().splitlines() if not line.startswith("# ")))
    values = {name.lower(): value for name, value in dotenv_values(file).items() if value}
    assert set(values) <= {*Settings.model_fields, *Server.model_fields}
    assert set(Server.model_fields) <= set(values)
    assert all(f"`{name.upper()}`" in PAGE.read_text() for name in Server.model_fields)
    assert Settings.model_validate(values).environment == "development"
