"""`gearmand-py bench`: a load on a Gearman server, and what came of it.

Jobs carry a stamp: whose they are, their number, and when they were due. So each process can tell alone how long a job
took and whether it ran before; the clock is the monotonic one, which the processes of a host share.

    load.py         what is asked for
    histogram.py    latencies, by logarithmic buckets
    source.py       the jobs of one process, when they are due, their stamps
    tally.py        what one process has seen in one phase
    links.py        a client and a worker, on sockets that do not block
    generator.py    one process: its loop over its links
    crew.py         all processes, one phase at a time
    session.py      a server in turn: phases, the ledger of all jobs, nothing left behind
    run.py          rounds of modes, on one server or on two in turn
    watch.py        the progress bar; Ctrl-C
    results.py      medians of rounds, ratios of servers
    report.py       a table, JSON, CSV
    plot.py         a picture
    own_server.py   a server for the occasion
"""
