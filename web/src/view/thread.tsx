// The shown path of turns enters; the scrolled conversation leaves: the newest turns at once, older ones when idle.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { isSameDay } from "../format";
import { current, missing } from "../session";
import { text } from "../text";
import type { Turn } from "../turn";
import { Icon } from "./icons";
import { Said } from "./question";
import { TurnView } from "./turn";

const FIRST = 12;
const STEP = 24;
const NEAR_END_PX = 80;
const BREAK_MS = 3_600_000;

/** `empty` is shown while there are no turns. */
export function Thread({ empty }: { empty: ComponentChildren }) {
  const conversation = current.value;
  const turns = conversation.path.value;
  const running = conversation.running.value;
  const shown = useGrowing(conversation, turns.length);
  const { view, content, away, toEnd } = useFollowing(conversation, running?.id ?? null);
  return (
    <div class="view" ref={view} tabIndex={-1}>
      <div class="column" ref={content}>
        {missing.value && <p class="missing" role="alert">{missing.value}</p>}
        {!turns.length && !missing.value && conversation.loaded.value && empty}
        {turns.slice(-shown).map((turn, index, { length }) => (
          <TurnView
            key={turn.key}
            turn={turn}
            last={index === length - 1}
            busy={running !== null}
            dated={isApart(turns[turns.length - length + index - 1], turn)}
          />
        ))}
        {conversation.said.value.map((said, index) => (
          <Said key={index} said={said} />
        ))}
      </div>
      {away && (
        <button type="button" class="to-end" aria-label={text.turn.latest} title={text.turn.latest} onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

/** The date stands before the first question, and before one that was asked on another day or after a long break. */
function isApart(before: Turn | undefined, turn: Turn): boolean {
  return !before || !isSameDay(before.askedAt, turn.askedAt) || turn.askedAt - before.askedAt > BREAK_MS;
}

/** How many turns are in the page: few at first, so that the end is there at once, then all, in idle moments. */
function useGrowing(conversation: object, length: number): number {
  const [shown, setShown] = useState(FIRST);
  useLayoutEffect(() => setShown(FIRST), [conversation]);
  useEffect(() => {
    if (shown >= length) return;
    const idle = window.requestIdleCallback ?? ((run: () => void) => window.setTimeout(run, 50));
    const cancel = window.cancelIdleCallback ?? clearTimeout;
    const handle = idle(() => setShown((before) => before + STEP));
    return () => cancel(handle);
  }, [shown, length]);
  return shown;
}

/** Keeps the end in view while it grows, unless the user has scrolled up. */
function useFollowing(conversation: object, runningId: string | null) {
  const view = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const [away, setAway] = useState(false);
  const toEnd = () => {
    following.current = true;
    showEnd(view.current!);
    setAway(false);
  };
  useEffect(() => {
    const element = view.current!;
    let top = 0;
    const scrolled = () => {
      // Only a scroll upwards is the user's: new content alone moves the end away from the view, too.
      const distance = element.scrollHeight - element.scrollTop - element.clientHeight;
      if (distance < NEAR_END_PX) following.current = true;
      else if (element.scrollTop < top - 1) following.current = false;
      top = element.scrollTop;
      setAway(!following.current);
    };
    const grown = new ResizeObserver(() => following.current && showEnd(element));
    grown.observe(content.current!);
    grown.observe(element);
    element.addEventListener("scroll", scrolled, { passive: true });
    return () => {
      grown.disconnect();
      element.removeEventListener("scroll", scrolled);
    };
  }, []);
  useLayoutEffect(toEnd, [conversation, runningId === null]);
  return { view, content, away, toEnd };
}

/** Where nothing was asked yet, the beginning counts. */
function showEnd(view: HTMLElement): void {
  view.scrollTop = view.querySelector(".turn") ? view.scrollHeight : 0;
}
