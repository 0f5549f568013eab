// What a new conversation shows: an invitation, and examples that the server's model knows.

import type { ComponentChildren, JSX } from "preact";
import { ask, line, status } from "../session";
import { text } from "../text";

const MOST = 4;

/** `choice` stands between the invitation and the examples. */
export function Empty({ choice }: { choice?: ComponentChildren }): JSX.Element {
  const examples = (status.value?.examples.length ? status.value.examples : text.empty.examples).slice(0, MOST);
  return (
    <div class="empty">
      <Mark />
      <h1>{text.empty.title}</h1>
      <p>{text.empty.lead}</p>
      {choice}
      <ul class="examples">
        {status.value?.model &&
          examples.map((example) => (
            <li key={example}>
              <button type="button" disabled={line.value !== "open"} onClick={() => ask(example, [])}>
                {example}
              </button>
            </li>
          ))}
      </ul>
    </div>
  );
}

export function Mark({ size = 40 }: { size?: number }): JSX.Element {
  return (
    <svg class="product-mark" width={size} height={size} viewBox="0 0 40 40" aria-hidden="true">
      <rect width="40" height="40" rx="11" />
      <path d="M12 13l7 7-7 7M21.5 27.5H29" />
    </svg>
  );
}
