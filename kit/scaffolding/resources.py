"""Resources to write: the names, fields and foreign keys of a new resource."""

from collections.abc import Sequence
from dataclasses import dataclass

from kit.scaffolding.fields import Field


@dataclass(frozen=True)
class Resource:
    """A resource to write: `owner` is the foreign key to a row's user, `parent` to the row that it is a part of."""

    name: str
    plural: str
    package: str
    fields: Sequence[Field]
    owner: Field | None = None
    parent: Field | None = None

    @property
    def path(self) -> str:
        return self.plural.replace("_", "-")

    @property
    def belongs_to(self) -> Field | None:
        """The foreign key to the owner, or to the parent that has an owner."""
        is_owned = self.parent is not None and self.parent.parent is not None and self.parent.parent.owner is not None
        return self.owner or (self.parent if is_owned else None)

    @property
    def references(self) -> list[Field]:
        """The foreign keys."""
        return [field for field in self.fields if field.parent]
