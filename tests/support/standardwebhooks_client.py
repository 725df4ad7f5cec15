"""PyPI's standardwebhooks at the deploy endpoint: what it signs is signed for us, and what we sign is signed for it.

    standardwebhooks_client.py URL SECRET TIME ID OUR_TIME OUR_SIGNATURE OUR_BODY

TIME is what the daemon's clock says, in seconds; OUR_TIME what this machine's does. Exit code 77: standardwebhooks is not there.
"""

import json
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone

try:
    from standardwebhooks import Webhook, WebhookVerificationError
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

url, secret, time, our_id, our_time, our_signature, our_body = sys.argv[1:]
webhook = Webhook(secret)

ours = {"webhook-id": our_id, "webhook-timestamp": our_time, "webhook-signature": our_signature}
assert webhook.verify(our_body, ours) == json.loads(our_body)
try:
    webhook.verify(our_body + " ", ours)
except WebhookVerificationError:
    pass
else:
    raise AssertionError("our signature is of another body, too")


def send(body, signature, message, seconds=time):
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
    }
    request = urllib.request.Request(url, body.encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def sign(body, message, seconds=time):
    return webhook.sign(message, datetime.fromtimestamp(int(seconds), timezone.utc), body)


sha = "0123456789abcdef0123456789abcdef01234567"
body = json.dumps({"service": "web", "image_sha": sha})
status, told = send(body, sign(body, "msg_1"), "msg_1")
assert (status, told["status"]) == (200, "deployed"), (status, told)
# The same message again has the same run; several signatures may be valid or not.
status, again = send(body, "v1,AAAA v1a,BBBB " + sign(body, "msg_1"), "msg_1")
assert (status, again) == (200, told), (status, again)
# Another message under its name, a message under another name, and one from an hour ago.
other = json.dumps({"service": "api", "image_sha": sha})
status, told = send(other, sign(other, "msg_1"), "msg_1")
assert (status, told["status"]) == (409, "differs"), (status, told)
status, told = send(body, sign(body, "msg_1"), "msg_2")
assert status == 401, (status, told)
old = int(time) - 3600
status, told = send(body, sign(body, "msg_3", old), "msg_3", old)
assert (status, told["status"]) == (400, "bad_request"), (status, told)

print("ok")
