// The dialog of the user's profiles: a list, to make, change, share and delete them.

import { useState } from "preact/hooks";
import { Failed } from "../net/api";
import { requests, type Profile } from "../net/profiles";
import { dialog, fresh, setOwn } from "../state";
import { text } from "../text";
import { CopyButton, Dialog, IconButton } from "../view/controls";
import { Editor } from "./editor";
import { profiles, readProfiles } from "./state";
import "./profiles.css";

export function ProfilesDialog() {
  const [edited, setEdited] = useState<Profile | "new" | null>(null);
  const close = () => (dialog.value = null);
  if (edited) return <Editor profile={edited === "new" ? null : edited} onDone={() => setEdited(null)} onClose={close} />;
  return (
    <Dialog title={text.profiles.title} onClose={close}>
      <p>{text.profiles.lead}</p>
      {profiles.value?.length === 0 && <p class="nothing">{text.profiles.none}</p>}
      <ul class="profiles">
        {profiles.value?.map((one) => <Row key={one.id} one={one} onEdit={() => setEdited(one)} />)}
      </ul>
      <div class="buttons">
        <button type="button" class="button primary" onClick={() => setEdited("new")}>{text.profiles.create}</button>
      </div>
    </Dialog>
  );
}

function Row({ one, onEdit }: { one: Profile; onEdit: () => void }) {
  const [open, setOpen] = useState(false);
  const [sure, setSure] = useState(false);
  const [failure, setFailure] = useState("");
  const run = (work: () => Promise<unknown>) =>
    void work()
      .then(readProfiles)
      .catch((error: unknown) => setFailure((error instanceof Failed && error.message) || text.line.unanswered));
  const use = () => {
    fresh();
    setOwn({ profile: one.id });
    dialog.value = null;
  };
  return (
    <li>
      <div class="held-name">
        <span class="title">
          <bdi>{one.name}</bdi>
          {one.description && <small dir="auto">{one.description}</small>}
        </span>
        <IconButton icon="create" label={text.profiles.use(one.name)} onClick={use} />
        <IconButton icon="edit" label={text.profiles.edit(one.name)} onClick={onEdit} />
        <IconButton icon="share" label={text.profiles.share(one.name)} expanded={open} onClick={() => setOpen(!open)} />
        {sure ? (
          <button type="button" class="button danger" onClick={() => run(() => requests.remove(one.id))}>{text.profiles.sure}</button>
        ) : (
          <IconButton icon="trash" label={text.profiles.remove(one.name)} onClick={() => setSure(true)} />
        )}
      </div>
      {open && <Link one={one} run={run} />}
      {failure && <p class="complaint" role="alert">{failure}</p>}
    </li>
  );
}

/** What a link gives away is said before there is one; the contents of files only with a tick. */
function Link({ one, run }: { one: Profile; run: (work: () => Promise<unknown>) => void }) {
  const [files, setFiles] = useState(one.share?.files ?? false);
  const share = (given: boolean) => run(() => requests.share(one.id, given));
  const give = (given: boolean) => {
    setFiles(given);
    if (one.share) share(given);
  };
  const url = one.share && `${location.origin}/profile/${one.share.token}`;
  return (
    <div class="linked">
      <p>{text.profiles.linkLead}</p>
      {one.files.length > 0 && (
        <label class="tick">
          <input type="checkbox" checked={files} onChange={({ currentTarget }) => give(currentTarget.checked)} />
          <span>{text.profiles.giveFiles(one.files.map(({ filename }) => filename).join(", "))}</span>
        </label>
      )}
      {url ? (
        <>
          <label class="field link">
            <span>{text.share.link}</span>
            <input readOnly value={url} onFocus={(event) => event.currentTarget.select()} />
            <CopyButton label={text.share.copy} value={() => url} />
          </label>
          <div class="buttons">
            <button type="button" class="button danger" onClick={() => run(() => requests.revoke(one.id))}>{text.share.revoke}</button>
          </div>
        </>
      ) : (
        <div class="buttons">
          <button type="button" class="button" onClick={() => share(files)}>{text.share.create}</button>
        </div>
      )}
    </div>
  );
}
