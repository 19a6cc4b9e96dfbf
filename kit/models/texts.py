"""Text forms of IP addresses, networks and URLs in the database. Those of addresses are sorted like the values."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from pydantic import TypeAdapter

ADDRESS_LENGTHS: dict[type, int] = {IPv4Address: 15, IPv6Address: 39, IPv4Network: 19, IPv6Network: 43}
"""The lengths of the text forms, in which each part has leading zeros."""


def codec_of(kind: type) -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    """Return the functions that parse and format the stored text of values of a type."""
    if kind in (IPv4Address, IPv6Address):
        return lambda text: kind(without_zeros(text)), with_zeros
    if kind in (IPv4Network, IPv6Network):
        return lambda text: kind(network_text(text)), lambda network: f"{with_zeros(network[0])}/{network.prefixlen:03}"
    return TypeAdapter(kind).validate_python, str


def with_zeros(address: IPv4Address | IPv6Address) -> str:
    """Return an address with leading zeros: `010.000.000.009`, which is sorted before `010.000.000.010`."""
    if isinstance(address, IPv6Address):
        return address.exploded
    return ".".join(f"{byte:03}" for byte in address.packed)


def without_zeros(text: str) -> str:
    return text if ":" in text else ".".join(str(int(byte)) for byte in text.split("."))


def network_text(text: str) -> str:
    address, _, prefix = text.partition("/")
    return f"{without_zeros(address)}/{int(prefix)}"
