"""The public API of the kit: the names that the modules of resources may import."""

from typing import TYPE_CHECKING, Any

import kit.importing  # before the other modules, which take less time then
import kit.models.plain_tables  # sets the column types of tables that are no entities
import kit.propagators  # noqa: F401  before FastAPI
from kit.auth.authentication import Authenticator
from kit.auth.issuers import IssuerTokens
from kit.auth.login_limits import LoginLimits
from kit.auth.owner_fields import Absent, Owner
from kit.auth.passwords import Password, hashed, verified
from kit.auth.permissions import Who, forbidden, unauthenticated
from kit.auth.tokens import Claims, Tokens, Verifier
from kit.database.databases import Database
from kit.database.retry import READ_SECONDS, WRITE_SECONDS, retried
from kit.deprecations import deprecated_name
from kit.http.principals import CURRENT_PRINCIPAL, SUPERUSER, UNRESTRICTED, Principal
from kit.http.problems import Problem, conflict, found, taken
from kit.models.entities import Body, Changes, Entity, Stamped, UUIDEntity, now, sorted_by
from kit.models.privacy import PRIVATE
from kit.models.reads import Read, UUIDRead
from kit.models.types import (
    BIGINT,
    Email,
    Id,
    JSONInteger,
    Money,
    MoneyColumn,
    Name,
    Reference,
    Sku,
    Slug,
    Text,
    Username,
    other_than,
)
from kit.openapi.responses import failure
from kit.operations.balances import move_balances
from kit.operations.bulk import Batch, InvalidElement, Many, OnError, create_many, insert_many
from kit.operations.bulk_update import Ids, Updated, change_many
from kit.operations.caller_needs import needs_no_caller
from kit.operations.callers import Caller, get_caller
from kit.operations.dependencies import ReadSession, Registration, Session, get_read_session, get_session
from kit.operations.preconditions import IfMatch
from kit.operations.route import allowing
from kit.operations.soft_deletion import (
    Deletable,
    DeletableQuery,
    is_not_deleted,
    not_deleted,
    refuse_deleted_parents,
    unique_if_not_deleted,
    with_parent_not_deleted,
)
from kit.operations.trees import refuse_cycle
from kit.query.embedding import embedding
from kit.query.list_query import ListQuery
from kit.query.pages import Page, page
from kit.query.values import YesNo
from kit.runtime import Runtime, runtime_of
from kit.server.middleware import Layers
from kit.server.rate_limits import RateLimits
from kit.server.service import Service
from kit.server.shutdown import Shutdown

__version__ = "1.0.0"
"""The version of the kit. `kit/CHANGELOG.md` lists the changes of each version."""

if not TYPE_CHECKING:  # type checkers have to find names that do not exist

    def __getattr__(name: str) -> Any:
        return deprecated_name(name)


__all__ = [
    "BIGINT",
    "CURRENT_PRINCIPAL",
    "PRIVATE",
    "READ_SECONDS",
    "SUPERUSER",
    "UNRESTRICTED",
    "WRITE_SECONDS",
    "Absent",
    "Authenticator",
    "Batch",
    "Body",
    "Caller",
    "Changes",
    "Claims",
    "Database",
    "Deletable",
    "DeletableQuery",
    "Email",
    "Entity",
    "Id",
    "Ids",
    "IfMatch",
    "InvalidElement",
    "IssuerTokens",
    "JSONInteger",
    "Layers",
    "ListQuery",
    "LoginLimits",
    "Many",
    "Money",
    "MoneyColumn",
    "Name",
    "OnError",
    "Owner",
    "Page",
    "Password",
    "Principal",
    "Problem",
    "RateLimits",
    "Read",
    "ReadSession",
    "Reference",
    "Registration",
    "Runtime",
    "Service",
    "Session",
    "Shutdown",
    "Sku",
    "Slug",
    "Stamped",
    "Text",
    "Tokens",
    "UUIDEntity",
    "UUIDRead",
    "Updated",
    "Username",
    "Verifier",
    "Who",
    "YesNo",
    "allowing",
    "change_many",
    "conflict",
    "create_many",
    "embedding",
    "failure",
    "forbidden",
    "found",
    "get_caller",
    "get_read_session",
    "get_session",
    "hashed",
    "insert_many",
    "is_not_deleted",
    "move_balances",
    "needs_no_caller",
    "not_deleted",
    "now",
    "other_than",
    "page",
    "refuse_cycle",
    "refuse_deleted_parents",
    "retried",
    "runtime_of",
    "sorted_by",
    "taken",
    "unauthenticated",
    "unique_if_not_deleted",
    "verified",
    "with_parent_not_deleted",
]
