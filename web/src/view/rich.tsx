// What code displayed enters; a picture, a table, a text or a frame without our origin leaves.

import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { table } from "../core/html";
import { form } from "../core/mime";
import { Terminal } from "../core/terminal";
import { address } from "../net/api";
import type { Content } from "../side/content";
import { hasSide, openArtifact } from "../side/state";
import { text } from "../text";
import { dark } from "../theme";
import { ArtifactFrame } from "./artifact_frame";
import { IconButton } from "./controls";
import { Icon } from "./icons";
import { memo } from "./memo";
import { Prose } from "./prose";
import { Download, useStored } from "./stored";
import { TerminalView } from "./terminal";

const TALLEST_PX = 560;

interface Props {
  data: Record<string, unknown>;
  metadata: Record<string, unknown>;
}

export const RichView = memo(({ data, metadata }: Props) => {
  const shown = useMemo(() => form(data, metadata), [data, metadata]);
  switch (shown.kind) {
    case "picture": return <Picture {...shown} />;
    case "html": return <Html html={shown.html} words={shown.words} />;
    case "chart": return <Chart content={{ kind: shown.library, spec: shown.spec }} />;
    case "page": return <Chart content={{ kind: "page", html: shown.html }} />;
    case "nothing": return null;
    case "markdown": return <div class="inset"><Prose source={shown.markdown} /></div>;
    case "text": return <Words words={shown.text} />;
  }
});

function Words({ words }: { words: string }) {
  const terminal = useMemo(() => {
    const made = new Terminal();
    made.feed(words);
    return made;
  }, [words]);
  return <TerminalView terminal={terminal} name="value" />;
}

function Picture({ source, words, extension }: { source: string; words: string; extension: string }) {
  return <PictureView source={useStored(source)} alt={words || text.cell.picture} name={`picture.${extension}`} />;
}

/** `name` is that of the file when the picture is downloaded. */
export function PictureView({ source, alt, name }: { source: string; alt: string; name: string }) {
  const [large, setLarge] = useState(false);
  // As <img>, an SVG runs no scripts and loads nothing.
  return (
    <figure class="picture">
      <button type="button" class="zoom" aria-label={`${text.cell.zoom}: ${alt}`} onClick={() => setLarge(true)}>
        {source && <img src={source} alt={alt} loading="lazy" decoding="async" />}
      </button>
      <Download class="icon-button save" href={source} name={name} label={text.cell.download}>
        <Icon name="download" />
      </Download>
      {large && <Lightbox source={source} alt={alt} name={name} onClose={() => setLarge(false)} />}
    </figure>
  );
}

function Lightbox({ source, alt, name, onClose }: { source: string; alt: string; name: string; onClose: () => void }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current!.showModal(), []);
  const [ratio, setRatio] = useState(1);
  const [closer, setCloser] = useState(false);
  const close = () => element.current!.close();
  const toggle = (event: Event) => (event.stopPropagation(), setCloser(!closer));
  return (
    <dialog ref={element} class="lightbox" aria-label={alt} onClose={onClose} onClick={close}>
      <img
        src={source}
        alt={alt}
        data-closer={closer || undefined}
        style={{ "--ratio": ratio }}
        onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) => setRatio(naturalWidth / naturalHeight || 1)}
        onClick={toggle}
      />
      <div class="lightbox-bar" onClick={(event) => event.stopPropagation()}>
        <Download class="icon-button" href={source} name={name} label={text.cell.download}>
          <Icon name="download" />
        </Download>
        <IconButton icon="close" label={text.cell.close} onClick={close} />
      </div>
    </dialog>
  );
}

function Html({ html, words }: { html: string; words: string }) {
  const rows = useMemo(() => table(html), [html]);
  if (rows === null) return <Frame html={html} words={words} />;
  return <div class="table" role="region" aria-label={text.cell.table} tabIndex={0} dangerouslySetInnerHTML={{ __html: rows }} />;
}

function Chart({ content }: { content: Parameters<typeof ArtifactFrame>[0]["content"] }) {
  return (
    <div class="chart">
      <ArtifactFrame content={content} title={text.cell.chart} grows />
      <OpenBeside name={text.cell.chart} content={content} />
    </div>
  );
}

/** Only where there is a place beside the chat. */
function OpenBeside({ name, content }: { name: string; content: Content }) {
  const key = useId();
  if (!hasSide.value) return null;
  const open = () => openArtifact({ name, versions: [{ key, label: "", address: "", load: () => Promise.resolve(content) }] });
  return <IconButton icon="larger" class="beside" label={text.side.open} onClick={open} />;
}

/** The frame's own policy keeps scripts and the network from its HTML; it tells how tall it is. */
function Frame({ html, words }: { html: string; words: string }) {
  const element = useRef<HTMLIFrameElement>(null);
  const [height, setHeight] = useState<number | null>(null);
  const tell = () => element.current?.contentWindow?.postMessage({ html, dark: dark.value }, "*");
  useEffect(() => {
    const heard = ({ source, data }: MessageEvent) => {
      if (source !== element.current?.contentWindow || typeof data !== "number") return;
      setHeight(Math.min(Math.max(0, data), TALLEST_PX));
    };
    addEventListener("message", heard);
    return () => removeEventListener("message", heard);
  }, []);
  useEffect(tell, [html, dark.value]);
  if (height === 0 && words) return <Words words={words} />;
  return (
    <div class="chart">
      <iframe
        ref={element}
        class="frame"
        title={text.cell.html}
        src={address("frame.html")}
        sandbox="allow-scripts"
        style={{ height: `${height ?? 40}px` }}
        onLoad={tell}
      />
      {/<script/i.test(html) && <OpenBeside name={text.cell.html} content={{ kind: "page", html }} />}
    </div>
  );
}
