// Uploads a file before the question that names it. What a broken connection interrupts goes on when it is back: a long
// file goes up in parts, of which only the interrupted one is sent again. XMLHttpRequest, since `fetch` does not report
// progress.

import { inUse, renewed } from "./access";
import { address, api, Failed } from "./api";

/** A file that no question names is deleted after two days. */
const LASTS_S = 172_800;
const PART_BYTES = 4_000_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** Statuses of a server or a proxy that may answer in a moment; 0: nobody answered. */
const PASSING = [0, 408, 429, 502, 503, 504];

type Progress = (part: number) => void;

/** Uploads `file` and returns its id. `onProgress` gets the part that has been sent, from 0 to 1. Raises `Failed`. */
export async function upload(file: File, onProgress: Progress, signal: AbortSignal): Promise<string> {
  if (file.size > PART_BYTES) return inParts(file, onProgress, signal);
  const { id } = await again(() => send("v1/files", whole(file), onProgress, signal), signal);
  return id;
}

async function inParts(file: File, onProgress: Progress, signal: AbortSignal): Promise<string> {
  const { id } = await again(() => api.beginUpload(file, { anchor: "created_at", seconds: LASTS_S }), signal);
  signal.addEventListener("abort", () => void api.cancelUpload(id).catch(() => undefined)); // It ends by itself, too.
  const parts: string[] = [];
  for (let at = 0; at < file.size; at += PART_BYTES) {
    const piece = file.slice(at, at + PART_BYTES);
    const form = new FormData();
    form.append("data", piece, "part");
    const shown: Progress = (part) => onProgress((at + part * piece.size) / file.size);
    parts.push((await again(() => send(`v1/uploads/${id}/parts`, form, shown, signal), signal)).id);
  }
  return (await again(() => api.completeUpload(id, parts), signal)).file.id;
}

function whole(file: File): FormData {
  const form = new FormData();
  form.append("purpose", "user_data");
  form.append("expires_after[anchor]", "created_at");
  form.append("expires_after[seconds]", String(LASTS_S));
  form.append("file", file, file.name);
  return form;
}

/** Repeats `work` until it succeeds, `signal` ends it, or the server refuses. */
async function again<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let pause = FIRST_PAUSE_MS, renewals = 0; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Failed) || signal.aborted) throw error;
      if (error.status === 401 && !renewals++ && (await renewed())) continue;
      if (!PASSING.includes(error.status)) throw error;
      await returned(pause);
    }
  }
}

/** After the pause, or as soon as the browser is online again. */
async function returned(pause: number): Promise<void> {
  const over = new AbortController();
  await new Promise<void>((resolve) => {
    setTimeout(resolve, pause);
    addEventListener("online", () => resolve(), { signal: over.signal });
  });
  over.abort();
}

function send(path: string, form: FormData, onProgress: Progress, signal: AbortSignal): Promise<{ id: string }> {
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onload = () => {
      const { id, error } = parsed(request.responseText);
      if (request.status === 200 && id) resolve({ id });
      else reject(new Failed(error?.message ?? request.statusText, request.status, error?.code ?? null));
    };
    request.onerror = request.onabort = () => reject(new Failed("", 0));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", address(path));
    if (inUse()) request.setRequestHeader("Authorization", `Bearer ${inUse()}`);
    request.send(form);
  });
}

interface Answer {
  id?: string;
  error?: { message?: string; code?: string };
}

function parsed(text: string): Answer {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return {};
  }
}
