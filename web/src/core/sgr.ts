// A terminal's colour codes enter (ECMA-48, "Select Graphic Rendition"), class names and colours leave.
// A library that writes `style` attributes would need a page policy that lets them through.

export interface Style {
  readonly bold: boolean;
  readonly dim: boolean;
  readonly italic: boolean;
  readonly underline: boolean;
  readonly inverse: boolean;
  /** `""`, the number of one of the theme's 16 colours, or `rgb(…)`. */
  readonly colour: string;
  readonly ground: string;
}

export const PLAIN: Style = {
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  inverse: false,
  colour: "",
  ground: "",
};

/** The style after `codes`; what it does not know changes nothing. The same style keeps its identity. */
export function restyle(style: Style, codes: readonly number[]): Style {
  let next: Style = style;
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at]!;
    if (code === 38 || code === 48) {
      const [colour, used] = extended(codes, at + 1);
      at += used;
      next = code === 38 ? { ...next, colour } : { ...next, ground: colour };
    } else {
      next = simple(next, code);
    }
  }
  return next;
}

export function classes(style: Style): string {
  const names: string[] = [];
  for (const name of ["bold", "dim", "italic", "underline", "inverse"] as const) if (style[name]) names.push(name);
  if (/^\d+$/.test(style.colour)) names.push(`fg${style.colour}`);
  if (/^\d+$/.test(style.ground)) names.push(`bg${style.ground}`);
  return names.join(" ");
}

function simple(style: Style, code: number): Style {
  switch (code) {
    case 0: return PLAIN;
    case 1: return { ...style, bold: true };
    case 2: return { ...style, dim: true };
    case 3: return { ...style, italic: true };
    case 4: return { ...style, underline: true };
    case 7: return { ...style, inverse: true };
    case 22: return { ...style, bold: false, dim: false };
    case 23: return { ...style, italic: false };
    case 24: return { ...style, underline: false };
    case 27: return { ...style, inverse: false };
    case 39: return { ...style, colour: "" };
    case 49: return { ...style, ground: "" };
  }
  if (code >= 30 && code <= 37) return { ...style, colour: String(code - 30) };
  if (code >= 40 && code <= 47) return { ...style, ground: String(code - 40) };
  if (code >= 90 && code <= 97) return { ...style, colour: String(code - 82) };
  if (code >= 100 && code <= 107) return { ...style, ground: String(code - 92) };
  return style;
}

/** `38;5;N` and `38;2;R;G;B`: the colour, and how many codes it took. */
function extended(codes: readonly number[], at: number): [string, number] {
  const byte = (index: number) => Math.min(255, codes[index] ?? 0);
  if (codes[at] === 2) return [`rgb(${byte(at + 1)}, ${byte(at + 2)}, ${byte(at + 3)})`, 4];
  if (codes[at] !== 5) return ["", 0];
  const n = byte(at + 1);
  if (n < 16) return [String(n), 2];
  if (n >= 232) return [`rgb(${Array(3).fill(8 + (n - 232) * 10).join(", ")})`, 2];
  const level = (value: number) => (value ? 55 + value * 40 : 0);
  const cube = n - 16;
  return [`rgb(${level(Math.floor(cube / 36))}, ${level(Math.floor(cube / 6) % 6)}, ${level(cube % 6)})`, 2];
}
