"""A person who visits the Dead letters pages of a real Flower, and what a page makes a browser do."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import requests

LIST = "/dead-letters"


class Tags(HTMLParser):
    """What a page makes a browser load, and the attributes of its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.images: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [name for name, _ in attrs]
        source = (dict(attrs).get("src") or "").partition("?")[0]
        if tag == "script":
            self.scripts.append(source)
        if tag == "img":
            self.images.append(source)


class Visitor:
    """A person with a browser that keeps cookies, logged in to Flower."""

    def __init__(self, url: str, log: Path, user: str = "ops") -> None:
        self.url, self.log = url, log
        self.session = requests.Session()
        self.session.auth = (user, "secret")

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(f"{self.url}{path}", timeout=30, **options)

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, origin: str | None = None, **form: Any) -> requests.Response:
        """Submit a form of the list page, with its token, as a page of `origin` would."""
        token = re.search(r'name="_xsrf" value="([^"]+)"', self.page(LIST))
        assert token
        return self.session.post(
            f"{self.url}{path}",
            data={"_xsrf": token[1], **form},
            headers={"Origin": origin or self.url},
            timeout=30,
            allow_redirects=False,
        )

    def ids(self, path: str = LIST) -> list[str]:
        """Return the event ids in the list."""
        return re.findall(r'class="signal-id"><a href="[^"]+">([^<]+)</a>', self.page(path))

    def letter_paths(self, path: str = LIST) -> list[str]:
        return re.findall(r'class="signal-id"><a href="([^"]+)"', self.page(path))
