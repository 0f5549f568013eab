// The dialog that is asked for leaves; at most one is open.

import { useRef, useState } from "preact/hooks";
import { Failed } from "../net/api";
import { options, set } from "../options";
import { line, status } from "../session";
import { dialog, filed, model, signIn, signOut } from "../state";
import { text } from "../text";
import type { Theme } from "../theme";
import { choose, canNotify } from "../telling";
import { Account, SignIn, useSession } from "./account";
import { lazily } from "./lazy";
import { Dialog } from "./controls";
import { ShareDialog } from "./sharing";

const BinDialog = lazily(() => import("./bin").then((loaded) => loaded.BinDialog));
const Palette = lazily(() => import("./palette").then((loaded) => loaded.Palette));
const ConversationDialog = lazily(() => import("./conversation_settings").then((loaded) => loaded.ConversationDialog));
const FolderDialog = lazily(() => import("./conversation_settings").then((loaded) => loaded.FolderDialog));

const ProfilesDialog = lazily(() => import("../profiles/dialog").then((loaded) => loaded.ProfilesDialog));
const LinkedProfile = lazily(() => import("../profiles/linked").then((loaded) => loaded.LinkedProfile));

const close = () => (dialog.value = null);

export function Dialogs() {
  if (line.value === "key") return <Key />;
  if (filed.value) return <FolderDialog />;
  switch (dialog.value) {
    case "settings": return <Settings />;
    case "shortcuts": return <Shortcuts />;
    case "share": return <ShareDialog />;
    case "bin": return <BinDialog />;
    case "conversation": return <ConversationDialog />;
    case "palette": return <Palette />;
    case "profiles": return <ProfilesDialog />;
    case "linked": return <LinkedProfile />;
    default: return null;
  }
}

function Key() {
  const input = useRef<HTMLInputElement>(null);
  const [refused, setRefused] = useState("");
  const session = useSession();
  const people = Boolean(session?.login.url);
  const send = async () => {
    try {
      await signIn(input.current!.value.trim());
    } catch (error) {
      setRefused(error instanceof Failed && error.status !== 401 && error.message ? error.message : text.key.refused);
    }
  };
  return (
    <Dialog title={people ? text.account.welcome : text.key.title} closable={false} onClose={() => undefined}>
      <SignIn session={session} />
      <form onSubmit={(event) => (event.preventDefault(), void send())}>
        <p>{people ? text.account.orKey : text.key.lead}</p>
        <label class="field">
          <span>{text.key.label}</span>
          <input ref={input} type="password" autocomplete="current-password" required />
        </label>
        {refused && <p class="complaint" role="alert">{refused}</p>}
        <div class="buttons">
          <button type="submit" class={people ? "button" : "button primary"}>{text.key.send}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Settings() {
  const { theme, folded, temperature, steps, instructions } = options.value;
  const { sandbox, store, version } = status.value ?? {};
  const session = useSession();
  return (
    <Dialog title={text.settings.title} onClose={close}>
      <fieldset class="choice">
        <legend>{text.settings.theme}</legend>
        <div>
          {(Object.keys(text.settings.themes) as Theme[]).map((name) => (
            <label key={name}>
              <input type="radio" name="theme" checked={theme === name} onChange={() => set({ theme: name })} />
              <span>{text.settings.themes[name]}</span>
            </label>
          ))}
        </div>
      </fieldset>
      <fieldset class="choice">
        <legend>{text.settings.steps}</legend>
        <div>
          {[false, true].map((value) => (
            <label key={String(value)}>
              <input type="radio" name="folded" checked={folded === value} onChange={() => set({ folded: value })} />
              <span>{value ? text.settings.stepsFolded : text.settings.stepsShown}</span>
            </label>
          ))}
        </div>
      </fieldset>
      {canNotify() && (
        <label class="tick">
          <input
            type="checkbox"
            checked={options.value.notify ?? false}
            onChange={({ currentTarget }) => void choose(currentTarget.checked)}
          />
          <span>{text.notify.setting}</span>
        </label>
      )}
      <label class="field">
        <span>{text.settings.instructions}</span>
        <textarea
          rows={3}
          placeholder={text.settings.instructionsHint}
          value={instructions}
          onInput={(event) => set({ instructions: event.currentTarget.value })}
        />
      </label>
      <div class="pair">
        <NumberField
          label={text.settings.temperature}
          empty={text.settings.temperatureDefault}
          value={temperature}
          most={2}
          step={0.1}
          onChange={(value) => set({ temperature: value })}
        />
        <NumberField
          label={text.settings.blocks}
          empty={text.settings.blocksDefault}
          value={steps}
          most={100}
          step={1}
          onChange={(value) => set({ steps: value })}
        />
      </div>
      <h3>{text.profiles.title}</h3>
      <p>{text.profiles.lead}</p>
      <div class="buttons">
        <button type="button" class="button" onClick={() => (dialog.value = "profiles")}>{text.profiles.manage}</button>
      </div>
      {session && <Account session={session} onSignOut={() => void signOut()} />}
      <h3>{text.settings.about}</h3>
      <dl class="facts">
        <div><dt>{text.settings.model}</dt><dd>{model.value}</dd></div>
        <div><dt>{text.settings.sandbox}</dt><dd>{sandbox?.summary}</dd></div>
        <div><dt>{text.settings.store}</dt><dd>{store}</dd></div>
        <div><dt>{text.settings.server}</dt><dd>{version}</dd></div>
      </dl>
      {options.value.signedIn && (
        <div class="buttons">
          <button type="button" class="button" onClick={() => void signOut()}>{text.settings.signOut}</button>
        </div>
      )}
    </Dialog>
  );
}

interface NumberProps {
  label: string;
  empty: string;
  value: number | null;
  most: number;
  step: number;
  onChange: (value: number | null) => void;
}

function NumberField({ label, empty, value, most, step, onChange }: NumberProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        min={0}
        max={most}
        step={step}
        placeholder={empty}
        value={value ?? ""}
        onChange={({ currentTarget: { valueAsNumber } }) =>
          onChange(Number.isNaN(valueAsNumber) ? null : Math.min(most, Math.max(0, valueAsNumber)))
        }
      />
    </label>
  );
}

function Shortcuts() {
  const command = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘" : "Ctrl";
  const keys: [string, string[]][] = [
    [text.shortcuts.send, ["Enter"]],
    [text.shortcuts.newline, ["Shift", "Enter"]],
    [text.shortcuts.stop, ["Esc"]],
    [text.shortcuts.create, [command, "Shift", "O"]],
    [text.shortcuts.search, [command, "K"]],
    [text.shortcuts.palette, [command, "."]],
    [text.shortcuts.sidebar, [command, "B"]],
    [text.shortcuts.focus, ["/"]],
    [text.shortcuts.help, ["?"]],
  ];
  return (
    <Dialog title={text.shortcuts.title} onClose={close}>
      <dl class="keys">
        {keys.map(([name, parts]) => (
          <div>
            <dt>{name}</dt>
            <dd>{parts.map((part) => <kbd>{part}</kbd>)}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
