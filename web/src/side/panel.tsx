// The panel beside the chat: files, variables, and the artifact that was opened last.

import { useEffect, useState } from "preact/hooks";
import { text } from "../text";
import { IconButton } from "../view/controls";
import { ArtifactView } from "./artifact";
import { FilesView } from "./files";
import { artifact, tab, type Artifact, type Tab } from "./state";
import { VariablesView } from "./variables";
import "./side.css";

const artifactKey = ({ versions, chosen }: Artifact): string => `${chosen} ${versions.map(({ key }) => key).join()}`;

export function Panel() {
  const [full, setFull] = useState(false);
  const shown = tab.value ?? "files";
  const close = () => (tab.value = null);
  useEffect(() => {
    const leave = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      if (!full && !document.querySelector(".side")?.contains(document.activeElement)) return;
      event.preventDefault();
      if (full) setFull(false);
      else close();
    };
    addEventListener("keydown", leave, true);
    return () => removeEventListener("keydown", leave, true);
  }, [full]);
  const tabs: [Tab, string][] = [["files", text.side.files], ["variables", text.side.variables]];
  if (artifact.value) tabs.push(["artifact", artifact.value.name]);
  return (
    <aside class="side" aria-label={text.header.panel} data-full={full || undefined}>
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
        <IconButton icon={full ? "smaller" : "larger"} label={full ? text.side.smaller : text.side.larger} onClick={() => setFull(!full)} />
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
