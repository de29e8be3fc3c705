"""The command as its users run it: in a process of its own, with its output, its exit status and its messages."""
