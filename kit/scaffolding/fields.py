"""Fields of a new resource, parsed from the command line: `total:money note:text? status:draft|sent=draft`."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from kit.models.database_names import system_of_column
from kit.models.entities import Changes, Entity
from kit.models.reads import Read
from kit.models.reserved import is_reserved
from kit.scaffolding.errors import NotWrittenError
from kit.scaffolding.field_types import FIELD_TYPES, FieldType
from kit.scaffolding.project import KnownResource
from kit.scaffolding.words import check_word, class_of

FIELD = re.compile(r"(?P<name>[^:=]+):(?P<type>[^:?!=]+)(?P<marks>(?:[?!]|:unique)*)(?:=(?P<default>.*))?")
SECRET = re.compile("(^|_)(password|passwd|passphrase|hash|hashed|token|api_key|secret_key)(_|$)")
"""Names of fields for secrets, which must not be in responses."""
LABEL = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
PARAMETERS = frozenset(
    {"limit", "offset", "cursor", "sort", "count", "q", "fields", "include", "include_limit", "deleted"}
)
"""The query parameters of lists, which cannot be names of filters, and so of fields."""
TYPES = frozenset({"str", "int", "float", "bool", "date", "time", "datetime", "dict", "list"})
"""Names of types. A field with such a name would hide the type from the annotations of the fields after it."""


@dataclass(frozen=True)
class Field:
    """A field. `labels` are the values of its enum, `parent` is the resource to which a foreign key refers, if any."""

    name: str
    type: FieldType
    is_optional: bool = False
    is_unique: bool = False
    default: str | None = None
    labels: tuple[str, ...] = ()
    parent: KnownResource | None = None

    @property
    def relation(self) -> str:
        """The name of the relationship of a foreign key."""
        return self.name.removesuffix("_id")


@dataclass(frozen=True)
class ParsedField:
    """The parts of a field in the command line."""

    name: str
    type: str
    is_optional: bool
    is_unique: bool
    default: str | None


def fields_of(text: str, resource: str, known: Mapping[str, KnownResource]) -> list[Field]:
    """Return the fields in `text`, of a new resource. Foreign keys may refer to the `known` resources, by name.

    Raises a NotWrittenError.
    """
    fields = [field_of(parse_field(part), resource, known) for part in text.split()]
    names = [name for field in fields for name in ({field.name, field.relation} if field.parent else {field.name})]
    for name, times in Counter(names).items():
        if times > 1:
            raise NotWrittenError(f"The field {name} is named twice: leave one out, or give it another name.")
    return fields


def parse_field(text: str) -> ParsedField:
    """Parse `name:type`, followed by marks (`?` for optional, `!` or `:unique`) or by `=default`."""
    match = FIELD.fullmatch(text)
    if match is None:
        raise NotWrittenError(f"{text!r} is not a field: write name:type, as in total:money, note:text? or sku:str!.")
    name, field_type, marks, default = match.group("name", "type", "marks", "default")
    check_name(name)
    if "?" in marks and default is not None:
        raise NotWrittenError(f"The field {name} is optional, and null if left out: leave out its default, or the `?`.")
    return ParsedField(name, field_type, "?" in marks, "!" in marks or ":unique" in marks, default)


def check_name(name: str) -> None:
    """Raise a NotWrittenError if a field cannot have this name."""
    check_word(name, "a field")
    if name in PARAMETERS:
        raise NotWrittenError(f"No field can be called {name}: every list has a parameter of this name.")
    if name == "l":
        raise NotWrittenError("No field can be called l, which looks like 1: use a longer name.")
    if name in TYPES:
        raise NotWrittenError(
            f"No field can be called {name}, which hides the type: use a longer name, as in issued_on."
        )
    if name in Entity.model_fields:
        raise NotWrittenError(f"Every resource has a field {name}, which the service writes: leave it out.")
    if SECRET.search(name):
        raise NotWrittenError(
            f"No field can be called {name}, like a secret, which no response shows: use another name."
        )
    refuse_attribute(name)


def refuse_attribute(name: str) -> None:
    """Raise a NotWrittenError for the name of a column of the database, or of an attribute of rows or bodies."""
    if system := system_of_column(name):
        raise NotWrittenError(f"No field can be called {name}: {system} has a column of this name in every table.")
    if any(is_reserved(name, base) for base in (Entity, Read, Changes)):
        raise NotWrittenError(f"No field can be called {name}: rows and bodies have an attribute of this name.")


def field_of(given: ParsedField, resource: str, known: Mapping[str, KnownResource]) -> Field:
    if "|" in given.type:
        return enum(given, resource)
    return plain(given) if given.type in FIELD_TYPES else reference(given, known)


def plain(given: ParsedField) -> Field:
    field_type = FIELD_TYPES[given.type]
    if given.is_unique and (not field_type.is_indexed or field_type.annotation == "bool"):
        raise NotWrittenError(f"The field {given.name} cannot be unique: a {given.type} cannot.")
    return Field(given.name, field_type, given.is_optional, given.is_unique, default_of(given, field_type))


def default_of(given: ParsedField, field_type: FieldType) -> str | None:
    """Return the source code of the default of a field; None without one."""
    if given.default is None:
        return None
    if field_type.default is None:
        raise NotWrittenError(f"The field {given.name} can have no default here: write it into the file.")
    try:
        return field_type.default(given.default)
    except (ValueError, ArithmeticError, KeyError):
        raise NotWrittenError(
            f"{given.default!r} is not a default of {given.name}: its type is {given.type}."
        ) from None


def enum(given: ParsedField, resource: str) -> Field:
    """Return a field with a new enum, such as `InvoiceStatus` for `status:draft|sent`."""
    labels, name = tuple(given.type.split("|")), given.name
    wrong = next((label for label in labels if not LABEL.fullmatch(label)), None)
    if wrong is not None:
        raise NotWrittenError(f"{wrong!r} is not a value of {name}: write letters and digits, as in draft|sent|paid.")
    if len({member_of(name, label) for label in labels}) < len(labels):
        raise NotWrittenError(f"The field {name} has a value twice: leave one out.")
    if given.is_unique:
        raise NotWrittenError(f"The field {name} cannot be unique: it has only {len(labels)} values.")
    if given.default is not None and given.default not in labels:
        raise NotWrittenError(f"{given.default!r} is not a default of {name}: write one of {', '.join(labels)}.")
    called = f"{class_of(resource)}{class_of(name)}"
    default = given.default and f"{called}.{member_of(name, given.default)}"
    field_type = FieldType(called, examples=[f'"{label}"' for label in labels])
    return Field(name, field_type, given.is_optional, default=default, labels=labels)


def member_of(name: str, label: str) -> str:
    """Return the name of the enum member with the value `label`, of the field `name`."""
    word = label.replace("-", "_").upper()
    return word if word.isidentifier() else f"{name.upper()}_{word}"


def reference(given: ParsedField, known: Mapping[str, KnownResource]) -> Field:
    """Return the foreign key to a known resource, such as `team_id` for `team:team`."""
    parent = known.get(given.type)
    if parent is None:
        types = ", ".join([*FIELD_TYPES, "a|b|c", *sorted(known)])
        raise NotWrittenError(f"The type {given.type} of the field {given.name} is not known: write one of {types}.")
    if given.default is not None:
        raise NotWrittenError(f"The field {given.name} refers to a row, and can have no default: leave it out.")
    name = given.name if given.name.endswith("_id") else f"{given.name}_id"
    check_name(name.removesuffix("_id"))  # the name of the relationship
    example = "None" if given.is_optional else f'"{{{parent.table}}}"'
    field_type = FieldType("UUID" if parent.has_uuid else "int", "", [example])
    return Field(name, field_type, given.is_optional, given.is_unique, parent=parent)
