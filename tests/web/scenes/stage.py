"""What scenes are played with: tabs, servers and a scripted model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.model_server import ModelServer
from tests.web.chat import Chat


@dataclass(frozen=True)
class Stage:
    """What scenes need. The server `bare` does not isolate code, `locked` requires the key `secret`, and code
    waits for approval on `asking`.

    `visit` opens an address in a new tab; `files` is an empty directory.
    """

    visit: Callable[..., Chat]
    model: ModelServer
    demo: str
    scripted: str
    bare: str
    locked: str
    asking: str
    files: Path
    phone: bool = False

    def script(self, *replies: str) -> None:
        self.model.reset()
        for reply in replies:
            self.model.reply(reply)

    def ask(self, question: str, *replies: str) -> tuple[Chat, Locator]:
        """Asks the question in a new tab and waits for the answer, for which the model gives these replies."""
        self.script(*replies)
        chat = self.visit(self.scripted, expected=("404",))  # The page asks for the link, which does not exist yet.
        return chat, chat.ended(chat.ask(question))

    def open_list(self, chat: Chat) -> None:
        if self.phone:
            chat.page.get_by_label("Show conversations").click()
            expect(chat.page.get_by_role("navigation")).to_be_in_viewport()

    def close_list(self, chat: Chat) -> None:
        if self.phone:
            chat.page.keyboard.press("Escape")
            expect(chat.page.get_by_role("navigation")).not_to_be_in_viewport()


Scene = Callable[[Stage], Iterator[Chat]]
