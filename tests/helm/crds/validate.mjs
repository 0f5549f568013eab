// Checks objects against the published schemas of the Gateway API and of the Prometheus operator.
//
// node validate.mjs < OBJECTS    JSON: a list of objects; prints the list of what is wrong with each, "" if nothing

import * as gateway from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import * as operator from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const kinds = {
  "gateway.networking.k8s.io/v1": gateway,
  "monitoring.coreos.com/v1": operator,
};

function wrong(object) {
  const Kind = kinds[object.apiVersion]?.[object.kind];
  if (Kind === undefined) return `no schema of ${object.apiVersion} ${object.kind}`;
  try {
    new Kind(object).validate();
    return "";
  } catch (error) {
    return error.message;
  }
}

let text = "";
for await (const piece of process.stdin) text += piece;
process.stdout.write(JSON.stringify(JSON.parse(text).map(wrong)));
