"""The fast path: the same as the plain kit, with less work.

Each shortcut steps aside wherever somebody could tell the difference, and is tried against its plain counterpart when
the application starts (`self_test`). Without this package, and without the lines of `main` that install it, everything
still holds.

This is the only package of the kit that uses interfaces that are not documented. It was tried with SQLAlchemy 2.1.9,
asyncpg 0.32, aiosqlite 0.22 and SQLModel 0.0.50; an interface that has gone or changed is found by the self-test, and
costs time, not correctness.

| interface | of | used for |
|---|---|---|
| `dispatch`, `_clslevel`, `update_subclass`, `for_modify`, `_event_names`, `_JoinedDispatcher`, `_ListenerCollection`, the closures of wrapped listeners | SQLAlchemy | finding listeners (`listeners`) |
| `Engine._should_log_info` | SQLAlchemy | stepping aside for the log of statements (`listeners`) |
| `ClassManager._state_constructor`, `InstanceState.key`, `.session_id`, `._commit_all`, `Session.hash_key`, `.identity_map`, `Mapper._identity_key_from_state` | SQLAlchemy | rows that a session has not loaded itself (`read_sessions`, `write_sessions`, `bodies`) |
| `Session._register_persistent`, `InstanceState.insert_order` | SQLAlchemy | rows that a session has not flushed itself (`write_sessions`) |
| `Session._new`, `._deleted`, `._flushing`, `._is_clean`, `._transaction`, `._connection_for_bind`, `SessionTransaction._connections`, `._parent` | SQLAlchemy | whether a session has begun, and what it has to write (`deferred`, `read_sessions`, `write_sessions`) |
| `Select._generate_cache_key`, `._generate`, `._raw_columns`, `._with_options`, `._traverse_internals` and the parts that these name; `Load.context` and its `path`, `strategy`, `_extra_criteria` | SQLAlchemy | comparing statements (`selects`, `pages`) |
| `SQLCompiler.construct_params(extracted_parameters=…)`, `.positiontup`, `.binds`, `.post_compile_params` | SQLAlchemy | statements compiled once (`selects`, `single_insert`) |
| `TypeEngine.dialect_impl`, `.bind_processor`, `.result_processor` | SQLAlchemy | converting values (`driver`) |
| `Mapper.tables`, `.always_refresh`, `.version_id_generator`, `Table.autoincrement_column` | SQLAlchemy | which entities are plain (`mappings`) |
| `Connection._handle_dbapi_exception`, `._handle_dbapi_exception_noconnection`, `_handle_exception` of the adapters | SQLAlchemy | failures as SQLAlchemy raises them (`driver`) |
| `util.greenlet_spawn`, `util.await_only`, `util.LRUCache` | SQLAlchemy | the driver on a connection of the pool (`driver`, `selects`) |
| `Connection.execute_fetchall` | aiosqlite | one way to SQLite's thread for each statement (`driver`) |
| `BaseModel.__pydantic_decorators__`, `FieldInfo.metadata` | pydantic | which read variants show columns (`projection`), and which bodies are rows (`bodies`) |
| `RouteContext`, `Dependant`, `request_params_to_args`, `request_body_to_args`, `serialize_response`, `FastAPI._telemetry`, `APIRouter._iter_low_priority_routes` | FastAPI | arguments and answers as FastAPI makes them (`arguments`, `rendering`, `dispatch`) |
| `_utils.get_route_path`, `_utils.is_async_callable` | Starlette | paths and handlers as the router takes them (`dispatch`) |
| `trace._TRACER_PROVIDER`, `metrics._internal._METER_PROVIDER`, `_logs._internal._LOGGER_PROVIDER` | OpenTelemetry | stepping aside for telemetry (`dispatch`) |
"""  # noqa: E501  a table

import logging
from importlib import import_module
from typing import Any

log = logging.getLogger("kit")


def install(service: Any, **options: bool) -> None:
    """Let a service take the shortcuts: see `kit.fast.installation`.

    Its modules are imported here, so that a library that lost an interface costs time and not the start.
    """
    try:
        installation = import_module("kit.fast.installation")
    except (ImportError, AttributeError) as failure:
        log.warning("Shortcuts left out: %s", failure)
        return
    installation.install(service, **options)
