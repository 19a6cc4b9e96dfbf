"""`make resource`: it writes a complete resource, or nothing, with an error message of one sentence."""

import ast
import runpy
from pathlib import Path

import pytest

from kit.scaffolding import __main__ as command
from kit.scaffolding.__main__ import main
from kit.scaffolding.pages import without_dead_links, without_removed
from kit.scaffolding.words import article_of, plural_of, singular_of

pytestmark = pytest.mark.no_fast_path

MAIN = '''"""A zoo."""

import calendar

from zoo import (
    keeper,
    token,
)

ANIMALS = (keeper, token)
RESOURCES = (*ANIMALS, keeper)
app = object()


def measure(): ...
'''
KEEPER = """
class Keeper(KeeperBase, Entity, table=True):
    belongs_to = "id"

class KeeperRead: ...
class KeeperBrief: ...

router = APIRouter(prefix="/keepers")
"""
CAGE = """
class Cage(CageBase, UUIDEntity, table=True):
    __tablename__: str = "cage"

router = APIRouter(prefix="/cages", route_class=allowing(read=Who.MEMBERS))
"""


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a project with keepers, who are its users, and cages, which have UUIDs."""
    for name in ("zoo", "kit", "tests/zoo"):
        (tmp_path / name).mkdir(parents=True)
    texts = {
        "main": MAIN,
        "zoo/__init__": "",
        "zoo/keeper": KEEPER,
        "zoo/cage": CAGE,
        "zoo/token": "prefix = '/auth'\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 120\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}


def written(zoo: Path, **given: str) -> str:
    """Write the file of a resource, and return its path."""
    assert main(*(f"{name}={value}" for name, value in given.items())) is None
    return (zoo / f"zoo/{given['NAME']}.py").read_text()


def test_a_resource_is_written_with_its_test_and_its_line_in_main(
    zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(zoo)
    source = written(zoo, NAME="big_cat", FIELDS="name:str", OWNER="", PARENT="", PLURAL="")
    assert files(zoo).keys() - before.keys() == {"zoo/big_cat.py", "tests/zoo/test_big_cat.py"}
    for part in ("class BigCat(BigCatBase, Entity, table=True)", '__tablename__ = "big_cat"', '"/big-cats"'):
        assert part in source
    assert "\n    big_cat,\n    keeper,\n" in (zoo / "main.py").read_text()
    assert "RESOURCES = (*ANIMALS, keeper, big_cat)\n" in (zoo / "main.py").read_text()
    assert 'make migration MESSAGE="add big cats"' in capsys.readouterr().out


def test_without_fields_it_has_a_name(zoo: Path) -> None:
    assert "    name: " in written(zoo, NAME="box")


@pytest.mark.parametrize(
    ("field", "declared"),
    [
        ("story:text", "story: Text = Field(max_length=5000, schema_extra="),
        ("tags:json?", "tags: dict[str, Any] | None = Field(default=None, schema_extra="),
        ("legs:int=4", "legs: int = Field(default=4,"),
        ("is_tame:bool=false", "is_tame: bool = Field(default=False,"),
        ("weight:float=1.5", "weight: float = Field(default=1.5,"),
        ("price:money=9.99", 'price: Money = Field(default=Decimal("9.99"),'),
        ("price:money=0", "price: Money = Field(default=Decimal(0),"),
        ("born_on:date?", "born_on: date | None = Field(default=None,"),
        ("born_on:date=2026-02-01", "born_on: date = Field(default=date(2026, 2, 1),"),
        ("size:small|very-big|3=very-big", "size: CatSize = Field(default=CatSize.VERY_BIG,"),
        ("chip:str!", "chip: Name = Field("),
        ("chip:str:unique", "unique=True, description="),
        ("name:str=x", 'name: Name = Field(default="x",'),
        ("cage:cage?", "cage_id: UUID | None = Field("),
        ("cage_id:cage", "cage: Cage = Relationship("),
    ],
)
def test_a_field_is_declared_as_it_was_named(zoo: Path, field: str, declared: str) -> None:
    assert declared in written(zoo, NAME="cat", FIELDS=field)


def test_the_values_of_an_enum_are_its_members(zoo: Path) -> None:
    source = written(zoo, NAME="cat", FIELDS="size:small|very-big|3")
    assert 'class CatSize(StrEnum):\n    SMALL = "small"\n    VERY_BIG = "very-big"\n    SIZE_3 = "3"\n' in source


@pytest.mark.untraced
@pytest.mark.parametrize(
    "given",
    [
        {"OWNER": "keeper"},
        {"FIELDS": "name:str owner:keeper"},
        {"FIELDS": "owner_id:keeper"},
        {"FIELDS": "owner:keeper", "OWNER": "owner"},
        {"FIELDS": "owner:keeper", "OWNER": "keeper"},
    ],
)
def test_an_owner_reads_and_changes_alone_what_is_theirs(zoo: Path, given: dict[str, str]) -> None:
    source = written(zoo, NAME="cat", **given)
    for part in (
        "owner_id: Owner =",
        'belongs_to = "owner_id"',
        "read=Who.OWNERS",
        'includes = {"owner": "KeeperBrief"}',
    ):
        assert part in source


def test_two_keys_to_one_table_have_a_relationship_each(zoo: Path) -> None:
    source = written(zoo, NAME="cat", FIELDS="nurse:keeper? vet:keeper name:str")
    assert "belongs_to" not in source
    assert 'nurse: Keeper | None = Relationship(sa_relationship_kwargs={"foreign_keys": "Cat.nurse_id"})' in source


def test_a_resource_may_refer_to_itself(zoo: Path) -> None:
    source = written(zoo, NAME="cat", FIELDS="name:str mother:cat?")
    assert 'mother: Optional["Cat"] = Relationship(sa_relationship_kwargs={"remote_side": "Cat.id"})' in source
    assert "from zoo.cat" not in source


def test_a_file_with_a_table_of_another_name_is_no_resource(zoo: Path) -> None:
    (zoo / "zoo/token.py").write_text("class Note(SQLModel, table=True): ...\n")
    assert "The type token of the field by is not known" in str(main("NAME=cat", "FIELDS=by:token"))


def test_without_a_folder_of_tests_there_is_no_test(zoo: Path) -> None:
    (zoo / "tests/zoo").rmdir()
    written(zoo, NAME="cat")
    assert not list((zoo / "tests").rglob("*.py"))


def test_a_main_that_ruff_refuses_is_left_alone(zoo: Path) -> None:
    (zoo / "pyproject.toml").write_text("[tool.ruff]\nline-length = 'long'\n")
    assert "cannot be formatted" in str(main("NAME=cat"))
    assert not (zoo / "zoo/cat.py").exists()


@pytest.mark.untraced
def test_a_part_has_the_owner_of_its_parent(zoo: Path) -> None:
    written(zoo, NAME="cat", OWNER="keeper")
    source = written(zoo, NAME="toy", FIELDS="name:str", PARENT="cat")
    for part in ('belongs_to = "cat_id"', 'ondelete="CASCADE"', "read=Who.OWNERS, create=Who.OWNERS"):
        assert part in source
    assert "from zoo.cat import Cat" in source


def test_a_part_of_what_nobody_owns_is_deleted_with_it_and_has_no_owner(zoo: Path) -> None:
    source = written(zoo, NAME="lock", FIELDS="cage:cage code:str", PARENT="cage")
    assert 'ondelete="CASCADE"' in source
    assert "belongs_to" not in source


def test_a_plural_that_is_no_rule_is_given(zoo: Path) -> None:
    assert 'prefix="/octopodes"' in written(zoo, NAME="octopus", PLURAL="octopodes")


def test_a_project_without_resources_gets_its_first(zoo: Path) -> None:
    (zoo / "main.py").write_text('"""Empty."""\n\nRESOURCES = ()\n')
    written(zoo, NAME="cat")
    assert (zoo / "main.py").read_text() == '"""Empty."""\n\nfrom zoo import cat\n\nRESOURCES = (cat,)\n'


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"NAME": "BigCat"}, "write big_cat"),
        ({"NAME": "big-cat"}, "write big_cat"),
        ({"NAME": "BigCats"}, "write big_cat."),
        ({"NAME": "cats"}, "NAME=cat"),
        ({"NAME": "9"}, "write a name"),
        ({"NAME": "class"}, "keyword"),
        ({"NAME": "list"}, "list is already in use"),
        ({"NAME": "session"}, "Session is already in use"),
        ({"NAME": "page"}, "already in use"),
        ({"NAME": "type"}, "builtin of Python: use a longer name, as in room_type"),
        ({"NAME": "c" * 41}, "at most 40 characters"),
        ({"NAME": "cat", "FIELDS": "from_:str"}, "write a name such as"),
        ({"NAME": "cat", "FIELDS": "chip_token:str"}, "like a secret"),
        ({"NAME": "cat", "FIELDS": "cls:str"}, "attribute of this name"),
        ({"NAME": "keeper"}, "zoo/keeper.py exists"),
        ({"NAME": "idempotency_key"}, "There is a table"),
        ({"NAME": "models"}, "plural"),
        ({"NAME": "common"}, "kind of module"),
        ({"NAME": "doc"}, "/docs is taken by the kit"),
        ({"NAME": "cat", "PLURAL": "keepers"}, "/keepers is taken by keeper.py"),
        ({"NAME": "cat", "FIELDS": "name"}, "name:type"),
        ({"NAME": "cat", "FIELDS": "name:string"}, "string of the field name is not known"),
        ({"NAME": "cat", "FIELDS": "name:str name:text"}, "named twice"),
        ({"NAME": "cat", "FIELDS": "cage:str cage_id:cage"}, "named twice"),
        ({"NAME": "cat", "FIELDS": "created_at:datetime"}, "Every resource has a field created_at"),
        ({"NAME": "cat", "FIELDS": "metadata:json"}, "attribute of this name"),
        ({"NAME": "cat", "FIELDS": "limit:int"}, "parameter of this name"),
        ({"NAME": "cat", "FIELDS": "date:date"}, "hides the type"),
        ({"NAME": "cat", "FIELDS": "Name:str"}, "write name"),
        ({"NAME": "cat", "FIELDS": "lambda:str"}, "keyword"),
        ({"NAME": "cat", "FIELDS": "legs:int=four"}, "'four' is not a default of legs"),
        ({"NAME": "cat", "FIELDS": "price:money=NaN"}, "is not a default of price"),
        ({"NAME": "cat", "FIELDS": "legs:int?=4"}, "leave out its default, or the `?`"),
        ({"NAME": "cat", "FIELDS": "tags:json={}"}, "can have no default"),
        ({"NAME": "cat", "FIELDS": "cage:cage=1"}, "can have no default"),
        ({"NAME": "cat", "FIELDS": "tags:json!"}, "cannot be unique"),
        ({"NAME": "cat", "FIELDS": "is_tame:bool!"}, "cannot be unique"),
        ({"NAME": "cat", "FIELDS": "l:int"}, "looks like 1"),
        ({"NAME": "cat", "FIELDS": "mother:cat"}, "write mother:cat?"),
        ({"NAME": "cat", "FIELDS": "size:a|b!"}, "cannot be unique"),
        ({"NAME": "cat", "FIELDS": "size:a|b=c"}, "write one of a, b"),
        ({"NAME": "cat", "FIELDS": "size:a||b"}, "'' is not a value of size"),
        ({"NAME": "cat", "FIELDS": "size:a|a"}, "a value twice"),
        ({"NAME": "cat", "OWNER": "cage"}, "not a resource of users: these are keeper"),
        ({"NAME": "cat", "PARENT": "dog"}, "PARENT=dog is not a resource"),
        ({"NAME": "cat", "PARENT": "keeper"}, "OWNER=keeper"),
        ({"NAME": "cat", "FIELDS": "owner:keeper?", "OWNER": "keeper"}, "cannot be optional"),
        ({"NAME": "cat", "FIELDS": "owner:str", "OWNER": "keeper"}, "named twice"),
        ({"NAME": ""}, "make resource NAME="),
        ({"NAMES": "cat"}, "make resource NAME="),
        ({"NAME": "metric"}, "/metrics is taken by the kit"),
        ({"NAME": "measure"}, "main.py has this name already: use a longer name, as in room_measure"),
        ({"NAME": "calendar"}, "main.py has this name already"),
        ({"NAME": "app"}, "main.py has this name already: use a longer name, as in room_app"),
        ({"NAME": "cat", "FIELDS": "version_id:keeper"}, "Every resource has a field version"),
        ({"NAME": "cat", "FIELDS": "age:int=99999999999999999999"}, "not a default of age"),
        ({"NAME": "cat", "FIELDS": "weight:float=nan"}, "not a default of weight"),
        ({"NAME": "cat", "FIELDS": "price:money=1.234"}, "not a default of price"),
        ({"NAME": "cat", "FIELDS": "price:money=-1"}, "not a default of price"),
        ({"NAME": "cat", "FIELDS": "size:decimal=1234567890123.5"}, "not a default of size"),
        ({"NAME": "cat", "FIELDS": "name:str="}, "not a default of name"),
        ({"NAME": "cat", "FIELDS": "mail:email=nobody"}, "not a default of mail"),
        ({"NAME": "cat", "FIELDS": "registry:str"}, "attribute of this name"),
        ({"NAME": "pg_class"}, "tables of its own: use another name, as in my_pg_class"),
        ({"NAME": "cat", "FIELDS": "rowid:int"}, "SQLite has a column of this name in every table"),
        ({"NAME": "class_"}, "which has small letters of ASCII and digits, with _ between words: write a name such as"),
        ({"NAME": "käse"}, "write a name such as"),
        ({"NAME": "cat", "PLURAL": "big cats"}, "'big cats' cannot be the name of a plural"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_and_nothing_is_written(
    zoo: Path, given: dict[str, str], says: str
) -> None:
    before = files(zoo)
    refused = main(*(f"{name}={value}" for name, value in given.items()))
    assert refused is not None
    assert says in refused
    assert "\n" not in refused
    assert files(zoo) == before


def test_another_user_than_the_owner_may_be_referred_to(zoo: Path) -> None:
    source = written(zoo, NAME="cat", FIELDS="name:str sitter:keeper", OWNER="keeper")
    assert "owner_id: Owner" in source
    assert "sitter_id: int" in source


def test_a_part_cannot_have_an_owner_beside_that_of_its_parent(zoo: Path) -> None:
    written(zoo, NAME="cat", OWNER="keeper")
    assert "through the cat" in str(main("NAME=toy", "PARENT=cat", "OWNER=keeper"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("RESOURCES = (\n", "main.py cannot be read"),
        ("from zoo import keeper\n\nOTHERS = (keeper,)\n", "no tuple RESOURCES"),
        ("RESOURCES = list(map(str, ()))\n", "no tuple RESOURCES"),
    ],
)
def test_a_main_that_cannot_be_edited_is_left_alone(zoo: Path, source: str, says: str) -> None:
    (zoo / "main.py").write_text(source)
    assert says in str(main("NAME=cat"))
    assert not (zoo / "zoo/cat.py").exists()


def test_without_a_package_of_resources_one_has_to_be_named(zoo: Path) -> None:
    (zoo / "main.py").write_text("RESOURCES = ()\n")
    (zoo / "circus").mkdir()
    (zoo / "circus/__init__.py").touch()
    assert "main.py imports no resource" in str(main("NAME=cat"))


def test_where_there_is_no_main_nothing_is_written(zoo: Path) -> None:
    (zoo / "main.py").unlink()
    assert "run this where main.py is" in str(main("NAME=cat"))


def test_a_test_that_is_there_is_kept(zoo: Path) -> None:
    (zoo / "tests/zoo/test_cat.py").write_text("mine\n")
    assert "tests/zoo/test_cat.py exists" in str(main("NAME=cat"))
    assert not (zoo / "zoo/cat.py").exists()


@pytest.mark.parametrize("is_written", [True, False])
def test_what_cannot_be_written_whole_is_not_written(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    before, write_text = files(zoo), Path.write_text

    def fail(path: Path, text: str) -> int:
        is_last = path.name == "main.py" and "cat" in text
        done = 0 if is_last and not is_written else write_text(path, text)
        if is_last:
            raise OSError(28, "No space left on device", "main.py")
        return done

    monkeypatch.setattr(Path, "write_text", fail)
    assert "main.py cannot be written: No space left on device" in str(main("NAME=cat"))
    assert files(zoo) == before


def test_it_runs_as_a_module(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kit.scaffolding", "NAME=cat"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(command.__file__), run_name="__main__")
    assert ended.value.code is None
    assert ast.parse((zoo / "zoo/cat.py").read_text())


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("invoice", "invoices"),
        ("category", "categories"),
        ("stock_category", "stock_categories"),
        ("day", "days"),
        ("box", "boxes"),
        ("bus", "buses"),
        ("address", "addresses"),
        ("branch", "branches"),
        ("dish", "dishes"),
        ("tomato", "tomatoes"),
        ("photo", "photos"),
        ("person", "people"),
        ("child", "children"),
        ("shelf", "shelves"),
        ("knife", "knives"),
        ("chief", "chiefs"),
        ("analysis", "analyses"),
        ("query", "queries"),
        ("quiz", "quizzes"),
        ("sales_person", "sales_people"),
        ("series", "series"),
        ("house", "houses"),
    ],
)
def test_plurals_are_those_of_english(one: str, many: str) -> None:
    assert plural_of(one) == many
    assert singular_of(one) is None
    assert one == many or singular_of(many) == one


def test_an_article_is_that_of_the_sound() -> None:
    assert [article_of(word) for word in ("invoice", "user", "hour", "team", "umbrella", "unit")] == [
        *("an", "a", "an", "a", "an", "a")
    ]


def test_many_fields_are_counted_in_the_docstring(zoo: Path) -> None:
    fields = " ".join(f"a_field_with_a_long_name_{at}:int" for at in "abcd")
    assert '"""Cats: each has 4 fields."""' in written(zoo, NAME="cat", FIELDS=fields)


def test_a_page_loses_what_it_says_about_missing_pages() -> None:
    page = """# Title
See [one](one.md) and [two](two.md#part)
([three](two.md) has more). Other ([four](one.md)).

- [Two](two.md): an item.
- [One](one.md).

| a | [two](two.md) |
"""
    assert (
        without_dead_links("docs/page.md", page, {"docs/one.md"})
        == """# Title
See [one](one.md) and two. Other ([four](one.md)).

- [One](one.md).

| a | |
"""
    )


def test_a_page_loses_what_it_says_about_missing_files_and_keeps_promises_whose_tests_are_missing() -> None:
    page = """# Title

`make bench` measures,
for minutes.

Other `code`.

| promise | `kit/a.py` | `test_a`, `test_b`, `test_c` |
| another | `kit/a.py` | `test_a` |
| nothing | `kit/b.py` | `test_b` |
"""
    assert (
        without_removed(page, {"make bench", "test_a", "test_c", "kit/b.py"})
        == """# Title

Other `code`.

| promise | `kit/a.py` | `test_b` |
| another | `kit/a.py` | |
"""
    )
