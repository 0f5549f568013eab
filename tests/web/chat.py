"""The chat page as a person sees it: what they do enters, what stands on the page leaves."""

from playwright.sync_api import FrameLocator, Locator, Page, WebSocketRoute, expect

from codeact.models.demo.model import EXAMPLES

__all__ = ["Chat", "Line", "example", "execute"]


def execute(code: str) -> str:
    """What the model says to run `code`."""
    return f"Let me run this.\n<execute>\n{code}\n</execute>"


def example(word: str) -> str:
    """The demo's example that has the word."""
    return next(text for text in EXAMPLES if word in text.lower())


class Chat:
    """One tab, or the frame in it where the chat is."""

    def __init__(self, page: Page, frame: FrameLocator | None = None) -> None:
        self.page = page
        place = frame or page
        self.box = place.get_by_label("Your question")
        self.answers = place.get_by_role("article", name="Answer")
        self.line = place.locator(".line")
        self.send = place.get_by_role("button", name="Send")
        self.stop = place.get_by_role("button", name="Stop", exact=True)

    def ask(self, question: str) -> Locator:
        """Types a question; the answer that it gets."""
        expect(self.stop).to_have_count(0)
        count = self.answers.count()
        self.box.fill(question)
        expect(self.send).to_be_enabled()
        self.page.keyboard.press("Enter")
        expect(self.answers).to_have_count(count + 1)
        return self.answers.last

    def ended(self, answer: Locator) -> Locator:
        """Waits for the answer's end."""
        expect(answer).to_have_attribute("aria-busy", "false")
        return answer

    def lose_kernel(self) -> None:
        """Deletes the sandbox that the conversation has."""
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
    """The page's socket, which a test can cut and keep cut."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._routes: list[WebSocketRoute] = []
        self.cut_off = False
        self.deaf = False
        """Neither side hears the other, and neither is told."""
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
        """How many connections there were."""
        return len(self._routes)

    def cut(self) -> None:
        self.cut_off = True
        self._routes[-1].close(code=1012)
        expect(self._chat.line).to_contain_text("Reconnecting")

    def mend(self) -> None:
        self.cut_off = False
        expect(self._chat.line).to_be_empty()
