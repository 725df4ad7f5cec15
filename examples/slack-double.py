"""Stands for Slack's incoming webhooks: appends the text of each message to a file, one JSON string a line.

    slack-double.py PORT FILE
"""

import http.server
import json
import sys


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(json.dumps(json.loads(body)["text"]) + "\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Webhook).serve_forever()
