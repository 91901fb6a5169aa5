"""Blocks of commands as they are found in a page."""

import pytest
from tests.pages import blocks
from tests.pages.blocks import Fate, Sample

PAGE = """\
Words.

<!-- run: cluster, until "Promoted" -->
```sh
kubectl get relayroute chat -w
```

<!-- shows -->
```
NAME   PHASE
```

```yaml
kind: Tenant
```

<!-- run: cluster -->
```yaml
kind: Provider
```

- in a list
  <!-- needs a cloud: a registry to push to -->
  ```bash
  docker push $REGISTRY/it   # a word
  ```

<!-- run: cluster -->

```python
print("marked one line too early")
```
"""


def test_each_block_has_its_mark_its_place_and_its_output() -> None:
    watched, dry, pushed, unmarked = blocks.read("page.md", PAGE)
    assert (watched.place, watched.fate, watched.detail) == ("page.md:4", Fate.CLUSTER, "Promoted")
    assert watched.text == "kubectl get relayroute chat -w\n"
    assert watched.shown == "NAME   PHASE\n"
    assert (dry.language, dry.fate, dry.text) == ("yaml", Fate.CLUSTER, "kind: Provider\n")
    assert (pushed.fate, pushed.detail) == (Fate.CLOUD, "a registry to push to")
    assert pushed.text == "docker push $REGISTRY/it   # a word\n"
    assert (unmarked.language, unmarked.fate) == ("python", None)


def test_commands_within_sentences_that_only_look_are_found() -> None:
    text = "Look at `kubectl -n NAMESPACE describe relayroute\nROUTE`, `kubectl get relay -A` or `kubectl get tenants -w`, "
    text += "not at `helm rollback relay-operator`; `kubectl get` alone is a word.\n```sh\nkubectl get `pods`\n```\n"
    assert [look.text for look in blocks.looks_in("page.md", text)] == [
        "kubectl -n relay-finance describe relayroute chat\n",
        "kubectl get relay -A\n",
    ]


@pytest.mark.parametrize(
    ("mark", "fate"),
    [
        ("run: cluster", Fate.CLUSTER),
        ("run by: tests/e2e/test_story.py", Fate.ELSEWHERE),
        ("yours: KEY", Fate.YOURS),
        ("needs a cloud: a load balancer", Fate.CLOUD),
        ("needs a cloud: ", None),
        ("run: clusters", None),
        ("run: machine", None),
        ("run: cluster, until Promoted", None),
        ("run", None),
    ],
)
def test_a_mark_is_understood_or_is_none(mark: str, fate: Fate | None) -> None:
    [block] = blocks.read("page.md", f"<!-- {mark} -->\n```sh\ntrue\n```\n")
    assert block.fate is fate


def test_a_sample_is_a_command_and_what_another_test_sees_of_its_output() -> None:
    mark = "<!-- shown in: tests/e2e/test_story.py -->"
    text = f"{mark}\n```\n$ kubectl relay why chat\nchat  Holding\n```\n"
    assert blocks.samples_in("page.md", text) == [
        Sample(
            test="tests/e2e/test_story.py",
            command="kubectl relay why chat",
            shown="chat  Holding\n",
        )
    ]
    assert blocks.read("page.md", text) == []
