"""Base classes: `Entity` for tables, with id, version and timestamps; `Body` and `Changes` for request bodies."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from itertools import islice
from time import monotonic
from types import MappingProxyType
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import (
    AliasChoices,
    AliasGenerator,
    AliasPath,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticUndefined
from sqlalchemy import Index, Integer, MetaData, Table, event, inspect
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper, SynonymProperty, declared_attr
from sqlalchemy.orm.attributes import set_attribute
from sqlalchemy.orm.instrumentation import unregister_class
from sqlmodel import Field, SQLModel

from kit.models import keywords as keywords  # quotes names in SQL, from the first statement on
from kit.models.columns import BIGINT
from kit.models.copies import copied
from kit.models.database_names import refuse_system_names
from kit.models.decimal_rules import decimals_of
from kit.models.descriptors import settable_descriptors
from kit.models.fields import build, make_strict
from kit.models.integer_assignments import integers_of, round_integers, whole
from kit.models.naming import NAMES
from kit.models.privacy import hidden_fields
from kit.models.pydantic_state import keep_pydantic_state
from kit.models.relationships import complete, leave_children_to_the_database
from kit.models.reserved import (
    METHODS_OF_DICTIONARIES,
    Values,
    refuse_column_prefix,
    refuse_factories_with_data,
    refuse_flags,
    refuse_frozen,
    refuse_mapped,
    refuse_parent_table,
    refuse_read_only,
    refuse_redefined,
    refuse_required_id,
    refuse_reserved,
)
from kit.models.tables import complete_table, type_columns
from kit.models.times import renew, renew_by_statements
from kit.models.types import new_uuid
from kit.models.versions import raise_by_statements

SQLModel.metadata.naming_convention = NAMES


def sorted_by(*fields: str) -> list[Index]:
    """Return an index on each field and the id, for filters and sorts. With the id, the order of pages is total."""
    return [Index(None, field, "id") for field in fields]


SHORT_SECONDS = 1.0
"""The number of seconds within which the results of `now` never decrease."""
MAX_STEP = timedelta(minutes=1)
"""A clock that was set back by more than this is followed at once: a test may travel to the past."""
last: tuple[datetime, float] = datetime.min.replace(tzinfo=UTC), 0.0
"""The last result of `now`, and when it was returned, by `time.monotonic`."""


def now() -> datetime:
    """Return the current time in UTC, to the microsecond. It does not go back if the clock is set back for a moment."""
    global last
    moment, passed = datetime.now(UTC), monotonic()
    before, when = last
    if moment < before and passed < when + SHORT_SECONDS and before - moment < MAX_STEP:
        return before
    last = moment, passed
    return moment


NUMBERS = (Decimal, int, float)
FRACTIONS = (Decimal, float)
ROW_OF_BODY: ContextVar[Callable[[Any, Any], Any] | None] = ContextVar("row_of_body", default=None)
"""A faster function of the fast path in place of `model_validate(entity, body)`. It may return None."""


class RefusedBodyError(ValueError):
    """The cause of a ValidationError of an entity for values that a client has sent."""

    def __init__(self, body: type[BaseModel], entity: type[BaseModel]) -> None:
        shared = "give both the same bounds, in a base class."
        super().__init__(f"{body.__name__} accepts what {entity.__name__} refuses: {shared}")
        self.body = body


class Stamped(SQLModel):
    """The columns that the service sets: version and timestamps."""

    version: int = Field(default=1, sa_type=Integer, description="Rises by one with every change; the ETag.")
    created_at: datetime = Field(default_factory=now, index=True, description="In UTC.")
    updated_at: datetime = Field(default_factory=now, description="In UTC.")


class Entity(Stamped):
    """Base class of the tables of resources: rows have an id, a version and timestamps."""

    model_config = ConfigDict(  # type: ignore[assignment]  # SQLModel's type of it is not public
        validate_by_name=True,  # aliases are the names in JSON; bodies have the names of Python
        defer_build=True,  # until `__pydantic_init_subclass__` has changed the fields
        ignored_types=(hybrid_property, AssociationProxy, SynonymProperty),
    )

    id: int = Field(default=None, primary_key=True, sa_type=BIGINT)
    belongs_to: ClassVar[str | None] = None
    """The foreign key to the owner: to a user, or to a row that has an owner itself."""
    reserved: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """The fields that only superusers may set, with their initial values."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_parent_table(cls)
        refuse_mapped(cls)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        relationships = vars(cls).get("__sqlmodel_relationships__", {})
        refuse_reserved(cls, Entity, relationships)
        refuse_redefined(cls, Stamped)
        refuse_required_id(cls)
        complete(relationships)
        keep_version(cls)
        keep_pydantic_state(cls)
        build(cls, is_changed=make_strict(cls))
        type_columns(cls)

    def __init__(__pydantic_self__, **values: Any) -> None:  # noqa: N805  SQLModel's name: a field may be called `self`
        super().__init__(**values)
        __pydantic_self__.set_descriptors(values)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return a row with the values of `obj` (a body, object or dictionary), validated by the table's rules."""
        make = ROW_OF_BODY.get()
        row = None if make is None or options else make(cls, obj)
        if row is None:
            related, update = cls.__sqlmodel_relationships__, options.get("update") or {}
            if isinstance(obj, dict) and not METHODS_OF_DICTIONARIES.isdisjoint(related):
                obj = Values({**obj, **(options.pop("update", None) or {})}, related)
            try:
                row = super().model_validate(obj, **options)
            except ValidationError as failure:
                if isinstance(obj, Body) and are_sent(obj, cls, failure):
                    raise failure from RefusedBodyError(type(obj), cls)
                raise
            row.set_related({**obj, **update} if isinstance(obj, dict) else {})
            row.set_descriptors({**others_of(obj, cls), **update})
        return row

    def sqlmodel_update(self, obj: Any, **options: Any) -> Self:
        """Update the row as SQLModel does, and also set relationships and descriptors, which SQLModel ignores.

        Of `Changes`, only the fields that the request contains are set.
        """
        if isinstance(obj, Changes):
            for name in obj.model_fields_set:
                setattr(self, name, getattr(obj, name))
            obj = {}
        super().sqlmodel_update(obj, **options)
        others = {**(obj if isinstance(obj, dict) else {}), **(options.get("update") or {})}
        self.set_related(others)
        self.set_descriptors(others)
        return self

    def __copy__(self) -> Self:
        """Return a new row with the same values, which is in no session; also for `copy.copy` and `model_copy`."""
        row: Self = copied(self, copy)
        return row

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        row: Self = copied(self, partial(deepcopy, memo=memo))
        return row

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a new row with the same values, and with those of `update`. With `id=None` it can be stored."""
        return super().model_copy(deep=deep).sqlmodel_update(dict(update or {}))

    def copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # type: ignore[override]
        """Return `model_copy(…)`. Pydantic deprecates this name."""
        return self.model_copy(update=update, deep=deep)

    def set_related(self, values: Mapping[str, Any]) -> None:
        """Set the relationships that are among these values. SQLModel sets only those of an object."""
        for name in self.__sqlmodel_relationships__.keys() & values.keys():
            setattr(self, name, values[name])

    def set_descriptors(self, values: Mapping[str, Any]) -> None:
        """Set the synonyms, hybrids with a setter and others among these values, in their order."""
        names = settable_descriptors(type(self))
        for name in values if names else ():
            if name in names:
                setattr(self, name, values[name])

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute as SQLModel does, but keep the value that SQLAlchemy stores in place of the given one.

        It is the result of a method with `@validates`, of a listener, or of a type such as `MutableDict`.
        """
        if type(value) is datetime and value.tzinfo not in (UTC, None):
            value = value.astimezone(UTC)  # responses show UTC
        elif type(value) in NUMBERS and (decimal := decimals_of(type(self)).get(name)) is not None:
            value = decimal.stored(value)  # responses show what the database stores
        elif type(value) in FRACTIONS and name in integers_of(type(self)):
            value = whole(value)
        if "_sa_instance_state" not in self.__dict__ and name in type(self).model_fields:
            self.__dict__[name] = value  # within a validator: SQLModel sets the values of the row afterwards
        elif name in _mapped_fields(type(self)):
            set_attribute(self, name, value)
            self.model_fields_set.add(name)
        elif name in settable_descriptors(type(self)):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @model_serializer(mode="wrap")
    def _serialize_visible(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Omit the private fields of rows of other users, for routes without a read variant."""
        shown: dict[str, Any] = serialize(self)
        hidden = hidden_fields(self) if info.mode_is_json() else ()
        return {name: value for name, value in shown.items() if name not in hidden} if hidden else shown

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}


def keep_version(entity: type[Entity]) -> None:
    """Add the version counter to the `__mapper_args__` of a table or mixin, unless they have `version_id_col`."""
    classes = (vars(part) for part in entity.__mro__ if part not in Entity.__mro__)
    given: Any = next((part["__mapper_args__"] for part in classes if "__mapper_args__" in part), None)
    if given is not None:
        make = getattr(given, "fget", lambda _: given)  # of `declared_attr`
        arguments: Any = declared_attr.directive(lambda cls: {"version_id_col": cls.version, **make(cls)})
        entity.__mapper_args__ = arguments  # type: ignore[method-assign]


@cache
def _mapped_fields(entity: type[Entity]) -> Collection[str]:
    """Return the fields of an entity that are columns; none of an entity without a table."""
    mapper = inspect(entity, raiseerr=False)
    return () if mapper is None else mapper.column_attrs.keys() & entity.model_fields.keys()


def others_of(values: Any, entity: type[Entity]) -> dict[str, Any]:
    """Return the values of a dictionary or model by which descriptors of an entity are set."""
    names = settable_descriptors(entity)
    if isinstance(values, BaseModel):
        return {name: getattr(values, name) for name in type(values).model_fields if name in names}
    return values if isinstance(values, dict) and names else {}


def known_tables() -> dict[str, Table]:
    """Return all tables by name: those of `SQLModel.metadata`, and those of entities with a separate registry."""
    return {name: table for metadata in set(_metadatas(Entity)) for name, table in metadata.tables.items()}


def _metadatas(entity: type[Entity]) -> Iterator[MetaData]:
    yield entity.metadata
    for child in entity.__subclasses__():
        yield from _metadatas(child)


class UUIDEntity(Entity):
    """Base class of tables whose ids are UUIDs (version 7), which do not reveal the number of rows."""

    id: UUID = Field(default_factory=new_uuid, primary_key=True)  # type: ignore[assignment]  # instead of the number


@event.listens_for(Entity, "instrument_class", propagate=True)
def complete_mapped_table(mapper: Mapper[Any], entity: type[Entity]) -> None:
    """Add the column types, CHECKs and indexes that follow from the fields. Raises a TypeError for a wrong declaration.

    The class is then removed from its registry, whose mappers could not be configured, and from the metadata.
    """
    if mapper.inherits is None and isinstance(mapper.local_table, Table):
        try:
            refuse_frozen(entity)
            refuse_factories_with_data(entity)
            refuse_flags(entity)
            refuse_column_prefix(entity)
            refuse_system_names(mapper.local_table)
            complete_table(entity, mapper.local_table)
        except Exception:
            unregister_class(entity)  # type: ignore[no-untyped-call]
            mapper.local_table.metadata.remove(mapper.local_table)
            raise
        renew_by_statements(mapper.local_table, now)
        raise_by_statements(mapper.local_table)


@event.listens_for(Entity, "before_update", propagate=True)
def renew_changed_row(_: Mapper[Any], __: object, row: Entity) -> None:
    renew(row, now())


@event.listens_for(Entity, "refresh", propagate=True)
def round_evaluated(row: Entity, context: object, names: Collection[str] | None) -> None:
    """Round the numbers that SQLAlchemy calculates in Python for loaded rows that an UPDATE changed.

    Then there is no context, because nothing was loaded.
    """
    if context is None:
        round_integers(row, names or ())
    decimals = decimals_of(type(row)) if context is None else {}
    for name in decimals.keys() & set(names or ()):
        if row.__dict__[name] is not None:
            row.__dict__[name] = decimals[name].stored(row.__dict__[name])


event.listen(Entity, "after_mapper_constructed", leave_children_to_the_database, propagate=True)


MAX_UNKNOWN = 10
"""The maximum number of unknown fields of a body that a 422 names."""
MAX_LISTED = 1000
"""The maximum number of errors of a body that are listed. Each takes several microseconds."""


class Body(SQLModel):
    """Base class of request bodies. Unknown fields are errors.

    Fields in `read_only` are ignored, so that a client may send back a row that it has read.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)  # type: ignore[assignment]  # as above
    read_only: ClassVar[frozenset[str]] = frozenset({"id", *Stamped.model_fields})
    __init__ = BaseModel.__init__  # SQLModel's is for tables, and takes half of the validation time

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        refuse_reserved(cls, Body)
        refuse_read_only(cls, cls.read_only)
        cls.read_only = cls.read_only.union(generated_aliases(cls.model_config.get("alias_generator"), cls.read_only))
        is_changed = make_strict(cls)
        build(cls, is_changed=cls._make_optional() or is_changed)

    @classmethod
    def _make_optional(cls) -> bool:
        """Make fields optional; here none. Returns whether a field was changed."""
        return False

    @model_validator(mode="wrap")
    @classmethod
    def ignore_read_only(cls, body: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(body, dict):
            if len(body) > MAX_UNKNOWN and len(body) > len(cls.model_fields) + len(cls.read_only) + MAX_UNKNOWN:
                body = _with_few_unknown(cls, body)
            if not cls.read_only.isdisjoint(body):
                body = {name: value for name, value in body.items() if name not in cls.read_only}
        try:
            return validate(body)
        except ValidationError as failure:
            if failure.error_count() <= MAX_LISTED:
                raise
            count = {"count": failure.error_count()}
            raise PydanticCustomError("too_many_errors", "Input has {count} errors, too many to list", count) from None


def are_sent(body: Body, entity: type[Entity], failure: ValidationError) -> bool:
    """Return whether a client has sent all values that an entity refuses, so that the handler made no mistake."""
    names = body.model_fields_set & entity.model_fields.keys()
    sent = {*names, *(name_in_bodies(entity, name) for name in names)}
    errors = failure.errors(include_url=False, include_context=False, include_input=False)
    return all(error["loc"][0] in sent for error in errors if error["loc"])


def _with_few_unknown(kind: type[Body], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with the known fields and the first `MAX_UNKNOWN` unknown ones, because each error takes time."""
    known = {*kind.model_fields, *kind.read_only}
    for field in kind.model_fields.values():
        known.update(path[0] for path in paths_of(field.validation_alias or field.alias) if isinstance(path[0], str))
    unknown = islice((name for name in body if name not in known), MAX_UNKNOWN)
    return {name: body[name] for name in (*(name for name in known if name in body), *unknown)}


def generated_aliases(generator: Any, names: Iterable[str]) -> Iterator[str]:
    """Yield the aliases that the `alias_generator` of a model gives to these names; none without a generator."""
    if generator is not None:
        complete = generator if isinstance(generator, AliasGenerator) else AliasGenerator(generator)
        for name in names:
            yield from (alias for alias in complete.generate_aliases(name) if isinstance(alias, str))


def paths_of(alias: str | AliasPath | AliasChoices | None) -> list[list[str | int]]:
    """Return the paths of a field's alias; none without an alias."""
    if isinstance(alias, AliasChoices):
        return alias.convert_to_aliases()
    if isinstance(alias, AliasPath):
        return [alias.convert_to_aliases()]
    return [[alias]] if alias else []


def name_in_bodies(model: type[BaseModel], name: str) -> str:
    """Return the name of a field by which a 422 points at it: its first alias, if it has one."""
    field = model.model_fields.get(name)
    paths = [] if field is None else paths_of(field.validation_alias or field.alias)
    return str(paths[0][0]) if paths else name


class Changes(Body):
    """Base class of PATCH bodies: all fields are optional. Null is still an error for a field that is not nullable."""

    @classmethod
    def _make_optional(cls) -> bool:
        for field in cls.model_fields.values():
            field.default, field.default_factory, field.validate_default = PydanticUndefined, lambda: None, False
        return True


for base in (UUIDEntity, Changes):  # they were built; classes that inherit them change their fields first
    base.model_config["defer_build"] = True
