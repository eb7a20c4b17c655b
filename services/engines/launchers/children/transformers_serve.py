"""`transformers serve` that asks for a key: the same program and arguments, with a check before its routes.

    ENGINE_API_KEY=… python -P transformers_serve.py serve MODEL --host … --port …

transformers 5.19 has no API key, and routes (/load_model, /reset) by which anybody on this machine could load another
model or unload ours. Of its routes only those of ROUTES are left. It also refuses repetition_penalty, which vLLM and
llama.cpp take, although its own frequency_penalty is nothing else (cli/serving/chat_completion.py).
Nothing of the portal is imported here: -P keeps its folders off the import path.
"""

import hmac
import os
import sys

from starlette.responses import JSONResponse
from transformers.cli.serving import chat_completion, server
from transformers.cli.transformers import app

KEY_VARIABLE = "ENGINE_API_KEY"
OPEN_ROUTES = {"/health"}
ROUTES = OPEN_ROUTES | {"/v1/chat/completions", "/v1/completions"}


class KeyRequired:
    """ASGI middleware."""

    def __init__(self, app, key):
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope, receive, send):
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await JSONResponse({"error": "refused"}, status_code=refusal)(scope, receive, send)

    def _refusal(self, scope):
        if scope["path"] not in ROUTES:
            return 404
        given = dict(scope["headers"]).get(b"authorization", b"")
        return None if scope["path"] in OPEN_ROUTES or hmac.compare_digest(given, self._expected) else 401


class ChatCompletions(chat_completion.ChatCompletionHandler):
    def _validate_request(self, body):
        penalty = body.pop("repetition_penalty", None)
        if penalty is not None:
            body["frequency_penalty"] = penalty - 1.0
        super()._validate_request(body)


def main():
    key = os.environ.pop(KEY_VARIABLE)
    build_server = server.build_server

    def build_guarded_server(*args, **kwargs):
        application = build_server(*args, **kwargs)
        application.add_middleware(KeyRequired, key=key)
        return application

    server.build_server = build_guarded_server
    chat_completion.ChatCompletionHandler = ChatCompletions
    app(sys.argv[1:])


if __name__ == "__main__":
    main()
