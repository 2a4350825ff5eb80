"""Conversations in and out: files that were uploaded, and archives that are downloaded."""
