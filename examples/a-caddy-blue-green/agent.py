#!/usr/bin/env python3
"""An agent's session with `lockgate mcp`: looks, shows a person the plan, deploys what they agree to, and goes back.

    agent.py LOCKGATE SERVICE FROM TO

The person is this script. A real agent's client speaks the same lines: one JSON object each, on standard input and output.
"""

import json
import subprocess
import sys

lockgate, service, was, to = sys.argv[1:]
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "example-agent", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
server = subprocess.Popen([lockgate, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
sent = 0


def request(method, **params):
    global sent
    sent += 1
    line = {"jsonrpc": "2.0", "id": sent, "method": method, "params": {**params, "_meta": META}}
    print(json.dumps(line), file=server.stdin, flush=True)
    answer = json.loads(server.stdout.readline())
    assert answer["id"] == sent and "result" in answer, answer
    return answer["result"]


def call(tool, **arguments):
    result = request("tools/call", name=tool, arguments=arguments)
    if result["resultType"] == "input_required":
        question = result["inputRequests"]["confirm"]["params"]["message"]
        print(f"--- {tool} asks:\n{question}\n--- yes", file=sys.stderr)
        assert f"{service}" in question and "switch traffic" in question, question
        yes = {"confirm": {"action": "accept", "content": {"confirm": True}}}
        result = request(
            "tools/call", name=tool, arguments=arguments, requestState=result["requestState"], inputResponses=yes
        )
    assert not result["isError"], result
    return result["structuredContent"]


tools = [tool["name"] for tool in request("tools/list")["tools"]]
for name in ["full", "regression", "promote", "smoke", "rollback", "status"]:
    assert f"deploy.{name}" in tools, tools
assert call("deploy.status", service=service)["services"][0]["image_tag"] == was
assert call("plan", service=service, tag=to)["changes"]
assert call("deploy.regression", service=service)["exit"] == 0
deployed = call("deploy.full", service=service, tag=to)
assert deployed["result"]["outcome"] == "succeeded" and deployed["release"]["tag"] == to, deployed
assert call("deploy.smoke", service=service)["exit"] == 0
back = call("deploy.rollback", service=service, release=was)
assert back["result"]["outcome"] == "succeeded" and back["release"]["tag"] == was, back
run = call("history", service=service, limit=1)["runs"][0]
assert run["requester"]["by"] == "agent" and "example-agent" in run["requester"]["name"], run
assert call("logs", service=service, lines=5)["lines"]
server.stdin.close()
assert server.wait(timeout=30) == 0, server.returncode
