"""The commands for people who use a server: submit and run jobs, look, cancel, ping, measure. And `import`.

Each is a small shell around `Client`. What goes wrong reaches the user as one line that says what happened and what
to do about it; `shared.ClientCommand` is the one place that turns it into an exit status. `import` talks to databases,
not to a server, and ends as `migrate` does.
"""

from typing import Final

import click

from gearmand_py.server.commands import bench, cancel, import_queue, listings, ping, submit, work

COMMANDS: Final[list[click.Command]] = [
    submit.submit,
    work.work,
    listings.status,
    listings.workers,
    listings.jobs,
    cancel.cancel,
    ping.ping,
    bench.bench,
    import_queue.import_jobs,
]
