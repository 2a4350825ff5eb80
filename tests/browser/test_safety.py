"""Nothing that anyone wrote is run, nothing is fetched from elsewhere, and other sites' pages get nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

if TYPE_CHECKING:
    from conftest import Site, Watched

CORPUS = Path(__file__).resolve().parents[2] / "web" / "src" / "markdown" / "xss-corpus.json"
ATTACKS: list[str] = [attack["source"] for attack in json.loads(CORPUS.read_text(encoding="utf-8"))]
NAMES = [attack for attack in ATTACKS if "<" in attack or '"' in attack]
"""Those that make a difference where no Markdown is read."""

IN_A_FRAME = r"violates the following Content Security Policy directive|policy broken: .* in /diagram.html"
"""Mermaid tries what stands in a diagram; its frame's policy refuses that. The page itself would be named as the place."""

LOOK = """() => {
  const harmful = []
  if ('__xss' in window) harmful.push('a script ran')
  const here = new URL(location.href)
  for (const element of document.querySelectorAll('*')) {
    const shown = element.outerHTML.slice(0, 200)
    for (const {name, value} of element.attributes) {
      if (/^on/i.test(name)) harmful.push(`a handler: ${shown}`)
      const isLink = ['href', 'src', 'xlink:href', 'action', 'formaction', 'srcdoc', 'data'].includes(name)
      if (isLink && /^[\\s\\0-\\x1f]*(javascript|vbscript|data:text)/i.test(value)) harmful.push(`an address: ${shown}`)
      if (name === 'srcdoc') harmful.push(`a document: ${shown}`)
    }
    if (element.matches('script, object, embed, base, meta[http-equiv=refresh]')) {
      if (!(element.matches('head > script[src]') && new URL(element.src).origin === here.origin))
        harmful.push(`an element: ${shown}`)
    }
    if (element.matches('#app form[action], #app link, #app style, #app iframe'))
      harmful.push(`an element: ${shown}`)
    if (element.matches('img, source, video, audio, link') && (element.src || element.href)) {
      const address = new URL(element.src || element.href)
      if (!['data:', 'blob:'].includes(address.protocol) && address.origin !== here.origin)
        harmful.push(`from elsewhere: ${shown}`)
    }
  }
  return harmful
}"""


@pytest.fixture
def guarded(visit: Callable[..., Page]) -> Iterator[Callable[..., Page]]:
    """A page whose dialogs and frames are watched: `guarded(site, path)`; looked at once more in the end."""
    dialogs: list[str] = []
    pages: list[Page] = []

    def open_page(here: Site, path: str = "/", **options: Any) -> Page:
        page = visit(here, path, **options)
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.on("popup", lambda popup: dialogs.append(f"a window: {popup.url}"))
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.evaluate(LOOK) == []
    assert dialogs == []


def chatgpt_export() -> list[dict[str, Any]]:
    """One conversation with every attack as question, thought, tool's result and answer, and one for each as its title."""

    def conversation(key: str, title: str, said: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {f"{key}-0": {"id": f"{key}-0", "parent": None, "children": []}}
        for n, (role, content) in enumerate(said, 1):
            node = f"{key}-{n}"
            message = {
                "id": node, "author": {"role": role, "name": "almanac" if role == "tool" else None},
                "create_time": 1_700_000_000 + n, "content": content, "status": "finished_successfully",
                "recipient": "all", "metadata": {},
            }  # fmt: skip
            mapping[f"{key}-{n - 1}"]["children"] = [node]
            mapping[node] = {"id": node, "parent": f"{key}-{n - 1}", "children": [], "message": message}
        return {
            "id": key, "conversation_id": key, "title": title, "create_time": 1_700_000_000,
            "update_time": 1_700_000_000 + len(said), "mapping": mapping, "current_node": f"{key}-{len(said)}",
        }  # fmt: skip

    def text(words: str) -> dict[str, Any]:
        return {"content_type": "text", "parts": [words]}

    everything: list[tuple[str, dict[str, Any]]] = []
    for attack in ATTACKS:
        thoughts = [{"summary": attack, "content": attack}]
        everything += [
            ("user", text(attack)),
            ("assistant", {"content_type": "thoughts", "thoughts": thoughts}),
            ("tool", {"content_type": "execution_output", "text": attack}),
            ("assistant", text(attack)),
        ]
    return [
        conversation("all", ATTACKS[0], everything),
        *(
            conversation(
                f"title-{n}", attack, [("user", text(attack)), ("assistant", text(f"beans {attack}"))]
            )
            for n, attack in enumerate(NAMES)
        ),
    ]


def import_all(here: Site, wait_until: Callable[..., None]) -> dict[str, Any]:
    """Import the attacks; the report."""
    begun = here.call("POST", "/api/imports?name=conversations.json", chatgpt_export())
    wait_until(lambda: here.call("GET", f"/api/imports/{begun['id']}")["state"] != "running", timeout_s=60)
    report: dict[str, Any] = here.call("GET", f"/api/imports/{begun['id']}")
    assert report["state"] == "finished", report
    assert report["added"] == len(NAMES) + 1, report
    return report


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_attack_in_what_was_imported_or_shared_runs(
    site: Callable[..., Site],
    guarded: Callable[..., Page],
    wait_until: Callable[..., None],
    watched: Watched,
    tmp_path: Path,
) -> None:
    watched.expect(IN_A_FRAME)
    here = site()
    import_all(here, wait_until)
    listed: list[dict[str, Any]] = []
    before = None
    while True:
        found = here.call("GET", "/api/conversations?limit=200" + (f"&before={before}" if before else ""))
        listed += found["data"]
        before = found.get("next")
        if not before:
            break
    assert len(listed) == len(NAMES) + 1
    long = max(listed, key=lambda one: one["updated_at"])
    share = here.call("POST", f"/api/conversations/{long['id']}/shares", {})

    # The shared page has it all at once, and draws its diagrams. What one asks for from elsewhere its frame refuses.
    watched.expect("fetched from elsewhere")
    page = guarded(here)
    abroad: list[str] = []
    refused: list[str] = []

    def is_abroad(request: Request) -> bool:
        return request.url.startswith("http") and not request.url.startswith(here.url)

    page.context.on("request", lambda request: abroad.append(request.url) if is_abroad(request) else None)
    page.context.on(
        "requestfailed",
        lambda request: (
            refused.append(request.url)
            if is_abroad(request) and request.failure == "csp" and request.frame.url.endswith("/diagram.html")
            else None
        ),
    )
    page.goto(share["path"])
    expect(page.locator(".answer")).to_have_count(len(ATTACKS), timeout=60_000)
    for fold in page.locator("details.fold").all()[:40]:
        fold.evaluate("(fold) => (fold.open = true)")
    expect(page.locator(".md-diagram-note:visible", has_text="…")).to_have_count(0, timeout=60_000)
    assert page.evaluate(LOOK) == []
    assert [frame.url for frame in page.frames if frame != page.main_frame] in (
        [],
        [f"{here.url}/diagram.html"],
    )

    assert refused == abroad

    # The conversation itself, from its end upwards.
    page.goto(f"/c/{long['id']}")
    expect(page.locator(".answer").first).to_be_visible()
    for _ in range(12):
        assert page.evaluate(LOOK) == []
        page.locator(".view").evaluate("(view) => view.scrollTo(0, 0)")
        wait_until(lambda: page.locator(".view").evaluate("(view) => view.scrollTop") > 0)

    # Titles in the list, in the search's results with their snippets, in the palette and in a dialog.
    for top in range(0, len(NAMES) * 36, 600):
        page.locator("nav .list").evaluate("(list, top) => list.scrollTo(0, top)", top)
    expect(page.locator("nav .rest li a").last).to_be_visible()
    assert page.evaluate(LOOK) == []
    page.locator("nav input[type=search]").fill("beans")
    expect(page.locator("nav mark").first).to_be_visible()
    assert page.evaluate(LOOK) == []
    page.keyboard.press("Control+k")
    page.locator("dialog input").fill("xss")
    expect(page.get_by_role("option").nth(10)).to_be_visible()
    assert page.evaluate(LOOK) == []
    page.keyboard.press("Escape")

    assert refused == abroad

    # One file, opened from the disk, where it has no policy but its own.
    page.locator("header button:has(svg.lucide-share-2)").click()
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="Save as one HTML file").click()
    saved = tmp_path / "saved.html"
    download.value.save_as(saved)
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    other = page.context.new_page()
    other.route(
        "**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else refuse(route)
    )
    other.goto(saved.as_uri())
    expect(other.locator("article.assistant")).to_have_count(len(ATTACKS))
    assert asked == []
    assert "<script" not in other.locator("body").inner_html()
    assert other.locator("script, iframe, object, embed, base, link").count() == 0
    assert [text for text in other.evaluate(LOOK) if "meta" not in text] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_attack_runs_while_it_is_asked_streamed_or_in_a_name(
    site: Callable[..., Site], guarded: Callable[..., Page], views: Any, watched: Watched
) -> None:
    watched.expect(IN_A_FRAME)
    whole = "\n\n---\n\n".join(ATTACKS).replace("\0", "")
    pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    here = site(replies=[{"match": "^all", "answer": pieces, "reasoning": whole, "pace_ms": 1}])
    files = [
        views.upload(here, urllib.parse.quote(f"{attack}.txt", safe=""), "text/plain", attack.encode())
        for attack in NAMES[::4]
        if attack.isprintable()
    ][:50]
    for n, attack in enumerate(NAMES[::3]):
        here.call("POST", "/api/folders", {"name": attack[:300], "instructions": attack})
        here.call(
            "POST", "/api/prompts", {"name": f"p{n} {attack}"[:100], "text": f"{attack} {{{{{attack}}}}}"}
        )
    made = views.converse(here, "Names")
    views.ask(here, made, whole, attachments=files)
    page = guarded(here)
    page.locator("#composer").fill("all of them")
    page.locator("#composer").press("Enter")
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible()
    while stop.is_visible():
        assert page.evaluate(LOOK) == []
    page.locator("details.fold summary").click()
    expect(page.locator(".thinking")).to_contain_text("<script>")
    assert page.evaluate(LOOK) == []

    page.goto(f"/c/{made}")
    expect(page.locator(".question .file").first).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("You said")
    assert page.evaluate(LOOK) == []
    page.locator("nav .folder button").first.click()
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#composer").fill("/p1")
    expect(page.locator("#suggestions li").first).to_be_visible()
    assert page.evaluate(LOOK) == []
    page.locator("#composer").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Insert").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("#composer").fill("")
    page.keyboard.press("Control+,")
    page.locator("#tab-prompts").click()
    expect(page.locator("#settings-panel li").first).to_be_visible()


def test_remote_pictures_and_links_wait_for_a_click(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    answer = "![a bean](https://beans.example/bean.png?q=secret) and [a guide](https://beans.example/guide)"
    here = site(replies=[{"answer": answer}])
    page = visit(here)
    asked: list[str] = []
    page.context.route(
        "https://beans.example/**",
        lambda route: (
            asked.append(route.request.url),
            route.fulfill(body="beans", content_type="text/plain"),
        ),
    )
    page.locator("#composer").fill("beans?")
    page.locator("#composer").press("Enter")
    links = page.locator(".answer a[href*='beans.example']")
    expect(links).to_have_count(2)
    page.reload()
    expect(links).to_have_count(2)
    links.first.hover()
    assert asked == []
    for link in links.all():
        assert link.get_attribute("target") == "_blank"
        assert "noreferrer" in (link.get_attribute("rel") or "")
        assert "noopener" in (link.get_attribute("rel") or "")


def test_every_view_comes_with_its_policy(site: Callable[..., Site]) -> None:
    here = site()
    for path in ("/", "/c/x", "/folder/x", "/settings", "/share/x", "/?temporary"):
        with urllib.request.urlopen(here.url + path) as reply:
            policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["referrer-policy"] == "no-referrer"
            assert reply.headers["cross-origin-opener-policy"] == "same-origin"
    with urllib.request.urlopen(here.url + "/diagram.html") as reply:
        assert "sandbox allow-scripts" in reply.headers["content-security-policy"]
        assert "allow-same-origin" not in reply.headers["content-security-policy"]


def test_a_page_that_was_given_as_a_file_never_runs(
    site: Callable[..., Site], guarded: Callable[..., Page], views: Any
) -> None:
    here = site()
    page = guarded(here)
    script = (
        b"<html><script>window.__xss=1;fetch('/api/conversations',{method:'POST',body:'{}'})</script></html>"
    )
    vector = b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.__xss=1'><script>window.__xss=1</script></svg>"
    for name, media_type, data in (
        ("a.html", "text/html", script),
        ("a.svg", "image/svg+xml", vector),
        ("a.xml", "application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'>" + script[6:]),
        ("a.png", "image/png", script),
    ):
        try:
            file_id = views.upload(here, name, media_type, data)
        except urllib.error.HTTPError:
            continue  # refused is as good
        reply = page.request.get(f"/api/files/{file_id}")
        assert reply.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "html" not in reply.headers["content-type"]
        assert "svg" not in reply.headers["content-type"]
        with page.expect_download():
            page.evaluate("(id) => { location.href = `/api/files/${id}` }", file_id)
    assert here.call("GET", "/api/conversations")["data"] == []


ATTACKER = """<!doctype html><title>elsewhere</title><script>
const target = TARGET
window.results = {}
const note = (name, work) => work.then((value) => (results[name] = value), (error) => (results[name] = `refused: ${error.name}`))
const read = (options) => fetch(target + '/api/conversations', options).then(async (reply) => reply.type === 'opaque' ? 'refused: opaque' : await reply.text())
const json = JSON.stringify({title: 'taken'})
const isFramed = (address) => new Promise((resolve) => {
  const frame = document.createElement('iframe')
  frame.onload = () => { try { resolve(frame.contentDocument ? 'refused: empty' : frame.contentWindow.length >= 0 && 'opaque') } catch { resolve('opaque') } }
  frame.src = address
  document.body.append(frame)
})
addEventListener('load', async () => {
  await Promise.all([
    note('read', read({})),
    note('read with cookies', read({credentials: 'include'})),
    note('read without cors', read({mode: 'no-cors', credentials: 'include'})),
    note('post', read({method: 'POST', body: json, credentials: 'include', headers: {'content-type': 'application/json'}})),
    note('simple post', read({method: 'POST', body: json, mode: 'no-cors', credentials: 'include'})),
    note('beacon', Promise.resolve(navigator.sendBeacon(target + '/api/conversations', json) && 'refused: unread')),
    note('events', new Promise((resolve) => {
      const source = new EventSource(target + '/api/changes', {withCredentials: true})
      source.onmessage = () => resolve('heard'); source.addEventListener('hello', () => resolve('heard'))
      source.onerror = () => resolve('refused: events')
    })),
  ])
  const form = document.createElement('form')
  const sink = document.createElement('iframe')
  sink.name = 'sink'
  document.body.append(sink, form)
  Object.assign(form, {method: 'POST', action: target + '/api/conversations', enctype: 'text/plain', target: 'sink'})
  const field = document.createElement('input')
  Object.assign(field, {name: '{"title":"taken","x":"', value: '"}'})
  form.append(field)
  const sent = new Promise((resolve) => { sink.onload = resolve })
  form.submit()
  await sent
  document.title = 'done'
})
</script>"""


@contextlib.contextmanager
def other_site(body: str) -> Iterator[str]:
    """Serve a page from an origin of its own; its address without the host."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode() if self.path == "/" else b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield str(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same host", "other host"])
@pytest.mark.parametrize("key", [None, "a-key"], ids=["without a key", "with a key"])
def test_other_sites_pages_get_nothing(
    site: Callable[..., Site],
    visit: Callable[..., Page],
    watched: Watched,
    wait_until: Callable[..., None],
    host: str,
    key: str | None,
) -> None:
    here = site(*(("--api-key", key) if key else ()))
    own = {"Authorization": f"Bearer {key}"} if key else {}
    here.call("POST", "/api/conversations", {"title": "a secret"}, **own)
    watched.expect(".*")  # a browser says of everything that it refuses
    page = visit(here)
    if key:
        page.locator("input[type=password]").fill(key)
        page.keyboard.press("Enter")
    expect(page.locator("#composer")).to_be_visible()
    with other_site(ATTACKER.replace("TARGET", json.dumps(here.url))) as port:
        other = page.context.new_page()
        other.goto(f"http://{host}:{port}/")
        expect(other).to_have_title("done")
        results: dict[str, Any] = other.evaluate("window.results")
        assert {name: text for name, text in results.items() if not str(text).startswith("refused")} == {}
        # Of a window that it opens it keeps no hold.
        with page.context.expect_page() as opened:
            other.evaluate("(url) => { window.held = window.open(url) }", here.url + "/")
        expect(opened.value.locator("#app")).to_be_attached()
        wait_until(lambda: other.evaluate("held.closed"))
        assert opened.value.evaluate("window.opener") is None
        # It cannot be shown in a frame of that page either.
        other.evaluate("(url) => { const f = document.createElement('iframe'); f.id = 'f'; f.src = url; document.body.append(f) }", here.url + "/")  # fmt: skip
        other.wait_for_timeout(300)
        framed = [frame for frame in other.frames if frame.url.startswith(here.url + "/")]
        assert all(frame.locator("#app").count() == 0 for frame in framed)
        assert page.evaluate("window.length") == 0
    titles = [one["title"] for one in here.call("GET", "/api/conversations", **own)["data"]]
    assert titles == ["a secret"]


def test_a_key_opens_the_page_and_only_a_key(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched
) -> None:
    here = site("--api-key", "sesame", replies=[{"answer": "Beans."}])
    watched.expect("401")
    page = visit(here)
    field = page.get_by_label("Key of this server")
    expect(field).to_be_focused()
    field.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    field.fill("sesame")
    page.keyboard.press("Enter")
    composer = page.get_by_label("Your message")
    composer.fill("What grows?")
    composer.press("Enter")
    expect(page.locator(".answer")).to_contain_text("Beans.")
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert "sesame" not in cookie["value"]
    assert page.evaluate("document.cookie") == ""
    assert "sesame" not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    page.reload()
    expect(page.locator(".answer")).to_contain_text("Beans.")

    own = {"Authorization": "Bearer sesame"}
    conversation = here.call("GET", "/api/conversations", **own)["data"][0]["id"]
    path = here.call("POST", f"/api/conversations/{conversation}/shares", {}, **own)["path"]
    stranger = visit(here, path)
    expect(stranger.locator(".answer")).to_contain_text("Beans.")
    assert stranger.request.get("/api/conversations").status == 401

    page.keyboard.press("Control+,")
    page.get_by_role("button", name="Sign out").click()
    expect(field).to_be_visible()
    assert page.context.cookies() == []
    page.reload()
    expect(field).to_be_visible()
    expect(page.locator("nav")).to_have_count(0)
