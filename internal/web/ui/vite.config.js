import { defineConfig } from "vite";

// The built files are committed and embedded in the binary, so their names do
// not change from build to build, and all addresses are relative: the page
// works under any route prefix.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    rollupOptions: {
      output: {
        entryFileNames: "app.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
});
