from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys, time
from mlstack.utils.processes import end_with_parent
if os.fork():
    time.sleep(60)  # the parent, until it is killed
end_with_parent(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_process_whose_parent_is_killed_ends_too() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    parent.kill()
    parent.wait()
    parent.stdout.read()  # until the child has closed it, too: at its end
    parent.stdout.close()
