"""A web page cannot use the server through a browser; a key, where there is one, is asked of everyone."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Here, HereStarter


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST:80",
        "app.localhost",
        "127.0.0.1:1",
        "[::1]:8000",
        "192.168.1.7",
    ],
)
async def test_the_servers_own_names_are_known(here: Here, host: str) -> None:
    assert (await here.call("GET", "/api/conversations", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8000", "127.0.0.1.evil.example", "evillocalhost", "[evil]", "a:b:c"]
)  # fmt: skip
async def test_a_rebound_name_is_refused(here: Here, host: str) -> None:
    reply = await here.call("GET", "/api/conversations", headers={"Host": host})
    assert (reply.status, reply.error["code"]) == (403, "host_not_allowed")
    assert "allowed_hosts" in reply.error["hint"]


async def test_a_name_in_the_settings_is_known(start_here: HereStarter) -> None:
    here = await start_here({"allowed_hosts": "candide.lan"})
    for host, status in (("candide.lan:8000", 200), ("Candide.LAN", 200), ("other.lan", 403)):
        assert (await here.call("GET", "/api/models", headers={"Host": host})).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "none"}, 201),
        ({"Origin": "OWN"}, 201),
        ({}, 201),
    ],
)
async def test_pages_of_other_sites_cannot_post(here: Here, headers: dict[str, str], status: int) -> None:
    headers = {name: here.url if value == "OWN" else value for name, value in headers.items()}
    reply = await here.call("POST", "/api/conversations", {}, headers=headers)
    assert reply.status == status
    if status == 403:
        assert reply.error["code"] == "origin_not_allowed"
        assert (await here.call("GET", "/api/conversations")).json["data"] == []


async def test_a_simple_form_of_another_site_makes_nothing(here: Here) -> None:
    """What a page can send without asking the browser first: no JSON content type."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        reply = await here.call(
            "POST", "/api/conversations", data=b'{"title": "x"}', headers={"Content-Type": kind}
        )
        assert reply.status == 400
        assert "Content-Type: application/json" in reply.error["hint"]
    assert (await here.call("GET", "/api/conversations")).json["data"] == []


@pytest.mark.parametrize("path", ["/api/models", "/v1/models", "/docs", "/openapi.json", "/nothing"])
async def test_with_a_key_it_is_asked_everywhere(start_here: HereStarter, path: str) -> None:
    here = await start_here({"api_key": "sésame"})
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic sésame"},
        {"x-api-key": "no"},
    ):
        reply = await here.call("GET", path, headers=headers)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
        assert "sésame" not in reply.body.decode()


async def test_the_key_opens_in_both_headers(start_here: HereStarter) -> None:
    here = await start_here({"api_key": "sesame"})
    for headers in (
        {"Authorization": "Bearer sesame"},
        {"Authorization": "bearer  sesame"},
        {"x-api-key": "sesame"},
    ):
        assert (await here.call("GET", "/api/models", headers=headers)).status == 200
    for path in ("/health", "/ready"):
        assert (await here.call("GET", path)).status == 200


async def test_a_body_that_is_too_large_is_refused_with_and_without_a_length(start_here: HereStarter) -> None:
    here = await start_here({"max_body_mb": 1})
    for path in ("/api/conversations", "/v1/chat/completions"):
        reply = await here.call("POST", path, data=io.BytesIO(b" " * 2**20 + b"{}"))
        assert (reply.status, reply.error["code"]) == (413, "too_large")

        async def chunks():  # type: ignore[no-untyped-def]
            yield b'{"title": "'
            for _ in range(2**4):
                yield b"x" * 2**17
            yield b'"}'

        reply = await here.call("POST", path, data=chunks(), headers={"Content-Type": "application/json"})
        assert (reply.status, reply.error["code"]) == (413, "too_large"), path
        assert "max_body_mb" in reply.error["hint"]


async def test_a_hundred_megabytes_are_refused_unread(here: Here) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(
        b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b" 413 " in head.split(b"\r\n")[0]
    writer.close()


async def test_who_sends_too_much_can_still_read_why(start_here: HereStarter) -> None:
    here = await start_here({"max_body_mb": 1})
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(
        b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n"
    )
    # The server has refused by now; what comes then must not have it reset the connection.
    await asyncio.sleep(0.3)
    for _ in range(30):
        writer.write(b" " * 100_000)
        await writer.drain()
        await asyncio.sleep(0.01)
    reply = await asyncio.wait_for(reader.read(), 10)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"too_large" in reply
    writer.close()


@pytest.mark.parametrize("length", [b"-5", b"abc", b"1e3", b""])
async def test_a_length_that_is_none_is_refused(here: Here, length: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(
        b"POST /api/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
    )
    assert b" 400 " in (await asyncio.wait_for(reader.readline(), 10)) or length == b""
    writer.close()
