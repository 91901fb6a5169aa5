"""A kubectl that answers from a file, in kubectl's own words, and writes down what it was asked to change.

    STAND_IN=scene.json kubectl [options] get --raw PATH | patch ... | config view ... | version ...

scene.json: objects (by path), namespace, refused (paths that the user has no right to), broken (what every call fails with).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

API = "/apis/relay-operator.dev/v1alpha1"


def fail(words: str) -> NoReturn:
    sys.stderr.write(f"E1126 12:00:00.000000       1 memcache.go:265] a line of its log\n{words}\n")
    sys.exit(1)


def items(scene: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Returns the objects below a path of a list, in one namespace or all of them."""
    kind = path.rsplit("/", 1)[1]
    spaces = path.removeprefix(API).split("/")
    wanted = spaces[2] if "namespaces" in spaces else None
    found = []
    for name, body in scene["objects"].items():
        if name.rsplit("/", 2)[-2] != kind:
            continue
        if wanted is None or body["metadata"].get("namespace") == wanted:
            found.append(body)
    return found


def get(scene: dict[str, Any], path: str) -> None:
    path, _, selector = path.partition("?fieldSelector=metadata.name=")
    if path in scene.get("refused", ()):
        fail(f'Error from server (Forbidden): {path} is forbidden: User "ann" cannot read it')
    if path in scene["objects"]:
        print(json.dumps(scene["objects"][path]))
        return
    name = path.rsplit("/", 1)[1]
    if name in ("tenants", "providers", "relayroutes"):
        listed = [
            one for one in items(scene, path) if not selector or one["metadata"]["name"] == selector
        ]
        print(json.dumps({"items": listed}))
        return
    kind = path.rsplit("/", 2)[1]
    fail(f'Error from server (NotFound): {kind}.relay-operator.dev "{name}" not found')


def main() -> None:
    place = Path(os.environ["STAND_IN"])
    scene = json.loads(place.read_text())
    words = [word for word in sys.argv[1:] if not word.startswith(("--context", "--as"))]
    if scene.get("broken"):
        fail(scene["broken"])
    match words[0]:
        case "get":
            get(scene, words[2])
        case "config" if words[1] == "get-contexts":
            print("prod\nstaging")
        case "config":
            print(scene.get("namespace", ""), end="")
        case "patch":
            scene.setdefault("patches", []).append(words[1:])
            scene["options"] = sys.argv[1:]
            place.write_text(json.dumps(scene))
        case _:
            fail(f'error: unknown command "{words[0]}" for "kubectl"')


main()
