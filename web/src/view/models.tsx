// The models of the server enter; the name of the one that answers leaves, or a choice where there are several.

import { status } from "../session";
import { chooseModel, model } from "../state";
import { text } from "../text";
import { Icon } from "./icons";

export function Models() {
  const { models = [] } = status.value ?? {};
  if (models.length < 2) return <>{model.value ?? ""}</>;
  return (
    <>
      <select
        aria-label={text.composer.model}
        title={text.composer.model}
        value={model.value!}
        onChange={(event) => chooseModel(event.currentTarget.value)}
      >
        {models.map((name) => (
          <option key={name} value={name}>{name}</option>
        ))}
      </select>
      <Icon name="chevron" size={14} />
    </>
  );
}
