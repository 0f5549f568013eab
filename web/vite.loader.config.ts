// The script of a host page: one classic file of a fixed name, with nothing to load after it.

import { defineConfig } from "vite";

export default defineConfig({
  publicDir: false,
  build: {
    outDir: "../server/static",
    emptyOutDir: false,
    lib: { entry: "src/embed/loader/main.ts", formats: ["iife"], name: "codeactEmbed", fileName: () => "embed.js" },
    target: "es2022",
    cssTarget: ["chrome123", "firefox128", "safari18"],
    minify: true,
  },
});
