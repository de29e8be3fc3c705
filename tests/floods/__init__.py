"""Floods: what somebody can do to a server with its port alone, and what others notice of it."""
