// The variables of the kernel, as it reports them: read anew after each block of code.

import { useEffect, useState } from "preact/hooks";
import { api, Failed, type Held, type Variable } from "../net/api";
import { text } from "../text";
import { Icon } from "../view/icons";
import { activity, containerId } from "./state";
import { Table } from "./view";

export function VariablesView() {
  const id = containerId.value;
  const [held, setHeld] = useState<Held | null>(null);
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!id) return;
    let left = false;
    api.variables(id).then(
      (found) => !left && (setHeld(found), setSaid("")),
      (error) => !left && setSaid(error instanceof Failed && error.status === 410 ? text.files.gone : text.side.noVariables),
    );
    return () => void (left = true);
  }, [id, activity.value]);
  const isEmpty = !id || (held && !held.data.length && !held.functions.length);
  return (
    <>
      {said && <p class="nothing" role="status">{said}</p>}
      {!said && isEmpty && <p class="nothing">{text.side.noneYet}</p>}
      {!said && held && (
        <ul class="variables">
          {held.data.map((one) => <VariableRow key={one.name} variable={one} />)}
          {held.functions.map((one) => (
            <li key={`${one.name}()`}>
              <details>
                <summary>
                  <Icon name="chevron" size={14} />
                  <code>{one.name}</code>
                  <span class="type">{one.kind}</span>
                </summary>
                <pre dir="ltr" tabIndex={0}>{one.source}</pre>
              </details>
            </li>
          ))}
        </ul>
      )}
      {!said && held && held.omitted > 0 && <p class="nothing">{text.side.omitted(held.omitted)}</p>}
    </>
  );
}

function VariableRow({ variable: { name, type, shape, detail, head, table } }: { variable: Variable }) {
  return (
    <li>
      <details>
        <summary>
          <Icon name="chevron" size={14} />
          <code>{name}</code>
          <span class="type">{type}{shape && ` ${shape}`}</span>
          {!table.length && <span class="head" dir="ltr">{head}</span>}
        </summary>
        {table.length > 0 ? <Table rows={table} /> : <pre dir="ltr" tabIndex={0}>{[detail, head].filter(Boolean).join("\n")}</pre>}
        {table.length > 0 && <p class="detail-line">{detail}</p>}
      </details>
    </li>
  );
}
