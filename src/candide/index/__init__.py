"""The index: passages that are found by their words and by their meaning."""
