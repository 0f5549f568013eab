// How the connection and the server are enters; the one quiet line that says what is not as it should be leaves.

import { line, status } from "../session";
import { text } from "../text";

export function StatusLine() {
  const words = said();
  return (
    <p class="line" role="status">
      {words && <span>{words}</span>}
    </p>
  );
}

function said(): string {
  if (line.value === "open") {
    const [waits] = Object.entries(status.value?.starting ?? {});
    return waits ? text.line.starting(...waits) : "";
  }
  return line.value === "key" || line.value === "connecting" ? "" : text.line[line.value];
}
