"""Real PostgreSQL, MySQL and MariaDB servers for tests, from wherever they can be had.

`selection` says which databases are tested and where servers may come from, `sources` hands servers out, `server` is
what a test does with one. `plugin` shows which server each database took and takes them away at the end.
"""
