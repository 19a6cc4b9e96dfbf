"""The fast path: shortcuts that replace single steps of the plain kit, with the same behaviour and less work.

A shortcut is taken only where its result is the same as that of the plain kit. When the application starts, each
shortcut is compared with the plain code that it replaces (`self_test`). The service works without this package: delete
it together with the lines of `main` that install it.

This is the only package of the kit that uses undocumented interfaces. It was tested with SQLAlchemy 2.1.9, asyncpg
0.32, aiosqlite 0.22, SQLModel 0.0.50 and uvicorn 0.54. If an interface is removed or changed, the self-test fails and
disables the shortcut: the service becomes slower, not wrong.

| interface | of | used for |
|---|---|---|
| `dispatch`, `_clslevel`, `update_subclass`, `for_modify`, `_event_names`, `_JoinedDispatcher`, `_ListenerCollection`, the closures of wrapped listeners | SQLAlchemy | finding listeners (`listeners`) |
| `Engine._should_log_info` | SQLAlchemy | leaving logged statements to SQLAlchemy (`listeners`) |
| `ClassManager._state_constructor`, `InstanceState.key`, `.session_id`, `._commit_all`, `Session.hash_key`, `.identity_map`, `Mapper._identity_key_from_state` | SQLAlchemy | rows that were not loaded by their session (`read_sessions`, `persistent_rows`, `write_sessions`, `bodies`) |
| `session._sessions` and its `data`, `_iterating`, `_remove`, `session._new_sessionid`, `InstanceState._strong_obj`, `._instance_dict`, `._detach` | SQLAlchemy | rows that belong to a session before it is created (`deferred`, `persistent_rows`, `write_sessions`) |
| `Session._register_persistent`, `InstanceState.insert_order` | SQLAlchemy | rows that were not flushed by their session (`persistent_rows`, `revocable_sessions`) |
| `InstanceState.committed_state`, `._commit_all`, `impl.is_equal` of attributes | SQLAlchemy | which values of a row were changed (`single_update`) |
| `Session._new`, `._deleted`, `._flushing`, `._is_clean`, `._transaction`, `._connection_for_bind`, `SessionTransaction._connections`, `._parent` | SQLAlchemy | whether a session has begun, and what it has to write (`deferred`, `read_shortcuts`, `write_sessions`, `revocable_sessions`) |
| `Select._generate_cache_key`, `._generate`, `._raw_columns`, `._with_options`, `._traverse_internals` and the parts that it names; `Load.context` and its `path`, `strategy`, `_extra_criteria` | SQLAlchemy | comparing statements (`selects`, `plain_selects`) |
| `SQLCompiler.construct_params(extracted_parameters=…)`, `.positiontup`, `.binds`, `.post_compile_params` | SQLAlchemy | statements compiled once (`selects`, `single_insert`) |
| `TypeEngine.dialect_impl`, `.bind_processor`, `.result_processor` | SQLAlchemy | converting values (`driver_values`) |
| `Mapper.tables`, `.always_refresh`, `.version_id_generator`, `Table.autoincrement_column` | SQLAlchemy | which entities can do without the ORM (`mappings`) |
| `PoolProxiedConnection._close_special` | SQLAlchemy | returning a connection after its COMMIT without a ROLLBACK (`single_insert`) |
| `Connection._handle_dbapi_exception`, `._handle_dbapi_exception_noconnection`, `_handle_exception` of the adapters | SQLAlchemy | failures as SQLAlchemy raises them (`driver`, `driver_failures`) |
| `__sqlalchemy_greenlet_provider__` | SQLAlchemy | running its pool and the driver in greenlets that are used again (`driver`) |
| `util.await_only`, `util.LRUCache` | SQLAlchemy | the driver on a connection of the pool (`driver`, `selects`, `revocable_sessions`) |
| `Connection.execute_fetchall`, `._execute`, `._conn` | aiosqlite | one visit to SQLite's thread for several statements, or for many rows (`driver`, `multi_row_inserts`) |
| `BaseModel.__pydantic_decorators__`, `FieldInfo.metadata` | pydantic | which read variants show columns only (`read_variants`), and which bodies can become rows (`bodies`) |
| `RouteContext`, `Dependant`, `request_params_to_args`, `request_body_to_args`, `serialize_response`, `FastAPI._telemetry`, `APIRouter._iter_low_priority_routes` | FastAPI | arguments and responses as FastAPI makes them (`arguments`, `rendering`, `dispatch`) |
| the functions that `replaced` lists | FastAPI, Starlette | noticing that a library has replaced one of them (`replaced`) |
| `_utils.get_route_path`, `_utils.is_async_callable` | Starlette | paths and handlers as the router reads them (`dispatch`, `exception_responses`) |
| `asyncio._get_running_loop` | Python | the running event loop, if there is one (`read_sessions`, `write_sessions`) |
| `trace._TRACER_PROVIDER`, `metrics._internal._METER_PROVIDER`, `_logs._internal._LOGGER_PROVIDER` | OpenTelemetry | leaving traced requests to FastAPI (`dispatch`) |
| `RequestResponseCycle`, `STATUS_LINE` | uvicorn | bodies read, and responses written, by one call (`connections`) |
| `fastapi.telemetry` in the ASGI scope | FastAPI | the same (`dispatch`) |
"""  # noqa: E501  a table

import logging
from importlib import import_module
from typing import Any

log = logging.getLogger("kit")


def install(service: Any, **options: bool) -> None:
    """Install the shortcuts in a service. `options` are those of `kit.fast.installation.install`.

    If a module cannot be imported because a library has lost an interface, a warning is logged and none is installed.
    """
    try:
        installation = import_module("kit.fast.installation")
    except (ImportError, AttributeError) as failure:
        log.warning("Shortcuts left out: %s", failure)
        return
    installation.install(service, **options)
