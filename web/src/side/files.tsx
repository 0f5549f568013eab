// The files of the sandbox as a tree: to open, download, upload, and to download all of them at once.

import { useEffect, useState } from "preact/hooks";
import { size } from "../format";
import { api, archiveAddress, Failed, fileAddress, type SandboxFile } from "../net/api";
import { text } from "../text";
import { Icon } from "../view/icons";
import { FilePicker } from "../view/picker";
import { Download } from "../view/stored";
import type { NamedFile } from "../view/written";
import { canShow, read } from "./content";
import { activity, containerId, openArtifact } from "./state";

export function FilesView() {
  const id = containerId.value;
  const [files, setFiles] = useState<readonly SandboxFile[] | null>(id ? null : []);
  const [failed, setFailed] = useState("");
  const attempt = (work: () => Promise<void>) =>
    work().catch((error) => setFailed((error instanceof Failed && error.message) || text.line.unanswered));
  const look = async () => {
    if (!id) return setFiles([]);
    setFiles(await api.files(id).catch(() => []));
    setFailed("");
  };
  useEffect(() => void attempt(look), [id, activity.value]);
  const send = (chosen: readonly File[]) =>
    void attempt(async () => {
      for (const file of chosen) await api.addFile(id!, file);
      await look();
    });
  return (
    <>
      {id && (
        <div class="side-bar">
          <FilePicker onPick={send}>
            {(choose) => (
              <button type="button" class="button" onClick={choose}>
                <Icon name="attach" size={15} />
                {text.side.upload}
              </button>
            )}
          </FilePicker>
          <span class="grow" />
          {!!files?.length && (
            <Download class="button" href={archiveAddress(id)} name="files.zip">
              <Icon name="download" size={15} />
              {text.side.archive}
            </Download>
          )}
        </div>
      )}
      {failed && <p class="complaint" role="alert">{failed}</p>}
      {files?.length === 0 && <p class="nothing">{text.files.none}</p>}
      {id && files && <Folder files={files} at="" containerId={id} all={files.map((file) => named(file, id))} />}
    </>
  );
}

const named = (file: SandboxFile, containerId: string): NamedFile => ({
  container_id: containerId,
  file_id: file.id,
  filename: nameOf(file),
});

const nameOf = ({ path }: SandboxFile): string => path.split("/").at(-1)!;

const below = (path: string): string => path.replace(/^\/?(?:workspace|mnt\/data)\//, "");

interface FolderProps {
  files: readonly SandboxFile[];
  /** The folder's path with a slash at its end; empty for the working directory. */
  at: string;
  containerId: string;
  /** Every file of the sandbox, which a document may name. */
  all: readonly NamedFile[];
}

function Folder({ files, at, containerId, all }: FolderProps) {
  const own: SandboxFile[] = [];
  const folders = new Map<string, SandboxFile[]>();
  for (const file of files) {
    const [name, ...rest] = below(file.path).slice(at.length).split("/");
    if (!rest.length) own.push(file);
    else folders.set(name!, [...(folders.get(name!) ?? []), file]);
  }
  return (
    <ul class="tree">
      {[...folders].sort(([a], [b]) => a.localeCompare(b)).map(([name, inside]) => (
        <li key={name}>
          <details open={inside.length <= 20}>
            <summary>
              <Icon name="chevron" size={14} />
              <bdi>{name}</bdi>
            </summary>
            <Folder files={inside} at={`${at}${name}/`} containerId={containerId} all={all} />
          </details>
        </li>
      ))}
      {own.sort((a, b) => a.path.localeCompare(b.path)).map((file) => (
        <FileRow key={file.id} file={file} containerId={containerId} all={all} />
      ))}
    </ul>
  );
}

function FileRow({ file, containerId, all }: Pick<FolderProps, "containerId" | "all"> & { file: SandboxFile }) {
  const name = nameOf(file);
  const address = fileAddress(containerId, file.id);
  const version = { key: file.id, label: "", address, load: () => read(name, address) };
  const open = () => openArtifact({ name, versions: [version], files: all });
  return (
    <li class="file">
      <button type="button" class="name" disabled={!canShow(name)} onClick={open}>
        <Icon name="file" size={15} />
        <bdi>{name}</bdi>
      </button>
      <span class="size">{size(file.bytes)}</span>
      <Download class="icon-button" href={address} name={name} label={text.files.download(name)}>
        <Icon name="download" size={16} />
      </Download>
    </li>
  );
}
