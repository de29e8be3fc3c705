"""Servers whose backlog does not fit into the memory that they may use."""
