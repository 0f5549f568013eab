// Turns that have changed enter; once per frame each is told to show itself anew.

interface Drawn {
  readonly version: { value: number };
}

const changed = new Set<Drawn>();

export function draw(turn: Drawn): void {
  if (!changed.size) requestAnimationFrame(flush);
  changed.add(turn);
}

function flush(): void {
  const turns = [...changed];
  changed.clear();
  for (const turn of turns) turn.version.value++;
}
