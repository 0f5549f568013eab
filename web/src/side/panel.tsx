// The panel beside the chat: files, variables, and the artifact that was opened last.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { text } from "../text";
import { IconButton } from "../view/controls";
import { ArtifactView } from "./artifact";
import { FilesView } from "./files";
import { artifact, tab, type Artifact, type Tab } from "./state";
import { VariablesView } from "./variables";
import "./side.css";

const artifactKey = ({ versions, chosen }: Artifact): string => `${chosen} ${versions.map(({ key }) => key).join()}`;

export function Panel() {
  const full = useSignal(false); // The listener must see it at once, also before the panel is drawn again.
  const shown = tab.value ?? "files";
  const close = () => (tab.value = null);
  useEffect(() => {
    const leave = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      if (!full.value && !document.querySelector(".side")?.contains(document.activeElement)) return;
      event.preventDefault();
      if (full.value) full.value = false;
      else close();
    };
    addEventListener("keydown", leave, true);
    return () => removeEventListener("keydown", leave, true);
  }, []);
  const tabs: [Tab, string][] = [["files", text.side.files], ["variables", text.side.variables]];
  if (artifact.value) tabs.push(["artifact", artifact.value.name]);
  return (
    <aside class="side" aria-label={text.header.panel} data-full={full.value || undefined}>
      <header>
        <div class="tabs" role="tablist">
          {tabs.map(([name, words]) => (
            <button
              key={name}
              type="button"
              role="tab"
              aria-selected={shown === name}
              onClick={() => (tab.value = name)}
            >
              {words}
            </button>
          ))}
        </div>
        <IconButton
          icon={full.value ? "smaller" : "larger"}
          label={full.value ? text.side.smaller : text.side.larger}
          onClick={() => (full.value = !full.value)}
        />
        <IconButton icon="close" label={text.cell.close} onClick={close} />
      </header>
      <div class="side-body" role="tabpanel" tabIndex={0}>
        {shown === "files" && <FilesView />}
        {shown === "variables" && <VariablesView />}
        {shown === "artifact" && artifact.value && <ArtifactView key={artifactKey(artifact.value)} artifact={artifact.value} />}
      </div>
    </aside>
  );
}
