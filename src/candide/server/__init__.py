"""HTTP only: routes, wire shapes, server-sent events, the error table, who may call."""
