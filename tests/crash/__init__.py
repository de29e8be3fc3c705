"""The server killed with -9 at random moments."""
