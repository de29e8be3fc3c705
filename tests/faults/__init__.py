"""Faults of the world around a real server: its disk, its files, and other programs that touch them."""
