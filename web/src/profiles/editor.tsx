// The form in which a profile is made and changed.

import { useRef, useState } from "preact/hooks";
import { size } from "../format";
import { Failed } from "../net/api";
import { requests, type Profile, type ProfileServer } from "../net/profiles";
import { upload } from "../net/upload";
import { status } from "../session";
import { text } from "../text";
import { Dialog, IconButton } from "../view/controls";
import { Icon } from "../view/icons";
import { FilePicker } from "../view/picker";
import { readProfiles } from "./state";

const EFFORTS = ["", "low", "medium", "high"] as const;
const MOST_FILES = 20;
const MOST_SERVERS = 8;

interface Props {
  profile: Profile | null;
  onDone: () => void;
  onClose: () => void;
}

/** The choices, and what the profile has already: saving must not change what nobody chose here. */
const withOwn = (choices: readonly string[], own = ""): string[] => [...new Set([...choices, own])];

type File_ = Profile["files"][number];

export function Editor({ profile, onDone, onClose }: Props) {
  const form = useRef<HTMLFormElement>(null);
  const [servers, setServers] = useState<readonly ProfileServer[]>(profile?.tools ?? []);
  const [files, setFiles] = useState<readonly File_[]>(profile?.files ?? []);
  const [busy, setBusy] = useState(0);
  const [failure, setFailure] = useState("");
  const failed = (error: unknown) => setFailure((error instanceof Failed && error.message) || text.line.unanswered);
  const save = async () => {
    const given = new FormData(form.current!);
    const word = (name: string) => String(given.get(name) ?? "").trim();
    const fields = {
      name: word("name"),
      description: word("description"),
      instructions: word("instructions"),
      model: word("model"),
      effort: word("effort"),
      tools: [...servers],
      file_ids: files.map(({ id }) => id),
    };
    setFailure("");
    try {
      await (profile ? requests.change(profile.id, fields) : requests.create(fields));
      await readProfiles();
      onDone();
    } catch (error) {
      failed(error);
    }
  };
  const add = async (chosen: readonly File[]) => {
    setFailure("");
    for (const file of chosen.slice(0, MOST_FILES - files.length)) {
      setBusy((count) => count + 1);
      try {
        const id = await upload(file, () => undefined, new AbortController().signal);
        setFiles((before) => [...before, { id, filename: file.name, bytes: file.size }]);
      } catch (error) {
        failed(error);
      } finally {
        setBusy((count) => count - 1);
      }
    }
  };
  const { models = [] } = status.value ?? {};
  return (
    <Dialog class="editor" title={profile ? text.profiles.edit(profile.name) : text.profiles.create} onClose={onClose}>
      <form ref={form} onSubmit={(event) => (event.preventDefault(), void save())}>
        <Field label={text.profiles.name}>
          <input name="name" required maxLength={100} defaultValue={profile?.name} />
        </Field>
        <Field label={text.profiles.description}>
          <input name="description" maxLength={500} defaultValue={profile?.description} />
        </Field>
        <Field label={text.settings.instructions}>
          <textarea name="instructions" rows={5} maxLength={20_000} dir="auto" defaultValue={profile?.instructions} />
        </Field>
        <div class="pair">
          <Field label={text.settings.model}>
            <select name="model">
              {withOwn(["", ...models], profile?.model).map((name) => (
                <option key={name} value={name} selected={name === (profile?.model ?? "")}>{name || text.profiles.anyModel}</option>
              ))}
            </select>
          </Field>
          <Field label={text.own.effort}>
            <select name="effort">
              {withOwn(EFFORTS, profile?.effort).map((name) => (
                <option key={name} value={name} selected={name === (profile?.effort ?? "")}>{text.own.efforts[(name || "usual") as "low"] ?? name}</option>
              ))}
            </select>
          </Field>
        </div>
        <Files files={files} busy={busy > 0} onAdd={(chosen) => void add(chosen)} onRemove={(gone) => setFiles(files.filter(({ id }) => id !== gone))} />
        <Servers servers={servers} onChange={setServers} />
        {failure && <p class="complaint" role="alert">{failure}</p>}
        <div class="buttons">
          <button type="button" class="button" onClick={onDone}>{text.turn.cancel}</button>
          <button type="submit" class="button primary" disabled={busy > 0}>{text.folder.save}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Field({ label, children }: { label: string; children: preact.ComponentChildren }) {
  return (
    <label class="field">
      <span>{label}</span>
      {children}
    </label>
  );
}

interface FilesProps {
  files: readonly File_[];
  busy: boolean;
  onAdd: (files: readonly File[]) => void;
  onRemove: (id: string) => void;
}

function Files({ files, busy, onAdd, onRemove }: FilesProps) {
  return (
    <section>
      <h3>
        {text.side.files}
        <FilePicker onPick={onAdd}>
          {(choose) => (
            <button type="button" class="quiet" disabled={busy || files.length >= MOST_FILES} onClick={choose}>
              {busy ? text.profiles.uploading : text.profiles.addFile}
            </button>
          )}
        </FilePicker>
      </h3>
      <p>{text.profiles.filesLead}</p>
      <ul class="chips">
        {files.map(({ id, filename, bytes }) => (
          <li key={id} class="chip">
            <Icon name="file" size={15} />
            <span>{filename} · {size(bytes)}</span>
            <IconButton icon="close" size={14} label={text.composer.remove(filename)} onClick={() => onRemove(id)} />
          </li>
        ))}
      </ul>
    </section>
  );
}

interface ServersProps {
  servers: readonly ProfileServer[];
  onChange: (servers: readonly ProfileServer[]) => void;
}

function Servers({ servers, onChange }: ServersProps) {
  const change = (at: number, to: Partial<ProfileServer>) =>
    onChange(servers.map((one, index) => (index === at ? { ...one, ...to } : one)));
  const approve = (at: number, asks: boolean) =>
    onChange(servers.map(({ require_approval: _, ...one }, index) => (index === at && !asks ? { ...one, require_approval: "never" } : index === at ? one : servers[index]!)));
  return (
    <section>
      <h3>
        {text.profiles.servers}
        <button
          type="button"
          class="quiet"
          disabled={servers.length >= MOST_SERVERS}
          onClick={() => onChange([...servers, { type: "mcp", server_label: "", server_url: "" }])}
        >
          {text.profiles.addServer}
        </button>
      </h3>
      <p>{text.profiles.serversLead}</p>
      <ul class="servers">
        {servers.map((one, index) => (
          <li key={index}>
            <input
              type="text"
              required
              maxLength={64}
              aria-label={text.profiles.serverName}
              placeholder={text.profiles.serverName}
              value={one.server_label}
              onInput={({ currentTarget }) => change(index, { server_label: currentTarget.value })}
            />
            <input
              type="url"
              required
              maxLength={2000}
              aria-label={text.profiles.serverUrl}
              placeholder="https://"
              value={one.server_url}
              onInput={({ currentTarget }) => change(index, { server_url: currentTarget.value })}
            />
            <IconButton icon="close" size={16} label={text.composer.remove(one.server_label)} onClick={() => onChange(servers.filter((_, at) => at !== index))} />
            <label class="tick">
              <input type="checkbox" checked={one.require_approval !== "never"} onChange={({ currentTarget }) => approve(index, currentTarget.checked)} />
              <span>{text.profiles.approve}</span>
            </label>
          </li>
        ))}
      </ul>
    </section>
  );
}
