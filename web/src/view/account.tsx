// Who is signed in enters; their sessions and API keys leave as lists, to end, make and revoke.

import { useEffect, useRef, useState } from "preact/hooks";
import { Failed, address } from "../net/api";
import { accounts, type ApiKey, type SessionInfo, type SignedIn } from "../net/accounts";
import { date } from "../format";
import { text } from "../text";
import { CopyButton, IconButton } from "./controls";

/** Who asks, once the server has said so. */
export function useSession(): SessionInfo | null {
  const [session, setSession] = useState<SessionInfo | null>(null);
  useEffect(() => void accounts.session().then(setSession, () => undefined), []);
  return session;
}

/** The button by which a person signs in; nothing where people do not. */
export function SignIn({ session }: { session: SessionInfo | null }) {
  if (!session?.login.url) return null;
  const here = /^\/(c|profile)\/[\w-]+$/.test(location.pathname) ? `?next=${encodeURIComponent(location.pathname)}` : "";
  return (
    <p class="buttons">
      <a class="button primary" href={address(`${session.login.url}${here}`)}>{text.account.signIn(session.login.name ?? "")}</a>
    </p>
  );
}

export function Account({ session, onSignOut }: { session: SessionInfo; onSignOut: () => void }) {
  if (!session.role) return null;
  return (
    <section class="account">
      <h3>{text.account.title}</h3>
      <p>
        {[session.name, session.email].filter(Boolean).join(" · ")} <span class="quiet">{text.account.roles[session.role]}</span>
      </p>
      {session.expires_at && (
        <div class="buttons">
          <button type="button" class="button" onClick={onSignOut}>{text.account.signOut}</button>
        </div>
      )}
      <Keys />
      <Sessions />
    </section>
  );
}

/** What the server has, and how to ask again; `failure` is in its words. */
function useList<T>(ask: () => Promise<{ data: T[] }>) {
  const [list, setList] = useState<T[]>([]);
  const [failure, setFailure] = useState("");
  const run = async (work: () => Promise<unknown> = () => Promise.resolve()) => {
    try {
      await work();
      setFailure("");
    } catch (error) {
      setFailure((error instanceof Failed && error.message) || text.account.failed);
    }
    await ask().then(({ data }) => setList(data), () => undefined);
  };
  useEffect(() => void run(), []);
  return { list, failure, run };
}

const Failure = ({ words }: { words: string }) => (words ? <p class="complaint" role="alert">{words}</p> : null);

function Keys() {
  const { list, failure, run } = useList<ApiKey>(accounts.keys);
  const [made, setMade] = useState<ApiKey | null>(null);
  const name = useRef<HTMLInputElement>(null);
  const days = useRef<HTMLSelectElement>(null);
  const make = () =>
    run(async () => {
      setMade(await accounts.createKey(name.current!.value.trim(), Number(days.current!.value) || null));
      name.current!.value = "";
    });
  return (
    <>
      <h4>{text.account.keys}</h4>
      <ul class="held">
        {list.map((one) => (
          <li key={one.id}>
            <span>
              {one.name} <code>{one.shown}</code>
              <br />
              <small>
                {one.used_at ? text.account.used(date(one.used_at * 1000)) : text.account.unused}
                {one.expires_at ? ` · ${text.account.expires(date(one.expires_at * 1000))}` : ""}
              </small>
            </span>
            <IconButton icon="trash" label={text.account.revoke(one.name)} onClick={() => void run(() => accounts.revokeKey(one.id))} />
          </li>
        ))}
      </ul>
      {made?.secret && (
        <div class="made" role="status">
          <p>{text.account.once}</p>
          <p>
            <code>{made.secret}</code> <CopyButton label={text.account.copy} value={() => made.secret ?? ""} />
          </p>
        </div>
      )}
      <form class="pair" onSubmit={(event) => (event.preventDefault(), void make())}>
        <label class="field">
          <span>{text.account.keyName}</span>
          <input ref={name} required maxLength={100} />
        </label>
        <label class="field">
          <span>{text.account.lasts}</span>
          <select ref={days}>
            {[30, 90, 365].map((value) => <option value={value} selected={value === 90}>{text.account.days(value)}</option>)}
            <option value="0">{text.account.forever}</option>
          </select>
        </label>
        <button type="submit" class="button">{text.account.make}</button>
      </form>
      <Failure words={failure} />
    </>
  );
}

function Sessions() {
  const { list, failure, run } = useList<SignedIn>(accounts.sessions);
  if (!list.length) return null;
  return (
    <>
      <h4>{text.account.sessions}</h4>
      <ul class="held">
        {list.map((one) => (
          <li key={one.id}>
            <span>
              {one.browser || text.account.unknown}
              <br />
              <small>
                {[one.current ? text.account.here : "", one.address, date((one.used_at ?? one.created_at) * 1000)].filter(Boolean).join(" · ")}
              </small>
            </span>
            {!one.current && (
              <IconButton icon="trash" label={text.account.end} onClick={() => void run(() => accounts.endSession(one.id))} />
            )}
          </li>
        ))}
      </ul>
      <Failure words={failure} />
    </>
  );
}
