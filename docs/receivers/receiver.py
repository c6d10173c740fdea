"""A receiver of BatchScribe's webhooks: pip install standardwebhooks; python receiver.py PORT whsec_..."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

port, secret = int(sys.argv[1]), sys.argv[2]
seen: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is ours, 400 to what is not."""

    def do_POST(self) -> None:
        """Take one message."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = Webhook(secret).verify(body, headers)
        except WebhookVerificationError:
            self.send_response(400)
        else:
            # The same message may come more than once, always under the same id.
            if headers["webhook-id"] not in seen:
                seen.add(headers["webhook-id"])
                print(event["type"], event["data"].get("job_name"), flush=True)
            self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
