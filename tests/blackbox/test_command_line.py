"""The relay's command line: it tells who it is, and of every setting without which it cannot start."""

import os
import shlex
import subprocess

import pytest
from tests.blackbox.process import python_environment, python_module
from tests.blackbox.relays import NewRelay


def relay(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = os.environ.get("RELAY_BLACKBOX_COMMAND")
    return subprocess.run(
        [*(shlex.split(command) if command else python_module("relay")), *arguments],
        env=python_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_tells_its_version_and_its_settings() -> None:
    version, help_ = relay("--version"), relay("--help")
    assert (version.returncode, help_.returncode) == (0, 0)
    assert version.stdout.startswith("relay ")
    assert "RELAY_TENANT_UID (required)" in help_.stdout
    assert "RELAY_DRAIN_SECONDS=30.0" in help_.stdout


def test_it_refuses_what_is_no_argument_and_names_every_setting_that_is_wrong() -> None:
    assert relay("serve").returncode == 2
    done = relay(RELAY_WORKERS="none")
    assert done.returncode == 2
    wrong = ("RELAY_TENANT_UID", "RELAY_DOCUMENT_PUBLIC_KEYS", "RELAY_WORKERS")
    assert [one for one in wrong if f"{one}: " not in done.stderr] == []
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("starting", ["new_relay", "new_unforked_relay"])
def test_a_relay_that_cannot_start_ends_as_one_process_and_says_why_in_one_line(
    request: pytest.FixtureRequest, starting: str
) -> None:
    start: NewRelay = request.getfixturevalue(starting)
    refused = start(document=None, document_public_keys="")
    assert refused.process.wait() == 2
    assert refused.process.members() == []
    assert refused.output() == (
        "relay: RELAY_DOCUMENT_PUBLIC_KEYS: no key, so no document could be taken\n"
    )
    # and another one of the same kind is not touched by that
    assert start().chat().status == 200
