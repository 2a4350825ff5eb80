"""The message tree: branches, imports and exports."""
