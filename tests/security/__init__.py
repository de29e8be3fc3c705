"""Who may do what, seen from outside: real servers, real clients."""
