// Links and pictures in the model's text that name a file which its code wrote: they lead to the stored file.

import { fileOf } from "../core/html";
import { inUse } from "../net/access";
import { content, fileAddress } from "../net/api";
import { text } from "../text";
import type { ContainerFileCitation } from "../wire";
import { save } from "./stored";

export type NamedFile = Pick<ContainerFileCitation, "container_id" | "file_id" | "filename">;

const TYPES: Record<string, string> = { png: "png", jpg: "jpeg", jpeg: "jpeg", gif: "gif", webp: "webp", svg: "svg+xml" };

/** The addresses of pictures that this page has fetched, by the address of the file. */
const fetched = new Map<string, Promise<string>>();

/** Gives every link and picture below `root` the file that its `data-file` names, if there is one. May be repeated. */
export function linkFiles(root: HTMLElement, files: readonly NamedFile[]): void {
  for (const element of root.querySelectorAll<HTMLElement>("[data-file]")) {
    const file = files.findLast(({ filename }) => filename === element.dataset["file"]);
    if (!file) continue;
    const address = fileAddress(file.container_id, file.file_id);
    if (element.hasAttribute("data-picture")) void show(element, file.filename, address);
    else link(element as HTMLAnchorElement, file.filename, address);
  }
}

/** Puts the picture in the place of its words, which stay where it cannot be fetched. */
async function show(place: HTMLElement, name: string, address: string): Promise<void> {
  if (!isPictureName(name) || place.dataset["shown"] === address) return;
  place.dataset["shown"] = address;
  const source = await picture(name, address).catch(() => "");
  if (!source || place.dataset["shown"] !== address) return;
  const image = new Image();
  image.alt = place.textContent || place.querySelector("img")?.alt || name;
  image.src = source;
  place.replaceChildren(image);
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
