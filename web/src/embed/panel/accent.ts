// A colour of the host page and the paper's enter; the shades that the panel needs leave, each readable where it stands.

export type Rgb = readonly [red: number, green: number, blue: number];

export interface Shades {
  accent: Rgb;
  strong: Rgb;
  soft: Rgb;
  /** What is written on the accent. */
  on: Rgb;
}

const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [1, 1, 1];
/** WCAG 2.2, 1.4.3: text of ordinary size, level AA. */
const READABLE = 4.5;
const STEP = 0.04;

/** Components are from 0 to 1. An accent that cannot be read on the paper goes towards black or white until it can. */
export function shades(wished: Rgb, paper: Rgb): Shades {
  const ink = luminance(paper) > 0.5 ? BLACK : WHITE;
  let accent = wished;
  for (let share = STEP; contrast(accent, paper) < READABLE; share += STEP) accent = mixed(wished, ink, share);
  const on = contrast(accent, WHITE) >= READABLE ? WHITE : BLACK;
  return { accent, strong: mixed(accent, ink, 0.18), soft: mixed(accent, paper, 0.9), on };
}

export const css = (colour: Rgb): string => `rgb(${colour.map((part) => Math.round(part * 255)).join(" ")})`;

export function contrast(one: Rgb, other: Rgb): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function mixed(one: Rgb, other: Rgb, share: number): Rgb {
  const part = (at: 0 | 1 | 2) => one[at] + (other[at] - one[at]) * Math.min(1, share);
  return [part(0), part(1), part(2)];
}
