// Every action and every conversation of the list by its name, to be found by a few letters and chosen with the keyboard.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { list } from "../list";
import { options, set } from "../options";
import { current, status } from "../session";
import { toggle } from "../side/state";
import { chooseModel, dialog, fresh, open, search } from "../state";
import { text } from "../text";
import type { Theme } from "../theme";
import { Icon, type IconName } from "./icons";

const MOST = 50;

interface Command {
  icon: IconName;
  name: string;
  run(): void;
}

export function Palette() {
  const element = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  useLayoutEffect(() => element.current!.showModal(), []);
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = commands().filter(({ name }) => words.every((word) => name.toLowerCase().includes(word))).slice(0, MOST);
  const chosen = Math.min(at, found.length - 1);
  useLayoutEffect(() => element.current!.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }), [chosen]);
  const run = (command: Command | undefined) => {
    element.current!.close();
    command?.run();
  };
  const keys = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((chosen + step + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter") run(found[chosen]);
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      ref={element}
      class="dialog palette"
      aria-label={text.palette.title}
      onClose={() => dialog.value === "palette" && (dialog.value = null)}
      onClick={(event) => event.target === element.current && element.current!.close()}
    >
      <input
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls="commands"
        aria-activedescendant={found.length ? `command-${chosen}` : undefined}
        aria-label={text.palette.title}
        placeholder={text.palette.hint}
        value={typed}
        onInput={({ currentTarget }) => (setTyped(currentTarget.value), setAt(0))}
        onKeyDown={keys}
      />
      <ul id="commands" role="listbox" aria-label={text.palette.title}>
        {found.map((command, index) => (
          <li
            key={`${index} ${command.name}`}
            id={`command-${index}`}
            role="option"
            aria-selected={index === chosen}
            onPointerMove={() => setAt(index)}
            onClick={() => run(command)}
          >
            <Icon name={command.icon} size={16} />
            <bdi>{command.name}</bdi>
          </li>
        ))}
      </ul>
      {!found.length && <p class="nothing">{text.palette.nothing}</p>}
    </dialog>
  );
}

function commands(): Command[] {
  const { id, running } = current.value;
  const show = (name: NonNullable<typeof dialog.value>) => () => void (dialog.value = name);
  const save = (format: string) => () => location.assign(`/v1/conversations/${id}/export?format=${format}`);
  const all: (Command | null | false)[] = [
    { icon: "create", name: text.shortcuts.create, run: fresh },
    running.value && { icon: "stop", name: text.composer.stop, run: () => current.value.stop() },
    { icon: "search", name: text.shortcuts.search, run: search },
    { icon: "settings", name: text.own.title, run: show("conversation") },
    { icon: "settings", name: text.header.settings, run: show("settings") },
    { icon: "settings", name: text.profiles.title, run: show("profiles") },
    { icon: "file", name: text.side.files, run: () => toggle("files") },
    { icon: "panel", name: text.side.variables, run: () => toggle("variables") },
    id !== null && { icon: "share", name: text.share.title, run: show("share") },
    id !== null && { icon: "download", name: `${text.header.export}: ${text.header.exportNotebook}`, run: save("ipynb") },
    id !== null && { icon: "download", name: `${text.header.export}: ${text.header.exportMarkdown}`, run: save("md") },
    id !== null && { icon: "download", name: `${text.header.export}: ${text.header.exportJson}`, run: save("json") },
    { icon: "sidebar", name: text.shortcuts.sidebar, run: () => set({ sidebar: !options.value.sidebar }) },
    ...(Object.keys(text.settings.themes) as Theme[]).map((theme): Command => ({
      icon: "wrap", name: `${text.settings.theme}: ${text.settings.themes[theme]}`, run: () => set({ theme }),
    })),
    ...[false, true].map((folded): Command => ({
      icon: "chevron",
      name: `${text.settings.steps}: ${folded ? text.settings.stepsFolded : text.settings.stepsShown}`,
      run: () => set({ folded }),
    })),
    ...(status.value?.models ?? []).map((name): Command => ({ icon: "again", name: `${text.composer.model}: ${name}`, run: () => chooseModel(name) })),
    { icon: "trash", name: text.bin.title, run: show("bin") },
    { icon: "keyboard", name: text.header.shortcuts, run: show("shortcuts") },
    ...list.value.map((one): Command => ({ icon: "right", name: one["codeact:summary"].title ?? text.untitled, run: () => open(one.id) })),
  ];
  return all.filter((command) => command !== null && command !== false);
}
