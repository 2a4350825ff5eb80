"""Citations: what an answer says, checked against the passages that it rests on."""
