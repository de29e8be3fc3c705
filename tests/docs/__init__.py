"""The documentation is held to what the program does."""
