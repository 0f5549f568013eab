// The list of conversations enters; it leaves in groups by time, to open, search, rename, pin and delete.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ConversationObject } from "../net/api";
import { set } from "../options";
import { current } from "../session";
import { change, list, listNext, listState, more, query } from "../list";
import { deleted, dialog, drawer, filed, fresh, open, remove, undo } from "../state";
import { text } from "../text";
import { isUnread } from "../unread";
import { IconButton, Menu } from "./controls";
import { Mark } from "./empty";
import { Icon } from "./icons";

const DAY_S = 86_400;

export function Sidebar() {
  const results = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => results.current!.scrollTo(0, 0), [query.value]);
  return (
    <nav class="sidebar" id="sidebar" aria-label={text.sidebar.label} data-open={drawer.value || undefined}>
      <div class="sidebar-top">
        <span class="brand">
          <Mark size={22} />
          {text.product}
        </span>
        <IconButton
          icon="sidebar"
          label={text.sidebar.close}
          onClick={() => (drawer.value ? (drawer.value = false) : set({ sidebar: false }))}
        />
      </div>
      <button type="button" class="create" onClick={fresh}>
        <Icon name="create" />
        {text.sidebar.create}
      </button>
      <div class="search">
        <Icon name="search" size={16} />
        <input
          id="search"
          type="search"
          aria-label={text.sidebar.searchLabel}
          placeholder={text.sidebar.search}
          value={query.value}
          onInput={(event) => (query.value = event.currentTarget.value)}
          onKeyDown={searchKeys}
        />
      </div>
      <div class="list" ref={results} onKeyDown={listKeys}>
        {query.value ? <Found /> : <Groups />}
        {listNext.value && (
          <button type="button" class="quiet more" onClick={() => void more()}>
            {text.sidebar.more}
          </button>
        )}
        {listState.value === "ready" && !list.value.length && (
          <p class="nothing">{query.value ? text.sidebar.nothingFound : text.sidebar.nothing}</p>
        )}
        {listState.value === "failed" && <p class="nothing">{text.sidebar.failed}</p>}
      </div>
      {deleted.value && (
        <p class="undo" role="status">
          <span>{text.sidebar.deleted(deleted.value["codeact:summary"].title ?? text.untitled)}</span>
          <button type="button" class="quiet" onClick={() => void undo()}>
            {text.sidebar.undo}
          </button>
        </p>
      )}
      <div class="sidebar-foot">
        <button type="button" class="row" onClick={() => (dialog.value = "settings")}>
          <Icon name="settings" />
          {text.header.settings}
        </button>
        <IconButton icon="trash" label={text.sidebar.bin} onClick={() => (dialog.value = "bin")} />
        <IconButton icon="keyboard" label={text.header.shortcuts} onClick={() => (dialog.value = "shortcuts")} />
      </div>
    </nav>
  );
}

/** Enter opens the first result; the arrow keys go through all of them, and back to the box. */
function searchKeys(event: KeyboardEvent): void {
  if (event.key === "Escape") {
    event.stopPropagation();
    query.value = "";
  } else if (event.key === "Enter" && query.value && list.value[0]) {
    open(list.value[0].id);
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    links()[0]?.focus();
  }
}

function listKeys(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const all = links();
  const at = all.indexOf(event.target as HTMLElement);
  if (!step || at < 0) return;
  event.preventDefault();
  (all[at + step] ?? (step < 0 ? document.getElementById("search")! : all[at]!)).focus();
}

const links = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>(".sidebar .entry a")];

function Found() {
  return (
    <ul>
      {list.value.map((one) => (
        <Entry key={one.id} one={one} />
      ))}
    </ul>
  );
}

function Groups() {
  const groups = new Map<string, ConversationObject[]>();
  const folders = new Map<string, ConversationObject[]>();
  for (const one of list.value) {
    const { folder, pinned } = one["codeact:summary"];
    if (folder && !pinned) {
      folders.set(folder, [...(folders.get(folder) ?? []), one]);
      continue;
    }
    const name = group(one);
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  const pinned = groups.get(text.sidebar.pinned);
  const ordered = [...(pinned ? [[text.sidebar.pinned, pinned] as const] : []), ...groups].filter(
    ([name], index) => index === 0 || name !== text.sidebar.pinned,
  );
  return (
    <>
      {[...folders].sort(([a], [b]) => a.localeCompare(b)).map(([name, members]) => (
        <details key={name} class="folder" open={members.some(({ id }) => id === current.value.id) || undefined}>
          <summary>
            <Icon name="folder" size={16} />
            <bdi>{name}</bdi>
            <span class="count">{members.length}</span>
          </summary>
          <ul>
            {members.map((one) => (
              <Entry key={one.id} one={one} />
            ))}
          </ul>
        </details>
      ))}
      {ordered.map(([name, members]) => (
        <section key={name}>
          <h2>{name}</h2>
          <ul>
            {members.map((one) => (
              <Entry key={one.id} one={one} />
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}

function group({ "codeact:summary": { pinned, updated_at } }: ConversationObject): string {
  if (pinned) return text.sidebar.pinned;
  const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
  if (updated_at >= midnight) return text.sidebar.today;
  if (updated_at >= midnight - DAY_S) return text.sidebar.yesterday;
  return updated_at >= midnight - 7 * DAY_S ? text.sidebar.week : text.sidebar.earlier;
}

function Entry({ one }: { one: ConversationObject }) {
  const [renaming, setRenaming] = useState(false);
  const { title: given, pinned, status } = one["codeact:summary"];
  const title = given ?? text.untitled;
  const here = current.value.id === one.id;
  const unread = isUnread(one);
  const excerpt = query.value && one["codeact:excerpt"];
  const busy = status === "in_progress" || (here && current.value.running.value !== null);
  if (renaming) return <Rename one={one} title={title} onDone={() => setRenaming(false)} />;
  return (
    <li class="entry" data-here={here || undefined} data-unread={unread || undefined}>
      <a
        href={`/c/${one.id}`}
        aria-current={here ? "page" : undefined}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          open(one.id);
        }}
      >
        <span class="title">
          <bdi>{query.value ? <Marked words={title} /> : title}</bdi>
          {excerpt && <span class="excerpt" dir="auto"><Marked words={excerpt.replace(/[*`]+/g, "")} /></span>}
        </span>
        {busy && <span class="busy" role="img" aria-label={text.sidebar.running} />}
        {!busy && unread && <span class="unread" role="img" aria-label={text.sidebar.unread} />}
      </a>
      <Menu
        icon="more"
        label={text.sidebar.actions(title)}
        items={[
          { icon: "edit", label: text.sidebar.rename, onSelect: () => setRenaming(true) },
          {
            icon: "pin",
            label: pinned ? text.sidebar.unpin : text.sidebar.pin,
            onSelect: () => void change(one.id, { pinned: !pinned }),
          },
          { icon: "folder", label: text.folder.move, onSelect: () => (filed.value = one) },
          { icon: "trash", label: text.sidebar.remove, danger: true, onSelect: () => void remove(one) },
        ]}
      />
    </li>
  );
}

/** The words with the beginnings that are searched for marked. */
function Marked({ words }: { words: string }) {
  const sought = (query.value.match(/[\p{L}\p{N}_]+/gu) ?? []).join("|");
  const parts = words.split(new RegExp(`(?<![\\p{L}\\p{N}])(${sought || "(?!)"})`, "giu"));
  return <>{parts.map((part, index) => (index % 2 ? <mark key={index}>{part}</mark> : part))}</>;
}

function Rename({ one, title, onDone }: { one: ConversationObject; title: string; onDone: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => input.current!.select(), []);
  const save = () => {
    const given = input.current?.value.trim(); // gone when Enter has saved already
    if (given && given !== title) void change(one.id, { title: given });
    onDone();
  };
  return (
    <li class="entry renaming">
      <input
        ref={input}
        aria-label={text.sidebar.rename}
        defaultValue={title}
        maxLength={200}
        onBlur={save}
        onKeyDown={(event) => {
          if (event.key === "Enter") save();
          if (event.key === "Escape") event.stopPropagation(), onDone();
        }}
      />
    </li>
  );
}
