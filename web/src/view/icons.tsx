// A name enters, a line drawing of 20 by 20 leaves. Icons are silent: their buttons have labels.

import type { JSX } from "preact";

const PATHS = {
  sidebar: "M3.5 5.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2zM8 3.5v13",
  create: "M10 4.2H5.7A2.2 2.2 0 0 0 3.5 6.4v7.9a2.2 2.2 0 0 0 2.2 2.2h7.9a2.2 2.2 0 0 0 2.2-2.2V10M8 12l.5-2.3 6-6a1.3 1.3 0 0 1 1.8 1.8l-6 6z",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l3.5 3.5",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  close: "M5 5l10 10M15 5L5 15",
  copy: "M7.5 7.5v-2a2 2 0 0 1 2-2h5a2 2 0 0 1 2 2v5a2 2 0 0 1-2 2h-2M5.5 7.5h5a2 2 0 0 1 2 2v5a2 2 0 0 1-2 2h-5a2 2 0 0 1-2-2v-5a2 2 0 0 1 2-2z",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  cross: "M6 6l8 8M14 6l-8 8",
  chevron: "M6 8l4 4 4-4",
  left: "M12 5.5L7.5 10l4.5 4.5",
  right: "M8 5.5l4.5 4.5L8 14.5",
  down: "M10 4.5v11M5.5 11l4.5 4.5 4.5-4.5",
  up: "M10 15.5v-11M5.5 9L10 4.5 14.5 9",
  stop: "M6.5 6.5h7v7h-7z",
  attach: "M15.5 9.5l-5.6 5.6a3.5 3.5 0 0 1-5-5l6-6a2.4 2.4 0 0 1 3.4 3.4l-5.9 5.9a1.2 1.2 0 0 1-1.7-1.7l5.3-5.3",
  edit: "M12.5 5l2.5 2.5M4 16l.8-3.3 8.4-8.4a1.4 1.4 0 0 1 2 0l.5.5a1.4 1.4 0 0 1 0 2L7.3 15.2z",
  again: "M15.8 8.5A6 6 0 0 0 4.6 7.4M4.2 4.2v3.4h3.4M4.2 11.5a6 6 0 0 0 11.2 1.1M15.8 15.8v-3.4h-3.4",
  good: "M6.5 9l3-5.5c1.2 0 1.9.9 1.7 2L10.8 8h3.9a1.5 1.5 0 0 1 1.5 1.8l-.9 4.7a1.8 1.8 0 0 1-1.8 1.5H6.5zM3.5 9h3v7h-3z",
  bad: "M13.5 11l-3 5.5c-1.2 0-1.9-.9-1.7-2l.4-2.5H5.3a1.5 1.5 0 0 1-1.5-1.8l.9-4.7A1.8 1.8 0 0 1 6.5 4h7zM16.5 11h-3V4h3z",
  share: "M10 12.5v-9M6.5 6.5L10 3l3.5 3.5M4.5 10.5v4a2 2 0 0 0 2 2h7a2 2 0 0 0 2-2v-4",
  download: "M10 3.5v9M6.5 9l3.5 3.5L13.5 9M4.5 16h11",
  settings: "M4 6.5h6M14 6.5h2M4 13.5h2M10 13.5h6M12 8.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 15.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  keyboard: "M4.5 5.5h11a1.5 1.5 0 0 1 1.5 1.5v6a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 3 13V7a1.5 1.5 0 0 1 1.5-1.5zM6 8.5h.01M9 8.5h.01M12 8.5h.01M14.5 8.5h.01M7 11.8h6",
  pin: "M7.5 3.5h5l-.6 5 2.6 2.5h-9L8.1 8.5zM10 11v5.5",
  file: "M11 3.5H6.5a1.5 1.5 0 0 0-1.5 1.5v10a1.5 1.5 0 0 0 1.5 1.5h7A1.5 1.5 0 0 0 15 15V7.5zM11 3.5V7.5h4",
  trash: "M4.5 6h11M8 6V4.5a1 1 0 0 1 1-1h2a1 1 0 0 1 1 1V6M6 6l.6 9a1.5 1.5 0 0 0 1.5 1.4h3.8A1.5 1.5 0 0 0 13.4 15L14 6",
  folder: "M3.5 6a1.5 1.5 0 0 1 1.5-1.5h3l1.8 2H15A1.5 1.5 0 0 1 16.5 8v6a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 14z",
  larger: "M11.5 3.5h5v5M8.5 16.5h-5v-5M16.5 3.5l-6 6M3.5 16.5l6-6",
  smaller: "M15.5 9.5h-5v-5M4.5 10.5h5v5M10.5 9.5l6-6M9.5 10.5l-6 6",
  panel: "M3.5 5.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2zM12 3.5v13",
  wrap: "M3.5 5h13M3.5 10h10.5a2.5 2.5 0 0 1 0 5H10M12 13l-2 2 2 2M3.5 15h3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg class={`icon icon-${name}`} width={size} height={size} viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
