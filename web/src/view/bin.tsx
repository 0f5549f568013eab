// The bin: deleted conversations, to restore or to remove for good.

import { useEffect, useState } from "preact/hooks";
import { date } from "../format";
import { isAsked, refresh } from "../list";
import { api, type ConversationObject } from "../net/api";
import { status } from "../session";
import { dialog, open } from "../state";
import { text } from "../text";
import { Dialog, IconButton } from "./controls";

export function BinDialog() {
  const [bin, setBin] = useState<readonly ConversationObject[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [failed, setFailed] = useState(false);
  const [asked, setAsked] = useState<string | null>(null);
  const attempt = (work: () => Promise<void>) => void work().catch(() => setFailed(true));
  const read = async (after: string | null) => {
    const page = await api.bin(after);
    setBin((before) => [...(after ? (before ?? []) : []), ...page.data.filter(isAsked)]);
    setNext(page["codeact:next"]);
  };
  useEffect(() => attempt(() => read(null)), []);

  const restore = async ({ id }: ConversationObject) => {
    await api.restore(id);
    dialog.value = null;
    await refresh();
    open(id);
  };
  const remove = async ({ id }: ConversationObject) => {
    await api.removeForGood(id);
    setBin((before) => before!.filter((one) => one.id !== id));
  };
  const days = status.value?.deleted_retention_days;
  return (
    <Dialog title={text.bin.title} onClose={() => (dialog.value = null)}>
      {days !== undefined && <p>{text.bin.lead(days)}</p>}
      {failed && <p class="complaint" role="alert">{text.bin.failed}</p>}
      {bin?.length === 0 && <p class="nothing">{text.bin.none}</p>}
      <ul class="bin">
        {bin?.map((one) => (
          <li key={one.id}>
            <span class="title">
              <bdi>{one["codeact:summary"].title ?? text.untitled}</bdi>
              <small>{text.bin.deleted(date(1000 * (one["codeact:deleted_at"] ?? 0)))}</small>
            </span>
            <button type="button" class="button" onClick={() => attempt(() => restore(one))}>{text.bin.restore}</button>
            {asked === one.id ? (
              <button type="button" class="button danger" onClick={() => attempt(() => remove(one))}>{text.bin.sure}</button>
            ) : (
              <IconButton icon="trash" label={text.bin.remove} onClick={() => setAsked(one.id)} />
            )}
          </li>
        ))}
      </ul>
      {next && (
        <button type="button" class="quiet" onClick={() => attempt(() => read(next))}>{text.sidebar.more}</button>
      )}
    </Dialog>
  );
}
