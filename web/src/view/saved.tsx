// The files that an answer's code wrote: pictures as pictures, all of them as downloads.

import { useEffect, useState } from "preact/hooks";
import type { AnswerPart } from "../core/answer";
import { form } from "../core/mime";
import { time } from "../format";
import { fileAddress } from "../net/api";
import { current } from "../session";
import { canShow, read } from "../side/content";
import { hasSide, openArtifact } from "../side/state";
import { text } from "../text";
import type { Turn } from "../turn";
import type { ContainerFileCitation } from "../wire";
import { Icon } from "./icons";
import { PictureView } from "./rich";
import { Download } from "./stored";
import { isPictureName, picture, shows } from "./written";

/** Pictures among the files are shown, unless the answer shows them already. */
export function Files({ turn: { answer } }: { turn: Turn }) {
  const pictures = drawn(answer.parts) ? [] : answer.files.filter(({ filename }) => isPictureName(filename) && !isShown(answer.parts, filename));
  return (
    <>
      {pictures.map((file) => <SavedPicture key={file.file_id} file={file} />)}
      <FileChips files={answer.files} count={answer.files.length} />
    </>
  );
}

/** A block of code displayed a picture; what it saves besides is most often the same one. */
const drawn = (parts: readonly (AnswerPart | null)[]): boolean =>
  parts.some((part) => part?.kind === "cell" && part.outputs.shown.some((one) => one.kind === "rich" && form(one.data, one.metadata).kind === "picture"));

const isShown = (parts: readonly (AnswerPart | null)[], name: string): boolean =>
  parts.some((part) => part?.kind === "prose" && shows(part.text, name));

function SavedPicture({ file }: { file: ContainerFileCitation }) {
  const [source, setSource] = useState("");
  const address = fileAddress(file.container_id, file.file_id);
  useEffect(() => void picture(file.filename, address).then(setSource, () => undefined), [address]);
  return source ? <PictureView source={source} alt={file.filename} name={file.filename} /> : null;
}

/** Opens the file with all versions of it that the answers so far have made. */
function openFile(opened: ContainerFileCitation): void {
  const versions = current.value.path.value.flatMap((turn) =>
    turn.answer.files
      .filter(({ filename }) => filename === opened.filename)
      .map((file) => {
        const address = fileAddress(file.container_id, file.file_id);
        return { key: file.file_id, label: time(turn.askedAt), address, load: () => read(file.filename, address) };
      }),
  );
  const files = current.value.path.value.flatMap(({ answer }) => answer.files);
  openArtifact({ name: opened.filename, versions, chosen: opened.file_id, files });
}

/** `count` tells how many, since the list grows in place: a component that reads a signal is drawn again for new values only. */
function FileChips({ files }: { files: readonly ContainerFileCitation[]; count: number }) {
  return (
    <ul class="chips" aria-label={text.header.files}>
      {files.map((file) => (
        <li key={file.file_id} class="chip">
          {hasSide.value && canShow(file.filename) ? (
            <button type="button" class="open" title={text.side.open} onClick={() => openFile(file)}>{file.filename}</button>
          ) : (
            <span>{file.filename}</span>
          )}
          <Download
            class="icon-button"
            href={fileAddress(file.container_id, file.file_id)}
            name={file.filename}
            label={text.files.download(file.filename)}
          >
            <Icon name="download" size={15} />
          </Download>
        </li>
      ))}
    </ul>
  );
}
