"""Flower's templates with this program's beside them, and more tabs in the navigation bar."""

from collections.abc import Iterable
from pathlib import Path

from tornado.template import Loader, Template

from worker.dashboard.pages.words import Words

# Flower's first list of links ends here; the second one has icons.
END_OF_TABS = "</ul>"


class Templates(Loader):
    """A loader of templates: those in own folders, and Flower's with more tabs."""

    def __init__(self, root: str, folders: Iterable[Path], shown: Iterable[Words]) -> None:
        """Look into `folders` first, then into `root`; the queues in `shown` get a tab."""
        super().__init__(root)
        self._folders = [*folders, Path(root)]
        self._tabs = "".join(map(tab_of, shown))

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
