"""The queue of a C gearmand, to be read: its tables as gearmand makes them, and what they may hold."""
