"""What Candide talks about: messages, turns, turn events, engines; no I/O."""
