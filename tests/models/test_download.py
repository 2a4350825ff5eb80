from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candide.errors import WeightsError
from candide.models.download import Download, Downloaded, download_file
from candide.models.hub import HubAccess
from candide.models.progress import Progress

from .scripted_hub import COMMIT, ScriptedHub, running_hub

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "owner/repo/model.gguf"


def fetch(hub: ScriptedHub, target: Path, *, progress=None, check=None, **how) -> Downloaded:
    how = {"attempts": 3, "pause": 0.001, "timeout": 5.0, "sha256": SHA256} | how
    url = f"{hub.url}/owner/repo/resolve/main/model.gguf"
    return download_file(
        Download(url=url, label="hf:owner/repo/model.gguf", **how), target, progress=progress, check=check
    )


def partial_files(target: Path) -> set[str]:
    return {path.name for path in (target.parent / ".partial").glob("*") if path.suffix != ".lock"}


def ranges(hub: ScriptedHub) -> list[str]:
    return [asked.headers.get("Range", "") for asked in hub.asked_of("store")]


def test_a_file_comes_from_the_store_that_the_hub_points_to(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT)
    told: list[Progress] = []

    downloaded = fetch(hub, tmp_path / "m.gguf", progress=told.append)

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert downloaded == Downloaded(SHA256, len(CONTENT), COMMIT)
    assert told[-1].done == told[-1].total == len(CONTENT)
    assert partial_files(tmp_path / "m.gguf") == set()


def test_download_resumes_after_a_cut_connection(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, cuts=[300_000, 200_001])

    fetch(hub, tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert ranges(hub) == ["", "bytes=300000-", "bytes=500001-"]


def test_many_cuts_are_survived_as_long_as_there_is_progress(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, cuts=[50_000] * 15)

    fetch(hub, tmp_path / "m.gguf", attempts=2)

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


def test_a_later_process_goes_on_where_an_earlier_one_gave_up(hub: ScriptedHub, tmp_path: Path) -> None:
    served = hub.add(PATH, CONTENT, cuts=[400_000, 0, 0, 0, 0])
    with pytest.raises(WeightsError, match="are kept") as caught:
        fetch(hub, tmp_path / "m.gguf")
    assert caught.value.code == "unreachable"
    served.cuts.clear()
    hub.asked.clear()

    fetch(hub, tmp_path / "m.gguf")

    assert ranges(hub) == ["bytes=400000-"]
    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    kept=st.integers(0, 3000),
    known=st.booleans(),
    etag=st.sampled_from([None, "", 'W/"weak"']),
)
def test_a_cut_at_any_byte_gives_the_same_file(
    tmp_path: Path, cuts: list[int], kept: int, known: bool, etag: str | None
) -> None:
    content = bytes(number * 7 % 251 for number in range(3000))
    target = tmp_path / "m.gguf"
    shutil.rmtree(tmp_path / ".partial", ignore_errors=True)
    with running_hub() as hub:
        hub.add(PATH, content, cuts=[kept, *[0] * 6], etag=etag)
        sha256 = hashlib.sha256(content).hexdigest() if known else None
        if kept < len(content):
            with pytest.raises(WeightsError):
                fetch(hub, target, sha256=sha256, attempts=1)
        hub.add(PATH, content, cuts=cuts, etag=etag)

        fetch(hub, target, sha256=sha256, attempts=20, pause=0.0)

    assert target.read_bytes() == content
    assert partial_files(target) == set()


def test_a_file_that_changed_in_between_is_fetched_anew(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, b"old" * 1000, cuts=[1000, 0, 0, 0])
    with pytest.raises(WeightsError):
        fetch(hub, tmp_path / "m.gguf", sha256=None)
    hub.add(PATH, CONTENT)

    assert fetch(hub, tmp_path / "m.gguf", sha256=None).sha256 == SHA256

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


def test_a_store_that_changes_the_file_behind_the_hubs_back_is_found_out(
    hub: ScriptedHub, tmp_path: Path
) -> None:
    hub.add(PATH, b"old" * 1000, sha256="", cuts=[1000, 0, 0, 0])
    with pytest.raises(WeightsError):
        fetch(hub, tmp_path / "m.gguf", sha256=None)
    hub.add(PATH, b"new" * 1000, sha256="")

    fetch(hub, tmp_path / "m.gguf", sha256=None)

    assert (tmp_path / "m.gguf").read_bytes() == b"new" * 1000


def test_a_server_without_ranges_is_read_from_the_start_again(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, cuts=[300_000], ranges=False)

    fetch(hub, tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


def test_a_range_that_begins_earlier_than_asked_is_put_where_it_belongs(
    hub: ScriptedHub, tmp_path: Path
) -> None:
    hub.add(PATH, CONTENT, cuts=[300_000], back_off=1000)

    fetch(hub, tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


def test_a_wrong_hash_deletes_what_came_and_says_so(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, b"x" + CONTENT[1:], sha256=SHA256)

    with pytest.raises(WeightsError, match=r"wrong SHA-256.*deleted") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "wrong_hash"
    assert caught.value.hint
    assert not (tmp_path / "m.gguf").exists()
    assert partial_files(tmp_path / "m.gguf") == set()


def test_the_hubs_own_hash_is_what_counts_where_none_is_known(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, b"x" + CONTENT[1:], sha256=SHA256)

    with pytest.raises(WeightsError, match="wrong SHA-256"):
        fetch(hub, tmp_path / "m.gguf", sha256=None)


def test_a_hub_that_has_another_file_is_found_out_before_a_byte_is_fetched(
    hub: ScriptedHub, tmp_path: Path
) -> None:
    hub.add(PATH, CONTENT)

    with pytest.raises(WeightsError, match="another file") as caught:
        fetch(hub, tmp_path / "m.gguf", sha256="0" * 64)

    assert caught.value.code == "wrong_hash"
    assert (tmp_path / ".partial/m.gguf.part").stat().st_size == 0


def test_a_wrong_announced_size_is_refused(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, announced_size=len(CONTENT) + 1)

    with pytest.raises(WeightsError, match="bytes") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "wrong_size"


@pytest.mark.parametrize("lie", [-1000, 1000])
def test_a_lying_content_length_never_makes_a_wrong_file(hub: ScriptedHub, tmp_path: Path, lie: int) -> None:
    length = len(CONTENT) + lie
    hub.add(PATH, CONTENT, sha256="", announced_size=length, content_length=length)

    with pytest.raises(WeightsError):
        fetch(hub, tmp_path / "m.gguf", sha256=SHA256 if lie < 0 else None)

    assert not (tmp_path / "m.gguf").exists()


def test_a_gated_file_says_where_to_ask_for_it(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, gated_for="secret")

    with pytest.raises(WeightsError, match="401") as caught:
        fetch(hub, tmp_path / "m.gguf")
    assert caught.value.code == "gated"
    assert caught.value.hint is not None
    assert "HF_TOKEN" in caught.value.hint
    with pytest.raises(WeightsError, match="403"):
        fetch(hub, tmp_path / "m.gguf", token="wrong")


def test_the_token_is_shown_to_the_hub_and_to_nobody_else(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, gated_for="secret", cuts=[1000])

    fetch(hub, tmp_path / "m.gguf", token="secret")

    assert {asked.headers.get("Authorization") for asked in hub.asked_of("hub")} == {"Bearer secret"}
    assert len(hub.asked_of("store")) == 2
    assert all("Authorization" not in asked.headers for asked in hub.asked_of("store"))


def test_a_missing_file_is_not_asked_for_twice(hub: ScriptedHub, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "not_found"
    assert len(hub.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_overloaded_server_is_asked_again(hub: ScriptedHub, tmp_path: Path, status: int) -> None:
    hub.add(PATH, CONTENT, hub_answers=[(status, {"Retry-After": "0"})], store_answers=[(status, {})])

    fetch(hub, tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert len(hub.asked_of("hub")) == 3


def test_a_server_that_stays_overloaded_is_given_up(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, hub_answers=[(503, {})] * 20)

    with pytest.raises(WeightsError, match="503") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "unreachable"
    assert len(hub.asked_of("hub")) == 3


def test_the_server_says_how_long_to_wait(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, hub_answers=[(429, {"Retry-After": "0"})])
    notes: list[str] = []

    fetch(hub, tmp_path / "m.gguf", pause=3600.0, progress=lambda progress: notes.append(progress.note))

    assert any("429" in note for note in notes)


def test_a_web_page_is_not_a_file(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, b"<html>Sign in</html>", content_type="text/html; charset=utf-8")

    with pytest.raises(WeightsError, match="web page") as caught:
        fetch(hub, tmp_path / "m.gguf", sha256=None)

    assert caught.value.code == "not_a_file"


def test_another_kind_of_file_is_found_out_at_its_first_bytes(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, b"PK\x03\x04" + CONTENT)

    with pytest.raises(WeightsError, match="not a GGUF file"):
        fetch(hub, tmp_path / "m.gguf", sha256=None, magic=b"GGUF")

    assert partial_files(tmp_path / "m.gguf") == set()


def test_a_part_longer_than_the_file_is_dropped(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, cuts=[900_000, 0, 0, 0])
    with pytest.raises(WeightsError):
        fetch(hub, tmp_path / "m.gguf", sha256=None)
    # without an announced hash and size, the store's 416 is the first to tell
    state = tmp_path / ".partial/m.gguf.json"
    state.write_text(state.read_text().replace(SHA256, hashlib.sha256(b"short").hexdigest()))
    hub.add(PATH, b"short")

    fetch(hub, tmp_path / "m.gguf", sha256=None)

    assert (tmp_path / "m.gguf").read_bytes() == b"short"


def test_a_whole_part_only_needs_its_name(hub: ScriptedHub, tmp_path: Path) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    hub.add(PATH, CONTENT)
    with pytest.raises(KeyboardInterrupt):
        fetch(hub, tmp_path / "m.gguf", check=stop)
    hub.asked.clear()

    fetch(hub, tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert hub.asked == []


def test_what_the_check_refuses_is_deleted(hub: ScriptedHub, tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise WeightsError("no model")

    hub.add(PATH, CONTENT)
    with pytest.raises(WeightsError, match="no model"):
        fetch(hub, tmp_path / "m.gguf", check=refuse)

    assert not (tmp_path / "m.gguf").exists()
    assert partial_files(tmp_path / "m.gguf") == set()


def test_nothing_is_fetched_without_room_for_it(hub: ScriptedHub, tmp_path: Path) -> None:
    huge = 10**18
    hub.add(PATH, CONTENT, sha256="", announced_size=huge, content_length=huge)

    with pytest.raises(WeightsError, match="no room") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "no_space"
    assert caught.value.hint
    assert (tmp_path / ".partial/m.gguf.part").stat().st_size == 0


def test_a_dead_server_is_named(tmp_path: Path) -> None:
    with running_hub() as hub:
        pass  # its ports are free again

    with pytest.raises(WeightsError, match="refused") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "unreachable"


def test_a_silent_server_is_given_up(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, pause=3.0)

    with pytest.raises(WeightsError, match="no answer in time"):
        fetch(hub, tmp_path / "m.gguf", timeout=0.2, attempts=2)


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[", "http://127.0.0.1:port/"]
)
def test_a_redirect_away_from_the_web_is_refused(hub: ScriptedHub, tmp_path: Path, place: str) -> None:
    hub.add(PATH, CONTENT, redirect=place)

    with pytest.raises(WeightsError, match="redirected") as caught:
        fetch(hub, tmp_path / "m.gguf")

    assert caught.value.code == "refused"


def test_a_redirect_in_circles_ends(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, redirect=f"{hub.url}/owner/repo/resolve/main/model.gguf")

    with pytest.raises(WeightsError, match="more than 10"):
        fetch(hub, tmp_path / "m.gguf")


def test_a_callback_that_raises_cancels_and_keeps_the_part(hub: ScriptedHub, tmp_path: Path) -> None:
    class CancelledError(Exception): ...

    def cancel(progress: Progress) -> None:
        if progress.done > 100_000:
            raise CancelledError

    hub.add(PATH, CONTENT, pause=0.02, block=1 << 14)
    with pytest.raises(CancelledError):
        fetch(hub, tmp_path / "m.gguf", progress=cancel)

    assert (tmp_path / ".partial/m.gguf.part").stat().st_size > 100_000
    hub.files[PATH].pause = 0.0
    fetch(hub, tmp_path / "m.gguf")
    assert (tmp_path / "m.gguf").read_bytes() == CONTENT


def test_two_at_once_do_not_corrupt_the_file(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT, pause=0.01, block=1 << 15)
    stages: list[str] = []
    results: list[Downloaded] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                fetch(hub, tmp_path / "m.gguf", progress=lambda progress: stages.append(progress.note))
            )
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert [result.sha256 for result in results] == [SHA256, SHA256]
    assert any("fetched already" in note for note in stages)


PULL = """
import sys
from pathlib import Path
from candide.models.catalog import Catalog
from candide.models.download import Download, download_file
def tell(progress):
    print(progress.done, flush=True)
download_file(Download(url=sys.argv[1], label="x"), Path(sys.argv[2]), progress=tell)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_process_leaves_a_part_to_go_on_from(
    hub: ScriptedHub, tmp_path: Path, how: int
) -> None:
    served = hub.add(PATH, CONTENT, pause=0.05, block=1 << 15)
    url = f"{hub.url}/owner/repo/resolve/main/model.gguf"
    process = subprocess.Popen(
        [sys.executable, "-c", PULL, url, str(tmp_path / "m.gguf")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            if int(line) > 200_000:
                break
        os.kill(process.pid, how)
    assert process.returncode != 0
    assert not (tmp_path / "m.gguf").exists()
    served.pause = 0.0
    hub.asked.clear()

    download_file(Download(url=url, label="x"), tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == CONTENT
    assert ranges(hub)[0].startswith("bytes=")


class _Proxy(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"proxied")

    def log_message(self, format: str, *arguments: object) -> None: ...  # noqa: A002


def test_the_proxy_is_followed_and_its_exceptions_too(
    hub: ScriptedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
    try:
        download_file(Download(url="http://weights.example/m.gguf", label="x"), tmp_path / "m.gguf")
        assert (tmp_path / "m.gguf").read_bytes() == b"proxied"
        assert asked == ["http://weights.example/m.gguf"]

        monkeypatch.setenv("no_proxy", "127.0.0.1")
        hub.add(PATH, CONTENT)
        fetch(hub, tmp_path / "other.gguf")
        assert len(asked) == 1
    finally:
        server.shutdown()
        server.server_close()


def test_a_folder_that_cannot_be_written_is_named(hub: ScriptedHub, tmp_path: Path) -> None:
    hub.add(PATH, CONTENT)
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(WeightsError, match="file"):
        fetch(hub, tmp_path / "file/m.gguf")


def test_the_hub_is_what_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    home = {"HF_HOME": str(tmp_path)}

    assert HubAccess.from_environment({"HF_HOME": "/nowhere"}) == HubAccess()
    assert HubAccess.from_environment(home).token == "from-file"
    assert HubAccess.from_environment({**home, "HF_TOKEN": "mine"}).token == "mine"
    mirror = HubAccess.from_environment(
        {**home, "HF_ENDPOINT": "https://mirror.example/", "HF_HUB_OFFLINE": "1"}
    )
    assert (mirror.endpoint, mirror.offline) == ("https://mirror.example", True)
