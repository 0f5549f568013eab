// Links and pictures in the model's text that name a file which its code wrote: they lead to the stored file.

import { fileOf } from "../core/html";
import { inUse } from "../net/access";
import { content, fileAddress } from "../net/api";
import { text } from "../text";
import type { ContainerFileCitation } from "../wire";
import { save } from "./stored";

const TYPES: Record<string, string> = { png: "png", jpg: "jpeg", jpeg: "jpeg", gif: "gif", webp: "webp", svg: "svg+xml" };

/** The addresses of pictures that this page has fetched, by the address of the file. */
const fetched = new Map<string, Promise<string>>();

/** Gives every element with `data-file` below `root` the file of that name, if there is one. May be repeated. */
export function linkFiles(root: HTMLElement, files: readonly ContainerFileCitation[]): void {
  for (const element of root.querySelectorAll<HTMLElement>("[data-file]")) {
    const file = files.findLast(({ filename }) => filename === element.dataset["file"]);
    if (!file) continue;
    const address = fileAddress(file.container_id, file.file_id);
    if (element instanceof HTMLImageElement) void show(element, file.filename, address);
    else link(element as HTMLAnchorElement, file.filename, address);
  }
}

async function show(image: HTMLImageElement, name: string, address: string): Promise<void> {
  if (!isPictureName(name) || image.dataset["shown"] === address) return;
  image.dataset["shown"] = address;
  image.src = await picture(name, address).catch(() => "");
}

export const isPictureName = (name: string): boolean => extension(name) in TYPES;

const extension = (name: string): string => name.split(".").at(-1)!.toLowerCase();

/** The address by which an `<img>` shows this file. The server sends every file as a download without a type. */
export async function picture(name: string, address: string): Promise<string> {
  const known = fetched.get(address);
  if (known) return known;
  const made = content(address).then((file) => URL.createObjectURL(new Blob([file], { type: `image/${TYPES[extension(name)]}` })));
  fetched.set(address, made);
  made.catch(() => fetched.delete(address));
  return made;
}

/** Whether the Markdown shows the picture of this name by itself. */
export const shows = (markdown: string, name: string): boolean =>
  markdown.split("![").slice(1).some((rest) => fileOf(rest.slice(rest.indexOf("](") + 2, rest.indexOf(")"))) === name);

function link(anchor: HTMLAnchorElement, name: string, address: string): void {
  anchor.href = address;
  anchor.download = name;
  anchor.title = text.files.download(name);
  anchor.removeAttribute("target");
  // A link carries no token: then the page fetches the file itself.
  anchor.onclick = (event) => {
    if (!inUse()) return;
    event.preventDefault();
    void content(address).then((file) => save(file, name), () => undefined);
  };
}
