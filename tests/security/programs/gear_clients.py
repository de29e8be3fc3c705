"""Shows a secret as gear's client and worker can, and runs a job from one to the other. Arguments: port, secret."""
# ruff: noqa: T201 - print is how the test hears

import sys

import gear


def main(port: str, secret: str) -> None:
    client, worker = gear.Client(), gear.Worker(f"auth:{secret} worker-7")
    for one in (client, worker):
        one.addServer("127.0.0.1", int(port))
        one.waitForServer()
    print("option", client.setOption(f"auth:{secret}"))
    worker.registerFunction("pay")
    client.submitJob(gear.Job("pay", b"hello"))
    job = worker.getJob()
    print("job", job.arguments.decode(), flush=True)
    sys.stdin.readline()
    job.sendWorkComplete()


main(*sys.argv[1:])
