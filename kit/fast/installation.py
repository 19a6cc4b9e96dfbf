"""Installation: adds the shortcuts to a service (`FAST_PATH=true`)."""

from importlib import import_module

from starlette.middleware import Middleware

from kit.fast.databases import failing_shortcuts, is_tested, use_fast_sessions
from kit.fast.dispatch import Dispatch, OuterDispatch
from kit.fast.pages import fast_page
from kit.fast.read_shortcuts import ALL, WHOLE_RESPONSES
from kit.server.service import Service


def install(service: Service, *, coalesce: bool = True, group: bool = True) -> None:
    """Let a service take the shortcuts that pass the self-test. Until it has run, at a start, all are disabled.

    `coalesce`: concurrent reads share a query. `group`: writes that arrive together share a transaction.
    """
    without = failing_shortcuts() if is_tested() else ALL  # another service of the process may use the database already
    leave_out = use_fast_sessions(service.runtime.database, coalesce=coalesce, group=group, without=without)

    def choose_shortcuts() -> None:
        leave_out(left_out := failing_shortcuts())
        if WHOLE_RESPONSES not in left_out:
            service.shutdown.protocol = import_module("kit.fast.connections").FastConnection  # imports uvicorn

    service.starters.append(choose_shortcuts)
    service.runtime.fast_page = fast_page
    service.user_middleware.append(Middleware(Dispatch, service=service))  # inside of all that was or will be added
    service.wrap_in_middleware(OuterDispatch(service.all_layers, service))
