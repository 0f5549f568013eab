// The files of a question that was sent: pictures as pictures, others by their names.

import { isPicture, type Attachment } from "../core/asked";
import { Icon } from "./icons";
import { useStored } from "./stored";

export function Attached({ files }: { files: readonly Attachment[] }) {
  if (!files.length) return null;
  return (
    <ul class="chips">
      {files.map((file) => (isPicture(file) && file.url ? <SentPicture file={file} /> : <SentFile file={file} />))}
    </ul>
  );
}

function SentFile({ file }: { file: Attachment }) {
  return (
    <li class="chip">
      <Icon name="file" size={15} />
      {file.name}
    </li>
  );
}

function SentPicture({ file }: { file: Attachment }) {
  const source = useStored(file.url);
  return <li class="sent">{source && <img src={source} alt={file.name} title={file.name} />}</li>;
}
