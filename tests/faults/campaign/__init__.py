"""The fault campaign: rounds of clients, workers and faults on a real server, and a ledger that is checked after each.

plan.py     what a round does, a pure function of its seed
ledger.py   what clients and workers saw, and what may not be
actors.py   clients and workers; traffic.py is the thread that runs them
shim.c      what stands between a server and its disk and clock; shim.py compiles and controls it
faults.py   how each fault is made and healed
ground.py   a server on its database, with a proxy on each side, and what it holds: descriptors, threads, tasks, memory
rounds.py   one round, from its plan to its verdict
report.py   what all rounds came to
"""
