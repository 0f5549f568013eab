// The page starts here.

import { render } from "preact";
import { translate } from "./language";
import { apply } from "./options";
import { start } from "./state";
import "./style/index.css";
import { App } from "./view/app";
import { SharedPage } from "./view/sharing";

await translate();
apply();
const token = /^\/share\/([\w-]+)$/.exec(location.pathname)?.[1];
if (!token) start();
render(token ? <SharedPage token={token} /> : <App />, document.getElementById("app")!);
