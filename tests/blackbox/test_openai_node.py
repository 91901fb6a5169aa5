"""The official Node SDK works against the relay with its two environment variables alone.

Node and npm must be installed; without them these tests fail.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.locked_packages import node_packages
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import KEY, MODELS
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

HERE = Path(__file__).parent / "node"
TEXT = "a relay moves "
RUN_SECONDS = 50


@pytest.fixture(scope="session")
def node_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with the script and the locked SDK."""
    assert shutil.which("node"), "node is not installed: the Node SDK cannot be exercised"
    home = node_packages(HERE, name="node-sdk")
    workplace = tmp_path_factory.mktemp("node")
    shutil.copy(HERE / "exercise.mjs", workplace)
    (workplace / "node_modules").symlink_to(home / "node_modules")
    return workplace


@pytest.fixture
def exercise(node_sdk: Path, relay: Relay) -> Any:
    """Runs steps of the script and returns the SDK's result of each."""

    def run(*steps: str) -> Any:
        done = subprocess.run(
            ["node", "exercise.mjs", *steps],
            cwd=node_sdk,
            env={
                "PATH": os.environ["PATH"],
                "OPENAI_BASE_URL": f"http://127.0.0.1:{relay.port}/v1",
                "OPENAI_API_KEY": KEY,
            },
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    return run


def test_the_node_sdk_makes_every_call(exercise: Any, stable: Upstream) -> None:
    stable.behave(completion_tokens=3)
    seen = exercise(
        *("chat", "stream", "streamWithUsage", "tools", "streamedTools", "completions"),
        *("embeddings", "responses", "streamedResponses", "models"),
    )
    weather = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert seen["chat"]["text"] == TEXT
    assert seen["chat"]["requestID"]
    assert seen["stream"] == {"text": TEXT, "usage": None}
    assert seen["streamWithUsage"]["text"] == TEXT
    assert seen["streamWithUsage"]["usage"]["completion_tokens"] == 3
    assert seen["tools"] == {"reason": "tool_calls", "call": weather}
    assert seen["streamedTools"]["reason"] == "tool_calls"
    assert seen["streamedTools"]["call"]["arguments"] == weather["arguments"]
    assert seen["completions"] == {"text": TEXT}
    assert [vector[:2] for vector in seen["embeddings"]["vectors"]] == [[1, 0.5], [1, 0.5]]
    assert seen["responses"] == {"text": TEXT, "tokens": 3}
    assert seen["streamedResponses"] == {
        "first": "response.created",
        "last": "response.completed",
        "text": TEXT,
    }
    assert sorted(seen["models"]["names"]) == sorted(MODELS)
    assert seen["models"]["one"] == MODELS[0]


def test_the_node_sdk_raises_its_own_error_classes(exercise: Any) -> None:
    seen = exercise("wrongKey", "unknownModel")
    assert seen["wrongKey"]["kind"] == "AuthenticationError"
    assert (seen["wrongKey"]["status"], seen["wrongKey"]["code"]) == (401, "invalid_api_key")
    assert seen["wrongKey"]["requestID"]
    assert seen["unknownModel"]["kind"] == "NotFoundError"
    assert seen["unknownModel"]["code"] == "model_not_found"
    assert MODELS[1] in seen["unknownModel"]["message"]


def test_the_node_sdk_retries_a_429_with_retry_after(exercise: Any, stable: Upstream) -> None:
    stable.behave(completion_tokens=3, error_first=1, error_status=429, retry_after="1")
    assert exercise("retried") == {"retried": {"text": TEXT}}
    assert stable.calls() == 2


def test_an_aborted_node_stream_aborts_the_upstream(exercise: Any, stable: Upstream) -> None:
    stable.behave(hold_after_events=2)
    assert exercise("abort") == {"abort": {"first": "assistant"}}
    eventually(stable.stats, lambda stats: stats["aborted_streams"] == 1, what="the abort")
