"""Engines: the client of any OpenAI-compatible server, the embedded worker, the routes, the scripted fake."""
