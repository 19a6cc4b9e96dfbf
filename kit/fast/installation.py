"""Installation: adds the shortcuts to a service."""

from kit.fast.connections import FastConnection
from kit.fast.databases import use_fast_sessions
from kit.fast.dispatch import Dispatch, OuterDispatch
from kit.fast.pages import fast_page
from kit.fast.self_test import failing_shortcuts
from kit.server.service import Service


def install(service: Service, *, coalesce: bool = True, group: bool = True) -> None:
    """Let a service take the shortcuts that pass the self-test.

    `coalesce`: identical reads that run at the same time share a query. `group`: writes that arrive together share a
    transaction.
    """
    left_out = failing_shortcuts()
    use_fast_sessions(service.runtime.database, coalesce=coalesce, group=group, without=left_out)
    if "whole responses" not in left_out:
        service.shutdown.protocol = FastConnection
    service.runtime.fast_page = fast_page
    service.add_middleware(Dispatch, service=service)
    service.wrap_in_middleware(OuterDispatch(service.all_layers, service))
