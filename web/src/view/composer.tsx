// The box for a question, and for what the user adds while an answer is under way; it also takes files.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { isPicture, type Attachment } from "../core/asked";
import { current, line, say, settled, status } from "../session";
import { text } from "../text";
import { attach, detach, retry } from "../uploads";
import { IconButton } from "./controls";
import { Icon } from "./icons";
import { FilePicker } from "./picker";

const complaint = signal("");
const dragged = signal(false);

interface Props {
  /** Each conversation begins with the cursor in the box. */
  focused: boolean;
  /** What stands for the model, where it is more than the name of the server's default. */
  model?: ComponentChildren;
}

export function Composer({ focused, model }: Props) {
  const input = useRef<HTMLTextAreaElement>(null);
  const conversation = current.value;
  const running = conversation.running.value;
  const { draft } = conversation;
  const words = draft.words.value;
  const ready = isReady();
  const recalled = useRef(-1);

  useEffect(() => {
    if (focused) input.current!.focus({ preventScroll: true });
  }, [conversation, focused]);
  useLayoutEffect(() => {
    // The box grows with its text, up to what the stylesheet allows.
    const box = input.current!;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  }, [words]);

  const send = () => {
    if (!isReady()) return; // The draft may have been sent since this was drawn.
    const { words, attachments } = draft;
    const [question, files] = [words.value, attachments.value];
    words.value = "";
    attachments.value = [];
    complaint.value = "";
    recalled.current = -1;
    say(question, files);
  };
  /** The second click of a double click on Send meets Stop, which has taken its place. */
  const stop = (event: MouseEvent) => event.detail < 2 && conversation.stop();
  /** Arrow keys go through the earlier questions, as in a shell, unless something else stands in the box. */
  const recall = (event: KeyboardEvent, step: number) => {
    const asked = conversation.path.value.map((turn) => turn.asked.text).filter(Boolean).reverse();
    if (words !== (asked[recalled.current] ?? "")) return;
    const next = recalled.current + step;
    if (next < -1 || next >= asked.length) return;
    event.preventDefault();
    recalled.current = next;
    draft.words.value = asked[next] ?? "";
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === "ArrowUp") return recall(event, 1);
    if (event.key === "ArrowDown") return recall(event, -1);
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  const paste = (event: ClipboardEvent) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (!pasted.length) return;
    event.preventDefault();
    take(pasted);
  };
  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), send())}>
      <DropZone />
      <div class="box" data-dragged={dragged.value || undefined}>
        {draft.attachments.value.length > 0 && <Chips />}
        <textarea
          ref={input}
          id="question"
          dir="auto"
          rows={1}
          aria-label={text.composer.label}
          placeholder={running ? text.composer.steer : text.composer.placeholder}
          value={words}
          onInput={(event) => (draft.words.value = event.currentTarget.value)}
          onKeyDown={keys}
          onPaste={paste}
        />
        <div class="composer-bar">
          <FilePicker onPick={take}>
            {(choose) => <IconButton icon="attach" label={attachLabel()} onClick={choose} />}
          </FilePicker>
          <span class="model">{model ?? status.value?.model}</span>
          {running && (
            <button
              type="button"
              class="round stop"
              aria-label={conversation.stopping.value ? text.composer.stopping : text.composer.stop}
              title={`${text.composer.stop} (Esc)`}
              disabled={conversation.stopping.value}
              onClick={stop}
            >
              <Icon name="stop" />
            </button>
          )}
          {(!running || words.trim()) && (
            <button type="submit" class="round send" aria-label={text.composer.send} title={text.composer.send} disabled={!ready}>
              <Icon name="up" />
            </button>
          )}
        </div>
      </div>
      {complaint.value && <p class="complaint" role="alert">{complaint.value}</p>}
    </form>
  );
}

/** The question can be sent: its files are uploaded, the conversation is read, and so are its options. */
function isReady(): boolean {
  const { draft, loaded } = current.value;
  const files = draft.attachments.value;
  if (line.value !== "open" || !loaded.value || !settled() || files.some(({ fileId }) => !fileId)) return false;
  return draft.words.value.trim() !== "" || files.length > 0;
}

function Chips() {
  const { draft } = current.value;
  return (
    <ul class="chips">
      {draft.attachments.value.map((file, index) => (
        <Chip key={file.key ?? index} file={file} onRemove={() => detach(draft, file)} />
      ))}
    </ul>
  );
}

function Chip({ file, onRemove }: { file: Attachment; onRemove: () => void }) {
  const { name, progress = 1, failure } = file;
  const percent = Math.floor(progress * 100);
  return (
    <li class="chip" data-failed={failure ? true : undefined} title={failure || undefined}>
      {isPicture(file) && file.url ? <img src={file.url} alt="" /> : <Icon name="file" size={15} />}
      <span>{name}</span>
      {!file.fileId && !failure && (
        <progress max={100} value={percent} aria-label={text.composer.uploading(name, percent)} />
      )}
      {failure && (
        <>
          <span role="alert">{failure}</span>
          <IconButton icon="again" size={14} label={text.composer.uploadAgain(name)} onClick={() => retry(file)} />
        </>
      )}
      <IconButton icon="close" size={14} label={text.composer.remove(name)} onClick={onRemove} />
    </li>
  );
}

/** Files may be dropped anywhere on the page. */
function DropZone() {
  useEffect(() => {
    let depth = 0;
    const holds = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => void (holds(event) && (depth++, (dragged.value = true)));
    const leave = (event: DragEvent) => void (holds(event) && --depth <= 0 && (dragged.value = false));
    const over = (event: DragEvent) => holds(event) && event.preventDefault();
    const drop = (event: DragEvent) => {
      depth = 0;
      dragged.value = false;
      if (!holds(event)) return;
      event.preventDefault();
      take([...event.dataTransfer!.files]);
    };
    const wired = { dragenter: enter, dragleave: leave, dragover: over, drop } as Record<string, (event: never) => void>;
    for (const [name, heard] of Object.entries(wired)) addEventListener(name, heard as EventListener);
    return () => {
      for (const [name, heard] of Object.entries(wired)) removeEventListener(name, heard as EventListener);
    };
  }, []);
  return dragged.value ? <p class="drop" aria-hidden="true">{text.composer.drop}</p> : null;
}

const megabytes = (bytes: number): string => `${Math.floor(bytes / 1e6)} MB`;

function attachLabel(): string {
  const limit = status.value?.upload_bytes;
  return limit ? text.composer.attachLimit(megabytes(limit)) : text.composer.attach;
}

function take(files: readonly File[]): void {
  complaint.value = "";
  const limit = status.value?.upload_bytes ?? Infinity;
  for (const file of files) {
    if (file.size > limit) complaint.value = text.composer.tooLarge(file.name, megabytes(limit));
    else attach(current.value.draft, file);
  }
}
