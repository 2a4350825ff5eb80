from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candide.errors import UnreadableDocument
from candide.ingestion.addresses import normalize
from candide.ingestion.feeds import Entry, find_feeds, is_feed, parse

DATA = Path(__file__).parents[3] / "shared" / "dev-data" / "feeds"
URL = "https://example.org/feed"
WORDS = "word " * 250


def rss(*items: str, head: str = "") -> bytes:
    entries = "".join(f"<item>{item}</item>" for item in items)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>T</title>{head}{entries}</channel></rss>'
    ).encode()


def only(content: bytes) -> Entry:
    (entry,) = parse(content, URL).entries
    return entry


# --- what others expect of feeds ---


def seen(entry: Entry) -> tuple[str, str | None, int | None]:
    return (entry.title, entry.url, None if entry.published is None else int(entry.published))


def expected(item: dict[str, Any]) -> tuple[str, str | None, int | None]:
    date = item.get("isoDate")
    return (
        " ".join((item.get("title") or "").split()),
        normalize(item["link"], URL) if item.get("link") else None,
        int(datetime.fromisoformat(date).timestamp()) if date else None,
    )


FEEDS = sorted((DATA / "input").glob("*")) if DATA.exists() else []


@pytest.mark.skipif(not FEEDS, reason="the feeds to try are not here")
@pytest.mark.parametrize("path", FEEDS, ids=lambda path: path.name)
def test_a_feed_is_read_as_others_expect(path: Path) -> None:
    content = path.read_bytes()
    answer = DATA / "output" / f"{path.stem}.json"
    if path.name == "unrecognized.rss":
        assert not is_feed(content)
        with pytest.raises(UnreadableDocument):
            parse(content, URL)
        return
    assert is_feed(content)
    found = parse(content, URL)
    # The expectations of three feeds were written with their bytes taken for UTF-8.
    wanted = json.loads(answer.read_bytes().decode("utf-8", "replace"))["feed"]
    # An entry without an address, a title and a text is none.
    items = [item for item in wanted["items"] if item.get("title") or item.get("link") or item.get("content")]
    assert len(found.entries) == len(items)
    assert found.title == " ".join((wanted.get("title") or "").split()) or "\ufffd" in wanted["title"]
    for entry, item in zip(found.entries, items, strict=True):
        title, url, published = expected(item)
        assert entry.published == published
        if "\ufffd" not in title and "&" not in title and "<" not in title:
            assert entry.title == title
        if "feedproxy" not in (url or "") and "feeds." not in (url or ""):
            assert entry.url == url
        if guid := item.get("guid") or item.get("id"):
            assert entry.id in (guid, f"https://example.org/{guid}", entry.url)
        if creator := item.get("creator") or item.get("author"):
            assert str(creator).split("\n")[-1].split(",")[0].strip() in entry.author
        text = item.get("contentSnippet") or ""
        if text != "EMPTY":  # what one parser was told to say of nothing
            words = [word for word in text.split() if word.isascii() and word.isalpha()][:5]
            # Where a text is made of several elements, that parser joins the words at their ends.
            assert 2 * sum(word in entry.content for word in words) >= len(words)


@pytest.mark.skipif(not FEEDS, reason="the feeds to try are not here")
def test_letters_of_an_old_charset_are_read() -> None:
    feed = parse((DATA / "input" / "encoding.rss").read_bytes(), URL)
    assert feed.language == "pt"
    assert feed.entries[0].title == "Mãe de utente é a nova presidente da Raríssimas"
    # Where FeedBurner led to.
    assert (feed.entries[0].url or "").startswith("https://www.jn.pt/nacional/")


# --- entries ---


def test_an_entry_comes_with_all_that_it_says() -> None:
    feed = parse(
        rss(
            "<title>Un &lt;b&gt;titre&lt;/b&gt; &amp;amp; plus</title><link>/a?utm_source=rss</link><guid>g1</guid>"
            "<dc:creator>A. Uteur</dc:creator><pubDate>Wed, 01 May 2024 02:00:00 +0200</pubDate>"
            f"<content:encoded><![CDATA[<p>{WORDS}</p>]]></content:encoded><description>short</description>",
            head="<language>fr-FR</language><link>https://example.org/</link>",
        ),
        URL,
    )
    assert (feed.title, feed.language, feed.url) == ("T", "fr", "https://example.org/")
    (entry,) = feed.entries
    assert entry == Entry(
        id="https://example.org/g1",
        url="https://example.org/a",
        title="Un titre & plus",
        content=entry.content,
        is_summary=False,
        author="A. Uteur",
        published=1714521600.0,
        language="fr",
    )
    assert "<p>word" in entry.content


@pytest.mark.parametrize(
    ("item", "is_summary"),
    [
        ("<description>Two sentences of it.</description>", True),
        (f"<description>{WORDS}</description>", False),
        (f"<description>{WORDS} […]</description>", True),
        (f"<description>{WORDS} Lire la suite</description>", True),
        (f"<description>{WORDS} &lt;a href='x'&gt;Read more →&lt;/a&gt;</description>", True),
        ("<content:encoded>" + "word " * 60 + "</content:encoded>", False),
        ("<content:encoded>Too little</content:encoded>", True),
        ("<description>" + "汉字" * 300 + "</description>", False),
        ("", True),
    ],
)
def test_a_summary_is_told_from_an_article(item: str, is_summary: bool) -> None:
    assert only(rss(f"<title>T</title><link>/a</link>{item}")).is_summary == is_summary


def test_an_entry_without_an_address_is_all_there_is() -> None:
    entry = only(rss("<title>T</title><description>Short.</description>"))
    assert (entry.url, entry.is_summary) == (None, False)
    assert entry.id.startswith("sha256:")
    assert entry.id == only(rss("<title>T</title><description>Short.</description>")).id
    assert entry.id != only(rss("<title>T</title><description>Other.</description>")).id


def test_each_entry_comes_once() -> None:
    entries = parse(
        rss(*["<guid>a</guid><title>A</title>"] * 3, "<guid>b</guid><title>B</title>"), URL
    ).entries
    assert [entry.id for entry in entries] == ["https://example.org/a", "https://example.org/b"]


def test_an_address_that_is_none_of_the_web_is_none() -> None:
    for link in ("javascript:alert(1)", "file:///etc/passwd", "mailto:a@b.c"):
        assert only(rss(f"<title>T</title><link>{link}</link>")).url is None


def test_only_the_first_of_many_entries_are_read() -> None:
    content = rss(*(f"<title>T{number}</title>" for number in range(5_000)))
    entries = parse(content, URL).entries
    assert (len(entries), entries[-1].title) == (3_000, "T2999")


def test_a_feed_of_many_megabytes_is_not_read() -> None:
    with pytest.raises(UnreadableDocument, match="16 MiB"):
        parse(rss("<title>" + "x" * (17 << 20) + "</title>"), URL)


def test_a_text_cannot_take_long() -> None:
    for text in (
        "&lt;!--" * 50_000,
        "&lt;a " * 50_000,
        "&lt;" * 100_000,
        "&amp;" * 100_000,
        "<![CDATA[" * 10_000,
    ):
        parse(rss(f"<title>{text}</title><description>{text}</description>"), URL)


def test_text_stays_text() -> None:
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="de"><entry><id>x</id><title type="text">1 &lt; 2</title>'
        '<content type="text">if a &lt; b &amp; c: &lt;script&gt;</content><updated>2024-05-01T00:00:00Z</updated></entry></feed>'
    )
    entry = only(atom.encode())
    assert entry.content == "if a &lt; b &amp; c: &lt;script&gt;"
    assert (entry.published, entry.language) == (1714521600.0, "de")


def test_a_name_of_a_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "secret.xml"
    path.write_bytes(rss("<title>secret</title>"))
    for content in (str(path).encode(), f"file://{path}".encode(), b"http://127.0.0.1:1/"):
        with pytest.raises(UnreadableDocument):
            parse(content, URL)


def test_entities_are_not_fetched_or_multiplied(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("confidential")
    names = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<!DOCTYPE rss [<!ENTITY f SYSTEM "file://{path}"><!ENTITY a0 "lol">{names}]>'
    content = rss("<title>x &f; &a9;</title><link>/a</link>").replace(b"<rss", head.encode() + b"<rss", 1)
    (entry,) = parse(content, URL).entries
    assert "confidential" not in entry.title
    assert len(entry.title) < 100


def test_letters_that_a_feed_declares_itself_are_read() -> None:
    head = b'<!DOCTYPE rss [<!ENTITY eacute "&#233;"><!ENTITY name "Candide">]><rss'
    assert (
        only(rss("<title>&eacute;t&eacute; &name;</title>").replace(b"<rss", head, 1)).title == "été Candide"
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_a_feed_or_none(content: bytes) -> None:
    is_feed(content)
    for whole in (
        content,
        rss("<title>T</title>")[:-40] + content,
        b'{"version": "https://jsonfeed.org/version/1"' + content,
    ):
        try:
            feed = parse(whole, URL)
        except UnreadableDocument:
            continue
        assert len({entry.id for entry in feed.entries}) == len(feed.entries)


# --- JSON Feed ---


def test_a_json_feed_is_read() -> None:
    content = json.dumps(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": "T",
            "home_page_url": "https://example.org/",
            "next_url": "/feed?page=2",
            "language": "en-GB",
            "authors": [{"name": "All"}],
            "items": [
                {
                    "id": "1",
                    "url": "/a",
                    "title": "A & B",
                    "content_html": f"<p>{WORDS}</p>",
                    "date_published": "2024-05-01T00:00:00Z",
                },
                {
                    "id": 2,
                    "external_url": "https://e.x/",
                    "summary": "a < b",
                    "author": {"name": "One"},
                    "language": "fr",
                },
                {"id": "3", "content_text": "x < y"},
                {"id": "4", "url": 5, "title": None, "tags": "x"},
                "nonsense",
                None,
            ],
        }
    ).encode()
    assert is_feed(content)
    feed = parse(content, URL)
    assert (feed.title, feed.language, feed.next_url) == ("T", "en", "https://example.org/feed?page=2")
    one, two, three = feed.entries
    assert (one.id, one.url, one.title, one.is_summary, one.author, one.published, one.language) == (
        "1",
        "https://example.org/a",
        "A & B",
        False,
        "All",
        1714521600.0,
        "en",
    )
    assert (two.id, two.url, two.content, two.is_summary, two.author, two.language) == (
        "2",
        "https://e.x/",
        "a &lt; b",
        True,
        "One",
        "fr",
    )
    assert (three.content, three.is_summary) == ("x &lt; y", False)


@pytest.mark.parametrize(
    "content", [b"{", b"{}", b'{"items": 5}', b'{"items": {}}', b'{"a":' + b"[" * 10_000]
)
def test_other_json_is_no_feed(content: bytes) -> None:
    assert not is_feed(content)
    with pytest.raises(UnreadableDocument):
        parse(content, URL)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "url",
                        "title",
                        "items",
                        "author",
                        "authors",
                        "name",
                        "language",
                        "date_published",
                        "summary",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=15,
    )
)
def test_members_of_a_wrong_type_are_left_aside(item: Any) -> None:
    parse(
        json.dumps({"items": [item, {"id": "x", "title": "T"}], "author": item, "language": item}).encode(),
        URL,
    )


# --- pages and feeds ---


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (rss(), True),
        (b"\xef\xbb\xbf\n " + rss(), True),
        (b'<?xml version="1.0"?>\n<!-- long -->\n<feed xmlns="http://www.w3.org/2005/Atom"/>', True),
        (b'<rdf:RDF xmlns="http://purl.org/rss/1.0/">', True),
        ("<rss version='2.0'><channel/></rss>".encode("utf-16"), True),
        (b"<html><body>about <rss> and <feed></body></html>", False),
        (b"<!DOCTYPE html><html>", False),
        (b'<?xml version="1.0"?><urlset/>', False),
        (b"", False),
        (b"rss", False),
        (b'{"items": []}', False),
    ],
)
def test_a_feed_is_told_by_what_it_holds(content: bytes, is_one: bool) -> None:
    assert is_feed(content) == is_one


def test_a_page_names_its_feeds() -> None:
    page = b"""<html><head><link rel="stylesheet" href="/s.css"><link rel="alternate" hreflang="fr" href="/fr/">
    <link rel="alternate" type="application/rss+xml" href="/rss?utm_source=x"><link rel="ALTERNATE home" type="application/atom+xml; charset=utf-8" href="atom.xml">
    <link rel="alternate" type="application/feed+json" href="javascript:x"><link rel="alternate" type="application/rss+xml" href="/rss">
    </head><body>x</body></html>"""
    assert find_feeds(page, "https://example.org/blog/") == [
        "https://example.org/rss",
        "https://example.org/blog/atom.xml",
    ]
    assert find_feeds(b"", "https://example.org/") == []
