"""Ingestion: from files, pages, sites and feeds to sources and their passages."""
