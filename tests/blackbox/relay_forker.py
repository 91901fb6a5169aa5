"""Runs `python -m relay` for tests without its half second of imports: forks each relay from a process that has done them.

Run by its path, with the interpreter and the packages of the relay to be tested. A line of JSON in is answered by one out that
repeats its "question": {"log": path, "environment": {...}} by the process id of a relay that has begun, {"poll": process id}
by its exit code or null.
"""

import json
import os
import sys
from typing import Any

from relay.main import main


def is_to_be_a_relay() -> bool:
    """Answers lines until there are no more; returns True in each process that it has forked."""
    while line := sys.stdin.buffer.readline():
        asked: dict[str, Any] = json.loads(line)
        if "poll" in asked:
            ended, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        else:
            reader, writer = os.pipe()
            answer = os.fork()
            if not answer:
                os.close(reader)
                _become_a_relay(asked["log"], asked["environment"])
                os.close(writer)
                return True
            os.close(writer)
            # until it has its group: who is told of it may kill that at once
            os.read(reader, 1)
            os.close(reader)
        told = {"question": asked["question"], "answer": answer}
        os.write(1, f"{json.dumps(told)}\n".encode())
    return False


def _become_a_relay(log: str, environment: dict[str, str]) -> None:
    # a group of its own, as of a process that is started for a test
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor, place in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, place)
    os.close(nothing)
    os.close(output)
    packages = os.environ["PYTHONPATH"]
    os.environ.clear()
    os.environ.update(environment, PYTHONPATH=packages)
    sys.argv = ["relay"]


if __name__ == "__main__" and is_to_be_a_relay():
    main()
