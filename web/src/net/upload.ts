// Uploads a file before the question that names it. XMLHttpRequest, since `fetch` does not report progress.

import { inUse, renewed } from "./access";
import { address, Failed } from "./api";

/** A file that no question names is deleted after two days. */
const LASTS_S = 172_800;

/** Uploads `file` and returns its id. `onProgress` gets the part that has been sent, from 0 to 1. Raises `Failed`. */
export async function upload(file: File, onProgress: (part: number) => void, signal: AbortSignal): Promise<string> {
  try {
    return await attempt(file, onProgress, signal);
  } catch (error) {
    if (!(error instanceof Failed && error.status === 401 && (await renewed()))) throw error;
    return attempt(file, onProgress, signal);
  }
}

function attempt(file: File, onProgress: (part: number) => void, signal: AbortSignal): Promise<string> {
  const form = new FormData();
  form.append("purpose", "user_data");
  form.append("expires_after[anchor]", "created_at");
  form.append("expires_after[seconds]", String(LASTS_S));
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onload = () => {
      const { id, error } = parsed(request.responseText);
      if (request.status === 200 && id) resolve(id);
      else reject(new Failed(error?.message ?? request.statusText, request.status, error?.code ?? null));
    };
    request.onerror = request.onabort = () => reject(new Failed("", 0));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", address("v1/files"));
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
