"""Tool servers that stand in: what each lists."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from relay_contract.tools.definitions import definition_digest, resource_digest
from relay_operator.cluster.tools.tool_lists import REVISION, Address, Listed
from relay_operator.errors import ToolServerUnusable

Manifest = dict[str, Any]


@dataclass(slots=True)
class ToolListings:
    """Stands in for tool servers: what each lists, by the host of its URL, and by which revision. asked counts the questions to each."""

    tools: dict[str, list[Manifest]] = field(default_factory=dict)
    resources: dict[str, list[Manifest]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    problems: dict[str, ToolServerUnusable] = field(default_factory=dict)
    asked: list[Address] = field(default_factory=list)

    async def read(self, address: Address) -> Listed:
        await asyncio.sleep(0)
        self.asked.append(address)
        host = urlsplit(address.url).hostname or ""
        name = host.split(".")[0]
        if name in self.problems:
            raise self.problems[name]
        listed, resources = self.tools.get(name, []), self.resources.get(name)
        named = [("tool", one["name"], one) for one in listed]
        named += [("resource", one["uri"], one) for one in resources or ()]
        return Listed(
            tools={one["name"]: definition_digest(one) for one in listed},
            prompts={},
            marks={
                (kind, called): {key: (repr(value), len(repr(value))) for key, value in one.items()}
                for kind, called, one in named
            },
            resources=None
            if resources is None
            else {one["uri"]: resource_digest(one) for one in resources},
            templates=None if resources is None else {},
            revision=self.revisions.get(name, REVISION),
        )
