"""Installation: adds the shortcuts to a service."""

from kit.fast.databases import use_fast_sessions
from kit.fast.dispatch import Dispatch, OuterDispatch
from kit.fast.pages import fast_page
from kit.server.service import Service


def install(service: Service, *, coalesce: bool = True, group: bool = True) -> None:
    """Let a service take the shortcuts that pass the self-test.

    `coalesce`: identical reads that run at the same time share a query. `group`: inserts that arrive together share a
    transaction.
    """
    use_fast_sessions(service.runtime.database, coalesce=coalesce, group=group)
    service.runtime.fast_page = fast_page
    service.add_middleware(Dispatch, service=service)
    service.wrap_in_middleware(OuterDispatch(service.all_layers, service))
