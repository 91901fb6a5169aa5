"""Blocks of commands as they are found in a page."""

import pytest
from tests.pages import blocks
from tests.pages.blocks import Fate

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

- in a list
  <!-- needs a cloud: a registry to push to -->
  ```bash
  docker push $REGISTRY/it   # a word
  ```

<!-- run: machine -->

```python
print("marked one line too early")
```
"""


def test_each_block_has_its_mark_its_place_and_its_output() -> None:
    watched, pushed, unmarked = blocks.read("page.md", PAGE)
    assert (watched.place, watched.fate, watched.detail) == ("page.md:4", Fate.CLUSTER, "Promoted")
    assert watched.text == "kubectl get relayroute chat -w\n"
    assert watched.shown == "NAME   PHASE\n"
    assert (pushed.fate, pushed.detail) == (Fate.CLOUD, "a registry to push to")
    assert pushed.text == "docker push $REGISTRY/it   # a word\n"
    assert (unmarked.language, unmarked.fate) == ("python", None)


@pytest.mark.parametrize(
    ("mark", "fate"),
    [
        ("run: cluster", Fate.CLUSTER),
        ("run: machine", Fate.MACHINE),
        ("run by: tests/e2e/test_story.py", Fate.ELSEWHERE),
        ("yours: KEY", Fate.YOURS),
        ("needs a cloud: a load balancer", Fate.CLOUD),
        ("needs a cloud: ", None),
        ("run: clusters", None),
        ("run: cluster, until Promoted", None),
        ("run", None),
    ],
)
def test_a_mark_is_understood_or_is_none(mark: str, fate: Fate | None) -> None:
    [block] = blocks.read("page.md", f"<!-- {mark} -->\n```sh\ntrue\n```\n")
    assert block.fate is fate
