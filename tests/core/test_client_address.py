"""Where a request comes from, behind proxies and before them."""

import pytest

from memoryhub.core.client_address import MAX_PROXIES, TrustedProxies

pytestmark = pytest.mark.unit

ADDRESS_CASES = [
    # trusted, the connection's address, X-Forwarded-For, where the request comes from
    ("", "192.0.2.1", "10.0.0.1", "192.0.2.1"),
    ("0", "192.0.2.1", "10.0.0.1", "192.0.2.1"),
    ("1", "192.0.2.1", None, "192.0.2.1"),
    ("1", "192.0.2.1", "203.0.113.5", "203.0.113.5"),
    ("1", "192.0.2.1", "10.9.9.9, 203.0.113.5", "203.0.113.5"),
    ("2", "192.0.2.1", "10.9.9.9,203.0.113.5,192.0.2.2", "203.0.113.5"),
    ("2", "192.0.2.1", "203.0.113.5", "203.0.113.5"),
    ("1", "", "203.0.113.5", "203.0.113.5"),
    ("192.0.2.0/24", "192.0.2.1", "203.0.113.5, 192.0.2.7", "203.0.113.5"),
    ("192.0.2.0/24", "192.0.2.1", "10.9.9.9, 203.0.113.5, 192.0.2.7", "203.0.113.5"),
    ("192.0.2.0/24", "198.51.100.1", "203.0.113.5", "198.51.100.1"),
    ("192.0.2.1 192.0.2.7", "192.0.2.1", "203.0.113.5, 192.0.2.7", "203.0.113.5"),
    ("192.0.2.0/24", "192.0.2.1", "192.0.2.9, 192.0.2.8", "192.0.2.9"),
    ("2001:db8::/32", "2001:db8::1", "2001:DB8:0::2, 2001:db8::3", "2001:db8::2"),
    ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:203.0.113.5", "203.0.113.5"),
    ("1", "192.0.2.1", "[2001:db9::1]:4711", "2001:db9::1"),
    ("1", "192.0.2.1", "203.0.113.5:4711", "203.0.113.5"),
    ("1", "192.0.2.1", "fe80::1%eth0", "fe80::1"),
    # What is no address ends the search at the last proxy that is known.
    ("1", "192.0.2.1", "unknown", "192.0.2.1"),
    ("1", "192.0.2.1", "203.0.113.5, ", "192.0.2.1"),
    ("2", "192.0.2.1", "203.0.113.5, evil, 192.0.2.2", "192.0.2.2"),
    ("1", "192.0.2.1", "\x00é\r\n", "192.0.2.1"),
    ("1", "192.0.2.1", "0x7f.1", "192.0.2.1"),
    ("1", "192.0.2.1", "203.0.113.5\t", "203.0.113.5"),
    ("192.0.2.0/24", "192.0.2.1", "10.9.9.9," + "192.0.2.7," * 1_000 + "192.0.2.7", "192.0.2.7"),
    ("", "", None, None),
    ("1", "", "nothing", None),
]


@pytest.mark.parametrize(
    ("trusted_proxies", "remote_address", "forwarded_header", "expected"), ADDRESS_CASES, ids=range(len(ADDRESS_CASES))
)
def test_a_request_comes_from_whom_the_outermost_trusted_proxy_names(
    trusted_proxies, remote_address, forwarded_header, expected
):
    environ = {"REMOTE_ADDR": remote_address} | (
        {} if forwarded_header is None else {"HTTP_X_FORWARDED_FOR": forwarded_header}
    )

    assert TrustedProxies.parse(trusted_proxies).resolve_client_address(environ) == expected


def test_without_trusted_proxies_no_header_counts():
    environ = {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "10.0.0.1", "HTTP_X_REAL_IP": "10.0.0.2"}

    assert TrustedProxies().resolve_client_address(environ) == "192.0.2.1"


@pytest.mark.parametrize("text", ["proxy", "-1", "1.5", str(MAX_PROXIES + 1), "9" * 5_000, "10.0.0.0/33", "10.0.0.1/8"])
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match=r"must be a number of proxies|above"):
        TrustedProxies.parse(text)
