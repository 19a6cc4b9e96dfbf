"""Source code for the declarations of a new resource: enums, fields, table, relationships, query and permissions."""

from collections import Counter
from collections.abc import Iterable, Iterator

from kit.scaffolding.fields import Field, member_of
from kit.scaffolding.resources import Resource
from kit.scaffolding.words import class_of, in_words


def imports_of_parents(resource: Resource) -> Iterator[str]:
    for module in dict.fromkeys(field.parent for field in resource.references if field.parent):
        if module.module != resource.name:
            yield f"from {resource.package}.{module.module} import {module.class_name}"


def enums_of(resource: Resource) -> Iterator[str]:
    for field in resource.fields:
        if field.labels:
            members = "\n".join(f'    {member_of(field.name, label)} = "{label}"' for label in field.labels)
            yield f"class {field.type.annotation}(StrEnum):\n{members}\n\n"


def line_of(resource: Resource, field: Field) -> str:
    """Return the source line that declares a field."""
    is_owner = field is resource.owner
    annotation = "Owner" if is_owner else field.type.annotation + (" | None" if field.is_optional else "")
    return f"{field.name}: {annotation} = Field({', '.join(arguments_of(resource, field, is_owner))})"


def arguments_of(resource: Resource, field: Field, is_owner: bool) -> Iterator[str]:
    if is_owner:
        yield "default_factory=Absent"
    elif field.is_optional or field.default is not None:
        yield f"default={field.default}"
    yield from filter(None, [field.type.bounds])
    if field.type.is_indexed:
        yield "unique=True" if field.is_unique else "index=True"
    if field.parent:
        yield f'foreign_key="{field.parent.table}.id"'
        yield from ondelete(resource, field)
    if is_owner and field.parent:
        yield f'description="The id of the {in_words(field.parent.module)}; if left out, of the caller."'
    elif field.is_unique:
        yield 'description="Unique."'
    words = in_words(field.name).capitalize()
    examples = field.type.examples if field.is_unique else field.type.examples[:1]
    yield f'schema_extra={{"examples": [{", ".join(examples).replace("{0}", words)}]}}'


def ondelete(resource: Resource, field: Field) -> Iterator[str]:
    """Yield the argument `ondelete` of a foreign key: CASCADE to an owner or parent, SET NULL if it is optional."""
    if field in (resource.owner, resource.parent):
        yield 'ondelete="CASCADE"'
    elif field.is_optional:
        yield 'ondelete="SET NULL"'


def table_of(resource: Resource) -> Iterator[str]:
    if "_" not in resource.name and not resource.references:
        yield f'"""The table of {in_words(resource.plural)}."""'
    if "_" in resource.name:
        yield f'__tablename__ = "{resource.name}"'
    if resource.belongs_to:
        yield f'belongs_to = "{resource.belongs_to.name}"'
    yield from relationships_of(resource)


def relationships_of(resource: Resource) -> Iterator[str]:
    """Yield the source line of a relationship for each foreign key.

    If several refer to the same table, the relationship names its foreign key.
    """
    times, own = Counter(field.parent for field in resource.references), class_of(resource.name)
    for field in resource.references:
        assert field.parent is not None
        options = {"foreign_keys": f"{own}.{field.name}"} if times[field.parent] > 1 else {}
        annotation = field.parent.class_name + (" | None" if field.is_optional else "")
        if field.parent.module == resource.name:
            options["remote_side"], annotation = f"{own}.id", f'Optional["{own}"]'
        chosen = f"sa_relationship_kwargs={options}" if options else ""
        yield f"{field.relation}: {annotation} = Relationship({chosen})"


def read_only(resource: Resource) -> str:
    names = quoted(field.relation for field in resource.references)
    return f"\n    read_only = Body.read_only | {{{names}}}\n" if names else ""


def query_of(resource: Resource) -> Iterator[str]:
    if searched := tuple(field.name for field in resource.fields if field.type.is_searched):
        yield f"search = {searched}"
    if variants := {field.relation: field.parent.read_variant for field in resource.references if field.parent}:
        yield f"includes = {variants}"


def permissions_of(resource: Resource) -> str:
    """Return the arguments of `allowing(…)`: members read rows without owners; only the owner reads the others."""
    if resource.belongs_to is None:
        return "read=Who.MEMBERS"
    parent = resource.parent.parent if resource.parent else None
    reading = "OWNERS" if resource.owner or (parent and parent.is_private) else "MEMBERS"
    return f"read=Who.{reading}, create=Who.OWNERS, bulk=Who.OWNERS, change=Who.OWNERS"


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
