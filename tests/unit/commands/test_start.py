"""What a command costs to start."""

import subprocess
import sys


def test_the_commands_that_talk_to_a_server_go_without_a_database() -> None:
    script = "import sys, gearmand_py.server.cli as cli; cli.client_commands(); print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
