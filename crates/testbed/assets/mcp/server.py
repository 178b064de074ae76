"""A server of the Model Context Protocol on a loopback port.

server.py PORT|stdio FILE [json]: FILE is told who was deleted.
"""

import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("rig")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def customer(name: str) -> str:
    """Tells what is known of a customer."""
    return f"{name}: card 4111 1111 1111 1111, mail jo@example.org"


@server.tool()
def delete_customer(name: str) -> str:
    """Deletes a customer."""
    with open(sys.argv[2], "a") as deleted:
        deleted.write(name + "\n")
    return "gone"


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts, and tells how far it is."""
    for number in range(to):
        await ctx.report_progress(number, to)
    return "done"


class Answer(BaseModel):
    colour: str


@server.tool()
async def ask(ctx: Context) -> str:
    """Asks the user something."""
    try:
        answer = await ctx.elicit("Which colour?", Answer)
    except Exception as error:  # noqa: BLE001  (what it is called differs by era)
        return f"refused: {type(error).__name__}"
    return f"answered: {answer.action}"


@server.resource("rig://note")
def note() -> str:
    """A note."""
    return "a note"


@server.prompt()
def greet(name: str) -> str:
    """Greets."""
    return f"Say hello to {name}"


if sys.argv[1] == "stdio":
    server.run("stdio")
    sys.exit()
app = server.streamable_http_app(stateless_http=False, json_response="json" in sys.argv[3:])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
