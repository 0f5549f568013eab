// What stands above the conversation: its title, what can be done with it, and what one should know of the server.

import { signal } from "@preact/signals";
import { options } from "../options";
import { current, missing, status } from "../session";
import { dialog, entry, fresh, model, showList } from "../state";
import { tab } from "../side/state";
import { choose, offered } from "../telling";
import { text } from "../text";
import { IconButton, Menu } from "./controls";
import { Icon } from "./icons";

const dismissed = signal(false);

export function Header() {
  const title = entry.value?.["codeact:summary"].title;
  const { id } = current.value;
  return (
    <header class="header">
      <span class="reveal" data-always={!options.value.sidebar || undefined}>
        <IconButton icon="sidebar" label={text.sidebar.open} onClick={showList} />
      </span>
      {title ? <h1 class="heading"><bdi>{title}</bdi></h1> : <span class="heading" />}
      {!missing.value && <IconButton icon="settings" label={text.own.title} onClick={() => (dialog.value = "conversation")} />}
      {id && !missing.value && <Actions />}
      <span class="reveal" data-always={!options.value.sidebar || undefined}>
        <IconButton icon="create" label={text.sidebar.create} onClick={fresh} />
      </span>
    </header>
  );
}

function Actions() {
  const { id } = current.value;
  const save = (format: string) => () => location.assign(`/v1/conversations/${id}/export?format=${format}`);
  return (
    <>
      <IconButton icon="panel" label={text.header.panel} onClick={() => (tab.value = tab.value ? null : "files")} />
      <IconButton icon="share" label={text.header.share} onClick={() => (dialog.value = "share")} />
      <Menu
        icon="download"
        label={text.header.export}
        items={[
          { icon: "file", label: text.header.exportNotebook, onSelect: save("ipynb") },
          { icon: "file", label: text.header.exportMarkdown, onSelect: save("md") },
          { icon: "file", label: text.header.exportJson, onSelect: save("json") },
        ]}
      />
    </>
  );
}

export function Banners() {
  const { sandbox } = status.value ?? {};
  return (
    <>
      {sandbox && !sandbox.isolated && (
        <div class="banner" data-kind="bare" role="note">
          <details>
            <summary>
              {text.banner.bare}
              <Icon name="chevron" size={15} />
            </summary>
            <ul>
              {sandbox.missing.map((words) => <li key={words}>{words}</li>)}
            </ul>
          </details>
        </div>
      )}
      {offered.value && (
        <div class="banner" role="status">
          <p>{text.notify.offer}</p>
          <button type="button" class="button" onClick={() => void choose(true)}>{text.notify.yes}</button>
          <button type="button" class="quiet" onClick={() => void choose(false)}>{text.notify.no}</button>
        </div>
      )}
      {model.value === "demo" && !dismissed.value && (
        <div class="banner" role="note">
          <p>{text.banner.demo}</p>
          <IconButton icon="close" size={15} label={text.banner.dismiss} onClick={() => (dismissed.value = true)} />
        </div>
      )}
    </>
  );
}
