// Shows one content: a page, a chart, a picture, a table, a text.

import { Prose } from "../view/prose";
import { ArtifactFrame } from "../view/artifact_frame";
import { Code } from "../view/code";
import { text } from "../text";
import type { NamedFile } from "../view/written";
import type { Content } from "./content";

export function ContentView({ content, name, files = [] }: { content: Content; name: string; files?: readonly NamedFile[] }) {
  switch (content.kind) {
    case "page":
    case "plotly":
    case "vega":
    case "pdf": return <ArtifactFrame content={content} title={name} />;
    case "picture": return <div class="side-picture"><img src={content.url} alt={name} /></div>;
    case "markdown": return <div class="side-text"><Prose source={content.text} written={{ files, count: files.length }} /></div>;
    case "text": return <div class="side-text fence"><Code class="" code={content.text} language={content.language} /></div>;
    case "table": return <Table rows={content.rows} more={content.more} />;
    case "none": return <p class="nothing">{text.side.cannotShow}</p>;
  }
}

export function Table({ rows: [labels = [], ...rows], more = false }: { rows: readonly string[][]; more?: boolean }) {
  return (
    <div class="table" role="region" aria-label={text.cell.table} tabIndex={0}>
      <table>
        <thead>
          <tr>{labels.map((label, index) => <th key={index} scope="col">{label}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>{row.map((cell, index) => <td key={index}>{cell}</td>)}</tr>
          ))}
        </tbody>
      </table>
      {more && <p>{text.side.firstRows(rows.length)}</p>}
    </div>
  );
}
