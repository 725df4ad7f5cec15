"""PyPI's mcp, a client that is not ours, works with the agent's tools from end to end.

    mcp_client.py LOCKGATE FOLDER auto|legacy

`v1` is live in FOLDER's project, and `v2` can be deployed. Exit code 77: mcp is not there.
"""

import asyncio
import sys

try:
    import jsonschema
    import mcp
    from mcp import Client, StdioServerParameters
    from mcp.shared.exceptions import MCPError
    from mcp_types import ElicitResult, Implementation
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

lockgate, folder, mode = sys.argv[1:]
questions, progress = [], []
agrees = False


async def asked(_context, params):
    questions.append(params.message)
    if not agrees:
        return ElicitResult(action="decline")
    assert list(params.requested_schema["properties"]) == ["confirm"], params
    return ElicitResult(action="accept", content={"confirm": True})


async def told(done, total, message):
    progress.append((done, total, message))


async def main():
    global agrees
    server = StdioServerParameters(command=lockgate, args=["mcp"], cwd=folder)
    who = Implementation(name="python", version=mode)
    async with Client(server, mode=mode, elicitation_callback=asked, client_info=who, read_timeout_seconds=60) as client:
        newest = {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode]
        assert client.protocol_version == newest, client.protocol_version
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert len(tools) == 9 and tools["deploy.full"].annotations.destructive_hint, tools
        assert tools["deploy.status"].annotations.read_only_hint, tools

        async def call(name, **arguments):
            result = await client.call_tool(name, arguments, progress_callback=told)
            jsonschema.validate(result.structured_content, tools[name].output_schema)
            return result

        status = await call("deploy.status", service="web")
        assert status.structured_content["services"][0]["image_tag"] == "v1", status
        plan = await call("plan", service="web", tag="v2")
        assert plan.structured_content["changes"] and plan.structured_content["digest"], plan

        declined = await call("deploy.full", service="web", tag="v2")
        assert declined.is_error and "did not agree" in declined.structured_content["error"]["message"], declined
        assert len(questions) == 1 and "switch traffic to green" in questions[0], questions
        assert not progress, progress

        agrees = True
        deployed = await call("deploy.full", service="web", tag="v2")
        assert not deployed.is_error and deployed.structured_content["result"]["outcome"] == "succeeded", deployed
        assert len(questions) == 2 and progress and progress[-1][0] == progress[-1][1], progress

        smoke = await call("deploy.smoke", service="web")
        assert smoke.structured_content["exit"] == 0, smoke
        back = await call("deploy.rollback", service="web")
        assert back.structured_content["release"]["tag"] == "v1" and len(questions) == 3, back

        runs = (await call("history", service="web", limit=2)).structured_content["runs"]
        assert [run["intent"] for run in runs] == ["rollback", "deploy"], runs
        assert all(run["requester"]["name"].startswith(f"python {mode} for ") for run in runs), runs
        assert (await call("logs", service="web", lines=5)).structured_content["lines"], "it prints something"
        wrong = await call("deploy.full", service="nobody", tag="v2")
        assert wrong.is_error and wrong.structured_content["exit"] == 2, wrong
        try:
            await client.call_tool("deploy.everything", {})
        except MCPError as error:
            assert "there is no tool" in str(error), error
        else:
            raise AssertionError("there is such a tool")


asyncio.run(main())
print("mcp", mode, "is content")
