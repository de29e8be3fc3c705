"""What an acknowledgement is worth, from the system calls of a server under load, and after power cuts."""
