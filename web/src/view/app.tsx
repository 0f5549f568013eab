// The whole page: the list beside the conversation, the question below it, dialogs above all.

import { useEffect } from "preact/hooks";
import { options, set } from "../options";
import { announced, current } from "../session";
import { dialog, drawer, fresh, search } from "../state";
import { text } from "../text";
import { Composer } from "./composer";
import { Dialogs } from "./dialogs";
import { Empty } from "./empty";
import { Banners, Header } from "./header";
import { StatusLine } from "./line";
import { Models } from "./models";
import { Sidebar } from "./sidebar";
import { Thread } from "./thread";
import { lazily } from "./lazy";
import { ProfileChoice, ProfileName } from "../profiles/choice";
import { tab } from "../side/state";

const Panel = lazily(() => import("../side/panel").then((loaded) => loaded.Panel));

export function App() {
  useEffect(() => {
    addEventListener("keydown", shortcut);
    return () => removeEventListener("keydown", shortcut);
  }, []);
  return (
    <div class="app" data-sidebar={options.value.sidebar || undefined} data-side={tab.value !== null || undefined}>
      <a class="skip" href="#question">{text.header.skip}</a>
      <Sidebar />
      {drawer.value && <div class="shade" onClick={() => (drawer.value = false)} />}
      <main class="main" inert={drawer.value || undefined}>
        <Header />
        <Banners />
        <Thread empty={<Empty choice={<ProfileChoice />} />} />
        <footer class="footer">
          <StatusLine />
          <Composer focused model={<><ProfileName /><Models /></>} />
          <p class="hint">{text.composer.hint}</p>
        </footer>
      </main>
      {tab.value && <Panel />}
      <Dialogs />
      <p class="unseen" aria-live="polite">{announced.value}</p>
    </div>
  );
}

function shortcut(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const typing = (event.target as Element).matches?.("input, textarea, select");
  const command = event.metaKey || event.ctrlKey;
  const key = event.key.toLowerCase();
  if (event.key === "Escape") {
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (drawer.value) drawer.value = false;
    else current.value.stop();
  } else if (command && event.shiftKey && key === "o") {
    event.preventDefault();
    fresh();
  } else if (command && key === "k") {
    event.preventDefault();
    search();
  } else if (command && key === ".") {
    event.preventDefault();
    dialog.value = "palette";
  } else if (command && key === "b") {
    event.preventDefault();
    set({ sidebar: !options.value.sidebar });
  } else if (!typing && !command && event.key === "?") {
    dialog.value = "shortcuts";
  } else if (!typing && !command && event.key === "/") {
    event.preventDefault();
    document.getElementById("question")?.focus();
  }
}
