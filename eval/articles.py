"""Articles with questions about them, as the product would have read them: PIAF's held-out ones and XQuAD's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from candide.domain.sources import Document, NewSource
from candide.ingestion.passages import split

DATA = Path(__file__).resolve().parents[2] / "shared" / "dev-data"


@dataclass
class Article:
    title: str
    text: str
    starts: list[int]
    """Where its paragraphs begin, and last where it ends."""

    def document(self, language: str) -> Document:
        return Document(text=self.text, title=self.title, language=language)


@dataclass
class Question:
    text: str
    golds: list[str]
    article: Article
    paragraph: int

    @property
    def span(self) -> tuple[int, int]:
        return self.article.starts[self.paragraph], self.article.starts[self.paragraph + 1]


def read_articles(language: str) -> tuple[list[Article], list[Question]]:
    """The articles of a language and the questions about them."""
    if language == "fr":
        held_out = set((DATA / "piaf" / "held-out-titles.txt").read_text(encoding="utf-8").splitlines())
        data = json.loads((DATA / "piaf" / "piaf-v1.1.json").read_text(encoding="utf-8"))["data"]
        data = [article for article in data if article["title"] in held_out]
    else:
        data = json.loads((DATA / "xquad" / "xquad.en.json").read_text(encoding="utf-8"))["data"]
    articles: list[Article] = []
    questions: list[Question] = []
    for described in data:
        text = ""
        starts: list[int] = []
        for paragraph in described["paragraphs"]:
            starts.append(len(text))
            text += paragraph["context"].strip() + "\n\n"
        article = Article(described["title"].replace("_", " "), text.rstrip(), [*starts, len(text)])
        articles.append(article)
        for number, paragraph in enumerate(described["paragraphs"]):
            for asked in paragraph["qas"]:
                golds = [answer["text"] for answer in asked["answers"]]
                questions.append(Question(asked["question"], golds, article, number))
    return articles, questions


def make_source(key: str, document: Document) -> NewSource:
    """A document as a source, cut as any is."""
    return NewSource(
        key=key,
        uri=key,
        kind="document",
        media_type="text/plain",
        document=document,
        cuts=split(document),
        content_hash=key,
    )
