"""Prints the routes of an application, and who may use each of them: `python -m kit.server main:app`."""

import sys
from importlib import import_module

from kit.server.route_listing import describe_routes

if __name__ == "__main__":
    module, _, attribute = sys.argv[1].partition(":")
    sys.path.insert(0, "")
    sys.stdout.write(describe_routes(getattr(import_module(module), attribute or "app")) + "\n")
