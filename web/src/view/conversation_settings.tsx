// The settings of one conversation, and the folder that it is in.

import { useRef } from "preact/hooks";
import { change, list } from "../list";
import { profile, profiles } from "../profiles/state";
import { status } from "../session";
import { chooseModel, dialog, filed, model, ownSettings, setOwn } from "../state";
import { text } from "../text";
import { Dialog } from "./controls";

const EFFORTS = ["", "low", "medium", "high"] as const;

export function ConversationDialog() {
  const { models = [] } = status.value ?? {};
  const { instructions = "", effort = "" } = ownSettings.value;
  const chosen = profile(ownSettings.value.profile)?.id;
  return (
    <Dialog title={text.own.title} onClose={() => (dialog.value = null)}>
      <p>{text.own.lead}</p>
      <label class="field">
        <span>{text.profiles.one}</span>
        <select value={chosen ?? ""} onChange={({ currentTarget }) => setOwn({ profile: currentTarget.value })}>
          <option value="">{text.profiles.noOne}</option>
          {profiles.value?.map(({ id, name }) => <option key={id} value={id}>{name}</option>)}
        </select>
      </label>
      <label class="field">
        <span>{text.settings.model}</span>
        <select value={model.value ?? ""} onChange={({ currentTarget }) => chooseModel(currentTarget.value)}>
          {models.map((name) => <option key={name} value={name}>{name}</option>)}
        </select>
      </label>
      <label class="field">
        <span>{text.settings.instructions}</span>
        <textarea
          rows={4}
          maxLength={20_000}
          placeholder={text.own.instructionsHint}
          defaultValue={instructions}
          onChange={({ currentTarget }) => setOwn({ instructions: currentTarget.value.trim() })}
        />
      </label>
      <fieldset class="choice effort">
        <legend>{text.own.effort}</legend>
        <div>
          {EFFORTS.map((name) => (
            <label key={name}>
              <input type="radio" name="effort" checked={effort === name} onChange={() => setOwn({ effort: name })} />
              <span>{text.own.efforts[name || "usual"]}</span>
            </label>
          ))}
        </div>
      </fieldset>
    </Dialog>
  );
}

export function FolderDialog() {
  const input = useRef<HTMLInputElement>(null);
  const one = filed.value!;
  const folders = [...new Set(list.value.map((each) => each["codeact:summary"].folder).filter((name) => name !== null))];
  const save = () => {
    void change(one.id, { folder: input.current!.value.trim() });
    filed.value = null;
  };
  return (
    <Dialog title={text.folder.title} onClose={() => (filed.value = null)}>
      <form onSubmit={(event) => (event.preventDefault(), save())}>
        <label class="field">
          <span>{text.folder.name}</span>
          <input ref={input} maxLength={60} list="folders" placeholder={text.folder.none} defaultValue={one["codeact:summary"].folder ?? ""} />
        </label>
        <datalist id="folders">{folders.map((name) => <option key={name} value={name} />)}</datalist>
        <div class="buttons">
          <button type="submit" class="button primary">{text.folder.save}</button>
        </div>
      </form>
    </Dialog>
  );
}
