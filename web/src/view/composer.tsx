// What the user types, drops and pastes enters; a question, or a word to the answer under way, leaves.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { isPicture } from "../core/asked";
import { attachments, words as draft } from "../draft";
import { current, line, say, status } from "../session";
import { text } from "../text";
import { IconButton } from "./controls";
import { Icon } from "./icons";

const LARGEST_BYTES = 10_000_000;

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
  const files = useRef<HTMLInputElement>(null);
  const conversation = current.value;
  const running = conversation.running.value;
  const words = draft.value;
  const ready = line.value === "open" && (words.trim() !== "" || attachments.value.length > 0);

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
    if (!ready) return;
    say(words, attachments.value);
    draft.value = "";
    attachments.value = [];
    complaint.value = "";
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  const paste = (event: ClipboardEvent) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (!pasted.length) return;
    event.preventDefault();
    void attach(pasted);
  };
  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), send())}>
      <DropZone />
      <div class="box" data-dragged={dragged.value || undefined}>
        {attachments.value.length > 0 && <Chips />}
        <textarea
          ref={input}
          id="question"
          rows={1}
          aria-label={text.composer.label}
          placeholder={running ? text.composer.steer : text.composer.placeholder}
          value={words}
          onInput={(event) => (draft.value = event.currentTarget.value)}
          onKeyDown={keys}
          onPaste={paste}
        />
        <div class="composer-bar">
          <input
            ref={files}
            type="file"
            multiple
            hidden
            onChange={(event) => void attach([...(event.currentTarget.files ?? [])]).then(() => (files.current!.value = ""))}
          />
          <IconButton icon="attach" label={text.composer.attach} onClick={() => files.current!.click()} />
          <span class="model">{model ?? status.value?.model}</span>
          {running && (
            <button
              type="button"
              class="round stop"
              aria-label={conversation.stopping.value ? text.composer.stopping : text.composer.stop}
              title={`${text.composer.stop} (Esc)`}
              disabled={conversation.stopping.value}
              onClick={() => conversation.stop()}
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

function Chips() {
  const remove = (at: number) => (attachments.value = attachments.value.filter((_, index) => index !== at));
  return (
    <ul class="chips">
      {attachments.value.map((file, index) => (
        <li class="chip" key={index}>
          {isPicture(file) ? <img src={file.url} alt="" /> : <Icon name="file" size={15} />}
          <span>{file.name}</span>
          <IconButton icon="close" size={14} label={text.composer.remove(file.name)} onClick={() => remove(index)} />
        </li>
      ))}
    </ul>
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
      void attach([...event.dataTransfer!.files]);
    };
    const wired = { dragenter: enter, dragleave: leave, dragover: over, drop } as Record<string, (event: never) => void>;
    for (const [name, heard] of Object.entries(wired)) addEventListener(name, heard as EventListener);
    return () => {
      for (const [name, heard] of Object.entries(wired)) removeEventListener(name, heard as EventListener);
    };
  }, []);
  return dragged.value ? <p class="drop" aria-hidden="true">{text.composer.drop}</p> : null;
}

async function attach(files: readonly File[]): Promise<void> {
  complaint.value = "";
  for (const file of files) {
    if (file.size > LARGEST_BYTES) {
      complaint.value = text.composer.tooLarge(file.name, `${LARGEST_BYTES / 1e6} MB`);
      continue;
    }
    const url = await asUrl(file);
    attachments.value = [...attachments.value, { name: file.name, type: file.type, size: file.size, url }];
  }
}

function asUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
