// The turns of a conversation enter, each with the turn it follows; the chosen path through their tree leaves.

export interface Node {
  readonly id: string;
  readonly previousId: string | null;
}

/** From the oldest turn to the newest one below `leafId`'s line; where nothing is chosen, the newest branch. */
export function path<T extends Node>(turns: readonly T[], leafId: string | null): T[] {
  const byId = new Map(turns.map((turn) => [turn.id, turn]));
  const chosen: T[] = [];
  const start = (leafId && byId.get(leafId)) || turns.at(-1);
  for (let at = start; at; at = at.previousId ? byId.get(at.previousId) : undefined) chosen.unshift(at);
  for (let at = newestChild(turns, start); at; at = newestChild(turns, at)) chosen.push(at);
  return chosen;
}

/** The turns that follow the same turn, oldest first: the branches to switch between. */
export function siblings<T extends Node>(turns: readonly T[], turn: T): T[] {
  return turns.filter((other) => other.previousId === turn.previousId);
}

function newestChild<T extends Node>(turns: readonly T[], turn: T | undefined): T | undefined {
  return turn && turns.findLast((other) => other.previousId === turn.id);
}
