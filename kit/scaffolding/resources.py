"""New resources: the names, fields and foreign keys of a resource that is to be written."""

from collections.abc import Sequence
from dataclasses import dataclass

from kit.scaffolding.fields import Field


@dataclass(frozen=True)
class Resource:
    """A new resource. `owner` is the foreign key to the user who owns a row, `parent` to the row that contains it."""

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
        """The foreign key for `belongs_to`: to the owner, or to a parent that has an owner; None without owners."""
        is_owned = self.parent is not None and self.parent.parent is not None and self.parent.parent.owner is not None
        return self.owner or (self.parent if is_owned else None)

    @property
    def references(self) -> list[Field]:
        """The foreign keys."""
        return [field for field in self.fields if field.parent]
