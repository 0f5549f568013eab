// What a link to a profile shows, and the button that copies it.

import { useEffect, useState } from "preact/hooks";
import { size } from "../format";
import { address, Failed } from "../net/api";
import { requests, type SharedProfile } from "../net/profiles";
import { dialog, fresh, setOwn } from "../state";
import { text } from "../text";
import { Dialog } from "../view/controls";
import { linked, readProfiles } from "./state";
import "./profiles.css";

export function LinkedProfile() {
  const token = linked.value;
  const [shared, setShared] = useState<SharedProfile | null>(null);
  const [failure, setFailure] = useState("");
  const failed = (error: unknown) => setFailure((error instanceof Failed && error.message) || text.line.unanswered);
  useEffect(() => void requests.shared(token).then(setShared, failed), [token]);
  const close = () => {
    dialog.value = null;
    linked.value = "";
    history.replaceState(null, "", address(""));
  };
  const copy = async () => {
    try {
      const { id } = await requests.copy(token);
      await readProfiles();
      close();
      fresh();
      setOwn({ profile: id });
    } catch (error) {
      failed(error);
    }
  };
  return (
    <Dialog title={shared?.name ?? text.profiles.linked} onClose={close}>
      {shared && (
        <>
          <p>{text.profiles.linkedLead}</p>
          <dl class="given">
            <Given name={text.profiles.description} value={shared.description} />
            <Given name={text.settings.instructions} value={shared.instructions} />
            <Given name={text.settings.model} value={shared.model} />
            <Given name={text.own.effort} value={text.own.efforts[shared.effort as "low"] ?? shared.effort} />
            <Given
              name={shared.gives_files ? text.side.files : text.profiles.filesNotGiven}
              value={shared.files.map(({ filename, bytes }) => `${filename} · ${size(bytes)}`).join("\n")}
            />
            <Given
              name={text.profiles.servers}
              value={shared.tools.map(({ server_label, server_url }) => `${server_label} · ${server_url}`).join("\n")}
            />
          </dl>
        </>
      )}
      {failure && <p class="complaint" role="alert">{failure}</p>}
      {shared && (
        <div class="buttons">
          <button type="button" class="button primary" onClick={() => void copy()}>{text.profiles.copy}</button>
        </div>
      )}
    </Dialog>
  );
}

function Given({ name, value }: { name: string; value: string }) {
  if (!value) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd dir="auto">{value}</dd>
    </>
  );
}
