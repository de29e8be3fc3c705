"""The storages: one exercise for every database, and what is particular to each."""
