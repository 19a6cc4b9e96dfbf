"""Prints the routes of an application with their permissions: `python -m kit.server main:app`."""

import sys

from kit.applications import load_application
from kit.server.route_listing import describe_routes

if __name__ == "__main__":
    try:
        sys.stdout.write(describe_routes(load_application(sys.argv[1])) + "\n")
    except ValueError as failure:  # the message of a check of the routes
        sys.exit(str(failure))
