"""Actions on conversations: list, branch, steer, rate, share, export, files."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running
from tests.web.chat import AWAY, Chat, execute

pytestmark = pytest.mark.browser


def entry(chat: Chat, title: str) -> Locator:
    return chat.page.locator(".entry").filter(has_text=title)


def act(chat: Chat, title: str, action: str) -> None:
    """Opens the entry's menu and chooses this action."""
    chat.page.get_by_role("button", name=f"Actions for {title}").first.click()
    chat.page.get_by_role("menuitem", name=action).click()


def test_a_conversation_is_listed_renamed_pinned_found_deleted_and_brought_back(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script("Quite so.")
    chat = visit(scripted.url)
    chat.ended(chat.ask("zebra crossing"))
    expect(entry(chat, "zebra crossing")).to_have_attribute("data-here", "true")
    act(chat, "zebra crossing", "Rename")
    chat.page.keyboard.type("Okapi")
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator(".heading")).to_have_text("Okapi")
    act(chat, "Okapi", "Pin")
    expect(chat.page.get_by_role("heading", name="Pinned")).to_be_visible()
    search = chat.page.get_by_label("Search conversations")
    search.fill("nothing-has-this")
    expect(chat.page.get_by_text("No conversation has all of these words")).to_be_visible()
    chat.page.get_by_role("button", name="New conversation").first.click()
    search.fill("quit")  # The beginning of a word of the answer.
    expect(entry(chat, "Okapi").locator(".excerpt mark")).to_have_text("Quit")
    search.press("ArrowDown")
    expect(entry(chat, "Okapi").get_by_role("link")).to_be_focused()
    chat.page.keyboard.press("ArrowUp")
    expect(search).to_be_focused()
    search.press("Enter")
    expect(chat.answers.locator(".prose")).to_have_text("Quite so.")
    search.fill("")
    act(chat, "Okapi", "Delete")
    expect(entry(chat, "Okapi")).to_have_count(0)
    expect(chat.page.get_by_text("What should Python do")).to_be_visible()
    chat.page.get_by_role("button", name="Undo").click()
    expect(entry(chat, "Okapi")).to_have_count(1)
    expect(chat.answers.locator(".prose")).to_have_text("Quite so.")
    act(chat, "Okapi", "Unpin")
    act(chat, "Okapi", "Delete")
    chat.page.get_by_role("button", name="Bin").click()
    binned = chat.page.get_by_role("dialog").get_by_role("listitem").filter(has_text="Okapi")
    binned.get_by_role("button", name="Restore").click()
    expect(entry(chat, "Okapi")).to_have_attribute("data-here", "true")
    act(chat, "Okapi", "Delete")
    chat.page.get_by_role("button", name="Bin").click()
    binned.get_by_role("button", name="Delete for good").click()
    binned.get_by_role("button", name="Delete for good?").click()
    expect(binned).to_have_count(0)


def test_questions_build_on_each_other_until_a_new_conversation(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    script("One.", "Two.", "Three.")
    chat = visit(scripted.url)
    for question, said in (("first", "One."), ("second", "Two.")):
        expect(chat.ended(chat.ask(question)).locator(".prose")).to_have_text(said)
    chat.page.get_by_role("button", name="New conversation").first.click()
    expect(chat.answers).to_have_count(0)
    chat.ended(chat.ask("third"))
    asked = [
        [message["content"] for message in request.messages if message["role"] == "user"]
        for request in model_server.requests
    ]
    assert [len(questions) for questions in asked] == [1, 2, 1]
    chat.page.go_back()
    expect(chat.answers.locator(".prose")).to_have_text(["One.", "Two."])


def test_one_conversation_goes_on_while_another_is_shown(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("One,", gate, " two.")
    script("Meanwhile.")
    chat = visit(scripted.url)
    expect(chat.ask("long work").locator(".prose")).to_have_text("One,")
    expect(entry(chat, "long work").get_by_role("img", name="answering")).to_be_visible()
    chat.page.get_by_role("button", name="New conversation").first.click()
    expect(chat.ended(chat.ask("short work")).locator(".prose")).to_have_text("Meanwhile.")
    expect(entry(chat, "short work").get_by_role("img", name="answering")).to_have_count(0)
    expect(entry(chat, "long work").get_by_role("img", name="answering")).to_be_visible()
    gate.open()
    expect(entry(chat, "long work").get_by_role("img", name="new answer")).to_be_visible()
    expect(chat.answers.locator(".prose")).to_have_text("Meanwhile.")
    entry(chat, "long work").get_by_role("link").click()
    expect(chat.answers.locator(".prose")).to_have_text("One, two.")
    expect(entry(chat, "long work").get_by_role("img", name="new answer")).to_have_count(0)


def test_who_looks_elsewhere_is_told_by_title_icon_and_notification(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gates = [Gate(), Gate()]
    model_server.reply("First", gates[0], " done.")
    model_server.reply("Second", gates[1], " done.")
    chat = visit(scripted.url, script=AWAY)
    icon = chat.page.locator("link[rel=icon]")
    for number, gate in enumerate(gates):
        answer = chat.ask("take your time")
        expect(answer.locator(".prose")).to_be_visible()
        chat.page.evaluate("leave(true)")
        gate.open()
        chat.ended(answer)
        expect(icon).to_have_attribute("href", "/icon-news.svg")
        expect(chat.page).to_have_title(re.compile(r"^\(1\) "))
        chat.page.evaluate("leave(false)")
        expect(icon).to_have_attribute("href", "/icon.svg")
        offer = chat.page.get_by_role("button", name="Notify me")
        if number == 0:
            offer.click()
        expect(offer).to_have_count(0)
    chat.page.wait_for_function("told.length")
    assert chat.page.evaluate("told") == [["The answer is ready", "Second done."]]


def test_going_back_to_an_answer_under_way_shows_all_of_it_once(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("One,", gate, " two.")
    chat = visit(scripted.url)
    expect(chat.ask("to and fro").locator(".prose")).to_have_text("One,")
    chat.page.get_by_role("button", name="New conversation").first.click()
    expect(chat.answers).to_have_count(0)
    entry(chat, "to and fro").get_by_role("link").click()
    expect(chat.answers.locator(".prose")).to_have_text("One,")
    gate.open()
    chat.ended(chat.answers)
    expect(chat.answers.locator(".prose")).to_have_text("One, two.")


def test_an_edited_question_makes_a_branch_to_switch_between(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script("One.", "Uno.", "Eins.")
    chat = visit(scripted.url)
    chat.ended(chat.ask("english"))
    chat.page.locator(".bubble").hover()
    chat.page.get_by_role("button", name="Edit", exact=True).click()
    chat.page.get_by_label("Edit your question").fill("spanish")
    chat.page.keyboard.press("Enter")
    expect(chat.answers.locator(".prose")).to_have_text("Uno.")
    chat.ended(chat.answers)
    expect(chat.page.locator(".bubble")).to_have_text("spanish")
    chat.page.get_by_role("button", name="Answer again").click()
    expect(chat.answers.locator(".prose")).to_have_text("Eins.")
    chat.ended(chat.answers)
    expect(chat.page.get_by_role("group", name="Version 3 of 3")).to_be_visible()
    chat.page.get_by_role("button", name="Previous version").click()
    chat.page.get_by_role("button", name="Previous version").click()
    expect(chat.page.locator(".bubble")).to_have_text("english")
    expect(chat.answers.locator(".prose")).to_have_text("One.")
    chat.page.reload()
    expect(chat.answers.locator(".prose")).to_have_text("One.")
    expect(chat.page.get_by_role("group", name="Version 1 of 3")).to_be_visible()


def test_each_conversation_keeps_its_draft_and_arrows_recall_questions(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script("One.", "Two.")
    chat = visit(scripted.url)
    chat.ended(chat.ask("the first question"))
    chat.ended(chat.ask("the second question"))
    for key, words in (("ArrowUp", "second"), ("ArrowUp", "first"), ("ArrowUp", "first"), ("ArrowDown", "second")):
        chat.page.keyboard.press(key)
        expect(chat.box).to_have_value(f"the {words} question")
    chat.box.fill("half a thought")
    chat.page.keyboard.press("ArrowUp")
    expect(chat.box).to_have_value("half a thought")
    chat.page.get_by_role("button", name="New conversation").first.click()
    expect(chat.box).to_have_value("")
    chat.box.fill("another thought")
    chat.page.reload()
    expect(chat.box).to_have_value("another thought")
    entry(chat, "the first question").first.get_by_role("link").click()
    expect(chat.box).to_have_value("half a thought")
    chat.page.reload()
    expect(chat.box).to_have_value("half a thought")


def test_two_tabs_of_a_conversation_show_what_the_other_asks_and_make_no_branch(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    script("One.", "Two.", "Three.")
    chat = visit(scripted.url)
    chat.ended(chat.ask("first"))
    other = Chat(chat.page.context.new_page())
    other.page.goto(chat.page.url)
    expect(other.answers.locator(".prose")).to_have_text("One.")
    chat.page.bring_to_front()  # A browser draws only the tab in front.
    chat.ended(chat.ask("second"))
    other.page.bring_to_front()
    expect(other.answers.locator(".prose")).to_have_text(["One.", "Two."])
    other.ended(other.ask("third"))
    chat.page.bring_to_front()
    expect(chat.answers.locator(".prose")).to_have_text(["One.", "Two.", "Three."])
    expect(chat.page.locator(".branches")).to_have_count(0)
    assert [len([m for m in request.messages if m["role"] == "user"]) for request in model_server.requests] == [1, 2, 3]


def test_a_double_click_on_send_asks_once_and_stops_nothing(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("One,", gate, " two.")
    chat = visit(scripted.url)
    chat.box.fill("count")
    expect(chat.send).to_be_enabled()
    place = chat.send.bounding_box()
    assert place is not None
    chat.page.mouse.dblclick(place["x"] + 5, place["y"] + 5)
    expect(chat.answers.locator(".prose")).to_have_text("One,")
    gate.open()
    chat.ended(chat.answers)
    expect(chat.answers.locator(".prose")).to_have_text("One, two.")
    assert len(model_server.requests) == 1


def test_something_said_meanwhile_is_taken_in(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("First,", gate, " this.")
    script("And now that.")
    chat = visit(scripted.url)
    answer = chat.ask("begin")
    expect(answer.locator(".prose")).to_have_text("First,")
    chat.box.fill("now that")
    chat.page.keyboard.press("Enter")
    gate.open()
    expect(chat.answers).to_have_count(2)
    chat.ended(chat.answers.last)
    expect(chat.answers.locator(".prose")).to_have_text(["First, this.", "And now that."])
    expect(chat.page.locator(".bubble")).to_have_text(["begin", "now that"])
    expect(chat.stop).to_have_count(0)


def test_an_answer_is_rated_with_a_comment(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script("Hm.")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("rate me"))
    answer.get_by_role("button", name="Bad answer").click()
    chat.page.get_by_placeholder("A word, if you like").fill("too short")
    chat.page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(answer.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    chat.page.reload()
    expect(chat.answers.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")


def test_a_shared_conversation_can_be_read_until_the_link_is_revoked(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("print(6 * 7)"), "Forty-two.")
    chat = visit(scripted.url, expected=("404",))
    chat.ended(chat.ask("share me"))
    chat.page.get_by_role("button", name="Share", exact=True).click()
    chat.page.get_by_role("button", name="Make a link").click()
    url = chat.page.get_by_label("Link", exact=True).input_value()
    reader = visit(url, expected=("404",))
    expect(reader.page.get_by_role("heading", name="share me")).to_be_visible()
    expect(reader.answers.locator(".prose").last).to_have_text("Forty-two.")
    expect(reader.answers.locator(".stdout")).to_have_text("42\n")
    expect(reader.page.get_by_role("textbox")).to_have_count(0)
    chat.page.get_by_role("button", name="Revoke the link").click()
    expect(chat.page.get_by_text("no longer works")).to_be_visible()
    reader.page.reload()
    expect(reader.page.get_by_role("alert")).to_be_visible()


def test_a_conversation_is_exported(scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]) -> None:
    script("All of it.")
    chat = visit(scripted.url)
    chat.ended(chat.ask("export me"))
    for name, ending in (("Notebook", ".ipynb"), ("Markdown", ".md"), ("JSON", ".json")):
        chat.page.get_by_role("button", name="Export", exact=True).click()
        with chat.page.expect_download() as download:
            chat.page.get_by_role("menuitem", name=name).click()
        assert download.value.suggested_filename.endswith(ending)
        assert "All of it." in Path(download.value.path()).read_text("utf-8")


def test_files_go_up_with_a_question_and_come_down_with_the_answer(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat], tmp_path: Path
) -> None:
    script(execute("words = open('in.txt').read()\nopen('out.txt', 'w').write(words.upper())"), "Written.")
    chat = visit(scripted.url)
    given = tmp_path / "in.txt"
    given.write_text("quiet words")
    chat.page.locator("input[type=file]").set_input_files(given)
    expect(chat.page.locator(".composer .chip")).to_contain_text("in.txt")
    answer = chat.ended(chat.ask("shout"))
    expect(chat.page.locator(".question .chip")).to_contain_text("in.txt")
    with chat.page.expect_download() as download:
        answer.get_by_role("link", name="Download out.txt").click()
    assert Path(download.value.path()).read_text("utf-8") == "QUIET WORDS"
    chat.page.get_by_role("button", name="Files and variables").click()
    side = chat.page.get_by_role("complementary", name="Files and variables")
    expect(side.locator(".file")).to_have_count(2)
    side.get_by_role("button", name="out.txt").click()
    expect(side.get_by_role("tabpanel")).to_contain_text("QUIET WORDS")


def test_a_large_file_goes_up_before_the_question_and_nothing_is_lost(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat], tmp_path: Path
) -> None:
    script(execute("import os\nprint(os.path.getsize('large.bin'))"), "Large.")
    chat = visit(scripted.url, expected=("507",))
    chat.page.get_by_role("button", name="Attach files, up to 50 MB each").wait_for()
    chat.page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(50_000_001)], "huge.bin"));
            window.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
    )
    expect(chat.page.get_by_role("alert")).to_have_text("huge.bin is larger than 50 MB.")
    refusal = {"error": {"message": "The disk is full."}}
    chat.page.route("**/v1/uploads", lambda route: route.fulfill(status=507, json=refusal), times=1)
    given = tmp_path / "large.bin"
    given.write_bytes(bytes(9_900_000))
    chat.box.fill("How large is it?")
    chat.page.locator("input[type=file]").set_input_files(given)
    expect(chat.page.locator(".chip").get_by_role("alert")).to_have_text("The disk is full.")
    expect(chat.send).to_be_disabled()
    chat.page.get_by_role("button", name="Upload large.bin again").click()
    expect(chat.send).to_be_enabled()
    chat.page.reload()
    expect(chat.page.locator(".composer .chip")).to_contain_text("large.bin")
    expect(chat.box).to_have_value("How large is it?")
    answer = chat.ended(chat.ask("How large is it?"))
    expect(answer.locator(".stdout")).to_have_text("9900000\n")
    expect(chat.page.locator(".question .chip")).to_have_text("large.bin")


def test_dropped_and_pasted_files_are_attached(scripted: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(scripted.url)
    for kind in ("drop", "paste"):
        chat.page.evaluate(
            """kind => {
                const data = new DataTransfer();
                data.items.add(new File(["hello"], `${kind}.txt`, { type: "text/plain" }));
                const event = kind === "drop"
                    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
                document.getElementById("question").dispatchEvent(event);
            }""",
            kind,
        )
    expect(chat.page.locator(".composer .chip")).to_have_text(["drop.txt", "paste.txt"])
    chat.page.get_by_role("button", name="Remove drop.txt").click()
    expect(chat.page.locator(".composer .chip")).to_have_text(["paste.txt"])
