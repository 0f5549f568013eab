// The page starts here.

import { render } from "preact";
import { apply } from "./options";
import { start } from "./state";
import "./style/index.css";
import { App } from "./view/app";

apply();
start();
render(<App />, document.getElementById("app")!);
