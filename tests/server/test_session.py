"""A browser keeps the key as a cookie, which opens what the key opens to the page, and to no other site."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Here, HereStarter

KEY = {"api_key": "sésame ouvre-toi"}


async def sign_in(here: Here, **headers: str) -> dict[str, str]:
    """The header that a browser sends after it was given the key."""
    reply = await here.call("POST", "/api/session", {"key": KEY["api_key"]}, headers=headers)
    assert reply.status == 204
    cookie = SimpleCookie(reply.headers["Set-Cookie"])["candide_session"]
    return {"Cookie": f"candide_session={cookie.value}"}


async def test_without_a_key_everyone_here_is_signed_in(here: Here) -> None:
    assert (await here.call("GET", "/api/session")).json == {"needs_key": False, "signed_in": True}
    reply = await here.call("POST", "/api/session", {"key": "any"})
    assert (reply.status, "Set-Cookie" in reply.headers) == (204, False)


async def test_the_key_is_exchanged_for_a_cookie_that_is_not_the_key(start_here: HereStarter) -> None:
    here = await start_here(KEY)
    assert (await here.call("GET", "/api/session")).json == {"needs_key": True, "signed_in": False}
    reply = await here.call("POST", "/api/session", {"key": KEY["api_key"]})
    told = reply.headers["Set-Cookie"]
    assert "HttpOnly" in told
    assert "samesite=strict" in told.lower()
    assert "Secure" not in told
    assert "sesame" not in told
    assert "sésame" not in told
    cookie = {"Cookie": told.partition(";")[0]}
    assert (await here.call("GET", "/api/session", headers=cookie)).json["signed_in"]
    assert (await here.call("GET", "/api/models", headers=cookie)).status == 200
    assert (await here.call("POST", "/api/conversations", {}, headers=cookie)).status == 201


@pytest.mark.parametrize("headers", [{"Origin": "https://OWN"}, {"X-Forwarded-Proto": "https"}])
async def test_a_cookie_that_came_by_https_goes_back_by_https_alone(
    start_here: HereStarter, headers: dict[str, str]
) -> None:
    here = await start_here(KEY)
    headers = {name: value.replace("OWN", f"127.0.0.1:{here.port}") for name, value in headers.items()}
    reply = await here.call("POST", "/api/session", {"key": KEY["api_key"]}, headers=headers)
    assert "Secure" in reply.headers["Set-Cookie"]


async def test_a_wrong_key_is_refused_and_a_wrong_cookie_opens_nothing(start_here: HereStarter) -> None:
    here = await start_here(KEY)
    for wrong in ("", "sésame", "\ud800"):
        reply = await here.call("POST", "/api/session", {"key": wrong})
        assert reply.status in (400, 401)
        assert "Set-Cookie" not in reply.headers
    for cookie in (
        "candide_session=",
        "candide_session=" + KEY["api_key"],
        "candide_session=0",
        "other=1",
        "é",
    ):
        reply = await here.call("GET", "/api/models", headers={"Cookie": cookie})
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")


async def test_another_site_cannot_use_the_cookie(start_here: HereStarter) -> None:
    here = await start_here(KEY)
    cookie = await sign_in(here)
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        reply = await here.call("POST", "/api/conversations", {}, headers={**cookie, **headers})
        assert (reply.status, reply.error["code"]) == (403, "origin_not_allowed")
        if "Origin" in headers:
            reply = await here.call("POST", "/api/session", {"key": KEY["api_key"]}, headers=headers)
            assert reply.status == 403
    for headers in (
        {"Origin": here.url},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    ):
        reply = await here.call("POST", "/api/conversations", {}, headers={**cookie, **headers})
        assert reply.status == 201


async def test_signing_out_forgets_the_cookie(start_here: HereStarter) -> None:
    here = await start_here(KEY)
    cookie = await sign_in(here)
    reply = await here.call("DELETE", "/api/session", headers=cookie)
    assert reply.status == 204
    assert SimpleCookie(reply.headers["Set-Cookie"])["candide_session"]["max-age"] == "0"


async def test_another_key_ends_every_session(start_here: HereStarter) -> None:
    cookie = await sign_in(await start_here(KEY))
    here = await start_here({"api_key": "another"})
    assert (await here.call("GET", "/api/models", headers=cookie)).status == 401


async def test_what_was_shared_needs_no_key(start_here: HereStarter) -> None:
    here = await start_here(KEY)
    assert (await here.call("GET", "/api/shared/none")).status == 404
    assert (await here.call("GET", "/api/shares")).status == 401
