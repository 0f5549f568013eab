// The dialog of a conversation's link, and the page that a link leads to.

import { useEffect, useState } from "preact/hooks";
import { Answer } from "../core/answer";
import { asked, type Asked } from "../core/asked";
import { address, api, Failed, type Share, type Shared } from "../net/api";
import { current } from "../session";
import { dialog } from "../state";
import { text } from "../text";
import type { Response } from "../wire";
import { Attached } from "./attached";
import { CopyButton, Dialog } from "./controls";
import { Mark } from "./empty";
import { Parts } from "./turn";
import { Verified } from "./verified";

const close = () => (dialog.value = null);

export function ShareDialog() {
  const [share, setShare] = useState<Share | null>(null);
  const [said, setSaid] = useState("");
  const conversation = current.value;
  const id = conversation.id!;
  useEffect(() => void api.shareOf(id).then(setShare, () => undefined), [id]);

  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      setSaid((error instanceof Failed && error.message) || text.line.unanswered);
    }
  };
  const create = () => attempt(async () => setShare(await api.share(id, conversation.path.value.at(-1)!.id)));
  const revoke = () =>
    attempt(async () => {
      await api.revoke(id);
      setShare(null);
      setSaid(text.share.revoked);
    });
  const url = share && `${location.origin}/share/${share.token}`;
  return (
    <Dialog title={text.share.title} onClose={close}>
      <p>{text.share.lead}</p>
      {url ? (
        <>
          <label class="field link">
            <span>{text.share.link}</span>
            <input readOnly value={url} onFocus={(event) => event.currentTarget.select()} />
            <CopyButton label={text.share.copy} value={() => url} />
          </label>
          <div class="buttons">
            <button type="button" class="button danger" onClick={() => void revoke()}>{text.share.revoke}</button>
            <button type="button" class="button" onClick={() => void create()}>{text.share.renew}</button>
          </div>
        </>
      ) : (
        <div class="buttons">
          <button type="button" class="button primary" onClick={() => void create()}>{text.share.create}</button>
        </div>
      )}
      {said && <p role="status">{said}</p>}
    </Dialog>
  );
}

/** What somebody sees who was given the link: everything to read, nothing to do. */
export function SharedPage({ token }: { token: string }) {
  const [shared, setShared] = useState<Shared | null>(null);
  const [said, setSaid] = useState("");
  useEffect(() => {
    api.shared(token).then(
      (found) => {
        setShared(found);
        document.title = `${found.title ?? text.untitled} · ${text.product}`;
      },
      (error) => setSaid((error instanceof Failed && error.message) || text.line.unanswered),
    );
  }, [token]);
  const open = () =>
    api.openShare(token).then(
      ({ id }) => location.assign(address(`c/${id}`)),
      (error) => setSaid((error instanceof Failed && error.message) || text.line.unanswered),
    );
  return (
    <main class="main shared">
      <header class="header">
        <Mark size={22} />
        <span class="heading">{text.share.reading}</span>
        {shared && (
          <button type="button" class="button" onClick={open}>
            {text.share.open}
          </button>
        )}
      </header>
      <div class="view" tabIndex={0}>
        <div class="column">
          {said && <p class="missing" role="alert">{said}</p>}
          {shared && <h1>{shared.title ?? text.untitled}</h1>}
          {shared?.responses.filter(({ input }) => input.length).map((response) => (
            <section class="turn" key={response.id} data-last>
              <SharedQuestion asked={asked(response.input)} />
              <article class="answer" aria-label={text.turn.answer}>
                <Parts parts={answerOf(response).parts} />
                {response.certificate && <Verified certificate={response.certificate} />}
              </article>
            </section>
          ))}
        </div>
      </div>
    </main>
  );
}

function SharedQuestion({ asked }: { asked: Asked }) {
  return (
    <div class="question">
      <Attached files={asked.attachments.map((file) => ({ ...file, url: "" }))} />
      {asked.text && <div class="bubble" dir="auto">{asked.text}</div>}
    </div>
  );
}

function answerOf(shared: Shared["responses"][number]): Answer {
  const answer = new Answer();
  answer.restore({ "codeact:notices": [], ...shared } as unknown as Response);
  return answer;
}
