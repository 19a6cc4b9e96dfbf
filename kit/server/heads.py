"""Request heads: the checks of their HTTP version, host and framing, which proxies must read in the same way."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from httptools import HttpParserInvalidMethodError

from kit.http.request_headers import Header
from kit.server.head_refusals import CODING, FRAMING, HOST, MALFORMED, METHOD, VERSION, Refusal

VERSIONS = (b"1.0", b"1.1")
ORIGIN_FORMS = (b"/", b"*")
ABSOLUTE_FORM = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
"""A request target with a scheme, an authority, and the rest (RFC 9112, section 3.2.2)."""
AUTHORITY = re.compile(
    rb"""(?P<host> (?:[A-Za-z0-9._~!$&'()*+,;=-] | %[0-9A-Fa-f]{2})+  # a name or an IPv4 address
       | \[(?:(?P<address>[0-9A-Fa-f:.]+) | v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\] )
       (?: :(?P<port>[0-9]{0,5}) )?""",
    re.VERBOSE,
)
"""A host with an optional port (RFC 3986, section 3.2), without the user information that a Host header never has."""
MAX_AUTHORITY = 300
"""More than the longest name of a host (255 bytes), and its port."""
MAX_PORT = 65_535
DEFAULT_PORTS = {b"http": 80, b"https": 443}
WATCHED = frozenset({b"host", b"transfer-encoding"})
FRAMING_HEADERS = (b"content-length", b"transfer-encoding")
START = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]+ (?:(\S+) HTTP/(\d\.\d)\r?\n|\S*(?: [^\r\n]*)?\Z)")
"""The first line of a request, with its target and its HTTP version, or its beginning, without them."""
Authority = tuple[bytes, int | None]


def fault_of(version: str, target: bytes, headers: Sequence[Header]) -> Refusal | None:
    """Return the refusal of a head whose version, host or framing is not clear; None for a clear one."""
    watched = [header for header in headers if header[0] in WATCHED]
    if version == "1.1" and len(watched) == 1 and target[:1] == b"/" and watched[0][0] == b"host":
        return None if is_host(watched[0][1]) else HOST  # most heads
    if version.encode() not in VERSIONS:
        return VERSION
    hosts = [value for name, value in watched if name == b"host"]
    codings = [value for name, value in watched if name == b"transfer-encoding"]
    return fault_of_host(version, target, hosts) or (fault_of_framing(version, codings) if codings else None)


def is_host(value: bytes) -> bool:
    """Return whether a value of Host is valid. It is empty if the target has no host (RFC 9110, section 7.2)."""
    return len(value) <= MAX_AUTHORITY and (value == b"" or authority_of(value) is not None)


@lru_cache(maxsize=256)
def authority_of(text: bytes) -> Authority | None:
    """Return the host, in lower case, and the port of an authority; None if it is not valid."""
    parts = AUTHORITY.fullmatch(text)
    if parts is None or int(parts["port"] or 0) > MAX_PORT or not is_address(parts["address"]):
        return None
    return parts["host"].lower(), int(parts["port"]) if parts["port"] else None


def is_address(text: bytes | None) -> bool:
    """Return whether a text is an IPv6 address. None, for a host of another kind, is accepted."""
    try:
        return text is None or IPv6Address(text.decode()) is not None
    except AddressValueError:
        return False


def framing_of(headers: Sequence[Header]) -> bytes:
    """Return the lines of the headers that describe the framing of a body; empty without a body."""
    return b"".join(b"%b: %b\r\n" % header for header in headers if header[0] in FRAMING_HEADERS)


def fault_of_host(version: str, target: bytes, hosts: Sequence[bytes]) -> Refusal | None:
    """Return the refusal of a head without exactly one valid host, that of its target (RFC 9112, section 3.2)."""
    if len(hosts) > 1 or (not hosts and version != "1.0") or not all(map(is_host, hosts)):
        return HOST
    if target.startswith(ORIGIN_FORMS):
        return None
    parts = ABSOLUTE_FORM.fullmatch(target)
    if parts is None:  # the authority of a CONNECT: the parser accepts no other target
        return METHOD
    known = {with_port(parts[1], authority) for authority in (parts[2], *hosts)}
    return HOST if None in known or len(known) > 1 else None


def with_port(scheme: bytes, text: bytes) -> Authority | None:
    """Return an authority with the default port of the scheme in place of none; None if it is not valid."""
    authority = authority_of(text) if len(text) <= MAX_AUTHORITY else None
    if authority is None:
        return None
    host, port = authority
    return host, DEFAULT_PORTS.get(scheme.lower()) if port is None else port


def fault_of_framing(version: str, values: Sequence[bytes]) -> Refusal | None:
    """Return the refusal of a body with another transfer coding than `chunked` (RFC 9112, sections 6.1 and 7)."""
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    others = {coding for coding in codings if coding} - {b"chunked"}
    if version == "1.0" or codings.count(b"chunked") > 1:
        return FRAMING
    return CODING if others else None


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Return the host and the origin form of an absolute target: `*` for the empty path of OPTIONS, else `/`."""
    parts = ABSOLUTE_FORM.fullmatch(target)
    if parts is None:
        return b"", target
    rest = parts[3]
    if not rest and method == b"OPTIONS":
        return parts[2], b"*"
    return parts[2], rest if rest[:1] == b"/" else b"/" + rest


def path_of(target: bytes) -> bytes:
    """Return the path of a request target, percent-encoded."""
    return re.split(rb"[?#]", origin_form(b"", target)[1], maxsplit=1)[0]


def unreadable(data: bytes, failure: BaseException | None) -> tuple[Refusal, bytes]:
    """Return the refusal of data that the parser cannot read, and the target of the request if it is known.

    The parser knows certain methods and versions only, and fails at others.
    """
    start = START.match(data)
    if start is None:
        return MALFORMED, b""
    target, version = start[1] or b"", start[2] or VERSIONS[0]
    if version not in VERSIONS:
        return VERSION, target
    return METHOD if isinstance(failure, HttpParserInvalidMethodError) else MALFORMED, target
