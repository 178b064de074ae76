"""The official Python SDK as a client: does everything once, and prints what came of it as JSON.

client.py URL MODE [TOKEN]
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult


async def tried(what):
    try:
        result = await what
        return json.loads(result.model_dump_json(by_alias=True, exclude_none=True))
    except Exception as error:  # noqa: BLE001  (it is the outcome)
        return {"failed": str(error)}


async def elicited(*_):
    return ElicitResult(action="accept", content={"colour": "blue"})


async def main(url, mode, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    seen = []

    async def progress(now, total, message):
        seen.append(now)

    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(url, http_client=http)
        client = Client(transport, mode=mode, elicitation_callback=elicited, cache=None)
        async with client:
            out = {
                "tools": await tried(client.list_tools()),
                "resources": await tried(client.list_resources()),
                "prompts": await tried(client.list_prompts()),
                "add": await tried(client.call_tool("add", {"a": 2, "b": 3})),
                "customer": await tried(client.call_tool("customer", {"name": "jo"})),
                "long": await tried(client.call_tool("customer", {"name": "x" * 20000})),
                "note": await tried(client.read_resource("rig://note")),
                "greet": await tried(client.get_prompt("greet", {"name": "jo"})),
                "none": await tried(client.call_tool("no_such_tool", {})),
                "delete": await tried(client.call_tool("delete_customer", {"name": "jo"})),
                "ask": await tried(asyncio.wait_for(client.call_tool("ask", {}), 15)),
                "count": await tried(
                    client.call_tool("count", {"to": 5}, progress_callback=progress)
                ),
            }
            out["progress"] = seen
    print(json.dumps(out, sort_keys=True))


asyncio.run(main(*sys.argv[1:]))
