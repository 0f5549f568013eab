// What draws text, as one script for a page of the tests (`tests/web/test_growth.py`).

import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: { lib: { entry: "tests/drawing.ts", formats: ["iife"], name: "drawing", fileName: () => "drawing.js" } },
});
