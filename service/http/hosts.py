"""The syntax of the `Host` header (RFC 9110, section 7.2; RFC 3986, section 3.2)."""

import re
from ipaddress import IPv6Address

HOST = re.compile(
    rb"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
"""An address in brackets, or a name, which may be empty; then perhaps a port."""


def is_host(value: bytes) -> bool:
    """Return whether `value` is a host, with or without a port."""
    match = HOST.fullmatch(value)
    if match is None or match["address"] is None:
        return match is not None
    try:
        IPv6Address(match["address"].decode())
    except ValueError:
        return False
    return True


def name_of(host: bytes) -> str:
    """Return the name or address of a host, without brackets, port and final dot, in lower case."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")
