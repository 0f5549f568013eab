// Code that grows enters; stretches of it leave, of which only the last one still changes.

const ENOUGH = 1500;

/** Each stretch can be coloured alone. Each update reads the last one only. */
export class Growing {
  finished: string[] = [];
  rest = "";
  private read = "";
  private readonly mayCut: (before: string, line: string) => boolean;

  constructor(language: string) {
    this.mayCut = /^(py|python3?|ipython)$/.test(language) ? betweenStatements : () => true;
  }

  update(code: string): this {
    if (!code.startsWith(this.read)) {
      this.finished = [];
      this.read = "";
    }
    this.rest = code.slice(this.read.length);
    const at = this.rest.length > ENOUGH ? this.cut() : 0;
    if (at) {
      this.finished.push(this.rest.slice(0, at));
      this.read += this.rest.slice(0, at);
      this.rest = this.rest.slice(at);
    }
    return this;
  }

  /** After the last line end where it may be cut; 0 where there is none. */
  private cut(): number {
    for (let at = this.rest.lastIndexOf("\n"); at > 0; at = this.rest.lastIndexOf("\n", at - 1)) {
      if (this.mayCut(this.rest.slice(0, at), this.rest.slice(at + 1, at + 2))) return at + 1;
    }
    return 0;
  }
}

/** At the margin, and not inside of a text in triple quotes. */
function betweenStatements(before: string, line: string): boolean {
  return /[A-Za-z_@#]/.test(line) && (before.match(/"""|'''/g)?.length ?? 0) % 2 === 0;
}
