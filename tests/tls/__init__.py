"""The server speaks TLS: to whom, with which files, and what it says of those who fail."""
