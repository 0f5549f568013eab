"""Operates the chat page as a user does, and finds what it shows."""

from playwright.sync_api import FrameLocator, Locator, Page, WebSocketRoute, expect

from codeact.models.demo.model import EXAMPLES

__all__ = ["AWAY", "Chat", "Line", "example", "execute"]

AWAY = """
window.away = false;
window.told = [];
Object.defineProperty(document, "hidden", {get: () => window.away});
document.hasFocus = () => !window.away;
window.Notification = class {
    static permission = "default";
    static requestPermission() { return Promise.resolve(Notification.permission = "granted"); }
    constructor(title, {body}) { window.told.push([title, body]); }
};
window.leave = (away) => {
    window.away = away;
    document.dispatchEvent(new Event("visibilitychange"));
};
"""
"""A tab that goes into the background when the test says so, and a browser that grants notifications."""


def execute(code: str) -> str:
    """Returns a model's reply that runs `code`."""
    return f"Let me run this.\n<execute>\n{code}\n</execute>"


def example(word: str) -> str:
    """Returns the demo's example question that contains this word."""
    return next(text for text in EXAMPLES if word in text.lower())


class Chat:
    """The chat in a tab, or in a frame of the tab."""

    def __init__(self, page: Page, frame: FrameLocator | None = None) -> None:
        self.page = page
        place = frame or page
        self.box = place.get_by_label("Your question")
        self.answers = place.get_by_role("article", name="Answer")
        self.line = place.locator(".line")
        self.send = place.get_by_role("button", name="Send")
        self.stop = place.get_by_role("button", name="Stop", exact=True)

    def ask(self, question: str) -> Locator:
        """Sends a question and returns its answer, which may still be in progress."""
        expect(self.stop).to_have_count(0)
        self.box.fill(question)
        expect(self.send).to_be_enabled()  # The conversation is shown by then.
        count = self.answers.count()
        self.page.keyboard.press("Enter")
        expect(self.answers).to_have_count(count + 1)
        return self.answers.last

    def ended(self, answer: Locator) -> Locator:
        """Waits until the answer has ended, and returns it."""
        expect(answer).to_have_attribute("aria-busy", "false")
        return answer

    def lose_kernel(self) -> None:
        """Deletes the conversation's sandbox."""
        deleted = self.page.evaluate(
            """async () => {
                const id = location.pathname.split("/").at(-1);
                const { data } = await (await fetch(`/v1/conversations/${id}/responses`)).json();
                const [call] = data.flatMap(({ response }) => response.output).filter((item) => item.container_id);
                return (await fetch(`/v1/containers/${call.container_id}`, { method: "DELETE" })).ok;
            }"""
        )
        assert deleted


class Line:
    """The page's WebSocket, which a test can cut and keep cut."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._routes: list[WebSocketRoute] = []
        self.cut_off = False
        self.deaf = False
        """Whether messages are lost in both directions, although the connection seems open."""
        chat.page.route_web_socket("**/v1/responses", self._open)
        chat.page.reload()

    def _open(self, route: WebSocketRoute) -> None:
        if self.cut_off:
            route.close(code=1012)
            return
        self._routes.append(route)
        server = route.connect_to_server()
        route.on_message(lambda message: None if self.deaf else server.send(message))
        server.on_message(lambda message: None if self.deaf else route.send(message))

    @property
    def opened(self) -> int:
        """The number of connections so far."""
        return len(self._routes)

    def cut(self) -> None:
        self.cut_off = True
        self._routes[-1].close(code=1012)
        expect(self._chat.line).to_contain_text("Reconnecting")

    def mend(self) -> None:
        self.cut_off = False
        expect(self._chat.line).to_be_empty()
