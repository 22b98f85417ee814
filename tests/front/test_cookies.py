"""The cookies of a request are read in linear time, and only those that the hub sets."""

import time

import pytest
from django.http.cookie import parse_cookie

from memoryhub.front.cookies import format_cookies, own_cookie_names, parse_own_cookies

pytestmark = pytest.mark.unit


def test_the_hubs_cookies_are_kept_as_django_reads_them():
    cookies = {name: f"value-of:{name}==" for name in own_cookie_names()}
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())

    kept_header = format_cookies(parse_own_cookies(f"_ga=GA1.2.3; {header};other"))

    assert parse_cookie(kept_header) == parse_cookie(header) == cookies


@pytest.mark.parametrize("value", ['"\\\\\\"', '"a"', "a" * 4_097, 'a"b'])
def test_what_the_hub_never_sets_is_dropped(value):
    assert parse_own_cookies(f"sessionid={value}; theme=dark") == {"theme": "dark"}


def test_of_two_cookies_of_a_name_the_last_one_counts():
    header = "sessionid=a; sessionid=b"

    assert parse_own_cookies(header) == parse_cookie(header) == {"sessionid": "b"}


@pytest.mark.parametrize("part", ["\\", '\\"', "a=b;", ";", "=", "\\101"])
def test_a_long_header_takes_no_time(part):
    header = f'sessionid="{part * 100_000}"'
    start_time = time.process_time()

    parse_cookie(format_cookies(parse_own_cookies(header)))

    assert time.process_time() - start_time < 0.5
