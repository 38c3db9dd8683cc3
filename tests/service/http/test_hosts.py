"""Values of the Host header."""

import pytest

from service.http.hosts import is_host, name_of


@pytest.mark.parametrize(
    "value",
    [
        *(b"localhost", b"a.example:8000", b"127.0.0.1:80", b"[::1]", b"[fe80::1]:8000", b"a_b-c."),
        *(b"", b":80", b"a:", b"%c3%a4.example", b"xn--4ca.example"),
    ],
)
def test_hosts(value: bytes) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value",
    [
        *(b"a b", b"a, b", b"http://a", b"a/b", b"user@a", b"a?b", b"a#b", b"a\\b", b'"a"', b"<a>"),
        *(b"a:b", b"a:80:80", b"a:-1", b"a:123456", b"::1", b"[::1", b"[]", b"[:::]", b"[1.2.3.4]"),
        *(b"[::1]a", b"%zz", b"%a", b"\xc3\xa4.example", b"a\x00", b"a\n", b"[::1%eth0]"),
    ],
)
def test_others(value: bytes) -> None:
    assert not is_host(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"A.Example", "a.example"),
        (b"a.example.:8000", "a.example"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[2001:DB8::1]:80", "2001:db8::1"),
        (b":80", ""),
    ],
)
def test_name_of_a_host(value: bytes, name: str) -> None:
    assert name_of(value) == name
