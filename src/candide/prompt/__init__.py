"""What an engine is told: which messages, in which words."""
