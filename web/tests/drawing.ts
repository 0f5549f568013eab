// What draws a stranger's text, for a real browser: the DOM of tests without one takes the square of what it is given.

import { prose, table } from "../src/core/html";
import { grown, MARKDOWN, type Reader, TABLES } from "./growth";

/** Under its name in docs/security.md, and what it is given. */
const READERS: Record<string, Reader> = {
  "web/html.prose": [prose, MARKDOWN],
  "web/html.table": [table, TABLES],
};

Object.assign(globalThis, { grown: (reader: string) => grown(READERS[reader]!) });
