import { defineConfig, type Plugin } from "vite";

/** KaTeX names three formats of each font; every browser that runs this page takes the first. */
const onlyWoff2: Plugin = {
  name: "only-woff2",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("katex.min.css")) return null;
    return code.replace(/,url\([^)]+\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)/g, "");
  },
};

export default defineConfig({
  plugins: [onlyWoff2],
  build: {
    outDir: "../server/static",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the page's policy takes no data: fonts
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "embed.html"] },
    target: "es2022",
  },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8000", ws: true }, "/frame.html": "http://127.0.0.1:8000" } },
  test: {
    environment: "happy-dom",
    include: ["tests/**/*.test.ts"],
    // A new page and new modules for each file would take more time than the tests.
    isolate: false,
    // The same as that of pytest, since other tests use the processors, too.
    testTimeout: 120_000,
  },
} as Parameters<typeof defineConfig>[0]);
