// Few words that outlast the page, in the frame's own storage, which browsers keep apart for each site around it.

const KEY = "codeact embed ";

export function kept(name: string): string | null {
  try {
    return localStorage.getItem(KEY + name);
  } catch {
    return null;
  }
}

/** Null forgets. Without storage everything lasts as long as the page. */
export function keep(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(KEY + name);
    else localStorage.setItem(KEY + name, value);
  } catch {
    // Storage is full or switched off.
  }
}
