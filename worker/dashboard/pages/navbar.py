"""Flower's templates with this program's beside them, and more tabs in the navigation bar."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tornado.template import Loader, Template

from worker.dashboard.pages.words import Words

OWN = Path(__file__).parent / "templates"
# Flower's first list of links ends here; the second one has icons.
END_OF_TABS = "</ul>"


class Templates(Loader):
    """A loader of templates: those in own folders, and Flower's with more tabs."""

    def __init__(self, root: str, folders: Iterable[Path], tabs: str) -> None:
        """Look into `folders` first, then into `root`; `tabs` is HTML for the navigation bar."""
        super().__init__(root)
        self._folders, self._tabs = [*folders, Path(root)], tabs

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002  Tornado's
        """Return the name of a template, which is the same in every template."""
        return name

    def _create_template(self, name: str) -> Template:
        paths = [folder / name for folder in self._folders]
        path = next(filter(Path.is_file, paths), paths[-1])
        text = path.read_text(encoding="utf-8")
        shown = with_tabs(text, self._tabs) if name == "navbar.html" else text
        return Template(shown, name=name, loader=self)


def tab_of(words: Words) -> str:
    """Return the template of a queue's tab."""
    is_active = f"{{% if active_tab == '{words.route}' %}}"
    return f"""  <li class="nav-item">
          <a class="nav-link{is_active} active{{% end %}}"
            href="{{{{ reverse_url('{words.route}') }}}}"
            {is_active}aria-current="page"{{% end %}}>{words.tab}</a>
        </li>
      """


def with_tabs(navbar: str, tabs: str) -> str:
    """Return Flower's navigation bar with more tabs; unchanged if it has no list of tabs."""
    before, end, rest = navbar.partition(END_OF_TABS)
    return f"{before}{tabs}{end}{rest}" if end else navbar


def templates(
    settings: dict[str, Any], folders: Iterable[Path], shown: Iterable[Words]
) -> Templates:
    """Return the loader for Flower's settings.

    Args:
        settings: Flower's settings.
        folders: Folders with templates of queues.
        shown: The queues that get a tab.
    """
    tabs = "".join(map(tab_of, shown))
    return Templates(settings["template_path"], [OWN, *folders], tabs)
