"""Who makes vectors: the embedded model, or a server that speaks OpenAI's `/v1/embeddings`.

The server and the process that reads choose by the same values, so that questions and passages have vectors of one model.
"""

from __future__ import annotations

from candide.domain.addresses import complete_base_url
from candide.engine.client import EngineClient
from candide.index.embedder import E5Embedder
from candide.index.engine_embedder import EngineEmbedder
from candide.ingestion.protocol import EmbeddingServer

TIMEOUT_S = 120.0
"""Without a word of the server: passages are many, and it may have no better processor than this one."""


def choose_embedder(server: EmbeddingServer | None) -> E5Embedder | EngineEmbedder:
    """The embedder of this server, or the embedded one; nothing is started or asked before it is used.

    The caller closes it.
    """
    if server is None:
        return E5Embedder()
    base = complete_base_url(server.url)
    client = EngineClient(base.partition("://")[2], base, server.key, TIMEOUT_S)
    return EngineEmbedder(
        client.post,
        server.model,
        server.dimensions,
        query_prefix=server.query_prefix,
        passage_prefix=server.passage_prefix,
        close=client.close,
    )
