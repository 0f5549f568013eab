// The address of something that the server keeps enters; a link that saves it, or an address that <img> takes, leaves.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { inUse } from "../net/access";
import { content } from "../net/api";

interface DownloadProps {
  class: string;
  href: string;
  name: string;
  label?: string;
  children: ComponentChildren;
}

/** With a token the file is fetched first, because a link carries none. */
export function Download({ href, name, label, children, ...rest }: DownloadProps) {
  const click = (event: MouseEvent) => {
    if (!inUse() || !isKept(href)) return;
    event.preventDefault();
    void content(href).then((file) => save(file, name), () => undefined);
  };
  return (
    <a class={rest.class} href={href} download={name} aria-label={label} title={label} onClick={click}>
      {children}
    </a>
  );
}

/** Empty until there is something to show. */
export function useStored(source: string): string {
  const direct = !inUse() || !isKept(source);
  const [fetched, setFetched] = useState("");
  useEffect(() => {
    if (direct) return;
    let url = "";
    let left = false;
    content(source).then(
      (file) => !left && setFetched((url = URL.createObjectURL(file))),
      () => undefined,
    );
    return () => {
      left = true;
      if (url) URL.revokeObjectURL(url);
    };
  }, [source, direct]);
  return direct ? source : fetched;
}

const isKept = (source: string): boolean => source.startsWith("/");

export function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
