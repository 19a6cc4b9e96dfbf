"""An issuer of tokens: a server that publishes its public keys, and signs tokens with the private ones."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


class Issuer:
    """Its keys by id, the status of its responses, and the number of requests for the keys."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.status, self.requests, self.delay, self.url = 200, 0, 0.0, ""
        self.document: Any = None
        """What is published in place of the keys."""

    def add(self, ident: str, kind: str = "EC") -> None:
        """Make a new key of a kind, `EC` or `RSA`."""
        is_rsa = kind == "RSA"
        self.keys[ident] = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())

    def published(self) -> Any:
        return self.document or {"keys": [jwk(key) | {"kid": ident} for ident, key in self.keys.items()]}

    def token(self, ident: str, algorithm: str | None = None, **claims: Any) -> str:
        """Return a token that the key signs, for the audience `shop` and five minutes. None removes a claim."""
        key = self.keys[ident]
        default = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        moment = int(time.time())
        content = {"iss": self.url, "aud": "shop", "sub": "a-1", "iat": moment, "exp": moment + 300} | claims
        given = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(given, key, algorithm or default, {"kid": ident})


def jwk(key: Any) -> dict[str, Any]:
    """Return the public part of a key in the form of RFC 7517."""
    algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    shown: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return shown


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer until the block ends."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests += 1
            time.sleep(issuer.delay)
            self.send_response(issuer.status)
            self.end_headers()
            self.wfile.write(json.dumps(issuer.published()).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
