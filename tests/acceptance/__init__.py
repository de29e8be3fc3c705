"""The server and unmodified clients, each a process: what users will do, and what the promise says of it."""
