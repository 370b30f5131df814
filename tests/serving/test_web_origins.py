from __future__ import annotations

import pytest

from mlstack.serving.messages import Head
from mlstack.serving.problems import Problem
from mlstack.serving.web_origins import check_host, check_origin, reading_headers

ALLOWED = ("https://example.org",)


def head(**headers: str) -> Head:
    return Head("POST", "/feedback", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "127.0.0.2",
        "localhost",
        "LOCALHOST:80",
        "localhost.",
        "my.localhost:8000",
        "[::1]:8000",
        "[::1]",
    ],
)
def test_names_of_the_own_machine_are_answered(host: str) -> None:
    check_host(head(host=host))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "192.0.2.1", "0.0.0.0:8000", "",
     "evillocalhost", "[::1", "127.0.0.1@evil.example", "[::ffff:192.0.2.1]"],
)  # fmt: skip
def test_a_name_that_may_lead_elsewhere_tomorrow_is_refused(host: str) -> None:
    with pytest.raises(Problem, match=r"127\.0\.0\.1.*api_keys_file.*allow_anonymous") as caught:
        check_host(head(host=host))
    assert caught.value.status == 421


def test_a_request_without_a_host_comes_from_no_browser() -> None:
    check_host(head())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "HTTP://127.0.0.1:8000"},
        {"origin": "https://example.org"},
        {"origin": "https://example.org", "sec_fetch_site": "cross-site"},
        {"origin": "https://behind.a.proxy", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
    ],
)
def test_the_own_page_allowed_sites_and_other_clients_may_send(headers: dict[str, str]) -> None:
    check_origin(head(host="127.0.0.1:8000", **headers), ALLOWED)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "https://example.org.evil.example"},
        {"origin": "http://example.org"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://127.0.0.1:8000"},
    ],
)
def test_pages_of_other_sites_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(Problem, match=r"serve\.cors_origins") as caught:
        check_origin(head(host="127.0.0.1:8000", **headers), ALLOWED)
    assert caught.value.status == 403


def test_an_origin_without_a_host_to_compare_it_with_is_refused() -> None:
    with pytest.raises(Problem):
        check_origin(head(origin="null"), ())
    with pytest.raises(Problem):
        check_origin(head(origin="://"), ())


def test_only_an_allowed_site_may_read_and_caches_keep_them_apart() -> None:
    allowed = dict(reading_headers(head(origin="https://example.org"), ALLOWED))
    assert allowed["access-control-allow-origin"] == "https://example.org"
    assert "retry-after" in allowed["access-control-expose-headers"]
    assert reading_headers(head(origin="https://evil.example"), ALLOWED) == (("vary", "origin"),)
    assert reading_headers(head(), ALLOWED) == (("vary", "origin"),)
    assert reading_headers(head(origin="https://example.org"), ()) == ()
