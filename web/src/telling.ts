// Tells who looks elsewhere that an answer is ready: by the tab's title and icon, and by a notification where wanted.

import { effect, signal } from "@preact/signals";
import { options, set } from "./options";
import { text } from "./text";

const BODY_CHARS = 200;

/** How much has happened since the user last looked. */
const news = signal(0);
/** An answer came while the user looked elsewhere, and they have not been asked yet whether to be told. */
export const offered = signal(false);

let open: (id: string) => void = () => undefined;

const isAway = (): boolean => document.hidden || !document.hasFocus();

/** Keeps the title and the icon in step. `show` opens a conversation when its notification is clicked. Called once. */
export function keepTitle(title: () => string, show: (id: string) => void): void {
  open = show;
  const looked = () => !isAway() && (news.value = 0);
  document.addEventListener("visibilitychange", looked);
  addEventListener("focus", looked);
  effect(() => {
    const name = title();
    const mark = news.value ? `(${news.value}) ` : "";
    document.title = `${mark}${name ? `${name} · ` : ""}${text.product}`;
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (icon) icon.href = news.value ? "/icon-news.svg" : "/icon.svg";
  });
}

/** Something has happened in a conversation: `title` says what, `words` what the answer or the failure says. */
export function tell(conversationId: string, title: string, words: string): void {
  if (!isAway()) return;
  news.value++;
  if (options.value.notify && permission() === "granted") notify(conversationId, title, words);
  else if (options.value.notify === null && permission() === "default") offered.value = true;
}

/** The user's answer to the question whether they want notifications; the browser then asks, too. */
export async function choose(wanted: boolean): Promise<void> {
  offered.value = false;
  set({ notify: wanted && (await Notification.requestPermission()) === "granted" });
}

export const canNotify = (): boolean => permission() !== "denied";

const permission = (): NotificationPermission => ("Notification" in window ? Notification.permission : "denied");

function notify(conversationId: string, title: string, words: string): void {
  const shown = new Notification(title, { body: words.trim().slice(0, BODY_CHARS), tag: conversationId, icon: "/icon.svg" });
  shown.onclick = () => {
    window.focus();
    open(conversationId);
    shown.close();
  };
}
