// Small controls that several places share: an icon button, a menu, a dialog, a copy button.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icons";
import { text } from "../text";

interface ButtonProps {
  icon: IconName;
  label: string;
  onClick: () => void;
  class?: string;
  disabled?: boolean;
  pressed?: boolean;
  expanded?: boolean;
  size?: number;
}

export function IconButton({ icon, label, onClick, disabled, pressed, expanded, size, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      class={`icon-button ${rest.class ?? ""}`}
      aria-label={label}
      title={label}
      disabled={disabled}
      aria-pressed={pressed}
      aria-expanded={expanded}
      onClick={onClick}
    >
      <Icon name={icon} size={size} />
    </button>
  );
}

const COPIED_MS = 1500;

/** Absent where the page comes over plain HTTP from elsewhere: browsers give it no clipboard then. */
export function CopyButton({ label, value }: { label: string; value: () => string }): JSX.Element | null {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), COPIED_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  if (!navigator.clipboard) return null;
  const copy = () => void navigator.clipboard.writeText(value()).then(() => setCopied(true));
  return <IconButton icon={copied ? "check" : "copy"} label={copied ? text.turn.copied : label} onClick={copy} />;
}

export interface MenuItem {
  icon: IconName;
  label: string;
  onSelect: () => void;
  danger?: boolean;
}

/** A button and its menu: arrows move, Escape and a click elsewhere close, focus returns to the button. */
export function Menu({ icon, label, items }: { icon: IconName; label: string; items: readonly MenuItem[] }) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState(false);

  useEffect(() => {
    const element = menu.current!;
    const toggled = (event: Event) => {
      const opened = (event as ToggleEvent).newState === "open";
      setOpen(opened);
      if (!opened) return;
      const at = button.current!.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = element;
      element.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
      element.style.top = `${at.bottom + 4 + height > innerHeight ? at.top - height - 4 : at.bottom + 4}px`;
      element.querySelector("button")?.focus();
    };
    element.addEventListener("toggle", toggled);
    return () => element.removeEventListener("toggle", toggled);
  }, []);

  const move = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const entries = [...menu.current!.querySelectorAll("button")];
    const at = entries.indexOf(document.activeElement as HTMLButtonElement);
    entries.at((at + step) % entries.length)?.focus();
  };
  const choose = (item: MenuItem) => {
    menu.current!.hidePopover();
    button.current?.focus();
    item.onSelect();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class="icon-button"
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        onClick={() => menu.current!.togglePopover()}
      >
        <Icon name={icon} />
      </button>
      <div ref={menu} id={id} class="menu" role="menu" popover="auto" aria-label={label} onKeyDown={move}>
        {items.map((item) => (
          <button type="button" role="menuitem" class={item.danger ? "danger" : ""} onClick={() => choose(item)}>
            <Icon name={item.icon} />
            {item.label}
          </button>
        ))}
      </div>
    </>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
  /** False where there is no way around it. */
  closable?: boolean;
}

const TYPED = "form :is(textarea, input:not([type=file], [type=checkbox], [type=radio]))";

export function Dialog({ title, onClose, children, closable = true, ...rest }: DialogProps): JSX.Element {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    element.current!.showModal(); // It takes the focus to the first button: where something is to be typed, that comes first.
    element.current!.querySelector<HTMLInputElement>(TYPED)?.focus();
  }, []);
  return (
    <dialog
      ref={element}
      class={`dialog ${rest.class ?? ""}`}
      aria-labelledby={id}
      onClose={onClose}
      onCancel={(event) => !closable && event.preventDefault()}
      onClick={(event) => closable && event.target === element.current && element.current!.close()}
    >
      <div class="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          {closable && <IconButton icon="close" label={text.settings.close} onClick={() => element.current!.close()} />}
        </header>
        {children}
      </div>
    </dialog>
  );
}
