declare const __MODEL__: import("./light/proxy.js").ModelInfo; // written by build.mjs
