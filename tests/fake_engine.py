"""An engine without a model: vLLM's HTTP, as a real child process that can be told to misbehave.

    python tests/fake_engine.py --port 8000 [--served-model-name m] [--load-seconds 1] [--ignore-sigterm]
        [--exit-after 3] [--stderr-file traceback.txt] [--spawn-worker] [--hang] …

GET  /health /metrics /v1/models     POST /v1/chat/completions /tokenize
POST /fake/<mode>: ok; hang (completions never answer); core-dead (the API lives, health 503, completions 500);
     die-mid-answer (the next answer ends the process after three deltas)
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", default="fake-model")
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--exit-after", type=float, help="seconds until it ends by itself")
    parser.add_argument("--exit-code", type=int, default=1)
    parser.add_argument("--stderr-file", type=Path, help="printed to stderr at the start")
    parser.add_argument("--spawn-worker", action="store_true", help="a grandchild that outlives it")
    parser.add_argument("--hang", action="store_true", help="begin in mode hang")
    parser.add_argument("--reply", default="This is the fake engine. 这是假引擎。")
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    parser.add_argument("--token-seconds", type=float, default=0.0)
    parser.add_argument("--context-tokens", type=int, default=4096)
    parser.add_argument("--max-num-seqs", type=int, default=64)
    parser.add_argument("--chatter", type=int, default=0, help="bytes of log to write when it is ready")
    return parser.parse_args(argv)


class FakeEngine:
    """The state that all requests share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.api_key = os.environ.get("VLLM_API_KEY", "")
        self.mode = "hang" if options.hang else "ok"
        self.generated = 0
        self.running = 0
        self.aborted = 0
        self._guard = threading.Lock()
        self._seats = threading.Semaphore(options.max_num_seqs)

    def deltas(self) -> list[str]:
        """The reply in pieces of up to three characters."""
        reply = self.options.reply
        return [reply[at : at + 3] for at in range(0, len(reply), 3)]

    def count(self, **changes: int) -> None:
        with self._guard:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)

    def __enter__(self) -> FakeEngine:
        self.count(running=1)
        self._seats.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._seats.release()
        self.count(running=-1)

    def metrics(self) -> str:
        label = f'{{model_name="{self.options.served_model_name}"}}'
        return (
            f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{label} {float(self.running)}\n"
            f"vllm:num_requests_waiting{label} 0.0\nvllm:prompt_tokens_total{label} 0.0\n"
            f"vllm:generation_tokens_total{label} {float(self.generated)}\nfake:aborted {self.aborted}\n"
        )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    engine: FakeEngine

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(503 if self.engine.mode == "core-dead" else 200, b"")
        elif self.path == "/metrics":
            self._send(200, self.engine.metrics().encode(), "text/plain")
        elif self.path == "/v1/models" and self._allowed():
            self._json(200, {"object": "list", "data": [{"id": self.engine.options.served_model_name}]})
        else:
            self._json(404, _error(404, "Not Found"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/fake/"):
            self.engine.mode = self.path.removeprefix("/fake/")
            self._json(200, {})
        elif self.path == "/tokenize":
            asked = json.loads(body)
            tokens = (asked.get("prompt") or asked["content"]).split()
            self._json(
                200, {"count": len(tokens), "tokens": tokens, "max_model_len": self.engine.options.context_tokens}
            )
        elif self.path == "/v1/chat/completions" and self._allowed():
            self._complete(json.loads(body))
        else:
            self._json(404, _error(404, "Not Found"))

    def handle(self) -> None:
        with suppress(ConnectionResetError):  # the client has read all it wanted
            super().handle()

    def log_message(self, *_: object) -> None:
        """No access log."""

    def _allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.engine.api_key}" or not self.engine.api_key:
            return True
        self._json(401, {"error": "Unauthorized"})
        return False

    def _complete(self, request: dict) -> None:
        engine, options = self.engine, self.engine.options
        prompt_tokens = sum(len(message["content"]) for message in request["messages"])
        if request["model"] != options.served_model_name:
            self._json(404, _error(404, f"The model `{request['model']}` does not exist."))
        elif prompt_tokens > options.context_tokens:
            self._json(400, _error(400, _too_long(prompt_tokens, options.context_tokens)))
        elif engine.mode == "core-dead":
            self._json(500, _error(500, "EngineCore encountered an issue. See stack trace (above) for the root cause."))
        else:
            with engine:
                self._answer(request, prompt_tokens)

    def _answer(self, request: dict, prompt_tokens: int) -> None:
        engine, options = self.engine, self.engine.options
        deltas = engine.deltas()[: request.get("max_tokens") or None]
        finish = "stop" if len(deltas) == len(engine.deltas()) else "length"
        if request.get("stream"):
            self._begin_stream()
        while engine.mode == "hang":
            time.sleep(0.05)
        time.sleep(options.first_token_seconds)
        if request.get("stream"):
            self._stream(deltas, finish, prompt_tokens)
            return
        engine.count(generated=len(deltas))
        message = {"role": "assistant", "content": "".join(deltas)}
        usage = _usage(prompt_tokens, len(deltas))
        choice = {"index": 0, "message": message, "finish_reason": finish}
        self._json(200, {"id": "1", "object": "chat.completion", "created": 0, "model": request["model"],
                         "choices": [choice], "usage": usage})  # fmt: skip

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _stream(self, deltas: list[str], finish: str, prompt_tokens: int) -> None:
        deadly = self.engine.mode == "die-mid-answer"
        try:
            for number, delta in enumerate(deltas, start=1):
                last = number == len(deltas)
                self._event(delta, finish if last else None, _usage(prompt_tokens, number))
                self.engine.count(generated=1)
                if deadly and number == 3:
                    os._exit(139)
                time.sleep(self.engine.options.token_seconds)
            self._event(None, None, _usage(prompt_tokens, len(deltas)))
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        except (BrokenPipeError, ConnectionResetError):
            self.engine.count(aborted=1)
            self.close_connection = True

    def _event(self, delta: str | None, finish: str | None, usage: dict) -> None:
        choices = [] if delta is None else [{"index": 0, "delta": {"content": delta}, "finish_reason": finish}]
        event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "choices": choices, "usage": usage,
                 "model": self.engine.options.served_model_name}  # fmt: skip
        self._chunk(f"data: {json.dumps(event)}\n\n".encode())

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, body: dict) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _usage(prompt: int, completion: int) -> dict:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _error(code: int, message: str) -> dict:
    return {"error": {"message": message, "type": "Error", "param": None, "code": code}}


def _too_long(tokens: int, limit: int) -> str:
    """vLLM 0.32's words."""
    return (
        f"This model's maximum context length is {limit} tokens. However, your prompt contains {tokens} input tokens, "
        "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    )


def main(argv: list[str]) -> None:
    options = parse(argv)
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.stderr_file:
        print(options.stderr_file.read_text(), file=sys.stderr, flush=True)
    if options.spawn_worker:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if options.exit_after is not None:
        threading.Timer(options.exit_after, os._exit, [options.exit_code]).start()
    time.sleep(options.load_seconds)
    Handler.engine = FakeEngine(options)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print("x" * 99 + "\n" if options.chatter else "ready", end="\n", flush=True)
    for _ in range(options.chatter // 100):
        print("x" * 99, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
