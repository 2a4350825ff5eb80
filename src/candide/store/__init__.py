"""What Candide keeps in its database: conversations, messages, turns and the log of their events."""
