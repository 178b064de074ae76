"""The official Python SDK as a client: plays a plan, and prints what came of each step as JSON.

plan.py URL PLAN [TOKEN]: PLAN is a JSON array of steps, [what, name or URI, arguments].
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult, PromptReference


async def elicited(*_):
    return ElicitResult(action="decline")


async def main(url, plan, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    out = []
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, elicitation_callback=elicited, cache=None) as client:
            steps = {
                "call": lambda name, args: client.call_tool(name, args),
                "complete": lambda name, args: client.complete(
                    PromptReference(type="ref/prompt", name=name), args
                ),
                "prompt": lambda name, args: client.get_prompt(name, args),
                "prompts": lambda: client.list_prompts(),
                "read": lambda uri: client.read_resource(uri),
                "resources": lambda: client.list_resources(),
                "templates": lambda: client.list_resource_templates(),
                "tools": lambda: client.list_tools(),
            }
            for what, *rest in json.loads(plan):
                try:
                    result = await steps[what](*rest)
                    out.append(json.loads(result.model_dump_json(by_alias=True)))
                except Exception as error:  # noqa: BLE001  (it is the outcome)
                    out.append({"failed": str(error)})
    print(json.dumps(out))


asyncio.run(main(*sys.argv[1:]))
