// A page, a chart or a PDF file in a frame that has its scripts, but neither our origin nor a network.

import { useEffect, useRef, useState } from "preact/hooks";
import { address } from "../net/api";
import type { Content } from "../side/content";
import { text } from "../text";
import { dark } from "../theme";

const TALLEST_PX = 2_000;
const FIRST_PX = 420;

/** `content` stays the same for one frame. */
interface Props {
  content: Extract<Content, { kind: "page" | "plotly" | "vega" | "pdf" }>;
  title: string;
  /** As tall as what it shows, instead of as tall as its place. */
  grows?: boolean;
}

export function ArtifactFrame({ content, title, grows = false }: Props) {
  const element = useRef<HTMLIFrameElement>(null);
  const [height, setHeight] = useState(FIRST_PX);
  useEffect(() => {
    const heard = ({ source, data }: MessageEvent) => {
      const told = source === element.current?.contentWindow ? (data as { height?: unknown } | null)?.height : null;
      if (typeof told === "number" && told > 0) setHeight(Math.min(told, TALLEST_PX));
    };
    addEventListener("message", heard);
    return () => removeEventListener("message", heard);
  }, []);
  const tell = () => element.current?.contentWindow?.postMessage({ ...content, dark: dark.value }, "*");
  useEffect(tell, [dark.value]);
  return (
    <iframe
      ref={element}
      class="artifact-frame"
      title={title || text.cell.html}
      src={address("artifact.html")}
      sandbox="allow-scripts"
      style={grows ? { height: `${height}px` } : undefined}
      onLoad={tell}
    />
  );
}
