"""Put this program's tabs into Flower, before Flower starts. Importing this loads Flower."""

from pathlib import Path

from flower import urls

from worker.dashboard.dead_letters.letters import DeadLetters
from worker.dashboard.pages.navbar import Templates
from worker.dashboard.pages.routes import routes_of, static_files
from worker.dashboard.retries.events import Retries
from worker.settings import Settings

HERE = Path(__file__).parent
FOLDERS = [HERE / each / "templates" for each in ("pages", "dead_letters", "retries")]


def install(settings: Settings) -> None:
    """Add the pages for the integration of `settings`."""
    letters, retries = DeadLetters(settings), Retries(settings)
    urls.handlers[:0] = [*routes_of(letters), *routes_of(retries), static_files()]
    tabs = letters.words, retries.words
    urls.settings["template_loader"] = Templates(urls.settings["template_path"], FOLDERS, tabs)
