"""The sign-in forms as a browser uses them: open the form, send it back with its token."""

from __future__ import annotations

import re

import httpx

_CSRF = re.compile(r'name="csrf" value="([^"]*)"')


def browser(url: str, **options) -> httpx.Client:
    """A client that keeps cookies and follows nothing by itself."""
    return httpx.Client(base_url=url, trust_env=False, timeout=60, **options)


def csrf(client: httpx.Client, path: str = "/auth/sign-in") -> str:
    """The token of a form that was just opened."""
    return _CSRF.search(client.get(path).text)[1]


def sign_in(client: httpx.Client, name: str, password: str, next: str = "", **options) -> httpx.Response:
    form = {"name": name, "password": password, "next": next, "csrf": csrf(client)}
    return client.post("/auth/sign-in", data=form, **options)


def set_password(client: httpx.Client, path: str, password: str, name: str = "", **options) -> httpx.Response:
    """By a one-time link; name: of the first administrator."""
    form = {"name": name, "password": password, "again": password, "csrf": csrf(client, path)}
    return client.post(path, data=form, **options)


def become_first_admin(url: str, link: str, name: str, password: str) -> httpx.Client:
    """Use the link that the console printed, sign in, and give back the signed-in browser."""
    client = browser(url)
    answer = set_password(client, httpx.URL(link).path, password, name)
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
    answer = sign_in(client, name, password)
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
    return client
