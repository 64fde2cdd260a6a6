"""Flower's templates with this program's beside them, and one more tab in the navigation bar."""

from pathlib import Path
from typing import Any

from tornado.template import Loader, Template

OWN = Path(__file__).parent / "templates"
# Flower's first list of links ends here; the second one has icons.
END_OF_TABS = "</ul>"
TAB = """  <li class="nav-item">
          <a class="nav-link{% if active_tab == 'dead-letters' %} active{% end %}"
            href="{{ reverse_url('dead_letters') }}"
            {% if active_tab == 'dead-letters' %}aria-current="page"{% end %}>Dead letters</a>
        </li>
      """


class Templates(Loader):
    """A loader of templates: those in `OWN`, and Flower's with the tab in its navigation bar."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002  Tornado's
        """Return the name of a template, which is the same in every template."""
        return name

    def _create_template(self, name: str) -> Template:
        own = OWN / name
        path = own if own.is_file() else Path(self.root, name)
        text = path.read_text(encoding="utf-8")
        return Template(with_tab(text) if name == "navbar.html" else text, name=name, loader=self)


def with_tab(navbar: str) -> str:
    """Return Flower's navigation bar with one more tab; unchanged if it has no list of tabs."""
    before, end, rest = navbar.partition(END_OF_TABS)
    return f"{before}{TAB}{end}{rest}" if end else navbar


def templates(settings: dict[str, Any]) -> Templates:
    """Return the loader for Flower's settings."""
    return Templates(settings["template_path"])
