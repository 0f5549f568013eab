// The panel's page starts here, in a frame of the page that its address names.

import { render } from "preact";
import "../../style/index.css";
import "../../style/embed.css";
import { translate } from "../../language";
import { text } from "../../text";
import { dress } from "./look";
import { start } from "./state";
import { Panel } from "./view";

const place = document.getElementById("app")!;
const origin = new URLSearchParams(location.search).get("origin");
await translate();
dress();
if (parent === window || !origin) {
  render(<p class="alone">{text.embed.alone}</p>, place);
} else {
  start(origin);
  render(<Panel />, place);
}
