"""What the HTTP routes call: the services of one running Candide, as `compose.py` put them together."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from candide.domain.retrieval import PassageIndex, Retriever
from candide.domain.weights import WeightsFetcher
from candide.engine.embedded import EmbeddedEngines
from candide.engine.routes import Routes
from candide.ingestion.attachments import Attachments
from candide.ingestion.jobs import Ingestion
from candide.scheduler import TurnScheduler
from candide.store.changes import Changes
from candide.store.conversations import ConversationStore
from candide.store.files import FileStore
from candide.store.folders import FolderStore
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.messages import MessageStore
from candide.store.preferences import PreferenceStore
from candide.store.prompts import PromptStore
from candide.store.responses import ResponseStore
from candide.store.shares import ShareStore
from candide.store.sources import SourceStore
from candide.store.turn_log import TurnLog
from candide.store.turns import TurnStore
from candide.transfer.exporter import Exporter
from candide.transfer.jobs import Imports


@dataclass(kw_only=True)
class Access:
    """Who may call."""

    api_key: str = ""
    """Asked of every request when there is one."""
    allowed_hosts: frozenset[str] = frozenset()
    """Names beside localhost and IP addresses that a browser may use for this server."""
    max_body_bytes: int = 32 * 1024 * 1024
    max_import_bytes: int = 16 * 1024 * 1024 * 1024
    """Of a file that is imported or read into a library: it goes to the disk as it comes."""


@dataclass(kw_only=True)
class Services:
    access: Access
    home: str
    routes: Routes
    embedded: EmbeddedEngines | None
    fetcher: WeightsFetcher | None
    """Where a model that is missing is fetched."""
    changes: Changes
    conversations: ConversationStore
    messages: MessageStore
    folders: FolderStore
    files: FileStore
    attachments: Attachments
    prompts: PromptStore
    preferences: PreferenceStore
    shares: ShareStore
    libraries: LibraryStore
    sources: SourceStore
    index: PassageIndex
    retriever: Retriever
    searches_web: bool = False
    """Whether a search engine is set for the live web."""
    jobs: JobStore
    ingestion: Ingestion
    turns: TurnStore
    responses: ResponseStore
    turn_log: TurnLog
    scheduler: TurnScheduler
    imports: Imports
    exporter: Exporter
    running: AsyncExitStack
    """What runs by itself."""

    def dismiss_followers(self) -> None:
        """Let everyone go who follows a turn or listens to changes: the process is about to end."""
        self.turn_log.dismiss_followers()
        self.changes.dismiss_listeners()

    async def close(self) -> None:
        """Stop everything that runs; unfinished turns are given up for the next start."""
        await self.running.aclose()
