// Numbers, sizes and times, written as the language of the page writes them.

/** The language of the page's words, as in the `lang` of its document. */
let language = "en";

export function speak(name: string): void {
  language = name;
  document.documentElement.lang = name;
}

export const number = (n: number): string => n.toLocaleString(language);

/** In kilobytes and megabytes of a thousand, as files are measured. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${number(bytes)} B`;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value.toLocaleString(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} ${unit}`;
}

/** The time of the day; `at` is in milliseconds, here and below. */
export const time = (at: number): string => new Date(at).toLocaleTimeString(language, { hour: "numeric", minute: "2-digit" });

export const date = (at: number): string =>
  new Date(at).toLocaleDateString(language, { day: "numeric", month: "long", year: "numeric" });

/** Today and yesterday by these words, other days by their date. `inside`: within a sentence. */
export function day(at: number, inside = false): string {
  const days = Math.round((midnight(Date.now()) - midnight(at)) / 86_400_000);
  if (days > 1) return date(at);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(-days, "day");
  return inside ? words : words[0]!.toLocaleUpperCase(language) + words.slice(1);
}

export const isSameDay = (one: number, other: number): boolean => midnight(one) === midnight(other);

const midnight = (at: number): number => new Date(at).setHours(0, 0, 0, 0);
