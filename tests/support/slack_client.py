"""PyPI's slack-sdk talks to the double for Slack's Web API as it would talk to Slack.

    slack_client.py API TOKEN CHANNEL

Exit code 77: slack-sdk is not there.
"""

import sys

try:
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError
    from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

api, token, channel = sys.argv[1:]


def refused(word, call):
    try:
        call()
    except SlackApiError as error:
        assert error.response["error"] == word, error
    else:
        raise AssertionError(f"{word} was not answered")


# The first message is refused once with 429 and `Retry-After`, which this client knows how to obey.
client = WebClient(
    token=token, base_url=api, retry_handlers=[RateLimitErrorRetryHandler(max_retry_count=1)]
)
who = client.auth_test()
assert who["ok"] and who["team"] and who["user"] and who["bot_id"], who
assert "chat:write" in who.headers["x-oauth-scopes"], who.headers

posted = client.chat_postMessage(channel=channel, text="starting: Ä & <b>")
assert posted["ok"] and posted["message"]["text"] == "starting: Ä & <b>", posted
updated = client.chat_update(channel=posted["channel"], ts=posted["ts"], text="done")
assert updated["ts"] == posted["ts"] and updated["text"] == "done", updated
reply = client.chat_postMessage(
    channel=posted["channel"], thread_ts=posted["ts"], reply_broadcast=True, text="why"
)
assert reply["ts"] != posted["ts"], reply

refused("invalid_auth", lambda: WebClient(token="xoxb-no", base_url=api).auth_test())
refused("not_authed", lambda: WebClient(base_url=api).auth_test())
refused("channel_not_found", lambda: client.chat_postMessage(channel="#nowhere", text="x"))
refused("not_in_channel", lambda: client.chat_postMessage(channel="#elsewhere", text="x"))
refused("is_archived", lambda: client.chat_postMessage(channel="#old", text="x"))
refused("no_text", lambda: client.chat_postMessage(channel=channel, text=""))
refused("message_not_found", lambda: client.chat_update(channel=posted["channel"], ts="1.1", text="x"))
refused("channel_not_found", lambda: client.chat_update(channel=channel, ts=posted["ts"], text="x"))
refused(
    "msg_too_long",
    lambda: client.chat_update(channel=posted["channel"], ts=posted["ts"], text="x" * 4001),
)

print("ok")
