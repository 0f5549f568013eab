// One artifact in one of its versions, with its download.

import { useEffect, useState } from "preact/hooks";
import { Failed } from "../net/api";
import { text } from "../text";
import { Icon } from "../view/icons";
import { Download, save } from "../view/stored";
import type { Content } from "./content";
import type { Artifact } from "./state";
import { ContentView } from "./view";

export function ArtifactView({ artifact: { name, versions, chosen: first, files } }: { artifact: Artifact }) {
  const [chosen, setChosen] = useState(first);
  const version = versions.find(({ key }) => key === chosen) ?? versions.at(-1)!;
  const [content, setContent] = useState<Content | null>(null);
  const [failed, setFailed] = useState("");
  useEffect(() => {
    let left = false;
    setContent(null);
    setFailed("");
    version.load().then(
      (loaded) => !left && setContent(loaded),
      (error) => !left && setFailed((error instanceof Failed && error.message) || text.line.unanswered),
    );
    return () => void (left = true);
  }, [version.key]);
  return (
    <>
      <div class="side-bar">
        {versions.length > 1 && (
          <select
            aria-label={text.side.version}
            value={version.key}
            onChange={(event) => setChosen(event.currentTarget.value)}
          >
            {versions.map(({ key, label }, index) => (
              <option key={key} value={key}>{text.side.versionOf(index + 1, label)}</option>
            ))}
          </select>
        )}
        <span class="grow" />
        {version.address ? (
          <Download class="button" href={version.address} name={name}>
            <Icon name="download" size={15} />
            {text.cell.download}
          </Download>
        ) : (
          content && (
            <button type="button" class="button" onClick={() => save(asFile(content), name)}>
              <Icon name="download" size={15} />
              {text.cell.download}
            </button>
          )
        )}
      </div>
      {failed && <p class="complaint" role="alert">{failed}</p>}
      {content && <ContentView key={version.key} content={content} name={name} files={files} />}
    </>
  );
}

function asFile(content: Content): Blob {
  if (content.kind === "page") return new Blob([content.html], { type: "text/html" });
  return new Blob([JSON.stringify("spec" in content ? content.spec : content, null, 2)], { type: "application/json" });
}
